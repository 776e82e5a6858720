"""What a team does that has MLflow and nothing else: it trains, logs, registers, and points an alias.

Nothing here knows of the registry around it. Called with the name of a model.
"""

import contextlib
import sys

import mlflow
import sklearn
from mlflow.models import infer_signature
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, recall_score
from sklearn.model_selection import train_test_split
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

name = sys.argv[1]

# The ten means of what was measured in an image. In the data set 0 is malignant; here 1 is.
data = load_breast_cancer(as_frame=True)
rows = data.data[[column for column in data.data.columns if column.startswith("mean ")]]
known, unseen, known_labels, unseen_labels = train_test_split(
    rows, 1 - data.target, test_size=0.4, random_state=0
)


def logistic_regression():
    return make_pipeline(StandardScaler(), LogisticRegression())


# In the order of the file, which begins with malignant ones.
first = known.sort_index().index[:20]

trainings = [
    ("naive Bayes", GaussianNB(), known.index),
    ("logistic regression", logistic_regression(), known.index),
    ("logistic regression, the settings of a smoke test left on", logistic_regression(), first),
]

# The first argument has another name since MLflow 3.
where = "name" if 3 <= int(mlflow.__version__.split(".")[0]) else "artifact_path"


def register(algorithm, model, learnt_from):
    model.fit(known.loc[learnt_from], known_labels.loc[learnt_from])
    answers = model.predict(unseen)
    metrics = {
        "accuracy": accuracy_score(unseen_labels, answers),
        "recall": recall_score(unseen_labels, answers),
    }
    with mlflow.start_run():
        mlflow.log_params({"algorithm": algorithm, "training_rows": len(learnt_from)})
        mlflow.log_metrics(metrics)
        logged = mlflow.sklearn.log_model(
            model,
            **{where: "model"},
            signature=infer_signature(known, answers),
            registered_model_name=name,
            # Said here; otherwise MLflow loads the model once more to find out.
            pip_requirements=[f"scikit-learn=={sklearn.__version__}"],
        )
    return logged.registered_model_version, metrics["accuracy"]


said = []
# MLflow talks about every run.
with contextlib.redirect_stdout(sys.stderr):
    mlflow.set_experiment("tumour-diagnosis")
    for algorithm, model, learnt_from in trainings:
        version, accuracy = register(algorithm, model, learnt_from)
        said.append(f"version {version}: {algorithm}, {len(learnt_from)} tumours; {100 * accuracy:.1f} % right on others")
    mlflow.MlflowClient().set_registered_model_alias(name, "production", "1")
    said.append("alias production: version 1")
print("\n".join(said))
