"""The doctor finds defects, says what to do, and never breaks itself."""

import json
import shutil
import sys
from types import SimpleNamespace

import pytest

from factories import EXAMPLES, Point
from splicebert_vep.model.backend import TorchBackend
from splicebert_vep_spec import BackendOutput

FASTA = EXAMPLES / "brca1.fa.gz"
GROUPS = ["versions", "device", "model", "genes", "plugins", "disk", "environment"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch, install):
    install()
    monkeypatch.setenv("SPLICEBERT_VEP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def examine(run):
    def go(*arguments):
        """Run with --json; return the exit code, the findings by group and name, and the places that fail."""
        code, out, err = run("doctor", "--json", *arguments)
        answer = json.loads(out)
        assert "Traceback" not in err
        assert answer["ok"] == (code == 0)
        for finding in answer["checks"]:
            assert finding["state"] in ("ok", "note", "warn", "FAIL") and finding["found"]
            assert finding["state"] != "ok" or not finding["remedy"]
        found = {(finding["group"], finding["name"]): finding for finding in answer["checks"]}
        return code, found, [place for place, finding in found.items() if finding["state"] == "FAIL"]

    return go


def test_a_sound_installation_passes(examine, cache, run):
    code, found, failed = examine()
    assert (code, failed) == (0, [])
    assert list(dict.fromkeys(group for group, _ in found)) == GROUPS
    assert {"python", "splicebert-vep", "splicebert-vep-spec", "torch", "pysam", "htslib"} <= {
        name for group, name in found if group == "versions"
    }
    for place, word in {
        ("device", "cpu"): "thread",
        ("model", "splicebert-mini"): "1024 nt",
        ("model", "weights"): "57a58704",
        ("model", "quality"): "Measured:",
        ("model", "forward pass"): "fp32",
        ("genes", "grch38"): "55,171 genes",
        ("disk", "cache"): str(cache),
    }.items():
        assert word in found[place]["found"], place
    assert not cache.exists()
    code, out, _ = run("doctor")
    lines = out.splitlines()
    assert code == 0 and [line for line in lines[:-1] if not line.startswith(" ")] == GROUPS
    assert sum(line.startswith(("  ok ", "  note ", "  warn ")) for line in lines) == len(found)
    assert "\033" not in out


def test_the_reference_is_opened_and_compared_with_the_annotation(examine, cache):
    code, found, _ = examine("-R", FASTA)
    assert code == 0
    assert found["reference", "brca1.fa.gz"]["found"] == "1 contigs, 83,257,441 nt"
    assert found["reference", "index"]["found"].startswith(str(cache / "fasta"))
    assert found["reference", "contigs"]["found"].startswith("1 of 68 contigs")
    assert found["reference", "build"]["state"] == "ok"
    assert "MB used" in found["disk", "cache"]["found"]


def test_a_reference_of_another_species_fails(examine, tmp_path):
    (tmp_path / "x.fa").write_text(">lambda\n" + "ACGT" * 30 + "\n")
    code, found, failed = examine("-R", tmp_path / "x.fa")
    assert (code, failed) == (1, [("reference", "contigs")])
    assert "it has lambda" in found["reference", "contigs"]["found"]


@pytest.mark.parametrize(
    ("arguments", "place", "remedy"),
    [
        (["--model", "SpliceBERT.1024nt"], ("model", "model"), "models pull SpliceBERT.1024nt"),
        (["--model", "nope"], ("model", "model"), "spelling"),
        (["-A", "grch99"], ("genes", "genes"), "-A grch38"),
        (["-R", "absent.fa"], ("reference", "reference"), "-R"),
        (["-R", FASTA, "-A", "grch37"], ("reference", "reference"), "-A grch38"),  # of another build
    ],
)
def test_a_run_s_obstacles_are_found_with_their_remedy(examine, arguments, place, remedy):
    code, found, failed = examine(*arguments)
    assert (code, failed) == (1, [place])
    assert remedy in found[place]["remedy"]


def test_a_device_that_is_not_there_fails_once(examine, monkeypatch):
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    code, found, failed = examine("--device", "mps")
    assert (code, failed) == (1, [("device", "device")])
    assert "on cpu" in found["model", "forward pass"]["found"]


def fail(self, tokens, positions):
    raise RuntimeError("CUDA error: no kernel image is available")


def spoil(self, tokens, positions, sound=TorchBackend.forward):
    out = sound(self, tokens, positions)
    return BackendOutput(out.logits * float("nan"), out.hidden)


@pytest.mark.parametrize(("forward", "word"), [(fail, "no kernel image"), (spoil, "NaN")])
def test_a_model_that_fails_or_answers_nonsense_is_found(examine, monkeypatch, forward, word):
    monkeypatch.setattr(TorchBackend, "forward", forward)
    code, found, failed = examine()
    assert (code, failed) == (1, [("model", "forward pass")])
    assert word in found["model", "forward pass"]["found"]


def test_a_broken_plugin_and_a_wrong_allow_list_are_found(examine, install, monkeypatch):
    install(Point("mine", ImportError("no module named gpu")))
    code, found, failed = examine()
    assert (code, failed) == (1, [("plugins", "mine")])
    assert "no module named gpu" in found["plugins", "mine"]["found"]
    assert "SPLICEBERT_VEP_PLUGINS=-mine" in found["plugins", "mine"]["remedy"]
    monkeypatch.setenv("SPLICEBERT_VEP_PLUGINS", "-mine")
    code, found, _ = examine()
    assert code == 0 and "off by SPLICEBERT_VEP_PLUGINS" in found["plugins", "mine"]["found"]
    monkeypatch.setenv("SPLICEBERT_VEP_PLUGINS", "absent")
    code, found, failed = examine()
    assert (code, failed) == (1, [("plugins", "plugins")])
    assert found["environment", "SPLICEBERT_VEP_PLUGINS"]["found"] == "absent"


def test_a_library_that_cannot_be_imported_is_a_finding(examine, monkeypatch):
    monkeypatch.setitem(sys.modules, "splicebert_vep.model.backend", None)
    code, found, failed = examine()
    assert (code, failed) == (1, [("device", "device"), ("model", "model")])  # a model needs a device
    assert "ModuleNotFoundError" in found["device", "device"]["found"]
    assert "reinstall" in found["device", "device"]["remedy"]


def test_a_cache_that_cannot_be_a_folder_fails(examine, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SPLICEBERT_VEP_CACHE", str(tmp_path / "file" / "cache"))
    code, found, failed = examine()
    assert (code, failed) == (1, [("disk", "cache")])
    assert "SPLICEBERT_VEP_CACHE" in found["disk", "cache"]["remedy"]


def test_little_room_and_odd_variables_are_warnings(examine, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=5e6))
    monkeypatch.setenv("SPLICEBERT_VEP_CASHE", "/somewhere")
    monkeypatch.setenv("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "1")
    code, found, _ = examine()
    assert code == 0
    warned = {place for place, finding in found.items() if finding["state"] == "warn" and place[0] != "versions"}
    assert warned == {
        ("disk", "free: cache"),
        ("disk", "free: temporary files"),
        ("disk", "free: this folder"),
        ("environment", "SPLICEBERT_VEP_CASHE"),
        ("environment", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"),
    }
    assert "SPLICEBERT_VEP_CACHE?" in found["environment", "SPLICEBERT_VEP_CASHE"]["remedy"]
