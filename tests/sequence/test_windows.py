"""Windows and the alignment of REF and ALT."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factories import gene
from splicebert_vep.sequence import windows
from splicebert_vep.sequence.alignment import align, differences
from splicebert_vep.sequence.tokens import encode, reverse_complement, with_special
from splicebert_vep.sequence.windows import WindowShape
from splicebert_vep_spec import Allele, GeneContext, Status

SHAPE = WindowShape(width=60, flank=10)
LETTERS = {5: "N", 6: "A", 7: "C", 8: "G", 9: "T"}


def text(tokens) -> str:
    return "".join(LETTERS[int(token)] for token in tokens)


def placed(allele: Allele, length: int, shape: WindowShape = SHAPE) -> int | None:
    """Start of one allele's window, or None where none fits."""
    found = windows.place([allele], [length], shape)
    return int(found.start[0]) if found.fits[0] else None


def windows_of(genome: str, alleles: list[Allele], shape: WindowShape = SHAPE) -> windows.Windows:
    found = windows.place(alleles, [len(genome)] * len(alleles), shape)
    assert found.fits.all()
    regions = [windows.region(a, start, shape.width) for a, start in zip(alleles, found.start.tolist(), strict=True)]
    assert all(0 <= low < high <= len(genome) for low, high in regions)
    return windows.cut(alleles, found.start, [genome[low:high].encode() for low, high in regions], shape)


def pair_of(genome: str, allele: Allele, context: GeneContext) -> windows.WindowPairs:
    return windows.pair(windows_of(genome, [allele]), [0], [context])


@st.composite
def changes(draw, max_length=12):
    rng = random.Random(draw(st.integers(0, 2**32)))
    genome = "".join(rng.choice("ACGT") for _ in range(200))
    start = draw(st.integers(22, 165))
    ref = genome[start : start + draw(st.integers(0, max_length))]
    alt = "".join(rng.choice("ACGT") for _ in range(draw(st.integers(0 if ref else 1, max_length))))
    if ref == alt:
        alt = alt + "A" if len(alt) < max_length else alt[:-1]
    return genome, Allele("c", start, ref, alt)


def test_tokens_by_hand():
    assert encode(b"NACGTacgtRn-").tolist() == [5, 6, 7, 8, 9, 6, 7, 8, 9, 5, 5, 5]
    assert text(reverse_complement(encode(b"AACGTN"))) == "NACGTT"
    assert with_special(encode(b"AC")[None]).tolist() == [[2, 6, 7, 3]]


@given(st.text("ACGTN", min_size=1, max_size=50))
def test_reverse_complement_twice_is_identity(sequence):
    tokens = encode(sequence.encode())
    assert (reverse_complement(reverse_complement(tokens)) == tokens).all()


@given(changes())
def test_windows_say_what_the_genome_says(case):
    genome, allele = case
    window = windows_of(genome, [allele])
    start = int(window.start[0])
    changed = genome[: allele.start] + allele.alt + genome[allele.end :]
    assert text(window.ref[0]) == genome[start : start + 60]
    assert text(window.alt[0]) == changed[start : start + 60]
    assert text(window.ref_right[0]) == genome[start + allele.shift : start + allele.shift + 60]


@given(changes(), st.lists(st.tuples(st.integers(70, 120), st.integers(0, 9), st.text("ACGT", max_size=9)), max_size=5))
def test_many_alleles_have_the_windows_that_each_has_alone(case, others):
    genome, allele = case
    alleles = [allele, *(Allele("c", at, genome[at : at + n], alt) for at, n, alt in others), allele]
    together = windows_of(genome, alleles)
    for i, one in enumerate(alleles):
        alone = windows_of(genome, [one])
        for name in ("start", "ref", "ref_right", "alt", "n_frac", "clean"):
            assert (getattr(together, name)[i] == getattr(alone, name)[0]).all()


@pytest.mark.parametrize(
    ("ref_length", "alt_length", "left"),
    [(1, 1, 29), (0, 1, 29), (1, 0, 29), (3, 3, 28), (0, 3, 28), (5, 2, 27), (0, 40, 10)],
)
def test_centred_left_side(ref_length, alt_length, left):
    # left = (60 - max) // 2
    allele = Allele("c", 500, "A" * ref_length, "C" * alt_length)
    assert placed(allele, 1000) == 500 - left


def test_a_deletion_needs_only_the_flank_that_is_left_of_it():
    # contig 100, W 60, F 10, deletion of 5 at 85: ten bases follow it; ALT reads 60 + 5 bases from 35 on
    assert placed(Allele("c", 85, "A" * 5, ""), 100, SHAPE) == 35
    assert placed(Allele("c", 86, "A" * 5, ""), 100) is None


def test_at_a_contig_end_the_window_moves():
    assert placed(Allele("c", 10, "A", "C"), 1000, SHAPE) == 0
    assert placed(Allele("c", 989, "A", "C"), 1000, SHAPE) == 940
    # a deletion needs two bases more on the right for ALT and the shifted REF window
    assert placed(Allele("c", 970, "AC", ""), 1000, SHAPE) == 938


@pytest.mark.parametrize(
    ("allele", "length"),
    [
        (Allele("c", 9, "A", "C"), 1000),  # 9 bases to the start
        (Allele("c", 990, "A", "C"), 1000),  # 9 to the end
        (Allele("c", 30, "A", "C"), 59),  # contig shorter than W
        (Allele("c", 30, "AC", ""), 60),  # no room for the shifted REF window
    ],
)
def test_no_room_is_told(allele, length):
    assert placed(allele, length) is None
    skipped = windows.no_room(allele, length, SHAPE)
    assert skipped.status is Status.N_CONTEXT
    assert "fits" in skipped.reason


def test_n_near_the_span_is_told_and_n_elsewhere_is_counted():
    genome = "ACGT" * 50
    allele = Allele("c", 100, genome[100], "C")
    near = genome[:90] + "N" + genome[91:]
    assert not windows_of(near, [allele]).clean[0]
    assert windows.not_clean(SHAPE).status is Status.N_CONTEXT
    far = genome[:89] + "N" + genome[90:]
    window = windows_of(far, [allele])
    assert window.clean[0]
    assert window.n_frac[0] == pytest.approx(1 / 60)
    assert "N" in text(window.ref[0])


def test_too_long_is_told():
    assert windows.check_length(40, SHAPE) is None
    skipped = windows.check_length(41, SHAPE)
    assert skipped is not None
    assert skipped.status is Status.TOO_LONG


@given(changes(), st.sampled_from("+-"), st.integers(15, 180), st.integers(15, 180))
def test_aligned_columns_hold_the_same_base(case, strand, donor_at, acceptor_at):
    """The heart of the matter: a pair is one genomic base seen in REF and in ALT, at the same token index."""
    genome, allele = case
    context = gene(strand=strand, donor=(donor_at, donor_at + 2), acceptor=(acceptor_at, acceptor_at + 2))
    pair = pair_of(genome, allele, context)
    columns = align(pair, 10)
    ref_tokens = np.where(columns.right[0], pair.ref_right[0][columns.ref_index[0]], pair.ref[0][columns.ref_index[0]])
    alt_tokens = pair.alt[0][columns.alt_index[0]]
    paired = columns.paired[0]
    outside = paired.copy()
    outside[24:] = False  # span columns may differ in base
    first, second = (0, 1) if strand == "+" else (1, 0)  # 5' to 3'
    sites = (donor_at + first, donor_at + second, acceptor_at + first, acceptor_at + second)
    inside_span = [allele.start <= at < allele.end for at in sites]
    outside[20:24] &= ~np.array(inside_span)
    assert (ref_tokens[outside] == alt_tokens[outside]).all()
    # at equal token indices: nothing but the change itself differs
    assert (columns.ref_index[0][paired] == columns.alt_index[0][paired]).all()
    # and the genomic base that each column claims is the one in the genome, on the transcribed strand
    at = {"+": allele.start - 1, "-": allele.end}[strand]
    five = genome[at] if strand == "+" else text(reverse_complement(encode(genome[at].encode())))
    assert text(ref_tokens[:1]) == five
    for column, position in enumerate(sites, start=20):
        if paired[column]:
            base = genome[position] if strand == "+" else text(reverse_complement(encode(genome[position].encode())))
            assert text(ref_tokens[column : column + 1]) == base
        elif allele.shift == 0:
            assert not 0 <= position - (allele.start - int(pair.offset[0])) < 60
    assert columns.in_ref[0].sum() == 20 + len(allele.ref)
    assert columns.in_alt[0].sum() == 20 + len(allele.alt)


@given(changes(), st.sampled_from("+-"))
def test_differences_are_those_of_the_span(case, strand):
    genome, allele = case
    found = differences(pair_of(genome, allele, gene(strand=strand)))
    if allele.shift != 0:
        assert not found.valid.any()
        return
    wanted = [b for a, b in zip(allele.ref, allele.alt, strict=True) if a != b]
    if strand == "-":
        wanted = list(text(reverse_complement(encode("".join(wanted).encode()))))
    assert text(found.alt[0][found.valid[0]]) == "".join(wanted)
