"""A run of fine-tuning: what it learns, what it leaves, and what survives being killed."""

import dataclasses
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from factories import RECIPE, genome, source, tiny_model
from splicebert_vep.errors import CorpusError, SettingsError
from splicebert_vep.genome.gene_build import load_table
from splicebert_vep.genome.reference import Reference
from splicebert_vep.model.checkpoint import load_checkpoint
from splicebert_vep.model.classifier import load_classifier
from splicebert_vep.model.tuned import SpliceSiteModel
from splicebert_vep.train import finetune as module
from splicebert_vep.train.finetune import LabelNucleotides, begin, calibrated, finetune_splice_sites, softmax
from splicebert_vep.train.labels import UNLABELLED, ExonEdges, label_genes
from splicebert_vep.train.loop import RunFolder, read_log
from splicebert_vep.train.recipe import FineTuneRecipe, Stage, scaled

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    return [source(tmp_path_factory.mktemp("genome"), {"1": "+-+-+", "2": "+"})]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return str(tiny_model(tmp_path_factory.mktemp("base")))


def tune(sources, path, base, recipe=RECIPE, **options):
    options = {"hold_out": ["test:2"], "validation_share": 0.3, "base": base, **options}
    return finetune_splice_sites(sources, path, recipe=recipe, **options)


@pytest.fixture(scope="module")
def unbroken(sources, base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    tune(sources, folder, base)
    return folder


def weights(folder):
    return (folder / "model/model.safetensors").read_bytes()


def losses(folder):
    return [float(row["loss"]) for row in read_log(folder / "train.csv")]


def test_a_planted_motif_is_learned_as_a_splice_site(base, tmp_path):
    motif = [source(tmp_path, {"1": "+-" * 10, "2": "+-"})]
    recipe = FineTuneRecipe(
        (Stage(30, 60, 12_000, 1.0),), batch_tokens=500, learning_rate=3e-3, site_weight=1.0, hidden_share=0.0,
        warmup_steps=5, validate_every=24,
    )  # fmt: skip
    said = []
    folder, rows = tune(motif, tmp_path / "run", base, recipe, say=said.append, validation_share=0.1)
    assert [(row["test"], row["label"]) for row in rows] == [("test 2", "acceptor"), ("test 2", "donor")]
    for row in rows:  # by chance 8 of 6,000 nucleotides: .0013
        assert row["nucleotides"] == 6000 and row["sites"] == 8
        assert row["auprc"] > 0.5 and row["top_k"] >= 0.5
        assert row["expected"] == pytest.approx(8, rel=0.5)
    assert json.loads((tmp_path / "run/figures.json").read_text()) == rows
    about = load_classifier(folder).about
    assert (about.task, about.labels, about.window, about.pooled) == (
        "splice-sites", ("neither", "acceptor", "donor"), 60, False,
    )  # fmt: skip
    assert about.base == base and about.base_sha256 == load_checkpoint(Path(base)).weights_sha256
    assert said[2] == "test test 2: 6,000 nt; 0 genes are left out as paralogs"


def test_what_the_figures_need_is_asked_for_before_training(sources, base, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(SettingsError, match="needs sklearn"):
        tune(sources, tmp_path / "run", base)
    assert not (tmp_path / "run").exists()


def test_a_run_leaves_its_log_and_its_best_weights(unbroken):
    steps, validations = read_log(unbroken / "train.csv"), read_log(unbroken / "validation.csv")
    assert [int(row["step"]) for row in steps] == list(range(1, 21))
    assert [int(row["step"]) for row in validations] == [5, 10, 15, 20]
    for row in validations:
        mean = (float(row["auprc_acceptor"]) + float(row["auprc_donor"])) / 2
        assert float(row["auprc"]) == pytest.approx(mean, abs=1e-6)
    assert {row["stage"] for row in steps[:10]} == {"1"} and {row["stage"] for row in steps[10:]} == {"2"}
    best = torch.load(unbroken / "best.pt", weights_only=True)
    kept = load_classifier(unbroken / "model").model.state_dict()
    assert best.keys() == kept.keys()
    assert [name for name in kept if not torch.equal(best[name], kept[name])] == ["classifier.bias"]  # calibrated


def test_the_same_run_gives_the_same_bytes(unbroken, sources, base, tmp_path):
    tune(sources, tmp_path, base)
    assert weights(tmp_path) == weights(unbroken) and losses(tmp_path) == losses(unbroken)


class Killed(Exception):
    pass


@pytest.mark.parametrize("at", [3, 5, 19])
def test_a_run_broken_off_goes_on_as_if_it_had_not_been(unbroken, sources, base, tmp_path, monkeypatch, at):
    plain = LabelNucleotides.loss

    def dying(self, model, step, part, device):
        if step == at:
            raise Killed
        return plain(self, model, step, part, device)

    monkeypatch.setattr(LabelNucleotides, "loss", dying)
    with pytest.raises(Killed):
        tune(sources, tmp_path, base)
    assert not (tmp_path / "model").exists()
    monkeypatch.undo()
    tune(sources, tmp_path, base)
    assert losses(tmp_path) == pytest.approx(losses(unbroken), abs=1e-6)
    assert read_log(tmp_path / "validation.csv") == read_log(unbroken / "validation.csv")
    assert weights(tmp_path) == weights(unbroken)
    assert (tmp_path / "figures.json").read_bytes() == (unbroken / "figures.json").read_bytes()


@pytest.mark.parametrize("where", ["save_best", "save", "load_best"])
def test_killed_between_validation_and_checkpoint(unbroken, sources, base, tmp_path, monkeypatch, where):
    plain, calls = getattr(RunFolder, where), []

    def dying(self, *arguments):
        calls.append(1)
        if len(calls) == (2 if where == "save" else 1):
            raise Killed
        plain(self, *arguments)

    monkeypatch.setattr(RunFolder, where, dying)
    with pytest.raises(Killed):
        tune(sources, tmp_path, base)
    monkeypatch.undo()
    tune(sources, tmp_path, base)
    assert weights(tmp_path) == weights(unbroken)
    assert read_log(tmp_path / "validation.csv") == read_log(unbroken / "validation.csv")


def test_kill_9_and_the_same_command_again(unbroken, sources, base, tmp_path):
    (one,) = sources
    code = (
        "import sys; from pathlib import Path; from test_finetune_run import tune; from tuning import *;"
        f"tune([Source('test', Path({str(one.reference)!r}), {one.annotation!r})], Path(sys.argv[1]), {base!r})"
    )
    path = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})"
    command = [sys.executable, "-c", f"{path}; {code}", str(tmp_path)]
    running = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    log = tmp_path / "train.csv"
    deadline = time.monotonic() + 120
    while not (log.is_file() and len(log.read_text().splitlines()) > 8):
        assert time.monotonic() < deadline and running.poll() in (None, 0)
        if running.poll() == 0:
            break
        time.sleep(0.005)
    running.send_signal(signal.SIGKILL)
    running.wait()
    tune(sources, tmp_path, base)
    assert losses(tmp_path) == pytest.approx(losses(unbroken), abs=1e-4)
    found, wanted = (load_classifier(folder / "model").model.state_dict() for folder in (tmp_path, unbroken))
    assert max(float((found[name] - wanted[name]).abs().max()) for name in wanted) < 1e-3


def test_a_finished_run_asked_again_is_tested_again_and_not_trained(unbroken, sources, base, monkeypatch):
    before, figures = weights(unbroken), (unbroken / "figures.json").read_text()
    (unbroken / "figures.json").unlink()
    monkeypatch.setattr(LabelNucleotides, "loss", None)
    tune(sources, unbroken, base)
    assert weights(unbroken) == before and (unbroken / "figures.json").read_text() == figures


@pytest.mark.parametrize("change", ["recipe", "base", "genome", "held out"])
def test_another_recipe_model_or_genome_in_the_folder_is_refused(unbroken, sources, base, tmp_path, change):
    options = {"recipe": RECIPE, "hold_out": ["test:2"]}
    if change == "recipe":
        options["recipe"] = dataclasses.replace(RECIPE, site_weight=2.0)
    elif change == "base":
        base = "random"
    elif change == "genome":
        sources = [source(tmp_path, {"1": "+-+-+", "2": "+"}, first=1)]
    else:
        options["hold_out"] = []
    if base == "random":
        options["recipe"] = RECIPE
    with pytest.raises(SettingsError, match="another recipe or corpus"):
        tune(sources, unbroken, base, **options)


def test_patience_stops_a_run_and_is_counted_on_after_it_was_broken_off(sources, base, tmp_path, monkeypatch):
    recipe = dataclasses.replace(scaled(RECIPE, 40_000), validate_every=2, patience=3)
    scores = iter([0.1, 0.3, 0.2, 0.3, 0.1, 0.9, 0.9, 0.9])  # the best is the second; a tie is not better
    told = []

    def validate(self, model, device):
        told.append(1)
        return {"auprc": next(scores)}

    monkeypatch.setattr(LabelNucleotides, "validate", validate)
    plain = LabelNucleotides.loss

    def dying(self, model, step, part, device):
        if step == 7 and len(told) == 3:
            raise Killed
        return plain(self, model, step, part, device)

    monkeypatch.setattr(LabelNucleotides, "loss", dying)
    with pytest.raises(Killed):
        tune(sources, tmp_path, base, recipe)
    said = []
    for _ in range(2):  # and a run that is over stays so
        monkeypatch.setattr(LabelNucleotides, "loss", plain if len(told) < 5 else None)
        told.append(1)
        tune(sources, tmp_path, base, recipe, say=said.append)
        assert [row["step"] for row in read_log(tmp_path / "validation.csv")] == ["2", "4", "6", "8", "10"]
        assert any("stopped after 10 of" in line and "3 validations without a better auprc" in line for line in said)


def test_frozen_leaves_the_encoder_bit_for_bit(sources, base, tmp_path):
    folder, _ = tune(sources, tmp_path, base, dataclasses.replace(scaled(RECIPE, 3000), frozen=True))
    before = load_checkpoint(Path(base)).model.state_dict()
    after = load_classifier(folder).model.state_dict()
    assert {name.split(".")[0] for name in after if name not in before} == {"classifier"}
    assert all(torch.equal(before[name], after[name]) for name in after if name in before)
    trained, _ = begin(base, 3, head="linear", seed=1)
    for name, value in trained.state_dict().items():
        assert torch.equal(value, after[name]) == (name in before), name


def test_what_is_not_frozen_is_trained(unbroken, base):
    before = load_checkpoint(Path(base)).model.state_dict()
    after = load_classifier(unbroken / "model").model.state_dict()
    assert not torch.equal(before["layers.0.query.weight"], after["layers.0.query.weight"])


def test_bf16_trains_too(sources, base, tmp_path):
    folder, rows = tune(sources, tmp_path, base, scaled(RECIPE, 3000), half=True)
    assert len(rows) == 2
    assert {weight.dtype for weight in load_classifier(folder).model.state_dict().values()} == {torch.float32}


def test_a_model_of_the_official_layout_can_be_fine_tuned(sources, tmp_path):
    base = tiny_model(tmp_path / "official", trained=None)
    folder, rows = tune(sources, tmp_path / "run", str(base), scaled(RECIPE, 2000))
    assert len(rows) == 2 and load_classifier(folder).about.window == 60


def test_a_window_wider_than_the_model_is_refused(sources, tmp_path):
    for trained in (40, None):
        base = tiny_model(tmp_path / f"base{trained}", longest=40, trained=trained)
        with pytest.raises(SettingsError, match="at most 40") as told:
            tune(sources, tmp_path / "run", str(base))
        assert "60" in told.value.found


@pytest.mark.parametrize("lost", ["donor", "acceptor"])
@pytest.mark.parametrize("which", ["training", "validation"])
def test_a_kind_of_site_that_is_not_there_is_told_before_training(tmp_path, lost, which):
    fasta, gtf = genome(tmp_path, {"1": "+-+-"})
    table, reference = load_table(gtf), Reference(fasta)
    parts = [label_genes(table, reference, rows, 31, ExonEdges(table)) for rows in ([0, 1], [2, 3])]
    one = parts[which == "validation"]
    labels = np.where(one.labels == one.names.index(lost), 0, one.labels).astype(np.uint8)
    parts[which == "validation"] = dataclasses.replace(one, labels=labels)
    with pytest.raises(CorpusError, match=f"There is no {lost}") as told:
        LabelNucleotides(RECIPE, *parts)
    assert which in str(told.value)


def test_what_is_validated_holds_every_kind_of_site(tmp_path):
    fasta, gtf = genome(tmp_path, {"1": "+-+-+-"})
    table, reference = load_table(gtf), Reference(fasta)
    whole = label_genes(table, reference, range(6), 31, ExonEdges(table))
    for row in range(6):
        start, end = int(whole.offsets[row]), int(whole.offsets[row + 1])
        labels = whole.labels.copy()
        donors = labels == 2
        donors[start:end] = False
        labels[donors] = 0  # only one stretch has donors
        found = module._about(dataclasses.replace(whole, labels=labels), 1)
        assert found.count("donor") == 4
        assert end - start == 3062
    assert len(module._about(whole, 1).stretches) == 1
    assert len(module._about(whole, 3001).stretches) == 2
    assert len(module._about(whole, 10**9).stretches) == 6


@pytest.mark.parametrize("apart", [0.0, 2.0, 10.0])
def test_after_calibration_each_label_is_expected_as_often_as_it_is_there(apart):
    rng = np.random.default_rng(4)
    labels = np.where(rng.random(20_000) < 0.01, rng.integers(1, 3, 20_000), 0).astype(np.uint8)
    logits = rng.normal(size=(20_000, 3)) + [0, 2, 3] + apart * (labels[:, None] == np.arange(3))
    labels[:50] = UNLABELLED
    shift = calibrated(logits.astype(np.float32), labels)
    assert shift[0] == 0
    counted = labels != UNLABELLED
    powers = np.exp(logits[counted] + shift)
    expected = (powers / powers.sum(axis=1, keepdims=True)).sum(axis=0)
    assert expected == pytest.approx(np.bincount(labels[counted]), rel=1e-3)
    assert softmax(np.array([[0.0, np.log(3.0)]])) == pytest.approx(np.array([[0.25, 0.75]]))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"stages": ()}, "stages: 0"),
        ({"stages": (Stage(20, 80, 100, 0.5), Stage(60, 60, 100, 0.5))}, "longest window of the last stage: 60"),
        ({"stages": (Stage(60, 50, 100, 0.5),)}, "window: 60..50"),
        ({"batch_tokens": 50}, "batch_tokens by parts: 50 by 1"),
        ({"site_weight": 0.0}, "site_weight: 0"),
        ({"hidden_share": 1.5}, "hidden_share: 1.5"),
        ({"patience": -1}, "patience: -1"),
        ({"learning_rate": float("nan")}, "learning_rate: nan"),
        ({"validate_every": 0}, "validate_every: 0"),
        ({"head": "pooler"}, "head: pooler"),
    ],
)
def test_a_recipe_that_cannot_be_followed_is_refused(change, said):
    assert FineTuneRecipe().window == 510
    with pytest.raises(SettingsError, match=said):
        dataclasses.replace(RECIPE, **change)


def test_the_model_answers_for_windows_and_refuses_longer_ones(unbroken):
    model = SpliceSiteModel.open(unbroken / "model", "cpu")
    assert model.window == 60
    tokens = np.random.default_rng(0).integers(5, 10, (3, 62), dtype=np.uint8)
    tokens[:, 0], tokens[:, -1] = 2, 3
    found = model.probabilities(tokens)
    assert found.shape == (3, 60, 3) and found.sum(axis=2) == pytest.approx(np.ones((3, 60)))
    some = model.probabilities(tokens, np.array([[5, 1], [2, 2], [60, 7]]))
    assert some[2, 0] == pytest.approx(found[2, 59], abs=1e-6) and some[0, 1] == pytest.approx(found[0, 0], abs=1e-6)
    with pytest.raises(SettingsError, match="longer than the model"):
        model.probabilities(np.concatenate([tokens, tokens], axis=1))
