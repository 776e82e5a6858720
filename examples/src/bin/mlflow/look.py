"""What somebody sees who looks at a model in MLflow. Called with the name of the model."""

import sys
import warnings

import mlflow

# Stages are deprecated in MLflow, and shown.
warnings.simplefilter("ignore")

name = sys.argv[1]
client = mlflow.MlflowClient()
aliases = client.get_registered_model(name).aliases
for found in sorted(client.search_model_versions(f"name='{name}'"), key=lambda found: int(found.version)):
    pointing = ", ".join(sorted(alias for alias, version in aliases.items() if str(version) == str(found.version)))
    ours = {key.split(".", 1)[1]: value for key, value in found.tags.items() if key.startswith("model-registry.")}
    tags = ", ".join(f"{key} {value}" for key, value in sorted(ours.items()) if key not in ("digest", "id"))
    print(f"version {found.version}: stage {found.current_stage}; aliases: {pointing or 'none'}; tags: {tags or 'none'}")
