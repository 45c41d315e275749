"""The commands of fine-tuning: what is printed where, and how bad options end."""

import json

import pytest

from factories import source, tiny_model
from splicebert_vep.model.classifier import load_classifier


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    one = source(folder, {"chr1": "+-+-+-+-+-", "chr2": "+-"})
    base = tiny_model(folder / "base", longest=510, trained=510)  # windows of the command have 62 to 510 nt
    return ["finetune", "splice-sites", "--genome", "test", one.reference, one.annotation, "--model", base,
            "--validation", "0.3", "--tokens", "100", "--device", "cpu"]  # fmt: skip


def test_figures_are_a_table_on_stdout_and_the_rest_on_stderr(words, run, tmp_path):
    hold_out = ["--hold-out", "test:2", "--precision", "bf16", "--threads", "1"]
    code, out, err = run(*words, *hold_out, "-O", tmp_path / "run")
    assert code == 0, err
    head, *rows = [line.split() for line in out.strip().splitlines()]
    assert head == ["held", "out", "label", "nucleotides", "sites", "AUPRC", "top-k", "MCC", "expected"]
    assert [row[:5] for row in rows] == [
        ["test", "chr2", "acceptor", "6,000", "8"], ["test", "chr2", "donor", "6,000", "8"],
    ]  # fmt: skip
    assert (
        "training: " in err and "test test chr2: 6,000 nt" in err and f"the model is in {tmp_path / 'run/model'}" in err
    )
    assert load_classifier(tmp_path / "run/model").about.window == 510
    code, out, err = run(*words, *hold_out, "-O", tmp_path / "run", "--json")
    assert code == 0 and json.loads(out) == json.loads((tmp_path / "run/figures.json").read_text())
    code, out, err = run(*words, *hold_out, "-O", tmp_path / "run", "--seed", "2")
    assert code == 3 and not out and "another recipe or corpus" in err


def test_with_nothing_held_out_nothing_is_on_stdout_and_that_is_said(words, run, tmp_path):
    code, out, err = run(*words, "-O", tmp_path / "run")
    assert code == 0 and out == "" and "nothing is held out that can be tested" in err
    code, out, err = run(*words, "-O", tmp_path / "run", "--json")
    assert code == 0 and json.loads(out) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--hold-out", "test:chr9"], "held out is not there"),
        (["--hold-out", "test"], "There is no gene to train on"),
        (["--model", "no-such-model"], "No model is called"),
        (["--genome", "x", "no.fa", "grch38"], "cannot be opened"),
    ],
)
def test_bad_options_end_in_a_message(words, run, tmp_path, options, said):
    code, out, err = run(*words, *options, "-O", tmp_path / "run")
    assert code == 3 and not out and said in err and "Traceback" not in err


@pytest.mark.parametrize("task", ["splice-sites", "branchpoints", "sequence"])
def test_every_task_has_examples_of_itself(run, task):
    code, out, _ = run("finetune", task, "--help")
    assert code == 0 and f"Examples:\n  splicebert-vep finetune {task} " in out
