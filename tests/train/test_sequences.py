"""Whole sequences: the tables that are read and refused, and learning from them."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from msgspec.structs import replace

from factories import Killed, kill_at, tiny_model
from splicebert_vep.errors import LabelError
from splicebert_vep.model.checkpoint import load_checkpoint
from splicebert_vep.model.classifier import load_classifier
from splicebert_vep.model.tuned import SequenceModel
from splicebert_vep.train.loop import Machine, read_log
from splicebert_vep.train.recipe import SequenceRecipe
from splicebert_vep.train.sequences import AnswerSequences, finetune_sequences, read_sequences

RECIPE = SequenceRecipe(epochs=12, batch=16, learning_rate=3e-3, patience=0)


def write(path, header, rows):
    path.write_text("\n".join("\t".join(map(str, row)) for row in [header, *rows]) + "\n")
    return path


def read(path, longest=60, validation_share=0.2, test_share=0.2):
    return read_sequences(path, longest, validation_share=validation_share, test_share=test_share)


def made(count, seed=0, lengths=(20, 40)):
    """Return sequences, and how many G each has more than A."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        chances = rng.dirichlet([2, 2, 2, 2])
        found.append("".join(rng.choice(list("ACGT"), size=rng.choice(lengths), p=chances)))
    return found, [(text.count("G") - text.count("A")) / len(text) for text in found]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return str(tiny_model(tmp_path_factory.mktemp("base")))


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    """Three classes, one of them rare."""
    texts, surplus = made(300)
    names = ["many A" if value < -0.1 else "many G" if value > 0.3 else "even" for value in surplus]
    return write(tmp_path_factory.mktemp("tsv") / "c.tsv", ["label", "sequence"], zip(names, texts, strict=True))


@pytest.fixture(scope="module")
def tuned(classes, base, tmp_path_factory):
    folder, said = tmp_path_factory.mktemp("run"), []
    made = finetune_sequences(classes, folder, base=base, recipe=RECIPE, machine=Machine(say=said.append))
    return folder, *made, said


def test_classes_are_learned_and_every_test_sequence_predicted(tuned, classes):
    folder, model, rows, said = tuned
    assert [row["label"] for row in rows] == ["even", "many A", "many G"]
    for row, least in zip(rows, (0.7, 0.6, 0.5), strict=True):  # chance is .65, .26 and .10
        assert row["auprc"] > least
    assert rows[0]["mcc"] > 0.1 and rows[1]["mcc"] > 0.1
    assert json.loads((folder / "figures.json").read_text()) == rows
    about = load_classifier(model).about
    assert (about.task, about.labels, about.pooled, about.window) == (
        "sequence", ("even", "many A", "many G"), True, 40,
    )  # fmt: skip
    with (folder / "predictions.tsv").open() as handle:
        predicted = list(csv.DictReader(handle, delimiter="\t"))
    lines = classes.read_text().splitlines()
    assert len(predicted) == rows[0]["sequences"] and said[2].startswith(f"test: {len(predicted)} sequences, ")
    opened = SequenceModel.open(model, "cpu")
    for row in predicted:
        assert lines[int(row["line"]) - 1] == f"{row['label']}\t{row['sequence']}"
        p = [float(row[f"p_{name}"]) for name in about.labels]
        assert sum(p) == pytest.approx(1, abs=1e-5) and row["predicted"] == about.labels[int(np.argmax(p))]
        assert opened.probabilities([row["sequence"]])[0] == pytest.approx(p, abs=1e-5)
    assert {row["label"] for row in predicted} == set(about.labels)


def test_values_are_learned_in_the_unit_of_the_file(base, tmp_path):
    texts, surplus = made(300, seed=3)
    values = [1000 + 50 * value for value in surplus]
    file = write(tmp_path / "v.tsv", ["sequence", "value"], zip(texts, values, strict=True))
    model, rows = finetune_sequences(file, tmp_path / "run", base=base, recipe=RECIPE)
    ((spearman, r2),) = [(row["spearman"], row["r2"]) for row in rows]
    assert spearman > 0.7 and r2 > 0.5
    assert load_classifier(model).about.labels == ("value",)
    found = SequenceModel.open(model, "cpu").values(texts)
    assert abs(found.mean() - np.mean(values)) < 5 and np.corrcoef(found, values)[0, 1] > 0.7
    with (tmp_path / "run/predictions.tsv").open() as handle:
        for row in csv.DictReader(handle, delimiter="\t"):
            at = texts.index(row["sequence"])
            assert float(row["value"]) == values[at] and float(row["predicted"]) == pytest.approx(found[at], abs=0.01)
    log = read_log(tmp_path / "run/train.csv")
    assert {row["accuracy"] for row in log} == {""} and log[-1]["epoch"] == "12"
    assert "spearman" in read_log(tmp_path / "run/validation.csv")[0]


def test_after_the_training_classes_are_expected_as_often_as_they_are(tuned, classes, base):
    _, model, *_ = tuned
    validation = read(classes, validation_share=0.1, test_share=0.1).validation
    expected = SequenceModel.open(model, "cpu").probabilities(validation.texts).sum(axis=0)
    assert expected == pytest.approx([validation.count(number) for number in range(3)], rel=0.01)


def test_rare_classes_weigh_as_much_as_frequent_ones(classes, base):
    split = read(classes)
    learned = AnswerSequences(RECIPE, split.training, split.validation)
    counts = np.array([split.training.count(number) for number in range(3)])
    assert counts.min() < counts.max() / 2
    assert (learned._weights.numpy() * counts) == pytest.approx(np.full(3, len(split.training) / 3))


def test_a_run_broken_off_goes_on_as_if_it_had_not_been(tuned, classes, base, tmp_path, monkeypatch):
    kill_at(40, AnswerSequences, monkeypatch)
    with pytest.raises(Killed):
        finetune_sequences(classes, tmp_path, base=base, recipe=RECIPE)
    monkeypatch.undo()
    finetune_sequences(classes, tmp_path, base=base, recipe=RECIPE)
    for name in ("model/model.safetensors", "figures.json", "predictions.tsv", "validation.csv"):
        assert (tmp_path / name).read_bytes() == (tuned[0] / name).read_bytes(), name


def test_patience_stops_and_frozen_leaves_the_encoder(classes, base, tmp_path):
    recipe = replace(RECIPE, frozen=True, learning_rate=0.0, patience=2)
    said = []
    model, _ = finetune_sequences(classes, tmp_path, base=base, recipe=recipe, machine=Machine(say=said.append))
    assert any("2 validations without a better auprc" in line for line in said)
    assert len(read_log(tmp_path / "validation.csv")) == 3
    before = load_checkpoint(Path(base)).model.state_dict()
    after = load_classifier(model).model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in after if name in before)


def test_equal_sequences_go_together_without_a_column_split(tmp_path):
    texts, _ = made(200, seed=8, lengths=range(20, 41))
    twice = texts + [text.lower() for text in texts]
    split = read(write(tmp_path / "t.tsv", ["sequence", "label"], [(t, "ab"[len(t) % 2]) for t in twice]))
    parts = [{text.upper() for text in part.texts} for part in (split.training, split.validation, split.test)]
    assert sum(map(len, parts)) == len(set(texts)) and split.leaked == 0
    assert 80 < len(parts[0]) < 160 and len(parts[1]) > 15 and len(parts[2]) > 15
    again = read(write(tmp_path / "s.tsv", ["sequence", "label"], [(t, "ab"[len(t) % 2]) for t in texts[:100]]))
    assert set(again.test.texts) == {text for text in texts[:100] if text in parts[2]}


def test_a_column_split_decides_and_what_stands_in_two_parts_is_counted(tmp_path):
    rows = [("ACGT", 1, "train"), ("ACGG", 2, "train"), ("AAAA", 1, "validation"), ("acgt", 2, "validation"),
            ("TTTT", 5, "test")]  # fmt: skip
    split = read(write(tmp_path / "t.tsv", ["sequence", "value", "split"], rows))
    assert (split.training.texts, split.test.texts, split.leaked) == (("ACGT", "ACGG"), ("TTTT",), 1)
    assert split.validation.targets.tolist() == [1, 2] and split.validation.lines == (4, 5)


GOOD = [("ACGT", "a", "train"), ("ACGG", "b", "train"), ("AAAA", "a", "validation"), ("ACCC", "b", "validation")]


@pytest.mark.parametrize(
    ("header", "rows", "said", "line"),
    [
        (["sequence", "label", "split"], [*GOOD, ("ACGX", "a", "train")], "letter 'X' at position 4", 6),
        (["sequence", "label", "split"], [*GOOD, ("ACGU", "a", "train")], "write U as T", 6),
        (["sequence", "label", "split"], [*GOOD, ("", "a", "train")], "an empty sequence", 6),
        (["sequence", "label", "split"], [*GOOD, ("A" * 61, "a", "test")], "61 nt, where the model takes", 6),
        (["sequence", "label", "split"], [*GOOD, ("ACGT", "a", "dev")], "split is not known", 6),
        (["sequence", "label", "split"], [*GOOD, ("ACGT", "", "test")], "label is empty", 6),
        (["sequence", "label", "split"], [*GOOD, ("ACGT", "a")], "not as many cells", 6),
        (["sequence", "label", "split"], [(s, "a", p) for s, _, p in GOOD], "number of classes", None),
        (["sequence", "label", "split"], GOOD[:3], "'validation' lacks", None),
        (["sequence", "label", "split"], GOOD[1:], "'train' lacks", None),
        (["sequence", "label"], [(f"{'ACGT'[n % 4]}{'ACGT'[n // 4]}", str(n)) for n in range(16)] * 8, "lacks a", None),
        (["sequence", "label"], [(f"A{'C' * n}", str(n)) for n in range(1, 103)], "number of classes", None),
        (["sequence", "value", "split"], [("ACGT", "x", "train")], "not a finite number", 2),
        (["sequence", "value", "split"], [("ACGT", "nan", "train")], "not a finite number", 2),
        (["sequence", "value", "split"], [("A", 1, "train"), ("C", 1, "train")], "'train' lacks", None),
        (["sequence", "value", "split"], [("A", 1, "train"), ("C", 2, "train")], "'validation' lacks", None),
        (["seq", "label"], [("ACGT", "a")], "columns are not those", 1),
        (["sequence"], [("ACGT",)], "columns are not those", 1),
        (["sequence", "label", "value"], [("ACGT", "a", 1)], "columns are not those", 1),
        (["sequence", "label", "label"], [("ACGT", "a", "b")], "columns are not those", 1),
        (["sequence", "label"], [], "no sequence", None),
    ],
)
def test_what_cannot_be_learned_from_is_told_with_its_line(tmp_path, header, rows, said, line):
    file = write(tmp_path / "t.tsv", header, rows)
    with pytest.raises(LabelError, match=said) as told:
        read(file)
    assert told.value.where == (f"{file}:{line}" if line else str(file))


@pytest.mark.parametrize("data", [b"", b"\xff\xfe\x00", None])
def test_a_file_that_is_no_table_is_told(tmp_path, data):
    if data is not None:
        (tmp_path / "t.tsv").write_bytes(data)
    with pytest.raises(LabelError, match="cannot be read|columns are not those"):
        read(tmp_path / "t.tsv")


def test_labels_are_written_as_they_are(base, tmp_path):
    texts, surplus = made(120, seed=4)
    names = ['a\\b"c' if value > 0 else "e'f,g h" for value in surplus]
    file = write(tmp_path / "t.tsv", ["sequence", "label"], zip(texts, names, strict=True))
    finetune_sequences(file, tmp_path / "run", base=base, recipe=replace(RECIPE, epochs=1))
    header, *rows = [line.split("\t") for line in (tmp_path / "run/predictions.tsv").read_text().splitlines()]
    assert header == ["line", "sequence", "label", "predicted", 'p_a\\b"c', "p_e'f,g h"]
    for row in rows:
        assert (row[1], row[2]) == (texts[int(row[0]) - 2], names[int(row[0]) - 2])
