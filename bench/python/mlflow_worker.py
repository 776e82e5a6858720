"""MLflow, in process on SQLite or through its server: `mlflow_worker.py <tracking URI>`."""

import os
import sqlite3
import sys

from mlflow import MlflowClient

from worker import PAGE, Cannot, serve, timed

# Where the bytes of a version without bytes are said to be; nobody looks.
NOWHERE = "s3://nowhere/model"


def bring_to_disk(uri, name):
    """It leaves the bytes to the system; others wait for the disk, so in process it is waited for too."""
    if "mlflow-artifacts:" in uri:
        return
    folder = os.path.join(uri.removeprefix("file://"), "model")
    for place in (os.path.join(folder, name), folder):
        handle = os.open(place, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)


class Mlflow:
    def __init__(self, uri):
        self.uri = uri
        self.client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        self.last = {}
        self.production = {}

    def open(self, model):
        self.client.create_registered_model(model)

    def _register(self, model, source, run=None):
        version = self.client.create_model_version(model, source, run_id=run, tags={"team": "fraud"})
        self.last[model] = int(version.version)

    def register(self, model):
        return timed(lambda: self._register(model, NOWHERE))

    def register_file(self, model, path):
        def work():
            run = self.client.create_run("0")
            self.client.log_artifact(run.info.run_id, path, "model")
            bring_to_disk(run.info.artifact_uri, os.path.basename(path))
            self._register(model, f"{run.info.artifact_uri}/model", run.info.run_id)
            self.client.set_terminated(run.info.run_id)

        return timed(work)

    def register_many(self, model, count):
        def work():
            for _ in range(count):
                self._register(model, NOWHERE)

        return timed(work)

    def promote(self, model):
        # The last version and the one before it take turns.
        last = self.last[model]
        version = last - 1 if self.production.get(model) == last else last
        self.production[model] = version
        return timed(lambda: self.client.set_registered_model_alias(model, "production", str(version)))

    def get(self, model, times):
        def work():
            for _ in range(times):
                found = self.client.get_model_version_by_alias(model, "production")
            assert found.version

        return timed(work)

    def list(self, model):
        return timed(lambda: self.client.search_model_versions(f"name='{model}'", max_results=PAGE))

    def search(self, model):
        return timed(lambda: self.client.search_model_versions("tags.rare='yes'", max_results=PAGE))

    def history(self, model):
        raise Cannot("keeps the present alone: where an alias was before is not on record")

    def rollback(self, model):
        raise Cannot("does not know what was in production before; the caller must")

    def at(self, model, times):
        raise Cannot("does not know what was in production then")

    def fill(self, model, count):
        """Straight into its tables, since one after the other would take a quarter of an hour."""
        self.open(model)
        self._register(model, NOWHERE)
        path = self.uri.removeprefix("sqlite:///")
        if path == self.uri:
            raise Cannot("only in process")
        with sqlite3.connect(path, timeout=60) as database:
            columns = [row[1] for row in database.execute("PRAGMA table_info(model_versions)")]
            first = database.execute("SELECT * FROM model_versions WHERE name = ?", (model,)).fetchone()
            place = columns.index("version")
            rows = ([*first[:place], number, *first[place + 1 :]] for number in range(2, count + 1))
            marks = ",".join("?" * len(columns))
            database.executemany(f"INSERT INTO model_versions VALUES ({marks})", rows)
            columns = [row[1] for row in database.execute("PRAGMA table_info(model_version_tags)")]
            first = database.execute("SELECT * FROM model_version_tags WHERE name = ?", (model,)).fetchone()

            def tags():
                for number in range(2, count + 1):
                    for key, value in (("team", "fraud"), ("rare", "yes")):
                        if key == "team" or number % 100 == 0:
                            row = dict(zip(columns, first)) | {"version": number, "key": key, "value": value}
                            yield [row[column] for column in columns]

            marks = ",".join("?" * len(columns))
            database.executemany(f"INSERT INTO model_version_tags VALUES ({marks})", tags())
        database.close()
        self.last[model] = count
        self.promote(model)


serve(Mlflow(sys.argv[1]))
