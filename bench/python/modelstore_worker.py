"""modelstore, in a folder: `modelstore_worker.py <folder>`."""

import os
import sys

from modelstore import ModelStore

from worker import PAGE, Cannot, serve, timed


class Modelstore:
    def __init__(self, folder):
        os.makedirs(folder, exist_ok=True)
        self.folder = folder
        self.store = ModelStore.from_file_system(root_directory=folder, create_directory=True)
        self.versions = {}
        self.production = {}

    def open(self, model):
        if "production" not in self.store.list_model_states():
            self.store.create_model_state("production")

    def register(self, model):
        raise Cannot("registers files only")

    def _register(self, model, path):
        found = self.store.upload(model, model=path, extra_metadata={"team": "fraud"})
        self.versions.setdefault(model, []).append(found["model"]["model_id"])

    def register_file(self, model, path):
        return timed(lambda: self._register(model, path))

    def register_many(self, model, count):
        raise Cannot("registers files only")

    def promote(self, model):
        last, before = self.versions[model][-1], self.versions[model][-2]
        version, other = (before, last) if self.production.get(model) == last else (last, before)
        self.production[model] = version

        def work():
            # A state holds any number of models; that one at most is in production is up to the caller.
            if other in self.store.list_models(model, state_name="production"):
                self.store.remove_model_state(model, other, "production")
            self.store.set_model_state(model, version, "production")

        return timed(work)

    def get(self, model, times):
        def work():
            for _ in range(times):
                version = self.store.list_models(model, state_name="production")[0]
                assert self.store.get_model_info(model, version)

        return timed(work)

    def list(self, model):
        return timed(lambda: self.store.list_models(model)[:PAGE])

    def search(self, model):
        raise Cannot("has no search")

    def history(self, model):
        raise Cannot("keeps no history of states")

    def rollback(self, model):
        raise Cannot("does not know what was in production before; the caller must")

    def at(self, model, times):
        raise Cannot("does not know what was in production then")

    def fill(self, model, count):
        if 200 < count:
            raise Cannot("not tried: versions are files, written one after the other")
        path = os.path.join(self.folder, "weights")
        with open(path, "wb") as file:
            file.write(b"x" * 1024)
        self.open(model)
        for _ in range(count):
            self._register(model, path)
        self.promote(model)


serve(Modelstore(sys.argv[1]))
