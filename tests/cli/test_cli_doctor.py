"""The doctor finds what is broken, says what to do, and never breaks itself."""

import json
import shutil
import sys
from types import SimpleNamespace

import pytest

from factories import EXAMPLES
from splicebert_vep import plugins
from splicebert_vep.cli import main as program
from splicebert_vep.model.backend import TorchBackend
from splicebert_vep_spec import BackendOutput

FASTA = EXAMPLES / "brca1.fa.gz"
GROUPS = ["versions", "device", "model", "genes", "plugins", "disk", "environment"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("SPLICEBERT_VEP_CACHE", str(folder))
    monkeypatch.delenv("SPLICEBERT_VEP_PLUGINS", raising=False)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [])
    return folder


@pytest.fixture
def examine(capfd):
    def go(*arguments):
        """Run with --json; return the exit code and the findings by group and name."""
        code = program._run(["doctor", "--json", *map(str, arguments)])
        out, err = capfd.readouterr()
        answer = json.loads(out)
        assert "Traceback" not in err
        assert answer["ok"] == (code == 0)
        assert all(
            finding["state"] in ("ok", "note", "warn", "FAIL") and finding["found"] for finding in answer["checks"]
        )
        assert all(bool(finding["remedy"]) <= (finding["state"] != "ok") for finding in answer["checks"])
        return code, {(finding["group"], finding["name"]): finding for finding in answer["checks"]}

    return go


def failures(found):
    return [place for place, finding in found.items() if finding["state"] == "FAIL"]


def test_a_sound_installation_passes(examine, cache, capfd):
    code, found = examine()
    assert code == 0
    assert failures(found) == []
    assert list(dict.fromkeys(group for group, _ in found)) == GROUPS
    packages = {name for group, name in found if group == "versions"}
    assert packages >= {
        "python", "splicebert-vep", "splicebert-vep-spec", "torch", "numpy", "pysam", "htslib",
        "pyarrow", "click", "pluggy", "safetensors",
    }  # fmt: skip
    assert found["versions", "htslib"]["found"][0].isdigit()
    assert "thread" in found["device", "cpu"]["found"]
    assert "windows of up to 1024 nt" in found["model", "splicebert-mini"]["found"]
    assert "57a58704" in found["model", "weights"]["found"]
    assert found["model", "quality"]["found"].startswith("Measured:")
    assert "fp32" in found["model", "forward pass"]["found"]
    assert "55,171 genes" in found["genes", "grch38"]["found"]
    assert found["disk", "cache"]["found"] == f"{cache}, made when it is needed"
    assert not cache.exists()
    assert program._run(["doctor"]) == 0
    out = capfd.readouterr().out
    lines = out.splitlines()
    assert [line for line in lines[:-1] if not line.startswith(" ")] == GROUPS
    assert lines[-1].endswith(" with a warning")
    assert sum(line.startswith(("  ok ", "  note ", "  warn ")) for line in lines) == len(found)
    assert "\033" not in out


def test_the_reference_is_opened_and_held_against_the_annotation(examine, cache):
    code, found = examine("-R", FASTA)
    assert code == 0
    assert found["reference", "brca1.fa.gz"]["found"] == "1 contigs, 83,257,441 nt"
    assert found["reference", "index"]["found"].startswith(str(cache / "fasta"))
    assert found["reference", "contigs"]["found"] == "1 of 68 contigs of grch38 are in it"
    assert found["reference", "build"]["state"] == "ok"
    assert "MB used" in found["disk", "cache"]["found"]


def test_an_annotation_of_another_build_fails(examine):
    code, found = examine("-R", FASTA, "-A", "grch37")
    assert code == 1
    assert failures(found) == [("reference", "reference")]
    assert "different genome builds" in found["reference", "reference"]["found"]
    assert "-A grch38" in found["reference", "reference"]["remedy"]


def test_a_reference_of_another_species_fails(examine, tmp_path):
    (tmp_path / "x.fa").write_text(">lambda\n" + "ACGT" * 30 + "\n")
    code, found = examine("-R", tmp_path / "x.fa")
    assert code == 1
    assert failures(found) == [("reference", "contigs")]
    assert "0 of 68 contigs of grch38 are in it; it has lambda" in found["reference", "contigs"]["found"]


@pytest.mark.parametrize(
    ("arguments", "place", "message", "remedy"),
    [
        (
            ["--model", "SpliceBERT.1024nt"],
            ("model", "model"),
            "is not on this machine",
            "models pull SpliceBERT.1024nt",
        ),
        (["--model", "nope"], ("model", "model"), "No model is called 'nope'", "models list"),
        (["-A", "grch99"], ("genes", "genes"), "No gene annotation is called 'grch99'", "-A grch38"),
        (["-R", "absent.fa"], ("reference", "reference"), "cannot be opened", "check -R"),
    ],
)
def test_what_a_run_would_stumble_over_is_found_with_its_remedy(examine, arguments, place, message, remedy):
    code, found = examine(*arguments)
    assert code == 1
    assert failures(found) == [place]
    assert message in found[place]["found"]
    assert remedy in found[place]["remedy"]


def test_a_device_that_is_not_there_fails_once(examine, monkeypatch):
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    code, found = examine("--device", "mps")
    assert code == 1
    assert failures(found) == [("device", "device")]
    assert "Device mps is not available" in found["device", "device"]["found"]
    assert "on cpu" in found["model", "forward pass"]["found"]


def test_a_model_that_fails_or_answers_nonsense_is_found(examine, monkeypatch):
    def fail(self, tokens, positions):
        raise RuntimeError("CUDA error: no kernel image is available")

    monkeypatch.setattr(TorchBackend, "forward", fail)
    code, found = examine()
    assert (code, failures(found)) == (1, [("model", "forward pass")])
    assert "no kernel image" in found["model", "forward pass"]["found"]
    monkeypatch.undo()
    sound = TorchBackend.forward

    def spoil(self, tokens, positions):
        out = sound(self, tokens, positions)
        return BackendOutput(out.logits * float("nan"), out.hidden)

    monkeypatch.setattr(TorchBackend, "forward", spoil)
    code, found = examine()
    assert code == 1
    assert "infinite or NaN outputs on cpu" in found["model", "forward pass"]["found"]


def test_a_broken_plugin_and_a_wrong_allow_list_are_found(examine, monkeypatch):
    def fail():
        raise ImportError("no module named gpu")

    point = SimpleNamespace(name="mine", value="m", dist=SimpleNamespace(name="mine", version="1"), load=fail)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [point])
    code, found = examine()
    assert (code, failures(found)) == (1, [("plugins", "mine")])
    assert "no module named gpu" in found["plugins", "mine"]["found"]
    assert "SPLICEBERT_VEP_PLUGINS=-mine" in found["plugins", "mine"]["remedy"]
    monkeypatch.setenv("SPLICEBERT_VEP_PLUGINS", "-mine")
    code, found = examine()
    assert code == 0
    assert "off by SPLICEBERT_VEP_PLUGINS" in found["plugins", "mine"]["found"]
    monkeypatch.setenv("SPLICEBERT_VEP_PLUGINS", "absent")
    code, found = examine()
    assert (code, failures(found)) == (1, [("plugins", "plugins")])
    assert found["environment", "SPLICEBERT_VEP_PLUGINS"]["found"] == "absent"


def test_a_library_that_cannot_be_imported_is_a_finding(examine, monkeypatch):
    monkeypatch.setitem(sys.modules, "splicebert_vep.model.backend", None)
    code, found = examine()
    assert (code, failures(found)) == (1, [("device", "device"), ("model", "model")])  # a model needs a device
    assert "ModuleNotFoundError" in found["device", "device"]["found"]
    assert "reinstall" in found["device", "device"]["remedy"]


def test_a_cache_that_cannot_be_a_folder_fails(examine, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SPLICEBERT_VEP_CACHE", str(tmp_path / "file" / "cache"))
    code, found = examine()
    assert (code, failures(found)) == (1, [("disk", "cache")])
    assert f"{tmp_path / 'file'} is a file" in found["disk", "cache"]["found"]
    assert "SPLICEBERT_VEP_CACHE" in found["disk", "cache"]["remedy"]


def test_little_room_and_odd_variables_are_warnings(examine, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=5e6))
    monkeypatch.setenv("SPLICEBERT_VEP_CASHE", "/somewhere")
    monkeypatch.setenv("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "1")
    code, found = examine()
    assert code == 0
    warned = {place for place, finding in found.items() if finding["state"] == "warn" and place[0] != "versions"}
    assert warned == {
        ("disk", "free: cache"),
        ("disk", "free: temporary files"),
        ("disk", "free: this folder"),
        ("environment", "SPLICEBERT_VEP_CASHE"),
        ("environment", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"),
    }
    assert found["environment", "SPLICEBERT_VEP_CASHE"]["remedy"] == "did you mean SPLICEBERT_VEP_CACHE?"
    assert "free 1 GB" in found["disk", "free: cache"]["remedy"]
