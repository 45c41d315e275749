"""Fixtures of several test files."""

import os

import pytest

from splicebert_vep import plugins
from splicebert_vep.cli import main as program
from splicebert_vep.plugins import PLUGINS_VARIABLE

if "PYTEST_XDIST_WORKER" in os.environ:  # two processes with a thread for every core would stand in each other's way
    os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ[PLUGINS_VARIABLE] = "none"  # what this environment has installed is not under test


@pytest.fixture(autouse=True, scope="session")
def session_cache(tmp_path_factory):
    """Keep the user's own cache out of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPLICEBERT_VEP_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def install(monkeypatch):
    """Put plugins in the place of those that are really installed."""

    def put(*points):
        monkeypatch.setattr(plugins, "entry_points", lambda group: points)

    monkeypatch.delenv(PLUGINS_VARIABLE, raising=False)
    return put


@pytest.fixture
def run(capfd):
    """Run the program in this process; returns exit code, stdout and stderr."""

    def go(*arguments):
        code = program._run([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return code, out, err

    return go
