"""Normalisation: the same change has one allele however it is written."""

import random
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splicebert_vep.sequence.alleles import (
    classify,
    in_transcript,
    left_align,
    normalise,
    placements,
    symbolic_span,
    trim,
)
from splicebert_vep_spec import Allele, Status

bases = st.text("ACGT", min_size=1, max_size=6)


def fetch_from(genome: str):
    return lambda low, high: genome[max(0, low) : max(0, high)].encode()


@pytest.mark.parametrize(
    ("ref", "alt", "status"),
    [
        ("A", ".", Status.NO_ALT),
        ("A", "<DEL>", Status.SYMBOLIC),
        ("A", "<*>", Status.SYMBOLIC),
        ("A", "G]17:198982]", Status.SYMBOLIC),
        ("A", "[13:123457[C", Status.SYMBOLIC),
        ("A", ".T", Status.SYMBOLIC),
        ("A", "T.", Status.SYMBOLIC),
        ("A", "*", Status.SPANNING_DELETION),
        ("N", "A", Status.NON_ACGT),
        ("A", "R", Status.NON_ACGT),
        ("A", "", Status.NON_ACGT),
        ("N", "<DEL>", Status.SYMBOLIC),  # the first that applies
        ("N", "N", Status.NON_ACGT),
        ("A", "a", Status.NO_CHANGE),
    ],
)
def test_what_cannot_be_scored_says_why(ref, alt, status):
    skipped = classify(ref, alt)
    assert skipped is not None
    assert skipped.status is status
    assert skipped.reason


@pytest.mark.parametrize(("ref", "alt"), [("A", "C"), ("acg", "t"), ("A", "AT")])
def test_bases_in_any_case_can_be_scored(ref, alt):
    assert classify(ref, alt) is None


@pytest.mark.parametrize(
    ("pos", "ref", "alt", "expected"),
    [
        (10, "A", "C", (9, "A", "C")),
        (10, "CA", "CT", (10, "A", "T")),
        (10, "CAG", "CTG", (10, "A", "T")),
        (10, "C", "CA", (10, "", "A")),
        (10, "CA", "C", (10, "A", "")),
        (10, "CAA", "CA", (10, "A", "")),  # suffix first: the left one of two equal places
        (10, "ACG", "TCA", (9, "ACG", "TCA")),
        (10, "ca", "ct", (10, "A", "T")),
    ],
)
def test_trims_suffix_then_prefix(pos, ref, alt, expected):
    assert trim(pos, ref, alt) == expected


@given(st.integers(0, 2**32), st.booleans(), st.integers(1, 5))
def test_left_alignment_is_the_leftmost_place_of_the_same_change(seed, insertion, length):
    rng = random.Random(seed)
    genome = "".join(rng.choice("AC") for _ in range(40))  # two letters: many repeats
    at = rng.randrange(1, 30)
    bases = "".join(rng.choice("AC") for _ in range(length)) if insertion else genome[at : at + length]

    def applied(start: int, bases: str) -> str:
        return genome[:start] + (bases + genome[start:] if insertion else genome[start + length :])

    start, aligned = left_align(at, bases, fetch_from(genome))
    changed = applied(at, bases)
    same = [p for p in range(at + 1) if applied(p, changed[p : p + length]) == changed]
    assert start == min(same)
    assert applied(start, aligned) == changed
    assert aligned == (changed if insertion else genome)[start : start + length]


@given(st.integers(0, 2**32), bases, bases, st.integers(0, 5), st.integers(0, 5))
def test_padding_changes_nothing(seed, ref, alt, before, after):
    rng = random.Random(seed)
    left, right = ("".join(rng.choice("ACGT") for _ in range(30)) for _ in range(2))
    if ref == alt:
        return
    genome = left + ref + right
    plain = normalise("c", 31, ref, alt, fetch_from(genome))
    padded_ref = left[30 - before :] * (before > 0) + ref + right[:after]
    padded_alt = left[30 - before :] * (before > 0) + alt + right[:after]
    assert normalise("c", 31 - before, padded_ref, padded_alt, fetch_from(genome)) == plain


def test_a_repeat_longer_than_one_look_back_is_crossed():
    genome = "G" + "A" * 1000 + "C"
    assert normalise("c", 1001, "A", "AA", fetch_from(genome)) == Allele("c", 1, "", "A")


@pytest.mark.parametrize(
    ("alts", "number", "info", "span"),
    [
        (["<DEL>"], 0, {"END": "120"}, (100, 120)),
        (["<DEL>"], 0, {"SVLEN": "-20"}, (100, 120)),
        (["<DUP:TANDEM>"], 0, {"SVLEN": "20", "END": "130"}, (100, 130)),
        (["<INV>"], 0, {"SVLEN": "0", "END": "120"}, (100, 120)),  # how VCF before 4.4 writes an inversion
        (["<DEL>", "<DUP>"], 1, {"SVLEN": "-20,7", "END": "120"}, (100, 107)),
        (["<DEL>", "<DUP>"], 0, {"SVLEN": ".,7", "END": "120"}, (100, 120)),
        (["<INS:ME:ALU>"], 0, {"SVLEN": "280"}, (100, 100)),
        (["<DEL>"], 0, {}, None),
        (["<DEL>"], 0, {"END": "100"}, None),
        (["<DEL>"], 0, {"END": "x", "SVLEN": "9" * 30}, None),
        (["<NON_REF>"], 0, {"END": "120"}, None),  # a block of reference
        (["<*>"], 0, {"END": "120"}, None),
        (["G]17:198982]"], 0, {"END": "120"}, None),
    ],
)
def test_a_symbolic_alt_spans_the_bases_after_pos(alts, number, info, span):
    assert symbolic_span(100, alts, number, info) == span


_TURN = str.maketrans("ACGT", "TGCA")


def mirrored(sequence: str) -> str:
    return sequence.translate(_TURN)[::-1]


@given(st.integers(0, 2**32), st.booleans(), st.integers(1, 5))
def test_the_rightmost_place_is_the_leftmost_of_the_mirrored_genome(seed, insertion, length):
    rng = random.Random(seed)
    genome = "".join(rng.choice("AC") for _ in range(40))
    at = rng.randrange(1, 30)
    ref = "" if insertion else genome[at : at + length]
    alt = "".join(rng.choice("AC") for _ in range(length)) if insertion else ""
    anchor = genome[at - 1]
    left = normalise("c", at, anchor + ref, anchor + alt, fetch_from(genome))

    same, right = placements(left, fetch_from(genome))
    assert same == left

    other = mirrored(genome)
    begin = len(genome) - (at + len(ref))
    turned = normalise(
        "c", begin, other[begin - 1] + mirrored(ref), other[begin - 1] + mirrored(alt), fetch_from(other)
    )
    assert turned == Allele("c", len(genome) - right.end, mirrored(right.ref), mirrored(right.alt))
    assert in_transcript(left, "+", fetch_from(genome)) == right
    assert in_transcript(left, "-", fetch_from(genome)) == left


@pytest.mark.parametrize(
    ("allele", "start", "ref", "alt"),
    [
        (Allele("c", 1, "", "A"), 1001, "", "A"),  # beyond every base of the run, over several pieces of reference
        (Allele("c", 1, "A" * 700, ""), 301, "A" * 700, ""),
        (Allele("c", 1001, "", "C"), 1002, "", "C"),  # to the contig's end
        (Allele("c", 0, "GA", "T"), 0, "GA", "T"),
        (Allele("c", 5, "A", "T"), 5, "A", "T"),
    ],
)
def test_the_rightmost_place(allele, start, ref, alt):
    genome = "G" + "A" * 1000 + "C"
    assert placements(allele, fetch_from(genome)) == (allele, Allele("c", start, ref, alt))


@pytest.mark.skipif(shutil.which("bcftools") is None, reason="bcftools is not on PATH")
def test_agrees_with_bcftools_norm(tmp_path):
    rng = random.Random(5)
    genome = "".join(rng.choice("AACCG") for _ in range(2000))
    (tmp_path / "g.fa").write_text(f">c\n{genome}\n")
    lines, alleles = [], []
    for pos in range(50, 1950, 7):
        length, extra = rng.randrange(1, 6), rng.randrange(0, 6)
        ref = genome[pos - 1 : pos - 1 + length]
        alt = ref[0] + "".join(rng.choice("AACCG") for _ in range(extra))
        if ref != alt:
            lines.append(f"c\t{pos}\t.\t{ref}\t{alt}\t.\t.\t.\n")
            alleles.append(normalise("c", pos, ref, alt, fetch_from(genome)))
    header = (
        f"##fileformat=VCFv4.2\n##contig=<ID=c,length={len(genome)}>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    )
    (tmp_path / "v.vcf").write_text(header + "".join(lines))
    command = ["bcftools", "norm", "-f", str(tmp_path / "g.fa"), str(tmp_path / "v.vcf")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    theirs = sorted(
        trim(int(pos), ref, alt)
        for line in done.stdout.splitlines()
        if not line.startswith("#")
        for _, pos, _, ref, alt, *_ in [line.split("\t")]
    )
    assert len(theirs) > 200
    assert theirs == sorted((allele.start, allele.ref, allele.alt) for allele in alleles)
