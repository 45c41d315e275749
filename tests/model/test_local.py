"""Local mode: what it computes again, how far it is off, and that nothing else changes a score of it."""

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from factories import ALL_SCORES, Counting, FakeGenes, FakeRecord, FakeReference, gene, pipeline
from splicebert_vep import Annotator, Settings, Variant
from splicebert_vep.errors import PluginError, SettingsError
from splicebert_vep.model.backend import TorchBackend
from splicebert_vep.model.local import Local, around, count_around
from splicebert_vep.plugins import GuardedBackend, load_plugins
from splicebert_vep.vcf.read import open_vcf
from splicebert_vep_spec import BackendOptions, BackendOutput, Status

GENOME = "".join(random.Random(7).choices("ACGT", k=1500))
REFERENCE = FakeReference({"c": GENOME})
GENES = FakeGenes([gene(donor=(640, 642), acceptor=(520, 522)), gene("G2", "-", donor=(618, 620))])


@pytest.fixture(scope="module")
def backend():
    return TorchBackend(BackendOptions("splicebert-mini", "cpu"))


def snv(pos, shift=1):
    base = GENOME[pos - 1]
    return FakeRecord("c", pos, base, ("ACGT"[("ACGT".index(base) + shift) % 4],))


RECORDS = [
    snv(600), snv(600, 2), snv(601), snv(690), FakeRecord("c", 610, GENOME[609:613], ("TTAC",)),
    FakeRecord("c", 620, GENOME[619:624], (GENOME[619],)), FakeRecord("c", 620, GENOME[619], (GENOME[619] + "ACC",)),
]  # fmt: skip


def values(reports):
    """Values of every allele x gene, genes by id: their order in a report follows KL_CTX."""
    return [
        outcome.values
        for report in reports
        for allele in report.alleles
        for outcome in sorted(allele.contexts, key=lambda outcome: outcome.context.gene_id)
    ]


def assert_close(found, wanted, tolerance=1e-4):
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours == pytest.approx(theirs, abs=tolerance)


@given(st.data())
def test_positions_are_those_that_are_read_and_the_nearest(data):
    width = data.draw(st.integers(20, 80))
    length = data.draw(st.integers(1, 5))
    first = data.draw(st.integers(0, width - length))
    wanted = np.zeros((1, width), dtype=bool)
    wanted[0, data.draw(st.lists(st.integers(0, width - 1), max_size=6))] = True
    radius = data.draw(st.integers(0, 30))
    [count] = count_around(np.array([length]), wanted, radius, 4)
    [chosen] = around(np.array([first]), np.array([length]), wanted, int(count))
    assert len(set(chosen)) == len(chosen) == min(width, max(2 * radius + length + 4, wanted.sum()))
    assert (np.diff(chosen) > 0).all()
    assert set(np.flatnonzero(wanted[0])) <= set(chosen)
    if count >= length + wanted.sum():
        assert set(range(first, first + length)) <= set(chosen)
    distance = np.maximum(first - np.arange(width), np.arange(width) - (first + length - 1))
    left_out = np.setdiff1d(np.arange(width), chosen)
    free = np.setdiff1d(chosen, np.flatnonzero(wanted[0]))
    if len(left_out) and len(free):
        assert distance[free].max() <= distance[left_out].min()


def test_with_all_positions_an_update_is_a_pass(backend):
    tokens = np.random.default_rng(1).integers(6, 10, (3, 62)).astype(np.uint8)
    changed = tokens[[2, 0, 2]]
    changed[0, 30], changed[1, 31:33], changed[2, 30] = 4, 6, 7
    positions = np.array([[29, 30, 31, 61]] * 3)
    _, memory = backend.remember(tokens, positions)
    every = np.tile(np.arange(62), (3, 1))
    local = backend.update(memory, np.array([2, 0, 2]), every, changed, positions)
    whole = backend.forward(changed, positions)
    torch.testing.assert_close(local.logits, whole.logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(local.hidden, whole.hidden, atol=1e-5, rtol=0)


def test_remembering_changes_no_output(backend):
    tokens = np.random.default_rng(1).integers(6, 10, (3, 62)).astype(np.uint8)
    positions = np.array([[5, 30]] * 3)
    out, _ = backend.remember(tokens, positions)
    assert torch.equal(out.logits, backend.forward(tokens, positions).logits)


def test_a_radius_beyond_the_window_is_exact(backend):
    exact = pipeline(REFERENCE, GENES, backend).report(RECORDS)
    assert_close(values(pipeline(REFERENCE, GENES, backend, local=Local(200, 200)).report(RECORDS)), values(exact))


def test_nearly_the_whole_window_is_nearly_exact(backend):
    exact = pipeline(REFERENCE, GENES, backend).report(RECORDS)
    near = values(pipeline(REFERENCE, GENES, backend, local=Local(96, 96)).report(RECORDS))
    assert values(exact) != near
    for ours, theirs in zip(near, values(exact), strict=True):
        assert {**ours, "KL_MAX_POS": 0} == pytest.approx({**theirs, "KL_MAX_POS": 0}, abs=0.05)


def test_alleles_that_change_length_are_exact(backend):
    indels = RECORDS[-2:]
    exact = pipeline(REFERENCE, GENES, backend).report(indels)
    assert_close(values(pipeline(REFERENCE, GENES, backend, local=Local(20, 5)).report(indels)), values(exact))


def test_splice_sites_beyond_the_radius_are_read(backend):
    [report] = pipeline(REFERENCE, GENES, backend, local=Local(20, 5)).report([snv(600)])
    scores = report.alleles[0].contexts[0].values
    assert scores["N_SITES"] == 2
    assert scores["KL_DONOR"] > 0  # 40 and 78 nt away
    assert scores["KL_ACCEPTOR"] > 0


@settings(max_examples=10, deadline=None)
@given(st.permutations(RECORDS), st.sampled_from([1, 202 * 3, 100_000]), st.sampled_from(["centred", "tiled"]))
def test_a_score_depends_on_nothing_but_its_allele(backend, order, batch_tokens, mode):
    local = pipeline(
        REFERENCE, GENES, backend, local=Local(40, 10), mode=mode, stride=64, batch_tokens=batch_tokens
    ).report(order)
    alone = [
        pipeline(REFERENCE, GENES, backend, local=Local(40, 10), mode=mode, stride=64).report([one])[0] for one in order
    ]
    assert_close(values(local), values(alone))


def test_scores_do_not_depend_on_which_are_asked_for(backend):
    every = pipeline(REFERENCE, GENES, backend, local=Local(40, 10)).report(RECORDS)
    for score in ("LLR", "KL_SS"):
        found = pipeline(REFERENCE, GENES, backend, local=Local(40, 10), scores=(score,)).report(RECORDS)
        assert [one.get(score) for one in values(found)] == pytest.approx(
            [one.get(score) for one in values(every)], abs=1e-4
        )


def test_the_ref_window_runs_once_and_changed_windows_in_part(backend):
    class Watched(Counting):
        def __init__(self, inner):
            super().__init__(inner)
            self.whole, self.part = [], []

        def remember(self, tokens, positions):
            self.whole.append(tokens.shape)
            return self.inner.remember(tokens, positions)

        def update(self, memory, rows, index, tokens, positions):
            self.part.append(tokens.shape)
            return self.inner.update(memory, rows, index, tokens, positions)

    watched = Watched(backend)
    site = [snv(600), snv(600, 2), snv(600, 3)]
    pipeline(REFERENCE, FakeGenes([gene()]), watched, local=Local(40, 10)).report(site)
    assert watched.whole == [(1, 202)]
    assert watched.part == [(3, 2 * 40 + 1 + 4 + 2), (1, 2 * 10 + 1 + 4 + 2)]  # 4 for sites, 2 for [CLS] and [SEP]
    assert watched.windows == []


@pytest.mark.parametrize("method", ["remember", "update"])
def test_a_backend_that_breaks_the_local_contract_is_told(backend, method):
    class Broken:
        info = backend.info
        forward, remember, update = backend.forward, backend.remember, backend.update

    broken = Broken()

    def wrong(*arguments):
        out = getattr(backend, method)(*arguments)
        short = out[0] if method == "remember" else out
        short = BackendOutput(short.logits[:, :0], short.hidden)
        return (short, out[1]) if method == "remember" else short

    setattr(broken, method, wrong)
    guarded = GuardedBackend(broken, load_plugins().origins("backend")["torch"])
    assert guarded.local
    tokens, positions = np.full((1, 12), 6, dtype=np.uint8), np.array([[1, 2]])
    with pytest.raises(PluginError, match=f"logits of shape(.|\n)*{method}"):
        _, memory = guarded.remember(tokens, positions)
        guarded.update(memory, np.array([0]), np.arange(12)[None], tokens, positions)


@pytest.fixture
def example(request, monkeypatch, tmp_path):
    monkeypatch.setenv("SPLICEBERT_VEP_CACHE", str(tmp_path))
    folder = request.config.rootpath / "example_vcfs"
    with open_vcf(str(folder / "brca1.vcf")) as reader:
        snvs = [Variant(r.chrom, r.pos, r.ref, alt) for r in reader for alt in r.alts if len(r.ref) == len(alt) == 1]
    return folder / "brca1.fa.gz", snvs


def test_the_error_on_real_sequence_is_what_the_documents_say(example):
    """The bundled model at the default radius; docs/performance.md has the curve."""
    fasta, snvs = example
    fields = tuple(field for field in ALL_SCORES if not field.startswith("KL_MAX"))
    found = {}
    for mode in ("exact", "local"):
        with Annotator(fasta, device="cpu", settings=Settings(scores=fields, mode=mode)) as annotator:
            found[mode] = [result for result in annotator.score(snvs) if result.status is Status.OK]
            assert annotator.run.provenance["EngineMode"] == mode
    assert annotator.run.provenance["Radius"] == f"{Settings().radius},64"
    assert len(found["exact"]) > 20
    bounds = {"LLR": 0.1, "PLLR": 0.15, "KL_CTX": 0.6, "KL_SS": 0.003, "EMB_COS": 0.0005, "EMB_L2": 0.02}
    for exact, local in zip(found["exact"], found["local"], strict=True):
        for field, bound in bounds.items():
            assert local[field] == pytest.approx(exact[field], abs=bound), (exact.variant, field)


def test_a_backend_of_whole_passes_only_is_refused(example):
    fasta, _ = example
    with pytest.raises(SettingsError, match="--mode exact"):
        Annotator(fasta, backend="null", settings=Settings(mode="local"))


def test_a_radius_that_does_not_reach_the_flanks_is_refused():
    with pytest.raises(SettingsError, match="--radius of at least 100"):
        Settings(mode="local", radius=99)
