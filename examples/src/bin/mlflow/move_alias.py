"""What anybody can do who may write to the server: point an alias to another version. MLflow asks nobody.

Called with the name of a model, an alias and the number of a version.
"""

import sys

import mlflow

name, alias, version = sys.argv[1:]
mlflow.MlflowClient().set_registered_model_alias(name, alias, version)
print(f"alias {alias} -> version {version}")
