"""What a service does that was written for MLflow long ago: it loads what is in production, and predicts.

Called with the name of a model.
"""

import sys
import warnings

import mlflow
from sklearn.datasets import load_breast_cancer

# Stages are deprecated in MLflow, and work.
warnings.simplefilter("ignore")

name = sys.argv[1]
data = load_breast_cancer(as_frame=True)
labels = 1 - data.target

for address in [f"models:/{name}@production", f"models:/{name}/Production"]:
    model = mlflow.pyfunc.load_model(address)
    # The columns that it asks for stand in its signature.
    rows = data.data[model.metadata.get_input_schema().input_names()]
    answers = model.predict(rows)
    six = ["malignant" if answer == 1 else "benign" for answer in answers[::95]]
    print(f"{address}: {100 * (answers == labels).mean():.1f} % right on all {len(rows)}; six of them: {', '.join(six)}")
