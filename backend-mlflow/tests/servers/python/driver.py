"""A user of MLflow: does with MLflow's own client what it is told, a JSON object a line, and answers the same way."""

import json
import sys
import traceback
import warnings

warnings.filterwarnings("ignore")

import logging

import mlflow
import mlflow.sklearn
import numpy
import pandas
from mlflow.models import infer_signature
from sklearn.linear_model import LogisticRegression

logging.disable(logging.WARNING)

address = sys.argv[1]
mlflow.set_tracking_uri(address)
client = mlflow.MlflowClient()


def trained(slope):
    """A model of two columns, and what it says of some rows."""
    rows = pandas.DataFrame({"amount": numpy.linspace(0.0, 10.0, 40), "age": numpy.linspace(80.0, 20.0, 40)})
    labels = (slope * rows["amount"] > 5.0).astype(int)
    model = LogisticRegression().fit(rows, labels)
    return model, infer_signature(rows, model.predict(rows)), rows


def save(folder, slope):
    model, signature, rows = trained(slope)
    mlflow.sklearn.save_model(model, folder, signature=signature, serialization_format="cloudpickle")
    return model.predict(rows).tolist()


def train(name, experiment, slope):
    """What training scripts do: a run with a parameter, a metric and a model, registered under a name."""
    model, signature, rows = trained(slope)
    mlflow.set_experiment(experiment)
    with mlflow.start_run() as run:
        mlflow.log_param("slope", slope)
        mlflow.log_metric("accuracy", 0.9)
        mlflow.sklearn.log_model(
            model,
            "model",
            signature=signature,
            registered_model_name=name,
            serialization_format="cloudpickle",
        )
    newest = max(int(found.version) for found in client.search_model_versions(f"name='{name}'"))
    return {"version": newest, "run": run.info.run_id, "says": model.predict(rows).tolist()}


def load(uri, slope):
    """What a model that is loaded says of the rows that it was trained on."""
    _, _, rows = trained(slope)
    return mlflow.pyfunc.load_model(uri).predict(rows).tolist()


def call(method, *arguments, **named):
    """Anything that MLflow's client can do."""
    getattr(client, method)(*arguments, **named)


def version(name, number):
    found = client.get_model_version(name, str(number))
    run = client.get_run(found.run_id).data
    return {
        "stage": found.current_stage,
        "aliases": list(found.aliases),
        "tags": dict(found.tags),
        "params": dict(run.params),
        "metrics": dict(run.metrics),
    }


for line in sys.stdin:
    told = json.loads(line)
    try:
        answer = {"done": globals()[told["do"]](*told.get("with", []), **told.get("named", {}))}
    except Exception as problem:
        answer = {"failed": f"{problem}", "at": traceback.format_exc()}
    print("> " + json.dumps(answer), flush=True)
