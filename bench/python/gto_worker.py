"""GTO, on a git repository: `gto_worker.py <folder>`."""

import os
import subprocess
import sys

import gto

from worker import PAGE, Cannot, serve, timed


class Gto:
    def __init__(self, folder):
        self.folder = folder
        if not os.path.isdir(os.path.join(folder, ".git")):
            os.makedirs(folder, exist_ok=True)
            self._git("init", "--quiet", "--initial-branch=main")
            self._git("config", "user.name", "bench")
            self._git("config", "user.email", "bench@example.com")
            self._git("commit", "--quiet", "--allow-empty", "--message", "begin")
        self.last = {}
        self.production = {}

    def _git(self, *words, **options):
        return subprocess.run(["git", *words], cwd=self.folder, check=True, capture_output=True, **options)

    def open(self, model):
        self.last[model] = 0

    def _register(self, model):
        number = self.last.get(model, 0) + 1
        # An artifact may have one version a commit, so each needs a commit of its own.
        self._git("commit", "--quiet", "--allow-empty", "--message", f"{model} {number}")
        gto.api.register(self.folder, model, "HEAD", version=f"v0.0.{number}")
        self.last[model] = number

    def register(self, model):
        return timed(lambda: self._register(model))

    def register_file(self, model, path):
        raise Cannot("keeps no bytes; they are git's, or DVC's")

    def register_many(self, model, count):
        def work():
            for _ in range(count):
                self._register(model)

        return timed(work)

    def promote(self, model):
        last = self.last[model]
        version = last - 1 if self.production.get(model) == last else last
        self.production[model] = version
        work = lambda: gto.api.assign(
            self.folder, model, "production", version=f"v0.0.{version}", force=True, skip_registration=True
        )
        return timed(work)

    def get(self, model, times):
        def work():
            for _ in range(times):
                assert gto.api.show(self.folder, f"{model}#production")

        return timed(work)

    def list(self, model):
        return timed(lambda: gto.api.show(self.folder, model)[:PAGE])

    def search(self, model):
        raise Cannot("has no search")

    def history(self, model):
        return timed(lambda: gto.api.history(self.folder, model)[-PAGE:])

    def rollback(self, model):
        raise Cannot("no such call; the caller looks up what was there and assigns it")

    def at(self, model, times):
        raise Cannot("no such call; the caller goes through the history")

    def fill(self, model, count):
        if 200 < count:
            raise Cannot("not tried: versions are commits and tags, made one after the other")
        self.open(model)
        for _ in range(count):
            self._register(model)
        self.promote(model)


serve(Gto(sys.argv[1]))
