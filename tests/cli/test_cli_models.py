"""The `models` command."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from factories import FASTA
from splicebert_vep.cli import models as cli
from splicebert_vep.errors import DownloadError, ModelError
from splicebert_vep.model import registry
from splicebert_vep.model.registry import MODELS, resolve_model

BUNDLED = resolve_model("splicebert-mini")
MINI, HUB = "splicebert-mini", "multimolecule/splicebert"


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
        with pytest.raises(ModelError, match="models pull multimolecule/splice"):
            command("verify", by)


def test_command_verify_finds_a_damaged_record(small_hub: str) -> None:
    folder = Path(pull_small("--unverified", mirror=small_hub)[0].strip())
    (folder / "pulled.json").write_text("{}")
    with pytest.raises(ModelError, match="damaged"):
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


def test_the_command_that_the_quality_line_quotes_can_be_run(run) -> None:
    code, _, err = run("score", "chr17-43071077-T-C", "-R", FASTA, "-A", "grch38")
    [words] = re.findall(r"'splicebert-vep (models info [^']*)' has the figures", err)
    code, out, _ = run(*words.split())
    assert code == 0 and "Measured:" in out
