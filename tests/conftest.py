"""Fixtures of several test files."""

import os
from importlib import import_module
from importlib.util import find_spec

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
def cispliceai(monkeypatch, install):
    """Have CI-SpliceAI's plugin alone: the installed one, as CI has it, else that of this repository."""
    from factories import ROOT, Point

    if find_spec("splicebert_vep_cispliceai") is None:
        monkeypatch.syspath_prepend(str(ROOT / "plugin_spec" / "cispliceai"))
    install(Point("cispliceai", import_module("splicebert_vep_cispliceai")))


@pytest.fixture
def run(capfd):
    """Run the program in this process; returns exit code, stdout and stderr."""

    def go(*arguments):
        code = program._run([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return code, out, err

    return go


@pytest.fixture(scope="session")
def table_path(session_cache, tmp_path_factory):
    """A calibration table of the null backend, of ``PER_CLASS`` SNVs a class and seed 4."""
    from factories import PER_CLASS, null_annotator  # torch reads OMP_NUM_THREADS when it is imported
    from splicebert_vep.scoring.percentiles import REGION_CLASSES
    from splicebert_vep.tools.calibrate import calibrate_into

    path = tmp_path_factory.mktemp("table") / "null.calibration.json.gz"
    with null_annotator() as annotator:
        counts = calibrate_into(path, annotator, per_class=PER_CLASS, seed=4)
    assert counts == dict.fromkeys(REGION_CLASSES, PER_CLASS)
    return path
