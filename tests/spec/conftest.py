"""The program in this process, with plugins that are really installed, in a folder of their own."""

import sys

import pytest

from splicebert_vep.plugins import PLUGINS_VARIABLE


@pytest.fixture
def run_with(run, monkeypatch):
    """Run the program in ``folder`` with the plugins of ``sites``; returns exit code, stdout and stderr."""
    before, used = set(sys.modules), set()

    def go(*words, folder, sites=(), plugins=""):
        used.update(map(str, sites))
        with monkeypatch.context() as patch:
            patch.chdir(folder)
            patch.setenv(PLUGINS_VARIABLE, plugins)
            for site in sites:
                patch.syspath_prepend(site)
            return run(*words)

    yield go
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(tuple(used)):
            del sys.modules[name]
