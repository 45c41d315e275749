"""The region table: its classes, its figures, and the count model beside it."""

import math
from collections import Counter, defaultdict

import numpy as np
import pytest
import torch

from factories import write_genome
from splicebert_vep.errors import CorpusError
from splicebert_vep.train.corpus import Source, build_corpus
from splicebert_vep.train.regions import REACH, REGIONS, CountModel, _labels, measure_regions
from splicebert_vep_spec import MASK, BackendOutput, G


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    fasta, gtf = write_genome(tmp_path_factory.mktemp("genome"), "+-" * 20)
    return build_corpus([Source("test", fasta, str(gtf))], 0.4)


@pytest.fixture(scope="module")
def counts(corpus):
    return CountModel(corpus, 300, nucleotides=200_000)


class Always:
    """Say the same of every nucleotide; keep what was asked."""

    info = None

    def __init__(self, p):
        self.logits = torch.cat([torch.full((6,), 5.0), torch.tensor(p).log()])
        self.asked = []

    def forward(self, tokens, positions):
        self.asked.append((tokens.copy(), positions.copy()))
        shape = (*positions.shape, 10)
        return BackendOutput(self.logits.expand(shape), torch.zeros(*positions.shape, 2))


def test_sites_are_where_gt_and_ag_are(corpus, counts):
    backend = Always([0.1, 0.2, 0.6, 0.1])  # G
    rows = {row.region: row for row in measure_regions(backend, corpus, counts, nucleotides=40, width=300)}
    assert list(rows) == list(REGIONS)
    assert rows["donor G"].accuracy == rows["acceptor G"].accuracy == 1
    assert rows["donor T"].accuracy == rows["acceptor A"].accuracy == 0
    assert rows["donor GT"].accuracy == rows["acceptor AG"].accuracy == 0.5
    assert rows["donor G"].perplexity == pytest.approx(1 / 0.6, rel=1e-5)
    assert rows["donor T"].perplexity == pytest.approx(1 / 0.1, rel=1e-5)
    assert rows["donor GT"].perplexity == pytest.approx(math.sqrt(1 / 0.06), rel=1e-5)
    assert rows["donor GT"].nucleotides == 80
    assert not rows["donor T"].beats_counts


def test_one_nucleotide_of_a_held_out_gene_is_hidden_at_a_time(corpus, counts):
    backend = Always([0.25] * 4)
    rows = measure_regions(backend, corpus, counts, nucleotides=30, width=300, batch=7)
    genes = [
        corpus.bases[corpus.offsets[gene] : corpus.offsets[gene + 1]].tobytes()
        for gene in np.flatnonzero(corpus.held_out)
    ]
    windows = 0
    for tokens, positions in backend.asked:
        assert len(tokens) <= 7
        for window, position in zip(tokens, positions[:, 0], strict=True):
            windows += 1
            assert (window == MASK).nonzero()[0].tolist() == [position]
            before, after = window[1:position].tobytes(), window[position + 1 : -1].tobytes()
            assert any(gene.find(before) >= 0 and gene.find(after) >= 0 for gene in genes)
    assert windows == sum(row.nucleotides for row in rows) - 2 * 60  # a site's two bases stand in three rows


def test_the_same_nucleotides_are_drawn_for_every_model(corpus, counts):
    one, other = Always([0.25] * 4), Always([0.25] * 4)
    measure_regions(one, corpus, counts, nucleotides=30, width=300)
    measure_regions(other, corpus, counts, nucleotides=30, width=300)
    assert all(
        np.array_equal(a[0], b[0]) and np.array_equal(a[1], b[1]) for a, b in zip(one.asked, other.asked, strict=True)
    )


def test_the_count_model_counts(corpus):
    def draw(rng, count, width):
        return corpus.bases[corpus.windows().draw(rng, count, width, 1.0)]

    model = CountModel(corpus, 126, nucleotides=126 * 300, seed=5)
    table, overall = defaultdict(Counter), Counter()
    for window in draw(np.random.default_rng(5), 300, 126).tolist():
        for at in range(REACH, 126 - REACH):
            around = tuple(window[at - REACH : at] + window[at + 1 : at + REACH + 1])
            table[around][window[at]] += 1
            overall[window[at]] += 1
    total = sum(overall.values())
    asked = draw(np.random.default_rng(9), 50, 2 * REACH + 1)
    found = model.log_p(asked)
    for row, answer in zip(asked.tolist(), found, strict=True):
        seen = table[tuple(row[:REACH] + row[REACH + 1 :])]
        expected = [(seen[base] + 4 * overall[base] / total) / (sum(seen.values()) + 4) for base in range(6, 10)]
        assert np.exp(answer) == pytest.approx(expected)
    asked[:, REACH] = G
    assert np.array_equal(model.log_p(asked), found)  # the truth is not read
    asked[0, 0] = 5
    with pytest.raises(ValueError, match="N"):
        model.log_p(asked)


def test_a_corpus_without_held_out_genes_is_refused(tmp_path, counts):
    fasta, gtf = write_genome(tmp_path, "+-")
    corpus = build_corpus([Source("test", fasta, str(gtf))], 0.0)
    with pytest.raises(CorpusError, match="held-out genes"):
        measure_regions(Always([0.25] * 4), corpus, counts, width=300)


def test_every_place_of_a_gene_has_the_class_that_its_distance_says(corpus):
    """By hand: an intron of 500 nt between exons of 200, its acceptor at 700."""
    start = int(corpus.offsets[0])
    labels = _labels(corpus, start, start + 3000)
    name = {label: region for region, labels in REGIONS.items() if len(labels) == 1 for label in labels}
    expected = {
        199: "exon", 200: "donor G", 201: "donor T", 202: "near intron", 299: "near intron", 300: "deep intron",
        599: "deep intron", 600: "near intron", 700 - 45: "near intron", 700 - 44: "branchpoint region",
        700 - 18: "branchpoint region", 700 - 17: "polypyrimidine tract", 700 - 3: "polypyrimidine tract",
        698: "acceptor A", 699: "acceptor G", 700: "exon", 899: "exon", 900: "donor G",
    }  # fmt: skip
    assert {place: name[labels[place]] for place in expected} == expected
    assert set(labels[:4].tolist()) == {0}  # too near to the gene's end for the count model


def test_sites_of_another_motif_have_no_class_of_their_own(tmp_path):
    fasta, gtf = write_genome(tmp_path, "+")
    text = fasta.read_text().splitlines()
    bases = list(text[1])
    bases[500 + 200 : 500 + 202] = "GC"
    bases[500 + 698 : 500 + 700] = "AC"
    fasta.write_text(f"{text[0]}\n{''.join(bases)}\n")
    corpus = build_corpus([Source("test", fasta, str(gtf))], 0.0)
    labels = _labels(corpus, 0, 3000)
    name = {label: region for region, labels in REGIONS.items() if len(labels) == 1 for label in labels}
    assert {name[label] for label in labels[200:202]} == {"near intron"}
    assert {name[label] for label in labels[650:700]} == {"near intron"}
