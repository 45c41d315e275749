"""Labelled sequence: which nucleotide is a site, on either strand and at every edge; how windows are drawn and read."""

import numpy as np
import pytest

from factories import GENE, genome, reverse_complement
from splicebert_vep.errors import CorpusError
from splicebert_vep.genome.gene_build import load_table
from splicebert_vep.genome.reference import Reference
from splicebert_vep.sequence.tokens import encode
from splicebert_vep.train.finetune import LabelWindows, answers, hide_stretches
from splicebert_vep.train.labels import UNLABELLED, ExonEdges, joined, label_genes
from splicebert_vep_spec import MASK, N

NEITHER, ACCEPTOR, DONOR = 0, 1, 2


def write(folder, bases, transcripts, contig="1"):
    """Write a FASTA and a GTF of (gene, strand, exons 0-based half-open)."""
    (folder / "a.fa").write_text(f">{contig}\n{bases}\n")
    lines = []
    for number, (gene, strand, exons) in enumerate(transcripts):
        about = f'gene_id "{gene}"; gene_biotype "protein_coding"; transcript_id "T{number}";'
        lines += [f"{contig}\tx\texon\t{a + 1}\t{b}\t.\t{strand}\t.\t{about}" for a, b in exons]
    (folder / "a.gtf").write_text("\n".join(lines) + "\n")
    return load_table(folder / "a.gtf"), Reference(folder / "a.fa")


def splice_site_labels(table, reference, rows, margin):
    return label_genes(table, reference, rows, margin, ExonEdges(table))


def text(length, seed=1):
    return "".join(np.random.default_rng(seed).choice(list("ACGT"), length))


def test_sites_are_the_exonic_nucleotides_beside_introns_on_both_strands(tmp_path):
    bases = text(200)
    plus = ("P", "+", [(20, 30), (50, 60), (80, 95)])
    minus = ("M", "-", [(110, 120), (140, 150), (170, 180)])
    table, reference = write(tmp_path, bases, [plus, minus])
    found = splice_site_labels(table, reference, [0, 1], margin=5)
    assert [(s.start, s.end, s.minus, s.genes) for s in found.stretches] == [
        (20, 95, False, ("P",)), (110, 180, True, ("M",)),
    ]  # fmt: skip
    forward, backward = (found.take([row]) for row in (0, 1))
    assert forward.bases.tolist() == encode(bases[15:100].encode()).tolist()
    assert backward.bases.tolist() == encode(reverse_complement(bases[105:185]).encode()).tolist()
    # Worked by hand: exon 2 of P is 50..59, so its acceptor is 50 and its donor 59; the first exon has no acceptor.
    assert np.flatnonzero(forward.labels == ACCEPTOR).tolist() == [at - 15 for at in (50, 80)]
    assert np.flatnonzero(forward.labels == DONOR).tolist() == [at - 15 for at in (29, 59)]
    # On the other strand position p is at 184 - p: the exon 140..149 begins with 149 and ends with 140.
    assert np.flatnonzero(backward.labels == ACCEPTOR).tolist() == [184 - at for at in (149, 119)]
    assert np.flatnonzero(backward.labels == DONOR).tolist() == [184 - at for at in (170, 140)]
    for one in (forward, backward):
        assert (one.labels[:5] == UNLABELLED).all() and (one.labels[-5:] == UNLABELLED).all()
        assert (one.labels[5:-5] != UNLABELLED).all()
    assert found.nucleotides == 75 + 70 and found.count("acceptor") == found.count("donor") == 4


def test_an_exon_of_one_base_has_no_label(tmp_path):
    for strand in "+-":
        table, reference = write(tmp_path, text(100), [("G", strand, [(20, 30), (50, 51), (70, 80)])])
        found = splice_site_labels(table, reference, [0], margin=0)
        at = 30 if strand == "+" else 79 - 50
        assert found.labels[at] == UNLABELLED
        assert (found.labels == UNLABELLED).sum() == 1
        assert found.count("acceptor") == found.count("donor") == 1


def test_overlapping_genes_of_a_strand_are_one_stretch_with_the_sites_of_all(tmp_path):
    genes = [
        ("A", "+", [(20, 30), (60, 70)]), ("B", "+", [(50, 55), (80, 90)]), ("C", "-", [(40, 50), (85, 100)]),
        ("D", "+", [(90, 95), (110, 120)]),
    ]  # fmt: skip
    table, reference = write(tmp_path, text(150), genes)
    found = splice_site_labels(table, reference, range(4), margin=3)
    assert [(s.start, s.end, s.minus, s.genes) for s in found.stretches] == [
        (20, 90, False, ("A", "B")), (90, 120, False, ("D",)), (40, 100, True, ("C",)),
    ]  # fmt: skip
    first = found.take([0])
    assert np.flatnonzero(first.labels == ACCEPTOR).tolist() == [at - 17 for at in (60, 80)]
    assert np.flatnonzero(first.labels == DONOR).tolist() == [at - 17 for at in (29, 54)]
    # A gene that is not asked for gives its sites all the same where it lies in one that is: they are true.
    alone = splice_site_labels(table, reference, [0], margin=3)
    assert [(s.start, s.end) for s in alone.stretches] == [(20, 70)]
    assert np.flatnonzero(alone.labels == DONOR).tolist() == [at - 17 for at in (29, 54)]


def test_at_the_ends_of_a_contig_the_margin_is_n(tmp_path):
    bases = text(60)
    for strand in "+-":
        table, reference = write(tmp_path, bases, [("G", strand, [(0, 10), (40, 60)])])
        found = splice_site_labels(table, reference, [0], margin=7)
        assert (found.bases[:7] == N).all() and (found.bases[-7:] == N).all()
        wanted = bases if strand == "+" else reverse_complement(bases)
        assert found.bases[7:-7].tolist() == encode(wanted.encode()).tolist()
        assert np.flatnonzero(found.labels == DONOR).tolist() == [7 + (9 if strand == "+" else 19)]
        assert np.flatnonzero(found.labels == ACCEPTOR).tolist() == [7 + (40 if strand == "+" else 50)]


def test_n_has_no_label_and_a_gene_of_n_is_left_out(tmp_path):
    bases = text(20) + "N" * 60 + text(120, 2)[:25] + "N" + text(94, 3)
    genes = [("ALL", "+", [(20, 30), (60, 80)]), ("SOME", "+", [(100, 106), (130, 140)])]
    table, reference = write(tmp_path, bases, genes)
    found = splice_site_labels(table, reference, [0, 1], margin=4)
    assert [s.genes for s in found.stretches] == [("SOME",)]
    assert found.labels[4 + 5] == UNLABELLED and found.bases[4 + 5] == N  # 105, the donor
    assert found.count("donor") == 0 and found.count("acceptor") == 1
    with pytest.raises(CorpusError, match="no gene to take sequence from"):
        splice_site_labels(table, reference, [0], margin=4)


class Echo:
    """A model that answers with the token it reads, the window's place in the call, and the token index asked for."""

    def __init__(self):
        self.windows = []

    def __call__(self, tokens, positions):
        self.windows.append((tokens, positions))
        return np.take_along_axis(tokens.astype(np.float32), positions, axis=1)[..., None]


@pytest.mark.parametrize(("width", "batch"), [(60, 16), (61, 3), (2, 5), (1, 7), (200, 1)])
def test_every_nucleotide_is_read_once_from_the_middle_of_its_window(tmp_path, width, batch):
    fasta, gtf = genome(tmp_path, {"1": "+-", "2": "-"})
    table, reference = load_table(gtf), Reference(fasta)
    margin = width // 2 + 1
    labelled = splice_site_labels(table, reference, range(3), margin)
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


def test_stretches_shorter_than_a_window_are_read_too(tmp_path):
    table, reference = write(tmp_path, text(300), [("S", "-", [(40, 41), (60, 63)]), ("T", "+", [(200, 201)])])
    labelled = splice_site_labels(table, reference, [0, 1], 31)
    found, labels = answers(Echo(), labelled, width=60)
    assert len(found) == len(labels) == 23 + 1
    bases = np.concatenate([labelled.take([row]).bases[31:-31] for row in (0, 1)])
    assert found[:, 0].tolist() == bases.tolist()


def test_windows_are_pieces_of_stretches_with_their_labels(tmp_path):
    fasta, gtf = genome(tmp_path, {"1": "+-+"})
    labelled = splice_site_labels(load_table(gtf), Reference(fasta), range(3), 31)
    windows = LabelWindows(labelled, 60)
    rng = np.random.default_rng(0)
    bases, labels = windows.draw(rng, 400, 60, 0.5)
    whole = [(labelled.take([row]).bases, labelled.take([row]).labels) for row in range(3)]
    found = 0
    for window, label in zip(bases, labels, strict=True):
        for stretch, truth in whole:
            views = np.lib.stride_tricks.sliding_window_view(stretch, 60)
            for start in np.flatnonzero((views == window).all(axis=1)):
                found += (truth[start : start + 60] == label).all()
    assert found == 400
    near = windows.draw(rng, 300, 30, 1.0)[1]
    sites = (near > 0) & (near != UNLABELLED)
    assert sites.any(axis=1).all()
    places = np.flatnonzero(sites.any(axis=0))
    assert places.tolist() == list(range(30))  # a site at any place


def test_without_a_site_there_is_nothing_to_learn(tmp_path):
    table, reference = write(tmp_path, text(300), [("S", "+", [(40, 200)])])
    with pytest.raises(CorpusError, match="no site to learn"):
        LabelWindows(splice_site_labels(table, reference, [0], 31), 60)


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


def test_joined_is_one_after_the_other_and_the_digest_sees_everything(tmp_path):
    fasta, gtf = genome(tmp_path, {"1": "+-+"})
    labelled = splice_site_labels(load_table(gtf), Reference(fasta), range(3), 31)
    parts = [labelled.take([0]), labelled.take([1, 2])]
    again = joined(parts)
    assert again.digest == labelled.digest and again.stretches == labelled.stretches
    assert joined(parts[::-1]).digest != labelled.digest
