"""The benchmark of a lent GPU keeps what it has measured and trained, whenever its time is up."""

import json
import math
from pathlib import Path

import click
import pytest
import torch
from click.testing import CliRunner

from factories import write_genome
from splicebert_vep.model.checkpoint import load_checkpoint
from splicebert_vep.train.corpus import Source, build_corpus
from splicebert_vep.train.loop import read_log

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def gpu():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        import gpu

        yield gpu


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    fasta, gtf = write_genome(folder, "+-" * 10)
    build_corpus([Source("test", fasta, str(gtf))], 0.3).save(folder / "tiny.corpus")
    return folder / "tiny.corpus"


def run(gpu, corpus, out, *options):
    words = ["run", corpus, "--out", out, "--device", "cpu", "--small", "--threads", "1", *options]
    found = CliRunner().invoke(gpu.main, list(map(str, words)))
    lines = [json.loads(line) for line in (out / gpu.RESULTS).read_text().splitlines()]
    assert found.exit_code == 0, lines
    return lines


def test_scores_are_measured_by_precision(gpu, corpus, tmp_path):
    lines = run(gpu, corpus, tmp_path, "--part", "zero-shot")
    rows = {(line["model"], line["precision"]): line for line in lines if "spearman" in line}
    assert list(rows) == [(model, precision) for model in ("small", "mini") for precision in ("fp32", "bf16")]
    assert rows["mini", "fp32"]["spearman"] == dict.fromkeys(gpu.SCORES, 1)
    assert all(0.7 < rank <= 1 for rank in rows["mini", "bf16"]["spearman"].values())
    assert all(row["share_of_peak"] > 0 and row["gpu_busy"] is None for row in rows.values())
    host = next(line for line in lines if line["part"] == "host")
    assert host["alleles_per_s"] > rows["mini", "fp32"]["alleles_per_s"]


def test_a_training_that_time_cuts_goes_on_from_its_pieces(gpu, corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "PIECE", 20_000)
    clock, plain = iter(range(10_000)), gpu.time.monotonic
    monkeypatch.setattr(gpu.time, "monotonic", lambda: float(next(clock)))  # a second at every look
    first, second = tmp_path / "first", tmp_path / "second"
    cut = run(gpu, corpus, first, "--part", "train", "--budget", "60")
    trained = next(line for line in cut if "done" in line)
    assert not trained["done"] and trained["step"] % gpu.SMALL.recipe.save_every == 0 and trained["pieces"] > 2
    monkeypatch.setattr(gpu.time, "monotonic", plain)
    on = run(gpu, corpus, second, "--part", "train", "--resume", first)
    steps = sum(round(stage.tokens / gpu.SMALL.recipe.batch_tokens) for stage in gpu.SMALL.recipe.stages)
    assert next(line for line in on if "done" in line).items() >= {"done": True, "step": steps}.items()
    gpu.unpack(second, tmp_path / "run")
    assert [int(row["step"]) for row in read_log(tmp_path / "run" / "train.csv")] == list(range(1, steps + 1))
    assert load_checkpoint(tmp_path / "run" / "model").config.hidden_size == gpu.SMALL.recipe.hidden_size


def test_pieces_hold_weights_in_fp16_and_moments_in_bf16(gpu, corpus, tmp_path):
    folder, out = tmp_path / "run", tmp_path / "out"
    out.mkdir()
    gpu.train(gpu.Corpus.load(corpus), folder, out, gpu.SMALL, math.inf, "cpu", True, lambda *_, **__: None)
    gpu.unpack(out, tmp_path / "back")
    before, after = (torch.load(path / "checkpoint.pt") for path in (folder, tmp_path / "back"))
    for name, weight in before["model"].items():
        torch.testing.assert_close(after["model"][name], weight, rtol=2**-11, atol=1e-7)
    for number, state in before["optimiser"]["state"].items():
        for name, value in state.items():
            torch.testing.assert_close(after["optimiser"]["state"][number][name], value, rtol=2**-8, atol=0)
    assert after["optimiser"]["param_groups"] == before["optimiser"]["param_groups"]
    for piece in out.glob(f"{gpu.OPTIMISER}.*"):
        piece.unlink()
    gpu.unpack(out, tmp_path / "weights")  # moments are missing as a whole: they begin anew
    assert not torch.load(tmp_path / "weights" / "checkpoint.pt")["optimiser"]["state"]


@pytest.mark.parametrize("damage", [lambda piece: piece.unlink(), lambda piece: piece.write_bytes(b"x" * 10)])
def test_a_missing_or_damaged_piece_is_told(gpu, damage, tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "PIECE", 1000)
    content = {"values": torch.arange(2000)}
    assert gpu.split("weights", content, tmp_path) > 10  # 16,000 bytes: numbers of two digits are put in order
    assert torch.equal(gpu.joined("weights", tmp_path)["values"], content["values"])
    damage(next(tmp_path.glob("weights.*.7-of-*")))
    with pytest.raises(click.ClickException, match="every piece"):
        gpu.joined("weights", tmp_path)
