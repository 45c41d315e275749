"""The benchmark of a lent GPU keeps what it has measured and trained, whenever its time is up."""

import json
import math
from pathlib import Path

import click
import numpy as np
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


def test_delta_scores_are_measured_near_and_far(gpu, corpus, tmp_path):
    lines = [line for line in run(gpu, corpus, tmp_path, "--part", "splice") if line["part"] == "splice"]
    assert [line.get("snvs") for line in lines[:2]] == ["scattered", "neighbours"]
    assert all(line["alleles_per_s"] > 0 for line in lines[:2])
    assert lines[2]["compared"] == 2 and lines[2]["largest_difference"] == 0  # of the CPU from itself


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


def test_alleles_of_n_samples_are_the_mean_over_all_choices(tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        import cost
    vcf = tmp_path / "three.vcf"
    body = ["1\t1\t.\tA\tC,G\t.\t.\t.\tGT:DP\t0|1:3\t2/2:3\t./.:0", "1\t2\t.\tA\tC\t.\t.\t.\tGT\t1|1\t0/1\t1"]
    head = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tx\ty\tz"
    vcf.write_text("\n".join(["##fileformat=VCFv4.2", head, *body]) + "\n")
    assert cost.carriers(vcf) == ([1, 1, 3], 3)
    # x has two of the alleles, y two and z one; x and y have three together, x and z two, y and z two.
    expected = [5 / 3, 7 / 3, 3]
    found = [cost.distinct(np.array([1, 1, 3]), 3, n) for n in (1, 2, 3)]
    assert found == pytest.approx(expected)


def test_known_alleles_cost_the_host_only():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        import cost
    rates = {
        "delta_own": 0.2,
        "zero_shot_own": 0.05,
        "delta_scattered": 0.4,
        "zero_shot_scattered": 0.05,
        "host": 0.001,
    }
    work = cost.Work("genome", 8000, 400, 8000, ("own", "scattered"))
    cells = cost.row(work, ["delta", "zero_shot"], rates)
    # 8,000 x .25 s + 8 s of the host; 400 x .45 s + 8 s; on 2 cores and on 16
    assert cells == ["genome", "8,000", "400", "17 min", "94 s", "2.1 min", "12 s", "not measured; host 8.0 s"]


@pytest.mark.parametrize("damage", [lambda piece: piece.unlink(), lambda piece: piece.write_bytes(b"x" * 10)])
def test_a_missing_or_damaged_piece_is_told(gpu, damage, tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "PIECE", 1000)
    content = {"values": torch.arange(2000)}
    assert gpu.split("weights", content, tmp_path) > 10  # 16,000 bytes: numbers of two digits are put in order
    assert torch.equal(gpu.joined("weights", tmp_path)["values"], content["values"])
    damage(next(tmp_path.glob("weights.*.7-of-*")))
    with pytest.raises(click.ClickException, match="every piece"):
        gpu.joined("weights", tmp_path)
