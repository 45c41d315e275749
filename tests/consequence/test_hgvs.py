"""HGVS names of alleles and alleles of names: by hand on both strands, against VEP's, and there and back."""

from __future__ import annotations

import gzip
from functools import partial
from pathlib import Path
from random import Random

import pytest

from factories import FASTA, SHARED, reverse_complement, write_text
from splicebert_vep.consequence.hgvs import (
    Coordinates,
    HgvsName,
    Names,
    Place,
    genomic_name,
    is_hgvs,
    transcript_name,
)
from splicebert_vep.errors import BuildError, SettingsError
from splicebert_vep.genome.gene_build import compile_genes, load_table
from splicebert_vep.genome.gene_index import GeneIndex, Transcript
from splicebert_vep.genome.reference import Reference
from splicebert_vep.sequence.alleles import classify, normalise
from splicebert_vep.variants import Variant
from splicebert_vep_spec import Allele, Interval

DATA = SHARED / "data"
#: Exons in capitals at [10,20), [31,41), [53,63); the coding sequence is [15, 58), c.1 to c.20.
SEQUENCE = "ttgaccatga CCAGTATGAA gtaagtctcag GGATCATCAT gtgagttcatag TTTGACCCAA aacgtacgta".replace(" ", "")
EXONS = ((10, 20), (31, 41), (53, 63))
LENGTH = len(SEQUENCE)


def transcript(strand: str, cds: tuple[int, int] | None = (15, 58)) -> Transcript:
    """Return the transcript of SEQUENCE, or of its reverse complement on the other strand."""
    spans = [*EXONS, *([cds] if cds else [])]
    if strand == "-":
        spans = [(LENGTH - end, LENGTH - start) for start, end in spans]
    intervals = [Interval(*span) for span in spans]
    return Transcript("G", "S", "ENST1.2", "chr17", strand, tuple(intervals[:3]), intervals[3] if cds else None)


def sequence(strand: str) -> str:
    return SEQUENCE.upper() if strand == "+" else reverse_complement(SEQUENCE.upper())


def allele(strand: str, start: int, ref: str, alt: str) -> Allele:
    """Return the normalised allele of a change that is written along the transcript."""
    if strand == "-":
        start, ref, alt = LENGTH - start - len(ref), reverse_complement(ref), reverse_complement(alt)
    whole = sequence(strand)
    before = whole[start - 1]
    return normalise("chr17", start, before + ref, before + alt, fetcher(whole))


def fetcher(whole: str):
    return lambda start, end: whole[max(0, start) : end].encode()


CODING = {
    9: None, 10: "-5", 14: "-1", 15: "1", 19: "5", 20: "5+1", 25: "5+6", 26: "6-5", 30: "6-1", 31: "6", 40: "15",
    41: "15+1", 46: "15+6", 47: "16-6", 53: "16", 57: "20", 58: "*1", 62: "*5", 63: None,
}  # fmt: skip
#: The coding sequence is the middle exon: introns lie in the untranslated regions.
UTR_INTRONS = {10: "-10", 19: "-1", 20: "-1+1", 30: "1-1", 31: "1", 40: "10", 41: "10+1", 52: "*1-1", 53: "*1"}
NON_CODING = {10: "1", 20: "10+1", 26: "11-5", 31: "11", 62: "30"}


@pytest.mark.parametrize("strand", "+-")
@pytest.mark.parametrize(("cds", "labels"), [((15, 58), CODING), ((31, 41), UTR_INTRONS), (None, NON_CODING)])
def test_positions(strand: str, cds: tuple[int, int] | None, labels: dict[int, str | None]) -> None:
    where = Coordinates(transcript(strand, cds))
    bases = {at if strand == "+" else LENGTH - 1 - at: label for at, label in labels.items()}
    assert {base: where.label(base) for base in bases} == bases
    there = [base for base in range(LENGTH) if where.place(base)]
    assert there == list(range(where.start, where.end))
    assert [where.base(where.place(base)) for base in there] == there


#: Change along the transcript: start, REF, ALT, and its name by hand.
NAMED = [
    (10, "C", "T", "-5C>T"),
    (15, "A", "G", "1A>G"),
    (20, "G", "T", "5+1G>T"),
    (18, "A", "", "5del"),  # of AA: the last
    (18, "", "A", "5dup"),
    (33, "ATC", "", "13_15del"),  # of ATCATCAT
    (33, "", "ATC", "13_15dup"),
    (33, "", "ATCATC", "10_15dup"),  # all of its copies: one piece of the sequence twice
    (33, "", "TT", "7_8insTT"),
    (41, "", "C", "15_15+1insC"),
    (25, "", "GG", "5+5_5+6insGG"),
    (26, "", "GG", "5+6_6-5insGG"),
    (31, "GG", "TCA", "6_7delinsTCA"),
    (33, "AT", "CC", "8_9delinsCC"),
    (34, "TCAT", "ATGA", "9_12inv"),
    (33, "A", "GC", "8delinsGC"),
    (39, "ATGT", "", "14_15+2del"),
    (58, "C", "", "*3del"),
    (61, "A", "", "*5del"),  # AAAA go on behind the transcript, which has the first two
    (62, "", "A", "*5dup"),
    (9, "A", "C", None),
    (8, "GACC", "", None),  # begins before the transcript
    (10, "", "G", None),  # between its first base and the one before
    (60, "CAAA", "", None),
]


@pytest.mark.parametrize("strand", "+-")
@pytest.mark.parametrize(("start", "ref", "alt", "name"), NAMED)
def test_names_by_hand_are_equal_on_both_strands(strand: str, start: int, ref: str, alt: str, name: str | None) -> None:
    assert SEQUENCE[start : start + len(ref)].upper() == ref
    found = transcript_name(allele(strand, start, ref, alt), transcript(strand), fetcher(sequence(strand)))
    assert found == (None if name is None else f"ENST1.2:c.{name}")


def test_a_transcript_that_is_not_coding_has_n() -> None:
    found = transcript_name(allele("+", 20, "G", "T"), transcript("+", None), fetcher(sequence("+")))
    assert found == "ENST1.2:n.10+1G>T"


@pytest.mark.parametrize(
    ("contig", "assembly", "accession"),
    [
        ("chr17", "GRCh38", "NC_000017.11"), ("17", "GRCh37", "NC_000017.10"), ("X", "GRCh38", "NC_000023.11"),
        ("chr19", "GRCm39", "NC_000085.7"), ("CM000679.2", None, "NC_000017.11"),
        ("NC_000017.10", None, "NC_000017.10"),
        ("chrUn_KI270302v1", "GRCh38", "KI270302.1"), ("chr17", None, None), ("scaffold_1", "GRCh38", None),
    ],
)  # fmt: skip
def test_names_on_the_chromosome(contig: str, assembly: str | None, accession: str | None) -> None:
    # Deletion of the first A of GAA (16 to 18, 0-based): the last A is 1-based 20, on either strand's gene.
    found = genomic_name(Allele(contig, 18, "A", ""), assembly, fetcher(sequence("+")))
    assert found == (None if accession is None else f"{accession}:g.20del")


# ---- names that are given ------------------------------------------------------------------------------------------


def gff3(strand: str) -> str:
    one = transcript(strand)
    lines = [
        "17\te\tgene\t11\t63\t.\tS\t.\tID=gene:ENSG00000000001;Name=ALPHA;biotype=protein_coding;version=1",
        "17\te\tmRNA\t11\t63\t.\tS\t.\tID=transcript:ENST00000000001;Parent=gene:ENSG00000000001;version=2;"
        "transcript_id=ENST00000000001;tag=MANE_Select",
    ]
    for kind, intervals in (("exon", one.exons), ("CDS", [one.cds])):
        lines += [
            f"17\te\t{kind}\t{interval.start + 1}\t{interval.end}\t.\tS\t.\tParent=transcript:ENST00000000001"
            for interval in intervals
            if interval
        ]
    return "\n".join(lines).replace("\tS\t", f"\t{strand}\t") + "\n"


@pytest.fixture(scope="module", params="+-")
def found_by(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """Return strand, names and FASTA of a gene ALPHA on either strand."""
    folder = tmp_path_factory.mktemp("hgvs")
    table = compile_genes(
        write_text(folder, gff3(request.param)), assembly="GRCh38", refseq={"ENST00000000001.2": "NM_000001.5"}
    )
    (folder / "x.fa").write_text(f">chr17\n{sequence(request.param)}\n")
    with Reference(folder / "x.fa", assembly="GRCh38") as reference:
        yield request.param, Names(GeneIndex(table), reference), reference


def back(names: Names, reference: Reference, text: str) -> tuple[Allele, str]:
    """Return the normalised allele of a name, and the note."""
    variant, note = names.find(text)
    fetch = partial(reference.fetch, "chr17")
    assert fetch(variant.pos - 1, variant.pos - 1 + len(variant.ref)).decode() == variant.ref
    return normalise(variant.chrom, variant.pos, variant.ref, variant.alt, fetch), note


@pytest.mark.parametrize(("start", "ref", "alt", "name"), [row for row in NAMED if row[3]])
def test_a_name_is_its_allele(found_by, start: int, ref: str, alt: str, name: str) -> None:
    strand, names, reference = found_by
    assert back(names, reference, f"ENST00000000001.2:c.{name}") == (allele(strand, start, ref, alt), "")


@pytest.mark.parametrize(
    ("change", "start", "ref", "alt"),
    [
        ("5+1g>t", 20, "G", "T"), ("4_5delAA (p.?)", 18, "AA", ""), ("4_5del2", 18, "AA", ""), ("4del", 18, "A", ""),
        ("6-11G>T", 20, "G", "T"),  # from the farther exon
        ("10+1G>T", 20, "G", "T"),  # n. of a coding transcript counts from its first base
        ("8_10ATC[3]", 33, "", "ATC"), ("8ATC[1]", 33, "ATC", ""), ("8_13ATC[5]", 33, "", "ATCATCATC"),
        ("14_15delinsAC", 40, "T", "C"), ("4_5dupAA", 18, "", "AA"), ("9_12invTCAT", 34, "TCAT", "ATGA"),
    ],
)  # fmt: skip
def test_other_ways_to_write_a_change(found_by, change: str, start: int, ref: str, alt: str) -> None:
    strand, names, reference = found_by
    of = "ENST00000000001.2:n" if change.startswith("10+1") else "NM_000001.5(ALPHA):c"
    assert back(names, reference, f"{of}.{change}") == (allele(strand, start, ref, alt), "")


@pytest.mark.parametrize(
    ("reference", "note"),
    [
        ("NM_000001.5", ""), ("ENST00000000001.2", ""), ("NM_000001.5(ALPHA)", ""), ("NC_000017.11(NM_000001.5)", ""),
        ("NM_000001", "NM_000001 is read as NM_000001.5"),
        ("NM_000001.3", "NM_000001.3 is read as NM_000001.5, another version: positions may differ"),
        ("ENST00000000001", "ENST00000000001 is read as ENST00000000001.2"),
        ("ALPHA", "ALPHA is read on ENST00000000001.2 (NM_000001.5), its reported transcript (MANE_Select)"),
        ("NM_000001.5(BETA)", "NM_000001.5 is of ALPHA here, not of BETA"),
    ],
)  # fmt: skip
def test_transcripts_by_any_name(found_by, reference: str, note: str) -> None:
    strand, names, fasta = found_by
    assert back(names, fasta, f"{reference}:c.1A>G") == (allele(strand, 15, "A", "G"), note)


def test_a_position_may_have_commas() -> None:
    assert HgvsName.parse("NC_000017.11:g.43,047,641A>C").first == Place(43047641)


@pytest.mark.parametrize("name", ["NC_000017.11:g.16=", "chr17:g.16_18=", "ALPHA:c.1=", "ALPHA:c.8_13ATC[2]"])
def test_no_change(found_by, name: str) -> None:
    variant = found_by[1].find(name).variant
    assert classify(variant.ref, variant.alt).status == "NO_CHANGE"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("rs80357064", "dbSNP"), ("ALPHA:p.Met1Val", "protein"), ("NM_000001.5:r.1a>g", "c., n. and g."),
        ("NG_005905.2:g.10del", "transcript"), ("ALPHA:c.[1A>G;2T>C]", "one by one"), ("ALPHA:c.(1_2)_5del", "known"),
        ("ALPHA:c.(1A>G)", "known"), ("ALPHA:c.1_?del", "known"), ("ALPHA:c.1_2insN", "A, C, G, T"),
        ("ALPHA:c.1", "substitution"), ("ALPHA:c.1_2insAT[3]", "substitution"),
        ("ALPHA:c.1C>G", "the FASTA has A"), ("ALPHA:c.4_5delAC", "the FASTA has AA"), ("ALPHA:c.1C=", "FASTA has A"),
        ("ALPHA:c.4_5del3", "2 nt"), ("ALPHA:c.8_10CAG[3]", "copies"), ("NC_000017.11:g.16C>G", "the FASTA has"),
        ("ALPHA:c.4+1A>G", "last base of an exon"), ("ALPHA:c.5-1A>G", "first base of an exon"),
        ("ALPHA:c.5+12G>T", "at most 11 nt"), ("ALPHA:c.*5+1A>G", "last base of an exon"),
        ("ALPHA:c.21A>G", "c.1 to c.20"), ("ALPHA:c.-6A>G", "c.-1 to c.-5"), ("ALPHA:c.*6A>G", "c.*1 to c.*5"),
        ("ALPHA:c.0A>G", "c.1 to c.20"), ("ENST00000000001.2:n.31A>G", "n.1 to n.30"),
        ("NM_000001.5:n.10+1G>T", "its names have c."), ("ALPHA:n.10+1G>T", "its names have c."),
        ("ALPHA:n.*1A>G", "no positions"),
        ("NC_000017.11:g.16+1A>G", "no offsets"), ("NC_000017.11:g.74A>G", "73 nt"), ("NC_000017.11:g.0A>G", "73 nt"),
        ("ALPHA:c.5_1del", "behind"), ("ALPHA:c.1_3insA", "neighbouring"), ("ALPHA:c.1_2A>G", "FASTA has AT"),
        ("ALPHB:c.1A>G", "ALPHA?"), ("NM_000002.1:c.1A>G", "MANE Select"),
        ("NM_000002.1(ALPHA):c.1A>G", "NM_000001.5"), ("NC_000001.11:g.16A>G", "no contig"),
        ("NC_000001.11:c.16A>G", "no gene or transcript|no reported transcript"),
    ],
)  # fmt: skip
def test_names_that_are_refused(found_by, name: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        found_by[1].find(name)


@pytest.mark.parametrize("name", ["NC_000017.10:g.16A>G", "NC_000017.10(NM_000001.5):c.1A>G", "CM000679.1:g.16A>G"])
def test_an_accession_of_another_assembly(found_by, name: str) -> None:
    with pytest.raises(BuildError):
        found_by[1].find(name)


def test_a_transcript_that_is_not_coding_takes_no_c(tmp_path: Path) -> None:
    lines = [line for line in gff3("+").splitlines(keepends=True) if "\tCDS\t" not in line]
    table = compile_genes(write_text(tmp_path, "".join(lines)), assembly="GRCh38")
    (tmp_path / "x.fa").write_text(f">chr17\n{sequence('+')}\n")
    with Reference(tmp_path / "x.fa") as reference:
        names = Names(GeneIndex(table), reference)
        assert names.find("ALPHA:n.10+1G>T").variant.pos == 21  # of a transcript that is not coding
        with pytest.raises(SettingsError, match="not coding"):
            names.find("ALPHA:c.10+1G>T")


def test_an_annotation_of_refseq_has_its_own_names(tmp_path: Path) -> None:
    text = gff3("+").replace("version=2;transcript_id=ENST00000000001", "transcript_id=NM_000001.5")
    (tmp_path / "x.fa").write_text(f">chr17\n{sequence('+')}\n")
    with Reference(tmp_path / "x.fa") as reference:
        names = Names(GeneIndex(compile_genes(write_text(tmp_path, text))), reference)
        assert names.find("NM_000001.5:c.1A>G") == (Variant("chr17", 16, "A", "G"), "")
        assert names.find("NM_000001.4:c.1A>G").note.startswith("NM_000001.4 is read as NM_000001.5, another version")


def test_a_symbol_of_two_genes_needs_an_id(tmp_path: Path) -> None:
    twin = gff3("+").replace("17\te", "18\te").replace("ENSG00000000001", "ENSG00000000002").replace("ENST", "ENSTX")
    table = compile_genes(write_text(tmp_path, gff3("+") + twin), assembly="GRCh38")
    (tmp_path / "one.fa").write_text(f">chr17\n{sequence('+')}\n")
    (tmp_path / "both.fa").write_text(f">chr17\n{sequence('+')}\n>chr18\n{sequence('+')}\n")
    with Reference(tmp_path / "one.fa") as one, Reference(tmp_path / "both.fa") as both:
        assert Names(GeneIndex(table), one).find("ALPHA:c.1A>G").variant.chrom == "chr17"
        with pytest.raises(SettingsError, match="several genes"):
            Names(GeneIndex(table), both).find("ALPHA:c.1A>G")
        assert Names(GeneIndex(table), both).find("ENST00000000001.2:c.1A>G").variant.chrom == "chr17"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("NM_007294.4:c.5467+2T>G", True), ("BRCA1:c.68_69del", True), ("NC_000017.11:g.43047641A>C", True),
        (" rs80357064 ", True), ("NM_007294.4(BRCA1):c.68A>G (p.Asn23Ser)", True), ("17-43047641-A-C", False),
        ("17:43047641:A:C", False), ("chr17 43047641 A C", False), ("HLA-A*01:01-5-A-C", False),
    ],
)  # fmt: skip
def test_what_is_a_name(text: str, named: bool) -> None:
    assert is_hgvs(text) is named


# ---- real genes ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def brca1():
    with Reference(FASTA, assembly="GRCh38") as reference:
        yield GeneIndex(load_table("grch38")), reference


def test_there_and_back_on_real_genes(brca1) -> None:
    genes, reference = brca1
    names, chance, fetch = Names(genes, reference), Random(7), partial(reference.fetch, "chr17")
    number = 0
    for _ in range(600):
        start = chance.randrange(43_044_300, 43_126_000 - 60)
        size, count = chance.choice([(1, 1), (0, 1), (0, 4), (1, 0), (5, 0), (30, 0), (3, 2)])
        ref = fetch(start, start + 1 + size).decode()
        alt = ref[0] + "".join(chance.choices("ACGT", k=count))
        if classify(ref, alt):
            continue
        change = normalise("chr17", start + 1, ref, alt, fetch)
        for one in genes.transcripts("chr17", change.start, change.end):
            name = transcript_name(change, one, fetch)
            if name is not None:
                assert back(names, reference, name) == (change, ""), name
                number += 1
        named = genomic_name(change, "GRCh38", fetch)
        assert named and back(names, reference, named) == (change, "")
    assert number > 500


def test_names_equal_those_of_vep_and_clinvar() -> None:
    path = DATA / "vcf" / "clinvar.BRCA1.vep115.GRCh38.vcf.gz"
    if not path.exists():
        pytest.skip("the project's shared data is absent")
    genes, count = GeneIndex(load_table("grch38")), 0
    with Reference(DATA / "reference" / "GRCh38.subset.fa.gz") as reference, gzip.open(path, "rt") as lines:
        fetch = partial(reference.fetch, "chr17")
        for line in lines:
            if line.startswith("##INFO=<ID=CSQ"):
                columns = line.partition("Format: ")[2].split("|")
                feature, hgvsc = columns.index("Feature"), columns.index("HGVSc")
            if line.startswith("#"):
                continue
            _, pos, _, ref, alt, _, _, info = line.rstrip("\n").split("\t")[:8]
            keys = dict(item.partition("=")[::2] for item in info.split(";"))
            entries = [entry.split("|") for entry in keys["CSQ"].split(",")]
            [theirs] = [entry[hgvsc] for entry in entries if entry[feature] == "ENST00000357654"]
            count += 1
            if classify(ref, alt):
                assert "N" in alt  # the three that VEP does not name either
                assert not theirs
                continue
            change = normalise("chr17", int(pos), ref, alt, fetch)
            ours = [
                transcript_name(change, one, fetch)
                for one in genes.transcripts("17", change.start, change.end)
                if one.symbol == "BRCA1"
            ]
            assert (ours[0] or "") == theirs
            if "[" not in keys["CLNHGVS"]:  # ClinVar counts the copies of a repeat
                assert genomic_name(change, "GRCh38", fetch) == keys["CLNHGVS"]
    assert count == 2999
