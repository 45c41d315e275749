"""Entries of SpliceAI and Pangolin: the value that an allele gets in a gene, and the word where it gets none."""

import random
import re
import shutil
import subprocess
from collections import Counter

import pysam
import pysam.bcftools
import pytest

from factories import PANGOLIN, ROOT, SPLICEAI, annotated, join_genome, open_annotator, tabixed, vcf, words
from splicebert_vep import Annotator, Settings
from splicebert_vep.errors import SettingsError
from splicebert_vep.joins.match import MEANINGS, Joined


def entry(allele, symbol, number):
    """An entry whose largest delta is this number of hundredths, with places 1 to 4."""
    return f"{allele}|{symbol}|0.01|{number / 100:.2f}|0.00|0.00|1|2|3|4"


A = "ALPHA"
NO_GENE, NO_ROW, HALF = "OTHER_GENE OTHER_GENE", "NO_RECORD NO_RECORD", "FOUND .5 OTHER_GENE"
DOTS = "|.|.|.|.|.|.|.|."
REPEAT = [
    f"1 302 TAC T SpliceAI={entry('T', A, 10)}", f"1 305 ACA A SpliceAI={entry('A', A, 20)}",
    f"1 309 ACA A SpliceAI={entry('A', A, 34)}",
]  # fmt: skip

# Place, REF, ALT of the record; rows of the source; what ALPHA and GAMMA get: status and DS_MAX.
CASES = {
    "precomputed, contig without chr": ("350 A C", [f"1 350 A C SpliceAI={entry('C', A, 50)}"], HALF),
    "contig with chr": ("350 A C", [f"chr1 350 A C SpliceAI={entry('C', A, 50)}"], HALF),
    "contig by accession": ("350 A C", [f"NC_000001.11 350 A C SpliceAI={entry('C', A, 50)}"], HALF),
    "a record per gene": (
        "350 A C", [f"1 350 A C SpliceAI={entry('C', 'GAMMA', 30)}", f"1 350 A C SpliceAI={entry('C', A, 50)}"],
        "FOUND .5 FOUND .3",
    ),
    "a record per ALT": (
        "350 A C", [f"1 350 A {alt} SpliceAI={entry(alt, A, n)}" for alt, n in (("G", 10), ("C", 20), ("T", 40))],
        "FOUND .2 OTHER_GENE",
    ),
    "several ALTs and genes in one record": (
        "350 A T",
        ["1 350 A C,T SpliceAI=" + ",".join(entry(a, g, n) for a, g, n in (
            ("C", A, 10), ("C", "GAMMA", 20), ("T", A, 30), ("T", "GAMMA", 40)))],
        "FOUND .3 FOUND .4",
    ),
    "an ALT without entries among others": (
        "350 A T", [f"1 350 A C,T SpliceAI={entry('C', A, 10)}"], NO_ROW),
    "unscored ALT": ("360 GC AT", [f"1 360 GC AT SpliceAI=AT|{A}{DOTS}"], "MISSING OTHER_GENE"),
    "dots and a value": (
        "350 A C", [f"1 350 A C SpliceAI=C|{A}{DOTS},{entry('C', A, 30)}"], "FOUND .3 OTHER_GENE"),
    "one delta missing": ("350 A C", [f"1 350 A C SpliceAI=C|{A}|.|0.50|0.10|0.10|1|2|3|4"], "FOUND None OTHER_GENE"),
    "missing key": ("350 A C", ["1 350 A C SpliceAI=."], "MISSING MISSING"),
    "no key": ("350 A C", ["1 350 A C AC=1"], "NO_KEY NO_KEY"),
    "a key that begins alike": ("350 A C", [f"1 350 A C SpliceAI_old={entry('C', A, 50)}"], "NO_KEY NO_KEY"),
    "no row": ("350 A C", [f"1 351 {join_genome()[350]} * SpliceAI=."], NO_ROW),
    "another ALT": ("350 A C", [f"1 350 A G SpliceAI={entry('G', A, 50)}"], NO_ROW),
    "no contig": ("350 A C", [f"2 350 A C SpliceAI={entry('C', A, 50)}"], "NO_CONTIG NO_CONTIG"),
    "by gene id": ("350 A C", [f"1 350 A C SpliceAI={entry('C', 'ENSG09', 50)}"], "OTHER_GENE FOUND .5"),
    "by gene id of another version": (
        "350 A C", [f"1 350 A C SpliceAI={entry('C', 'ENSG01.9', 50)}"], HALF),
    "by gene id of GENCODE on GRCh37": ("350 A C", [f"1 350 A C SpliceAI={entry('C', 'ENSG01.9_8', 50)}"], HALF),
    "by gene id of GENCODE's chrY": ("350 A C", [f"1 350 A C SpliceAI={entry('C', 'ENSG01.9_PAR_Y', 50)}"], HALF),
    "a symbol that only begins alike": ("350 A C", [f"1 350 A C SpliceAI={entry('C', 'ALPHA2', 9)}"], NO_GENE),
    "a symbol in another case": ("350 A C", [f"1 350 A C SpliceAI={entry('C', 'Alpha', 9)}"], NO_GENE),
    "two entries that agree": ("350 A C", [f"1 350 A C SpliceAI={entry('C', A, 50)}"] * 2, HALF),
    "two entries that disagree": (
        "350 A C", [f"1 350 A C SpliceAI={entry('C', A, n)}" for n in (50, 51)], "AMBIGUOUS OTHER_GENE"),
    "padded record": ("349 {}A {}C", [f"1 350 A C SpliceAI={entry('C', A, 50)}"], HALF),
    "padded row": ("350 A C", ["1 349 {0}A {0}C SpliceAI=" + entry("{0}C", A, 50)], HALF),
    # ACACACACA at 303-311: AC deleted at its left end, its right end and in between are one allele
    "right-shifted deletion": ("302 TAC T", [f"1 309 ACA A SpliceAI={entry('A', A, 50)}"], HALF),
    "left-aligned row of a shifted record": (
        "309 ACA A", [f"1 302 TAC T SpliceAI={entry('T', A, 50)}"], HALF),
    "padded and shifted deletion": (
        "302 TAC T", [f"1 309 ACATTG ATTG SpliceAI={entry('ATTG', A, 50)}"], HALF),
    "right-shifted insertion": ("302 T TAC", [f"1 311 A ACA SpliceAI={entry('ACA', A, 50)}"], HALF),
    "insertion before its anchor": ("302 T TAC", [f"1 312 T CAT SpliceAI={entry('CAT', A, 50)}"], HALF),
    # Illumina's indel files list an indel at each place of a repeat, with values of their own
    "the record's own place among those of a repeat": ("309 ACA A", REPEAT, "FOUND .34 OTHER_GENE"),
    "left-aligned place of a repeat": ("302 TAC T", REPEAT, "FOUND .1 OTHER_GENE"),
    "a place of a repeat that is not listed": ("307 ACA A", REPEAT, "FOUND .1 OTHER_GENE"),
    "the record's own place, padded": ("309 ACATTG ATTG", REPEAT, "FOUND .34 OTHER_GENE"),
    "the record's own row among padded ones": (
        "309 ACATTG ATTG", [*REPEAT, f"1 309 ACATTG ATTG SpliceAI={entry('ATTG', A, 60)}"], "FOUND .6 OTHER_GENE"),
    "neither own nor left-aligned place": ("307 ACA A", REPEAT[1:], "AMBIGUOUS OTHER_GENE"),
    "neither, but they agree": ("307 ACA A", REPEAT[1:2] * 2, "FOUND .2 OTHER_GENE"),
    "own rows that disagree": (
        "309 ACA A", [*REPEAT, f"1 309 ACA A SpliceAI={entry('A', A, 35)}"], "AMBIGUOUS OTHER_GENE"),
    "own row of one gene, left-aligned row of another": (
        "309 ACA A", [*REPEAT, f"1 302 TAC T SpliceAI={entry('T', 'GAMMA', 70)}"], "FOUND .34 FOUND .7"),
    "own row with dots": (
        "311 A ACA", [f"1 311 A ACA SpliceAI=ACA|{A}{DOTS}", f"1 302 T TAC SpliceAI={entry('TAC', A, 5)}"],
        "FOUND .05 OTHER_GENE"),
    "a longer deletion is another": ("302 TAC T", [f"1 302 TACAC T SpliceAI={entry('T', A, 50)}"], NO_ROW),
    "lower case": ("350 a c", [f"1 350 A C SpliceAI={entry('C', A, 50)}"], HALF),
    "a row that was split after scoring, single bases": (
        "350 A C", [f"1 350 A C SpliceAI={entry('C', A, 10)},{entry('T', A, 20)}"], "FOUND .1 OTHER_GENE"),
    "another number of subfields": ("350 A C", [f"1 350 A C SpliceAI=C|{A}|0.1|0.2"], "UNREADABLE UNREADABLE"),
    "no score but NaN": ("350 A C", [f"1 350 A C SpliceAI=C|{A}|nan|nan|nan|nan|1|2|3|4"], "MISSING OTHER_GENE"),
    "no place": ("350 A C", [f"1 350 A C SpliceAI=C|{A}|0.10|0.50|0.10|0.10|1|2.5|3|4"], "UNREADABLE UNREADABLE"),
    "no place on a chromosome": (
        "350 A C", [f"1 350 A C SpliceAI=C|{A}|0.10|0.50|0.10|0.10|1|2000000|3|4"], "UNREADABLE UNREADABLE"),
    "no number": ("350 A C", [f"1 350 A C SpliceAI=C|{A}|x|0.50|0.10|0.10|1|2|3|4"], "UNREADABLE UNREADABLE"),
    "no number, but for Python": (
        "350 A C", [f"1 350 A C SpliceAI=C|{A}|0.0_9|0.50|0.10|0.10|1|2|3|4"], "UNREADABLE UNREADABLE"),
    "no place, but for Python": (
        "350 A C", [f"1 350 A C SpliceAI=C|{A}|0.10|0.50|0.10|0.10|1|2_0|3|4"], "UNREADABLE UNREADABLE"),
    "no score": ("350 A C", [f"1 350 A C SpliceAI=C|{A}|1.50|0.50|0.10|0.10|1|2|3|4"], "UNREADABLE UNREADABLE"),
}  # fmt: skip


def expected(text):
    """Status and DS_MAX per gene; only FOUND has a value."""
    found, parts = [], text.split()
    while parts:
        status = parts.pop(0)
        value = parts.pop(0) if status == "FOUND" else "None"
        found.append((status, None if value == "None" else float(value)))
    return found


@pytest.mark.parametrize("case", CASES)
def test_what_an_allele_gets_from_a_file(case, annotator, tmp_path):
    record, rows, wanted = CASES[case]
    before = join_genome()[348]
    source = vcf(tmp_path / "in.vcf", [f"chr1 {record.format(before, before)}"])
    file = tabixed(tmp_path / "scores.vcf", [row.replace("{0}", before) for row in rows])
    found = annotated(annotator, source, f"spliceai={file}")
    by_gene = {row["SYMBOL"]: (row["SpliceAI_STATUS"], row["SpliceAI_DS_MAX"]) for row in found}
    assert [by_gene["ALPHA"], by_gene["GAMMA"]] == expected(wanted)


def test_every_field_comes_as_it_stands(annotator, tmp_path, source):
    text = "C|ALPHA|0.10|-0.00|0.91|0.02|-12|50|0|3"
    file = tabixed(tmp_path / "s.vcf", [f"1 350 A C SpliceAI={text}"])
    row = next(row for row in annotated(annotator, source, f"SpliceAI={file}") if row["SYMBOL"] == "ALPHA")
    names = ("DS_AG", "DS_AL", "DS_DG", "DS_DL", "DP_AG", "DP_AL", "DP_DG", "DP_DL", "DS_MAX")
    assert [row[f"SpliceAI_{name}"] for name in names] == [0.1, 0.0, 0.91, 0.02, -12, 50, 0, 3, 0.91]


@pytest.mark.parametrize(
    ("record", "row", "place"),
    [
        ("302 TAC T", "302 TAC T", 10),
        ("302 TAC T", "309 ACA A", 17),  # the site at 319 is 17 nt from 302
        ("309 ACA A", "302 TAC T", 3),
        ("309 ACA A", "309 ACATTG ATTG", 10),
    ],
)
def test_a_place_counts_from_the_records_own_pos(record, row, place, annotator, tmp_path):
    alt = row.split()[2]
    source = vcf(tmp_path / "in.vcf", [f"chr1 {record}"])
    file = tabixed(tmp_path / "s.vcf", [f"1 {row} SpliceAI={alt}|ALPHA|0.1|0|0.9|0|-300|.|10|0"])
    found = next(row for row in annotated(annotator, source, f"spliceai={file}") if row["SYMBOL"] == "ALPHA")
    assert found["SpliceAI_DP_DG"] == place
    assert found["SpliceAI_DP_AG"] == place - 310 and found["SpliceAI_DP_AL"] is None
    assert found["SpliceAI_DS_DG"] == 0.9


def test_snv_and_indel_files_answer_together(annotator, tmp_path):
    source = vcf(tmp_path / "in.vcf", ["chr1 302 TAC T", "chr1 350 A C", "chr1 2050 C G", "chr2 350 A C"])
    snv = tabixed(tmp_path / "snv,hg38.vcf", [f"1 350 A C SpliceAI={entry('C', A, 50)}"])
    indel = tabixed(tmp_path / "indel.vcf", [f"1 302 TAC T SpliceAI={entry('T', A, 20)}"])
    rows = annotated(annotator, source, f"spliceai={snv}", f"SPLICEAI={indel}")
    assert words(rows, "POS", "SYMBOL", "SpliceAI_STATUS", "SpliceAI_DS_MAX") == [
        (302, "ALPHA", "FOUND", 0.2), (302, "GAMMA", "OTHER_GENE", None),
        (350, "ALPHA", "FOUND", 0.5), (350, "GAMMA", "OTHER_GENE", None),
        (2050, "BETA", "NO_RECORD", None),
        (350, None, None, None),  # NO_GENE: there is no gene to ask for
    ]  # fmt: skip


SPLIT = f"{entry('A', A, 10)},{entry('ATT', A, 20)}"

# The record's REF and ALTs, the value of its key, and what ALPHA gets per ALT.
INFO_CASES = {
    "own entry": ("350 A C", f"SpliceAI={entry('C', A, 50)}", "FOUND .5"),
    "several ALTs": ("350 A C,T", f"SpliceAI={entry('T', A, 50)},{entry('C', A, 30)}", "FOUND .3 FOUND .5"),
    "no key": ("350 A C", "AC=1", "NO_KEY"),
    "no INFO": ("350 A C", ".", "NO_KEY"),
    "missing": ("350 A C", "SpliceAI=.", "MISSING"),
    "flag": ("350 A C", "SpliceAI", "MISSING"),
    "only the other gene": ("350 A C", f"SpliceAI={entry('C', 'GAMMA', 50)}", "OTHER_GENE"),
    "split from single bases": ("350 A T", f"SpliceAI={entry('C', A, 10)},{entry('T', A, 20)}", "FOUND .2"),
    "split, and the ALT has no entry": ("350 A G", f"SpliceAI={entry('C', A, 10)},{entry('T', A, 20)}", "NO_RECORD"),
    "split from longer ALTs, first": ("303 AC A", f"SpliceAI={SPLIT}", "AMBIGUOUS"),
    "split and trimmed, so that the ALT has other letters": ("303 A ATT", f"SpliceAI={SPLIT}", "AMBIGUOUS"),
    # REF AC with ALTs A and ACA was split and trimmed to A>A..: the text of the one is that of the other by accident
    "trimmed to the text of another": (
        "305 A AC", f"SpliceAI={entry('AC', A, 10)},{entry('A', A, 20)}", "AMBIGUOUS"),
    "ALT by letters in lower case": ("350 A c", f"SpliceAI={entry('C', A, 50)}", "FOUND .5"),
    "a symbolic ALT beside": ("350 A C,<NON_REF>", f"SpliceAI={entry('C', A, 50)}", "FOUND .5 None"),
}  # fmt: skip


@pytest.mark.parametrize("case", INFO_CASES)
def test_what_an_allele_gets_from_the_records_own_info(case, annotator, tmp_path):
    record, info, wanted = INFO_CASES[case]
    source = vcf(tmp_path / "in.vcf", [f"chr1 {record} {info}"], SPLICEAI)
    rows = annotated(annotator, source, "spliceai=info:SpliceAI")
    found = [(row["SpliceAI_STATUS"], row["SpliceAI_DS_MAX"]) for row in rows if row["SYMBOL"] in (A, None)]
    assert found == [(None if status == "None" else status, value) for status, value in expected(wanted)]


def test_subfields_stand_where_the_header_says(annotator, tmp_path):
    """As a program that adds a subfield and orders them otherwise declares them."""
    header = SPLICEAI.replace("ALLELE|SYMBOL|DS_AG|DS_AL", "SYMBOL|ALLELE|STRAND|DS_AL|DS_AG")
    info = "SpliceAI=ALPHA|C|+|0.11|0.22|0.33|0.44|1|2|3|4"
    source = vcf(tmp_path / "in.vcf", [f"chr1 350 A C {info}"], header)
    row = next(row for row in annotated(annotator, source, "spliceai=info:SpliceAI") if row["SYMBOL"] == A)
    assert [row[f"SpliceAI_DS_{e}"] for e in ("AG", "AL", "DG", "DL")] == [0.22, 0.11, 0.33, 0.44]


def test_a_definition_may_say_more_after_the_format(annotator, tmp_path):
    """Source and Version are VCF's own (1.4.2), and what a definition says of a file and of INFO is read alike."""
    more = SPLICEAI.replace('DP_DL">', 'DP_DL",Source="a, b",Version="1">').replace("ALLELE|SYMBOL", "SYMBOL|ALLELE")
    row = "350 A C SpliceAI=ALPHA|C|0.01|0.50|0.00|0.00|1|2|3|4"
    source, file = vcf(tmp_path / "in.vcf", [f"chr1 {row}"], more), tabixed(tmp_path / "s.vcf", [f"1 {row}"], more)
    for join in (f"spliceai={file}", "spliceai=info:SpliceAI"):
        rows = annotated(annotator, source, join)
        assert words(rows, "SpliceAI_STATUS", "SpliceAI_DS_MAX") == [("FOUND", 0.5), ("OTHER_GENE", None)]


def test_a_format_without_the_subfields_is_refused(annotator, tmp_path):
    source = vcf(tmp_path / "in.vcf", ["chr1 350 A C"], SPLICEAI.replace("DS_AG|", ""))
    with pytest.raises(SettingsError, match="lacks DS_AG"):
        annotated(annotator, source, "spliceai=info:SpliceAI")


def test_bcf_carries_the_same(annotator, tmp_path):
    text = vcf(
        tmp_path / "in.vcf", [f"chr1 350 A C,T SpliceAI={entry('C', A, 50)},{entry('T', 'GAMMA', 30)}"],
        SPLICEAI + "##contig=<ID=chr1>\n",
    )  # fmt: skip
    pysam.bcftools.view("-Ob", "-o", str(tmp_path / "b.bcf"), str(text), catch_stdout=False)
    of_text, of_bcf = (annotated(annotator, p, "spliceai=info:SpliceAI") for p in (text, tmp_path / "b.bcf"))
    assert of_text == of_bcf
    assert words(of_bcf, "ALT", "SYMBOL", "SpliceAI_STATUS", "SpliceAI_DS_MAX") == [
        ("C", "ALPHA", "FOUND", 0.5), ("C", "GAMMA", "OTHER_GENE", None),
        ("T", "ALPHA", "OTHER_GENE", None), ("T", "GAMMA", "FOUND", 0.3),
    ]  # fmt: skip


def test_a_key_that_the_header_does_not_declare_is_an_error(annotator, tmp_path, source):
    with pytest.raises(SettingsError, match="declares no INFO key SpliceAi"):
        annotated(annotator, source, "spliceai=info:SpliceAi")
    declaring = vcf(tmp_path / "more.vcf", ["chr1 350 A C"], SPLICEAI)
    with pytest.raises(SettingsError, match=r"found: +SpliceAI(.|\n)*did you mean SpliceAI"):
        annotated(annotator, declaring, "spliceai=info:SpliceAi")


def test_a_vcf_of_another_program_is_refused(annotator, tmp_path, source):
    file = tabixed(tmp_path / "s.vcf", ["1 350 A C Pangolin=."], PANGOLIN)
    with pytest.raises(SettingsError, match=r"no VCF of SpliceAI(.|\n)*ID=SpliceAI"):
        annotated(annotator, source, f"spliceai={file}")


# Record, entries of its first ALT, and what the ALTs get in ALPHA: status, increase, place, decrease, place, largest.
ONE, TWO = "ENSG01.3|12:0.4|-3:-0.25", "ENSG09.4_1|-7:0.01|8:-0.9"
FIRST = ("FOUND", 0.4, 12, -0.25, -3, 0.4)
PANGOLIN_CASES = {
    "one gene": ("350 A C", f"{ONE}|Warnings:", [FIRST]),
    "comma between genes": ("350 A C", f"{TWO}|Warnings:,{ONE}|Warnings:", [FIRST]),
    "nothing between genes": ("350 A C", f"{TWO}|Warnings:{ONE}|Warnings:", [FIRST]),
    "no warnings, and nothing between genes": ("350 A C", f"{TWO}{ONE}", [FIRST]),
    "a warning": ("350 A C", f"{ONE}|Warnings:NoAnnotatedSitesToMaskForThisGene", [FIRST]),
    "a warning before the next gene": (
        "350 A C", f"{TWO}|Warnings:NoAnnotatedSitesToMaskForThisGene{ONE}|Warnings:", [FIRST]),
    "zero": ("350 A C", "ENSG01.3|-50:0.0|-50:-0.0|Warnings:", [("FOUND", 0, -50, 0, -50, 0)]),
    "no score but NaN": ("350 A C", "ENSG01.3|1:nan|2:nan|Warnings:", [("MISSING", *[None] * 5)]),
    "no place on a chromosome": (
        "350 A C", f"ENSG01.3|{'9' * 5000}:0.4|-3:-0.25|Warnings:", [("UNREADABLE", *[None] * 5)]),
    "first ALT only": ("350 A C,T", f"{ONE}|Warnings:", [FIRST, ("NO_RECORD", None, None, None, None, None)]),
    "another gene": ("350 A C", f"{TWO}|Warnings:", [("OTHER_GENE", None, None, None, None, None)]),
    "every site above a cutoff (-s)": (
        "350 A C", "ENSG01.3|12:0.4|13:0.3|-3:-0.25|Warnings:", [("UNREADABLE", None, None, None, None, None)]),
    "two gains above a cutoff (-s)": (
        "350 A C", "ENSG01.3|12:0.4|13:0.3|Warnings:", [("UNREADABLE", None, None, None, None, None)]),
    "exons (--score_exons)": (
        "350 A C", "ENSG01.3_sites1|12:0.4|ENSG01.3_sites2|-3:-0.25|Warnings:",
        [("UNREADABLE", None, None, None, None, None)]),
}  # fmt: skip
PANGOLIN_FIELDS = tuple(
    f"Pangolin_{name}" for name in ("STATUS", "INCREASE", "INCREASE_POS", "DECREASE", "DECREASE_POS", "SCORE_MAX")
)


@pytest.mark.parametrize("case", PANGOLIN_CASES)
@pytest.mark.parametrize("way", ["info", "file"])
def test_pangolin(case, way, annotator, tmp_path):
    record, text, wanted = PANGOLIN_CASES[case]
    row = f"chr1 {record} Pangolin={text}"
    source = vcf(tmp_path / "in.vcf", [row], PANGOLIN)
    place = "info:Pangolin" if way == "info" else tabixed(tmp_path / "s.vcf", [row], PANGOLIN)
    rows = annotated(annotator, source, f"pangolin={place}")
    assert words([row for row in rows if row["SYMBOL"] == A], *PANGOLIN_FIELDS) == wanted


def test_a_file_that_was_split_after_pangolin_does_not_give_the_first_alts_scores(annotator, tmp_path):
    alleles = ["350 A C", "350 A T", "360 G C"]
    other = ONE.replace("0.4", "0.5")
    rows = [f"1 {one} Pangolin={text}|Warnings:" for one, text in zip(alleles, (ONE, ONE, other), strict=True)]
    file = tabixed(tmp_path / "s.vcf", rows, PANGOLIN)
    for one, wanted in zip(alleles, ["AMBIGUOUS", "AMBIGUOUS", "FOUND"], strict=True):
        found = annotated(annotator, vcf(tmp_path / "in.vcf", [f"chr1 {one}"]), f"pangolin={file}")
        assert [row["Pangolin_STATUS"] for row in found if row["SYMBOL"] == A] == [wanted]


@pytest.mark.parametrize("chunk", [1, 2, 1024])
def test_records_split_after_pangolin_do_not_get_the_first_alts_scores(chunk, tmp_path):
    """bcftools norm -m- gives each part the entries of the first ALT; no change anywhere may be true of all.

    Nothing says which part was the first. Where a chunk ends between them, the part before it is FOUND.
    """
    none = "ENSG01.3|-50:0.0|-50:-0.0|Warnings:"
    source = vcf(
        tmp_path / "in.vcf",
        [f"chr1 350 A C Pangolin={ONE}|Warnings:", f"chr1 350 A T Pangolin={ONE}|Warnings:",
         f"chr1 360 G C Pangolin={none}", f"chr1 360 G T Pangolin={none}",
         f"chr1 362 T C Pangolin={ONE}|Warnings:", f"chr1 2050 C G Pangolin={ONE}|Warnings:"],
        PANGOLIN,
    )  # fmt: skip
    open_annotator(tmp_path).close()
    options = Settings(scores=("LLR",), chunk_records=chunk)
    with Annotator(tmp_path / "g.fa", tmp_path / "g.gtf", backend="null", settings=options) as opened:
        rows = [row for row in annotated(opened, source, "pangolin=info:Pangolin") if row["SYMBOL"] != "GAMMA"]
    assert words(rows, "POS", "ALT", "Pangolin_STATUS", "Pangolin_SCORE_MAX") == [
        (350, "C", "FOUND" if chunk == 1 else "AMBIGUOUS", 0.4 if chunk == 1 else None), (350, "T", "AMBIGUOUS", None),
        (360, "C", "FOUND", 0), (360, "T", "FOUND", 0), (362, "C", "AMBIGUOUS", None), (2050, "G", "OTHER_GENE", None),
    ]  # fmt: skip


def test_every_word_is_documented_in_its_order():
    text = (ROOT / "docs" / "joins.md").read_text()
    rows = re.findall(r"^\| ([A-Z_]+) \|", text, re.MULTILINE)
    assert rows[1:] == [str(word) for word in Joined] == [str(word) for word in MEANINGS]  # the first is a heading


@pytest.mark.skipif(not shutil.which("bcftools"), reason="bcftools splits the records")
@pytest.mark.parametrize("how", ["-m-", "-m- -f", "-f", "-m- -f then -m+"])
def test_what_bcftools_norm_does_after_scoring_never_gives_another_alleles_value(how, annotator, tmp_path):
    """Records of several ALTs whose entries have a value of their own each; the haplotype says which is whose."""
    rng, bases = random.Random(5), join_genome()
    rows, values = [], {}
    for pos in [*range(296, 320), *range(330, 372)] * 3:
        ref = bases[pos - 1 : pos - 1 + rng.choice((1, 1, 2, 3, 4))]
        made = {
            rng.choice((ref[0] + rng.choice("ACGT") + ref[1:], ref[:1], rng.choice("ACGT") + ref[1:], ref[0] + ref[2:]))
            for _ in range(3)
        }
        alts = sorted(alt for alt in made - {ref} if alt)
        if not alts:
            continue
        entries = []
        for alt in alts:
            number = values.setdefault(haplotype(bases, pos, ref, alt), len(values) % 97 + 1)
            entries.append(entry(alt, A, number))
        rows.append(f"chr1 {pos} {ref} {','.join(alts)} SpliceAI={','.join(entries)}")
    rows.sort(key=lambda row: int(row.split()[1]))
    source = vcf(tmp_path / "in.vcf", rows, SPLICEAI + "##contig=<ID=chr1,length=5000>\n")
    (tmp_path / "g.fa").write_text(f">chr1\n{bases}\n")
    for number, step in enumerate(how.split(" then ")):
        words_ = step.replace("-f", f"-f {tmp_path / 'g.fa'}").split()
        done = subprocess.run(["bcftools", "norm", *words_, str(source)], check=True, capture_output=True)
        source = tmp_path / f"n{number}.vcf"
        source.write_bytes(done.stdout)
    counts = Counter()
    for row in annotated(annotator, source, "spliceai=info:SpliceAI"):
        if row["SYMBOL"] == A:
            counts[row["SpliceAI_STATUS"]] += 1
            if row["SpliceAI_STATUS"] == "FOUND":
                own = values[haplotype(bases, row["POS"], row["REF"], row["ALT"])]
                assert round(row["SpliceAI_DS_MAX"] * 100) == own, row
    assert counts["FOUND"] > 10 and (counts["AMBIGUOUS"] > 30 or how == "-f"), counts


def haplotype(bases, pos, ref, alt):
    assert bases[pos - 1 : pos - 1 + len(ref)] == ref
    return bases[: pos - 1] + alt + bases[pos - 1 + len(ref) :]
