"""Fine-tuning on nucleotides: reading of windows, a run that learns, and a run that was killed."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from msgspec.structs import replace

from factories import GENE, RECIPE, Killed, genome, source, tiny_model
from splicebert_vep.errors import CorpusError, SettingsError
from splicebert_vep.genome.gene_build import load_table
from splicebert_vep.genome.reference import Reference
from splicebert_vep.model.checkpoint import load_checkpoint
from splicebert_vep.model.classifier import load_classifier
from splicebert_vep.model.tuned import BranchpointModel
from splicebert_vep.train.finetune import (
    LabelNucleotides,
    answers,
    begin,
    calibrated,
    finetune_branchpoints,
    finetune_splice_sites,
    hide_stretches,
    label_windows,
    softmax,
    some_stretches,
)
from splicebert_vep.train.labels import UNLABELLED, exon_edges, label_genes
from splicebert_vep.train.loop import Machine, RunFolder, read_log
from splicebert_vep.train.recipe import FineTuneRecipe, Stage, scaled
from splicebert_vep_spec import MASK, T


def labelled_genes(folder, contigs, rows, margin):
    fasta, gtf = genome(folder, contigs)
    table = load_table(gtf)
    return label_genes(table, Reference(fasta), rows, margin, exon_edges(table))


class Echo:
    """A model that answers with the token it reads, the window's place in the call, and the token index asked for."""

    def __init__(self):
        self.windows = []

    def __call__(self, tokens, positions):
        self.windows.append((tokens, positions))
        return np.take_along_axis(tokens.astype(np.float32), positions, axis=1)[..., None]


@pytest.mark.parametrize(("width", "batch"), [(60, 16), (61, 3), (2, 5), (1, 7), (200, 1)])
def test_every_nucleotide_is_read_once_from_the_middle_of_its_window(tmp_path, width, batch):
    margin = width // 2 + 1
    labelled = labelled_genes(tmp_path, {"1": "+-", "2": "-"}, range(3), margin)
    model, told = Echo(), []
    found, labels = answers(model, labelled, width=width, batch=batch, progress=lambda *done: told.append(done))
    inside = [np.arange(a + margin, b - margin) for a, b in zip(labelled.offsets, labelled.offsets[1:], strict=False)]
    at = np.concatenate(inside)
    assert found[:, 0].tolist() == labelled.bases[at].tolist()
    assert labels.tolist() == labelled.labels[at].tolist()
    assert told[-1] == (3 * GENE, 3 * GENE)
    for tokens, positions in model.windows:
        assert tokens.shape[1] == width + 2 and len(tokens) <= batch
        assert positions.min() >= 1 and positions.max() <= width
        first = positions.min(axis=1)
        if width > 2:  # a block of W / 2 in the middle: at least W / 4 on either side
            assert first.min() >= width // 4 + 1 and positions.max() <= width - width // 4 + 1


def test_windows_are_pieces_of_stretches_with_their_labels(tmp_path):
    labelled = labelled_genes(tmp_path, {"1": "+-+"}, range(3), 31)
    windows = label_windows(labelled, 60)
    rng = np.random.default_rng(0)
    at = windows.draw(rng, 400, 60, 0.5)
    bases, labels = labelled.bases[at], labelled.labels[at]
    whole = [(labelled.take([row]).bases, labelled.take([row]).labels) for row in range(3)]
    found = 0
    for window, label in zip(bases, labels, strict=True):
        for stretch, truth in whole:
            views = np.lib.stride_tricks.sliding_window_view(stretch, 60)
            for start in np.flatnonzero((views == window).all(axis=1)):
                found += (truth[start : start + 60] == label).all()
    assert found == 400
    near = labelled.labels[windows.draw(rng, 300, 30, 1.0)]
    sites = (near > 0) & (near != UNLABELLED)
    assert sites.any(axis=1).all()
    places = np.flatnonzero(sites.any(axis=0))
    assert places.tolist() == list(range(30))  # a site at any place


def test_hidden_stretches_are_masked_and_have_no_label():
    bases = np.full((500, 60), 7, dtype=np.uint8)
    labels = np.ones((500, 60), dtype=np.uint8)
    shown, targets = hide_stretches(np.random.default_rng(3), bases, labels, 0.4)
    hidden = shown == MASK
    assert ((targets == UNLABELLED) == hidden).all() and (shown[~hidden] == 7).all() and (targets[~hidden] == 1).all()
    lengths = hidden.sum(axis=1)
    assert 0.3 < (lengths > 0).mean() < 0.5
    for row in hidden[lengths > 0]:
        at = np.flatnonzero(row)
        assert at[-1] - at[0] + 1 == len(at) <= 30 and (len(at) >= 15 or at[-1] == 59)
    untouched = hide_stretches(np.random.default_rng(3), bases, labels, 0.0)
    assert (untouched[0] == bases).all() and (untouched[1] == labels).all()


def test_without_a_site_there_is_nothing_to_learn(tmp_path):
    labelled = labelled_genes(tmp_path, {"1": "+"}, [0], 31)
    with pytest.raises(CorpusError, match="no site"):
        label_windows(dataclasses.replace(labelled, labels=np.zeros_like(labelled.labels)), 60)


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


def test_a_planted_motif_is_learned_as_a_splice_site(base, tmp_path):
    motif = [source(tmp_path, {"1": "+-" * 10, "2": "+-"})]
    recipe = FineTuneRecipe(
        (Stage(30, 60, 12_000, 1.0),), batch_tokens=500, learning_rate=3e-3, site_weight=1.0, hidden_share=0.0,
        warmup_steps=5, validate_every=24,
    )  # fmt: skip
    said = []
    folder, rows = tune(motif, tmp_path / "run", base, recipe, machine=Machine(say=said.append), validation_share=0.1)
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


def test_a_seed_stands_for_the_same_windows_and_weights_in_every_version(unbroken):
    first, last = read_log(unbroken / "train.csv")[0], read_log(unbroken / "train.csv")[-1]
    assert (first["tokens"], first["window"], last["tokens"], last["window"]) == ("494", "24", "9779", "60")
    assert float(first["loss"]) == pytest.approx(1.175855, abs=1e-4)
    assert float(last["loss"]) == pytest.approx(0.201603, abs=0.01)


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


def test_a_finished_run_asked_again_is_tested_again_and_not_trained(unbroken, sources, base, monkeypatch):
    before, figures = weights(unbroken), (unbroken / "figures.json").read_text()
    (unbroken / "figures.json").unlink()
    monkeypatch.setattr(LabelNucleotides, "loss", None)
    tune(sources, unbroken, base)
    assert weights(unbroken) == before and (unbroken / "figures.json").read_text() == figures


@pytest.mark.parametrize("change", ["recipe", "base", "genome", "held out"])
def test_another_recipe_model_or_genome_in_the_folder_is_refused(unbroken, sources, base, tmp_path, change):
    recipe = replace(RECIPE, site_weight=2.0) if change == "recipe" else RECIPE
    base = "random" if change == "base" else base
    sources = [source(tmp_path, {"1": "+-+-+", "2": "+"}, first=1)] if change == "genome" else sources
    with pytest.raises(SettingsError, match="another recipe"):
        tune(sources, unbroken, base, recipe, hold_out=[] if change == "held out" else ["test:2"])


def test_patience_stops_a_run_and_is_counted_on_after_it_was_broken_off(sources, base, tmp_path, monkeypatch):
    recipe = replace(scaled(RECIPE, 40_000), validate_every=2, patience=3)
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
        tune(sources, tmp_path, base, recipe, machine=Machine(say=said.append))
        assert [row["step"] for row in read_log(tmp_path / "validation.csv")] == ["2", "4", "6", "8", "10"]
        assert any("stopped after 10 of" in line and "3 validations without a better auprc" in line for line in said)


def test_frozen_leaves_the_encoder_bit_for_bit(sources, base, tmp_path):
    folder, _ = tune(sources, tmp_path, base, replace(scaled(RECIPE, 3000), frozen=True))
    before = load_checkpoint(Path(base)).model.state_dict()
    after = load_classifier(folder).model.state_dict()
    assert {name.split(".")[0] for name in after if name not in before} == {"classifier"}
    assert all(torch.equal(before[name], after[name]) for name in after if name in before)
    trained, _ = begin(base, 3, head="linear", seed=1)
    for name, value in trained.state_dict().items():
        assert torch.equal(value, after[name]) == (name in before), name


def test_a_window_wider_than_the_model_is_refused(sources, tmp_path):
    for trained in (40, None):
        base = tiny_model(tmp_path / f"base{trained}", longest=40, trained=trained)
        with pytest.raises(SettingsError, match="at most 40") as told:
            tune(sources, tmp_path / "run", str(base))
        assert "60" in told.value.found


@pytest.mark.parametrize("lost", ["donor", "acceptor"])
@pytest.mark.parametrize("which", ["training", "validation"])
def test_a_kind_of_site_that_is_not_there_is_told_before_training(tmp_path, lost, which):
    whole = labelled_genes(tmp_path, {"1": "+-+-"}, range(4), 31)
    parts = [whole.take(rows) for rows in ([0, 1], [2, 3])]
    one = parts[which == "validation"]
    labels = np.where(one.labels == one.names.index(lost), 0, one.labels).astype(np.uint8)
    parts[which == "validation"] = dataclasses.replace(one, labels=labels)
    with pytest.raises(CorpusError, match=f"There is no {lost}") as told:
        LabelNucleotides(RECIPE, *parts)
    assert which in str(told.value)


def test_what_is_validated_holds_every_kind_of_site(tmp_path):
    whole = labelled_genes(tmp_path, {"1": "+-+-+-"}, range(6), 31)
    for row in range(6):
        start, end = int(whole.offsets[row]), int(whole.offsets[row + 1])
        labels = whole.labels.copy()
        donors = labels == 2
        donors[start:end] = False
        labels[donors] = 0  # only one stretch has donors
        found = some_stretches(dataclasses.replace(whole, labels=labels), 1)
        assert found.count("donor") == 4
        assert end - start == 3062
    assert len(some_stretches(whole, 1).stretches) == 1
    assert len(some_stretches(whole, 3001).stretches) == 2
    assert len(some_stretches(whole, 10**9).stretches) == 6


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


# Branchpoints.


@pytest.fixture(scope="module")
def run_of(tmp_path_factory):
    """A run on genes in which every acceptor has a branchpoint 20 nt upstream, and its BED."""
    folder = tmp_path_factory.mktemp("bp")
    one = source(folder, {"1": "+-" * 4, "2": "+-"})
    table = load_table(one.annotation)
    lines = []
    for row in range(len(table)):
        exons = range(int(table.exon_offsets[row]), int(table.exon_offsets[row + 1]))
        for exon in exons:
            plus = table.gene_strand[row] > 0
            at = int(table.exon_start[exon]) - 20 if plus else int(table.exon_end[exon]) + 19
            if table.exon_flags[exon] & 1:  # has an acceptor
                contig = table.contigs[table.gene_contig[row]]
                lines.append(f"{contig}\t{at}\t{at + 1}\tbp\t0\t{'+' if plus else '-'}")
    (folder / "b.bed").write_text("track name=bp\n# a remark\n" + "".join(f"{line}\n" for line in lines))
    bed = str(folder / "b.bed")
    base = str(tiny_model(folder / "base"))
    said = []
    model, rows = finetune_branchpoints(
        [bed], [one], folder / "run", hold_out=["test:2"], base=base, recipe=scaled(RECIPE, 3000),
        validation_share=0.3, machine=Machine(say=said.append),
    )  # fmt: skip
    return folder, one, bed, base, model, rows, said


def test_a_run_gives_figures_and_a_model(run_of):
    folder, _, bed, _, model, rows, said = run_of
    assert said[0].startswith(f"{bed}: 40 lines; 0 lie in no")
    assert [(row["test"], row["label"], row["nucleotides"], row["sites"]) for row in rows] == [
        ("test 2", "branchpoint", 6000, 8),
    ]  # fmt: skip
    assert json.loads((folder / "run/figures.json").read_text()) == rows
    about = load_classifier(model).about
    assert (about.task, about.labels) == ("branchpoints", ("neither", "branchpoint"))
    opened = BranchpointModel.open(model, "cpu")
    tokens = np.full((1, 62), T, dtype=np.uint8)
    assert opened.probabilities(tokens).shape == (1, 60, 2)  # one window, no positions
    assert opened.labels == ("neither", "branchpoint")


def test_a_bed_for_every_genome(run_of, tmp_path):
    _, one, bed, base, *_ = run_of
    with pytest.raises(SettingsError, match="1 BED files and 2 genomes"):
        finetune_branchpoints([bed], [one, one], tmp_path, base=base)
