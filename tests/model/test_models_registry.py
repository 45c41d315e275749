"""Models by name: what is known of them, where they lie, and the `models` command."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from splicebert_vep.cli import models as cli
from splicebert_vep.errors import DownloadError, ModelError
from splicebert_vep.model import registry
from splicebert_vep.model.checkpoint import load_checkpoint
from splicebert_vep.model.registry import MODELS, resolve_model

BUNDLED = resolve_model("splicebert-mini")
MINI, OFFICIAL, HUB = "splicebert-mini", "SpliceBERT.1024nt", "multimolecule/splicebert"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPLICEBERT_VEP_CACHE", str(tmp_path))
    return tmp_path / "models"


@pytest.fixture
def small_hub(cache: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give a downloadable model the bundled one's sizes, and return a mirror that has it."""
    models = {**MODELS, HUB: dataclasses.replace(MODELS[HUB], expected=MODELS[MINI].expected)}
    monkeypatch.setattr(registry, "MODELS", models)
    monkeypatch.setattr(cli, "MODELS", models)
    return BUNDLED.as_uri()


def test_resolve(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_model(str(tmp_path)) == resolve_model(tmp_path) == tmp_path
    with pytest.raises(ModelError, match=r"not on this machine(.|\n)*splicebert-vep models pull SpliceBERT.1024nt"):
        resolve_model(OFFICIAL)
    with pytest.raises(ModelError, match=r"No model is called '/no/such'(.|\n)*splicebert-mini, SpliceBERT.1024nt"):
        resolve_model("/no/such")
    with pytest.raises(ModelError, match="No model is called"):
        resolve_model(Path(OFFICIAL))
    # A folder of the working directory does not hide a model of the same name, unless it is asked for as a path.
    monkeypatch.chdir(tmp_path)
    (tmp_path / "splicebert-mini").mkdir()
    assert resolve_model("splicebert-mini") == BUNDLED
    assert resolve_model("./splicebert-mini") == resolve_model(Path("splicebert-mini")) == Path("splicebert-mini")


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({"SPLICEBERT_VEP_CACHE": "/own", "XDG_CACHE_HOME": "/xdg"}, "/own/models"),
        ({"XDG_CACHE_HOME": "/xdg"}, "/xdg/splicebert-vep/models"),
        ({"XDG_CACHE_HOME": "relative"}, "/home/me/.cache/splicebert-vep/models"),
        ({}, "/home/me/.cache/splicebert-vep/models"),
    ],
    ids=["own", "XDG", "XDG relative", "home"],
)
def test_cache_dir(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], wanted: str) -> None:
    for name in ("SPLICEBERT_VEP_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {**variables, "HOME": "/home/me"}.items():
        monkeypatch.setenv(name, value)
    assert registry.cache_dir() == Path(wanted)


def test_registry_facts() -> None:
    model = MODELS[OFFICIAL]
    assert (model.size, model.sha256) == (
        78_883_755,
        "2ad91428c318e6c49233154073ca7a35f5f7899c9f4be3444775bae3dba0149d",
    )
    mini = MODELS["splicebert-mini"]
    registry.check_known(load_checkpoint(BUNDLED), mini)
    with pytest.raises(ModelError, match="num_attention_heads differs|hidden_size differs"):
        registry.check_known(load_checkpoint(BUNDLED), model)


def command(*arguments: str) -> tuple[str, str]:
    """Run `models ...` and return what it wrote on stdout and stderr; errors of ours pass through."""
    result = CliRunner().invoke(cli.models, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout, result.stderr


def pull_small(*options: str, mirror: str) -> tuple[str, str]:
    return command("pull", HUB, "--url", mirror, *options)


def test_command_list(small_hub: str) -> None:
    pull_small("--unverified", mirror=small_hub)
    rows = json.loads(command("list", "--json")[0])
    wanted = {**dict.fromkeys(MODELS, "no"), MINI: "bundled", HUB: "pulled"}
    assert {row["name"]: row["here"] for row in rows} == wanted
    table = command("list")[0].splitlines()
    assert table[0].split()[:4] == ["NAME", "HERE", "MB", "LICENCE"]
    assert [line.split()[0] for line in table[1:]] == list(MODELS)


def test_command_pull(small_hub: str, cache: Path) -> None:
    out, err = pull_small("--sha256", str(MODELS[MINI].sha256), mirror=small_hub)
    assert out == f"{cache / 'multimolecule--splicebert'}\n"
    assert re.search(r"model.safetensors: 5\.4 of 5\.4 MB", err)
    assert "AGPL-3.0" in err
    assert "warning" not in err


def test_command_pull_without_a_checksum(small_hub: str) -> None:
    with pytest.raises(DownloadError, match="--unverified"):
        pull_small(mirror=small_hub)
    assert f"warning: {HUB} was taken without a checksum" in pull_small("--unverified", mirror=small_hub)[1]


def test_command_verify(small_hub: str) -> None:
    answer = json.loads(command("verify", MINI, "--json")[0])
    assert (answer["ok"], answer["verified"], answer["checksum_from"]) == (True, True, ["registry"])
    pull_small("--unverified", mirror=small_hub)
    answer = json.loads(command("verify", HUB, "--json")[0])
    assert (answer["ok"], answer["verified"], answer["checksum_from"]) == (True, False, [])
    pull_small("--sha256", str(MODELS[MINI].sha256), mirror=small_hub)
    answer = json.loads(command("verify", HUB, "--json")[0])
    assert (answer["ok"], answer["verified"], answer["checksum_from"]) == (True, True, ["pull"])


def test_command_verify_finds_weights_that_changed(small_hub: str) -> None:
    folder = Path(pull_small("--unverified", mirror=small_hub)[0].strip())
    weights = folder / "model.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[len(raw) // 2] ^= 1  # still loads: one bit of one number
    weights.write_bytes(raw)
    for by in (HUB, str(folder)):
        with pytest.raises(ModelError, match=r"changed since they were pulled(.|\n)*models pull multimolecule/splice"):
            command("verify", by)


def test_command_verify_finds_a_damaged_record(small_hub: str) -> None:
    folder = Path(pull_small("--unverified", mirror=small_hub)[0].strip())
    (folder / "pulled.json").write_text("{}")
    with pytest.raises(ModelError, match="record of the download is damaged"):
        command("verify", str(folder))


def test_command_info() -> None:
    out, err = command("info", "splicebert-mini", "--json")
    answer = json.loads(out)
    assert err == ""
    assert (answer["parameters"], answer["layers"], answer["hidden"], answer["heads"]) == (1_339_530, 6, 128, 8)
    assert (answer["max_window"], answer["fixed_window"]) == (1024, None)
    assert answer["sha256"] == MODELS["splicebert-mini"].sha256
    assert "Measured:" in answer["quality"]
    assert "\n" not in answer["quality"]


def test_a_copy_of_a_known_model_is_recognised(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("config.json", "model.safetensors"):
        (copy / name).write_bytes((BUNDLED / name).read_bytes())
    answer = json.loads(command("info", str(copy), "--json")[0])
    assert (answer["licence"], answer["quality"]) == (MODELS[MINI].licence, None)


def test_listing_models_does_not_wait_for_torch() -> None:
    code = "import sys, splicebert_vep.cli.models; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
