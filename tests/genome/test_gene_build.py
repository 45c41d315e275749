"""Compiling annotations: the same genes from every format, the reported transcript, malformed files."""

from __future__ import annotations

import gzip
from pathlib import Path
from random import Random

import numpy as np
import pytest

from factories import ENSEMBL_GFF3, ENSEMBL_GTF, GENCODE_GFF3, REFSEQ_GFF3, choice_gff3, tabbed, write_text
from splicebert_vep.errors import AnnotationError
from splicebert_vep.genome.gene_build import BuildReport, compile_genes, load_table, read_contig_lengths, read_mane
from splicebert_vep.genome.gene_table import CHOICES, HAS_ACCEPTOR, HAS_DONOR, REPORTED

A, D, R = HAS_ACCEPTOR, HAS_DONOR, REPORTED


@pytest.mark.parametrize(
    ("text", "contig", "gene_ids", "transcript_ids", "assembly"),
    [
        (ENSEMBL_GFF3, "1", ("ENSG01.3", "ENSG02.1"), ("ENST01.7", "ENST03.2"), "GRCh38"),
        (GENCODE_GFF3, "chr1", ("ENSG01.3", "ENSG02.1"), ("ENST01.7", "ENST03.2"), "GRCh38"),
        (REFSEQ_GFF3, "NC_000001.11", ("11", "22"), ("NM_01.7", "NM_03.2"), "GRCh38.p14"),
        (ENSEMBL_GTF, "1", ("ENSG01.3", "ENSG02.1"), ("ENST01.7", "ENST03.2"), "GRCh38"),
    ],
    ids=["ensembl-gff3", "gencode-gff3", "refseq-gff3", "ensembl-gtf"],
)
def test_every_format_gives_the_same_genes(
    tmp_path: Path, text: str, contig: str, gene_ids: tuple[str, ...], transcript_ids: tuple[str, ...], assembly: str
) -> None:
    table = compile_genes(write_text(tmp_path, text))
    assert table.contigs == (contig,)
    assert table.gene_ids == gene_ids
    assert table.transcript_ids == transcript_ids
    assert table.symbols == ("ALPHA", "BETA")
    assert table.biotypes == ("protein_coding", "protein_coding")
    assert [CHOICES[row] for row in table.choice] == ["MANE_Select", "MANE_Select"]
    assert table.assembly == assembly
    assert table.gene_start.tolist() == [100, 2000]
    assert table.gene_end.tolist() == [600, 2300]
    assert table.gene_strand.tolist() == [1, -1]
    assert table.cds_start.tolist() == [150, 2050]  # with the stop codon, whichever format says it how
    assert table.cds_end.tolist() == [550, 2250]
    assert table.exon_offsets.tolist() == [0, 4, 6]
    # ALPHA: the last exon of T2 shares its start with the second of T1. BETA is on minus: the genomic right exon is
    # first in the transcript, so it has the donor and the left one the acceptor.
    assert list(zip(table.exon_start.tolist(), table.exon_end.tolist(), table.exon_flags.tolist(), strict=True)) == [
        (100, 200, D | R),
        (300, 400, A | D | R),
        (300, 450, A),
        (500, 600, A | R),
        (2000, 2100, A | R),
        (2200, 2300, D | R),
    ]


def test_splice_sites_lie_in_the_introns(tmp_path: Path) -> None:
    sites = compile_genes(write_text(tmp_path, ENSEMBL_GFF3)).splice_sites()
    # Plus: donors right after 200 and 400, acceptors before 300 and 500. Minus: donor before 2200, acceptor after 2100.
    assert sorted(tuple(row) for row in sites[1:].T.tolist()) == [
        (200, 1, 1), (298, 1, 0), (400, 1, 1), (498, 1, 0), (2100, -1, 0), (2198, -1, 1)
    ]  # fmt: skip


def test_contig_lengths_come_from_the_file_or_the_caller(tmp_path: Path) -> None:
    fai = tmp_path / "x.fai"
    fai.write_text("chr1\t4999\t6\t60\t61\nchr2\t77\t6\t60\t61\n", encoding="utf-8")
    path = write_text(tmp_path, ENSEMBL_GFF3)
    assert compile_genes(path).contig_lengths == {"1": 5000}
    # chr1 is the annotation's 1; chr2 is unknown to it and keeps its name.
    assert compile_genes(path, contig_lengths=read_contig_lengths(fai)).contig_lengths == {"1": 4999, "chr2": 77}
    fai.write_text("chr1 4999\n", encoding="utf-8")
    with pytest.raises(AnnotationError, match="line 1"):
        read_contig_lengths(fai)


def test_ensembl_75_gtf_has_no_versions_and_may_lack_gene_lines(tmp_path: Path) -> None:
    def gtf(contig: str, kind: str, first: int, last: int, number: int, biotype: str = "protein_coding") -> str:
        gene = (
            f'gene_id "ENSG{number}"; transcript_id "ENST{number}"; gene_name "ENSG{number}"; gene_biotype "{biotype}";'
        )
        return f"{contig} protein_coding {kind} {first} {last} . + . {gene}"

    text = "\n".join(
        [
            gtf("1", "exon", 101, 200, 1, "pseudogene"),  # not wanted
            gtf("1", "exon", 501, 600, 2),  # wanted, from its exons alone
            gtf("1", "exon", 301, 400, 2),
            gtf("X", "transcript", 101, 400, 3),  # pseudoautosomal: same ids
            gtf("X", "exon", 101, 200, 3),
            gtf("X", "exon", 301, 400, 3),
            gtf("Y", "transcript", 1101, 1400, 3),
            gtf("Y", "exon", 1101, 1200, 3),
            gtf("Y", "exon", 1301, 1400, 3),
        ]
    )
    table = compile_genes(write_text(tmp_path, text))
    assert table.gene_ids == ("ENSG2", "ENSG3", "ENSG3")
    assert [table.contigs[row] for row in table.gene_contig] == ["1", "X", "Y"]
    assert (table.gene_start.tolist(), table.gene_end.tolist()) == ([300, 100, 1100], [600, 400, 1400])
    assert np.diff(table.exon_offsets).tolist() == [2, 2, 2]
    assert table.symbols == (None, None, None)  # the source repeats the gene id for want of a symbol
    assert table.assembly is None


SPLICEAI = "#NAME CHROM STRAND TX_START TX_END EXON_START EXON_END\n".replace(" ", "\t")


def test_spliceai_table_starts_are_0_based(tmp_path: Path) -> None:
    rows = """ALPHA 1 + 100 600 100,300,500, 200,400,600,
    BETA 1 - 2000 2300 2000,2200 2100,2300
    MT-X MT - 2000 2300 2000,2200 2100,2300
    """
    table = compile_genes(write_text(tmp_path, SPLICEAI + rows, "grch38.txt"))
    assert table.gene_ids == table.symbols == table.transcript_ids == ("ALPHA", "BETA")
    assert table.biotypes == ("unspecified", "unspecified")
    assert [CHOICES[row] for row in table.choice] == ["smallest_id", "smallest_id"]
    assert table.cds_start.tolist() == table.cds_end.tolist() == [-1, -1]
    assert table.exon_start.tolist() == [100, 300, 500, 2000, 2200]
    assert table.exon_flags.tolist() == [D | R, A | D | R, A | R, A | R, D | R]


@pytest.mark.parametrize(
    ("transcripts", "reported", "why"),
    [
        ([("T1", "Ensembl_canonical", 90), ("T2", "basic,MANE_Select", 30)], "T2", "MANE_Select"),
        ([("T1", "Ensembl_canonical", 90), ("T2", "MANE Plus Clinical", 30)], "T2", "MANE_Plus_Clinical"),
        ([("T1", "basic", 90), ("T2", "Ensembl_canonical", 30)], "T2", "Ensembl_canonical"),
        ([("T1", "basic", 30), ("T2", "basic", 90), ("T3", "basic", 90)], "T2", "longest_CDS"),
        ([("T3", "basic", 0), ("T2", "basic", 0)], "T2", "smallest_id"),
        ([("T1", "basic", 0), ("T2", "basic", 3)], "T2", "longest_CDS"),
    ],
)
def test_reported_transcript(tmp_path: Path, transcripts: list[tuple[str, str, int]], reported: str, why: str) -> None:
    table = compile_genes(write_text(tmp_path, choice_gff3(*transcripts)))
    assert table.transcript_ids == (reported,)
    assert CHOICES[int(table.choice[0])] == why


@pytest.mark.parametrize("older", ["ENST2.4", "ENST2", "ENST2.4_5", "ENST2.4_PAR_Y"])
def test_mane_from_another_table_counts_without_the_version(tmp_path: Path, older: str) -> None:
    newer = compile_genes(write_text(tmp_path, choice_gff3(("ENST2.9", "MANE_Select", 30))))
    path = write_text(tmp_path, choice_gff3(("ENST1.1", "basic", 90), (older, "basic", 30)), "older.gff3")
    assert compile_genes(path).transcript_ids == ("ENST1.1",)
    table = compile_genes(path, mane_from=newer)
    assert table.transcript_ids == (older,)
    assert CHOICES[int(table.choice[0])] == "MANE_Select"


def test_refseq_names_are_of_the_very_version(tmp_path: Path) -> None:
    summary = tmp_path / "mane.txt.gz"
    lines = ["#NCBI_GeneID\tRefSeq_nuc\tEnsembl_nuc\tMANE_status", "1\tNM_1.5\tENST1.2\tMANE Select"]
    summary.write_bytes(gzip.compress("\n".join(lines).encode()))
    names = read_mane(summary)
    assert names == {"ENST1.2": "NM_1.5"}
    same, other = (write_text(tmp_path, choice_gff3((f"ENST1.{v}", "MANE_Select", 30)), f"{v}.gff3") for v in (2, 3))
    table = compile_genes(same, refseq=names)
    assert table.refseq_ids == ("NM_1.5",)
    assert table.digest == compile_genes(same).digest  # no gene context holds it
    table.save(tmp_path / "x.genes.parquet")
    assert load_table(tmp_path / "x.genes.parquet").refseq_ids == ("NM_1.5",)
    assert compile_genes(same, mane_from=table).refseq_ids == ("NM_1.5",)
    assert compile_genes(other, refseq=names).refseq_ids == (None,)
    # Of exons with a gap of a base, positions of RefSeq's sequence, which has the base, are others.
    cut = write_text(tmp_path, same.read_text().replace("101\t200", "101\t299"), "cut.gff3")
    assert compile_genes(cut, refseq=names).refseq_ids == (None,)
    summary.write_text("a\tb\n")
    with pytest.raises(AnnotationError, match="MANE's summary"):
        read_mane(summary)


@pytest.mark.parametrize("strand", "+-")
@pytest.mark.parametrize(
    ("exons", "cds", "same"),
    [
        ([(101, 200), (301, 400), (501, 600)], (151, 550), True),
        ([(91, 200), (301, 400), (501, 650)], (151, 550), True),  # longer outer ends move no position of c.
        ([(101, 200), (302, 400), (501, 600)], (151, 550), False),  # an intron elsewhere
        ([(101, 200), (301, 400), (501, 600)], (151, 553), False),  # c.*1 elsewhere
        ([(101, 200), (301, 400), (501, 600)], (148, 550), False),  # c.1 elsewhere
        ([(101, 200), (301, 400)], (151, 350), False),
        ([(101, 200), (301, 400), (501, 600)], None, False),
    ],
)
def test_refseq_names_of_another_build_need_equal_positions(tmp_path: Path, strand, exons, cds, same) -> None:
    def text(identifier, exons, cds):
        spans = [("exon", one) for one in exons] + ([("CDS", cds)] if cds else [])
        ends = f"{exons[0][0]} {exons[-1][1]} . {strand} ."
        head = [f"1 x gene {ends} ID=g;gene_id=G;biotype=protein_coding", f"1 x mRNA {ends} ID=t;Parent=g;"
                f"transcript_id={identifier};tag=MANE_Select"]  # fmt: skip
        return "\n".join(head + [f"1 x {kind} {a} {b} . {strand} . Parent=t" for kind, (a, b) in spans])

    first = write_text(tmp_path, text("ENST00000000001.2", [(101, 200), (301, 400), (501, 600)], (151, 550)))
    newer = compile_genes(first, refseq={"ENST00000000001.2": "NM_1.5"})
    if strand == "-":  # the mirrored numbers
        exons, cds = [(701 - b, 701 - a) for a, b in exons[::-1]], cds and (701 - cds[1], 701 - cds[0])
    older = write_text(tmp_path, text("ENST00000000001", exons, cds), "older.gff3")
    assert compile_genes(older, mane_from=newer).refseq_ids == ("NM_1.5" if same else None,)


def test_a_gap_of_a_few_nt_is_no_intron(tmp_path: Path) -> None:
    text = """
    1 x gene 101 400 . + . ID=g;gene_id=G;biotype=protein_coding
    1 x mRNA 101 400 . + . ID=t;Parent=g;transcript_id=T
    1 x exon 101 200 . + . Parent=t
    1 x exon 203 300 . + . Parent=t
    1 x exon 311 400 . + . Parent=t
    """
    # 200 to 203 leaves 2 nt, a frameshift; 300 to 311 leaves 10 nt.
    assert compile_genes(write_text(tmp_path, text)).exon_flags.tolist() == [R, D | R, A | R]


def test_parents_after_children_several_parents_and_exons_of_the_gene_itself(tmp_path: Path) -> None:
    text = """
    1 x exon 101 200 . + . Parent=t1,t2
    1 x exon 301 400 . + . Parent=t1
    1 x mRNA 101 400 . + . ID=t1;Parent=g;transcript_id=T1
    1 x mRNA 101 200 . + . ID=t2;Parent=g;transcript_id=T2
    1 x gene 101 400 . + . ID=g;gene_id=G;biotype=protein_coding
    1 x gene 601 700 . - . ID=h;gene_id=H;biotype=lncRNA
    1 x exon 601 700 . - . Parent=h
    """
    table = compile_genes(write_text(tmp_path, text))
    assert table.gene_ids == ("G", "H")
    assert table.transcript_ids == ("T1", "H")
    assert table.exon_flags.tolist() == [D | R, A | R, R]


def test_gzip_and_suffix_do_not_matter(tmp_path: Path) -> None:
    plain = compile_genes(write_text(tmp_path, ENSEMBL_GTF, "genes.dat"))
    packed = tmp_path / "genes.txt"
    packed.write_bytes(gzip.compress(tabbed(ENSEMBL_GTF).replace("\n", "\r\n").encode()))
    assert compile_genes(packed).digest == plain.digest


@pytest.mark.parametrize(
    "line",
    [
        "1\tx\texon\t101\t200\t.\t+\t.\n",  # 8 columns
        "1\tx\texon\tten\t200\t.\t+\t.\tParent=transcript:ENST01\n",
        "1\tx\texon\t201\t200\t.\t+\t.\tParent=transcript:ENST01\n",
        "1\tx\texon\t0\t200\t.\t+\t.\tParent=transcript:ENST01\n",
        "##sequence-region 1\n",
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "bad.gff3"
    lines = tabbed(ENSEMBL_GFF3).splitlines(keepends=True)
    path.write_text("".join([*lines[:6], line, *lines[6:]]), encoding="utf-8")
    with pytest.raises(AnnotationError, match="bad.gff3, line 7"):
        compile_genes(path)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"{SPLICEAI}ALPHA 1 + 100 600 100,300, 200,", 2),
        (f"{SPLICEAI}ALPHA 1 + 100 600 100,300, 200,300,", 2),
    ],
)
def test_a_malformed_line_of_another_format_is_named(tmp_path: Path, text: str, line: int) -> None:
    with pytest.raises(AnnotationError, match=f"bad.txt, line {line}"):
        compile_genes(write_text(tmp_path, text, "bad.txt"))


def test_no_gene_of_the_wanted_biotypes_tells_which_there_are(tmp_path: Path) -> None:
    path = write_text(tmp_path, ENSEMBL_GFF3)
    with pytest.raises(AnnotationError, match=r"protein_coding \(2\), processed_pseudogene \(1\)"):
        compile_genes(path, biotypes=("antisense",))
    assert compile_genes(path, biotypes=("processed_pseudogene",)).gene_ids == ("ENSG03.1",)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "holds no features"),
        (b"##gff-version 3\n", "holds no features"),
        (b"##fileformat=VCFv4.2\n1\t2\t.\tA\tC\n", "unknown format"),
        (gzip.compress(b"##gff-version 3\n" * 100, mtime=0)[:-12], "cannot be read to its end"),
    ],
)
def test_a_file_that_is_no_annotation(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "x.gff3"
    path.write_bytes(data)
    with pytest.raises(AnnotationError, match=message):
        load_table(path)


def _layout(style: str) -> str:
    """Return the genes of ENSEMBL_GTF as other sources write them."""
    names = {"ENST01": "NM_01.7", "ENST02": "NR_02.1", "ENST03": "NM_03.2"}
    genes = {"ENSG01": ("ALPHA", 11), "ENSG02": ("BETA", 22)}
    lines, described = [], []
    for line in ENSEMBL_GTF.strip().splitlines():
        if line[0] == "#":
            continue
        _, _, kind, *columns, text = line.split(None, 8)
        gene = next(word for word in genes if word in text)
        transcript = next((word for word in names if word in text), "")
        symbol, number = genes[gene]
        name, short = names.get(transcript, ""), names.get(transcript, "").partition(".")[0]
        about = (
            f'gene_id "{symbol}"; transcript_id "{name}"; db_xref "GeneID:{number}"; db_xref "HGNC:5"; gene "{symbol}";'
        )
        mane = ' tag "MANE Select";' if transcript != "ENST02" else ""
        contig = "NC_000001.11" if "ncbi" in style else "chr1"
        if style == "stringtie":
            about = f'transcript_id "{gene}.{transcript[-1:]}"; gene_id "{gene}"; ref_gene_name "{symbol}";'
        elif style == "ucsc":
            about = f'gene_id "{symbol}"; transcript_id "{short}"; exon_number "1"; gene_name "{symbol}";'
        elif style == "ucsc-gff3":
            kind = "CDS" if kind == "stop_codon" else kind
            about = f"ID={short};geneID={symbol};gene_name={symbol}" if kind == "transcript" else f"Parent={short}"
        elif kind == "gene":
            about += ' gene_biotype "protein_coding";'
        else:
            about += f' transcript_biotype "mRNA";{mane}'
        row = " ".join([contig, "x", kind, *columns, about])
        if kind == "gene":
            described += [row] if "ncbi" in style else []
        elif style != "stringtie" or kind in ("transcript", "exon"):
            lines.append(row)
    return "\n".join(["##x", *(lines + described if style == "ncbi-sorted" else described + lines)])


@pytest.mark.parametrize(
    ("style", "ids", "transcripts", "biotype"),
    [
        ("ncbi", ("11", "22"), ("NM_01.7", "NM_03.2"), "protein_coding"),
        ("ncbi-sorted", ("11", "22"), ("NM_01.7", "NM_03.2"), "protein_coding"),
        ("ucsc", ("ALPHA", "BETA"), ("NM_01", "NM_03"), "unspecified"),
        ("ucsc-gff3", ("ALPHA", "BETA"), ("NM_01", "NM_03"), "unspecified"),
        ("stringtie", ("ENSG01", "ENSG02"), ("ENSG01.1", "ENSG02.3"), "unspecified"),
    ],
)
def test_layouts_of_other_sources_give_the_genes_of_ensembls(
    tmp_path: Path, style: str, ids: tuple[str, ...], transcripts: tuple[str, ...], biotype: str
) -> None:
    ensembl = compile_genes(write_text(tmp_path, ENSEMBL_GTF))
    report = BuildReport()
    table = compile_genes(write_text(tmp_path, _layout(style)), report=report)
    assert (table.gene_ids, table.transcript_ids) == (ids, transcripts)
    assert table.symbols == ensembl.symbols == ("ALPHA", "BETA")
    assert table.biotypes == (biotype, biotype)
    numbers = ["gene_start", "gene_end", "gene_strand", "exon_offsets", "exon_start", "exon_end", "exon_flags"]
    for name in numbers if style == "stringtie" else [*numbers, "cds_start", "cds_end"]:
        assert getattr(table, name).tolist() == getattr(ensembl, name).tolist(), name
    assert not report.left_out
    assert (report.kept["genes"], report.kept["transcripts"], report.kept["exons"]) == (2, 3, 7)


@pytest.mark.parametrize("text", [ENSEMBL_GTF, ENSEMBL_GFF3, REFSEQ_GFF3, _layout("ncbi"), _layout("ucsc-gff3")])
def test_the_order_of_lines_does_not_matter(tmp_path: Path, text: str) -> None:
    lines, random = text.strip().splitlines(), Random(1)
    digest = compile_genes(write_text(tmp_path, text)).digest
    for _ in range(20):
        random.shuffle(lines)
        assert compile_genes(write_text(tmp_path, "\n".join(lines))).digest == digest


def test_one_contig_under_two_names_is_one(tmp_path: Path) -> None:
    lines = ENSEMBL_GFF3.replace("\n1 havana", "\nchr1 havana", 12)
    assert {line.split()[0] for line in lines.split("\n") if "ALPHA" in line} == {"chr1"}
    table = compile_genes(write_text(tmp_path, lines))
    assert (table.contigs, table.gene_ids) == (("chr1",), ("ENSG01.3", "ENSG02.1"))
    twice = "\n".join(["##x", *(line.replace("1 havana", f"{name} havana", 1) for name in ("chr1", "1")
                                for line in ENSEMBL_GFF3.split("\n") if line[:1] == "1")])  # fmt: skip
    again = compile_genes(write_text(tmp_path, twice))
    assert again.digest == compile_genes(write_text(tmp_path, ENSEMBL_GFF3.replace("\n1 ", "\nchr1 "))).digest


GENE_G = "1 x gene 4001 4100 . + . ID=g;gene_id=G;biotype=lncRNA\n"


@pytest.mark.parametrize(
    ("lines", "unit", "count"),
    [
        ("1 x exon 101 200 . + . Name=E", "exons", 1),
        ("1 x exon 101 200 . + . Parent=nobody,neither", "exons", 2),
        ("1 x exon 101 200 . + . Parent=a;Parent=b", "exons", 1),
        ("1 x mRNA 101 200 . + . ID=t;Parent=nobody\n1 x exon 101 200 . + . Parent=t", "transcripts", 1),
        ("1 x mRNA 101 200 . + . ID=t\n1 x exon 101 200 . + . Parent=t", "transcripts", 1),
        ("1 x gene 101 200 . + . Name=E", "genes", 1),
        ("1 x gene 101 200 . + . ID=a;ID=b", "genes", 1),
        (GENE_G, "genes", 1),
        (f"{GENE_G}1 x mRNA 4001 4100 . + . ID=t;Parent=g", "transcripts", 1),  # no exons
        (f"{GENE_G}1 x exon 4001 4100 . + . Parent=g\n1 x exon 4201 4300 . - . Parent=g", "transcripts", 1),
        (GENE_G.replace("+", ".") + "1 x exon 4001 4100 . . . Parent=g", "genes", 1),
        (
            GENE_G + "1 x mRNA 4001 4100 . + . ID=t;Parent=g\n1 x mRNA 4301 4400 . + . ID=t;Parent=g\n"
            "1 x exon 4001 4100 . + . Parent=t\n1 x exon 4301 4400 . + . Parent=t", "transcripts", 1,
        ),
        ("chrM x gene 1 200 . + . ID=m;biotype=protein_coding", "genes", 1),
    ],
)  # fmt: skip
def test_lines_that_cannot_be_used_are_counted_and_the_rest_is_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, lines: str, unit: str, count: int
) -> None:
    before, report = BuildReport(), BuildReport()
    clean = compile_genes(write_text(tmp_path, ENSEMBL_GFF3), report=before)
    assert not caplog.records
    table = compile_genes(write_text(tmp_path, f"{ENSEMBL_GFF3.rstrip()}\n{lines}"), report=report)
    assert table.digest == clean.digest
    added = report.left_out - before.left_out
    assert [number for (kind, why), number in added.items() if kind == unit and "belong" not in why] == [count]
    assert bool(caplog.records) is ("chrM" not in lines)  # nobody expects genes there
    for kind in ("genes", "transcripts", "exons"):
        rows = [(int(number.replace(",", "")), fate) for feature, number, fate in report.rows() if feature == kind]
        assert rows[0][0] == sum(number for number, _ in rows[1:])
        assert [fate for _, fate in rows[:2]] == ["read", "kept"]


@pytest.mark.parametrize("attribute", ['gene_id "ENSG02"; ', 'transcript_id "ENST03"; '])
def test_gtf_lines_without_an_id_are_counted(tmp_path: Path, attribute: str) -> None:
    report, broken = BuildReport(), ENSEMBL_GTF.replace(attribute, "")
    assert compile_genes(write_text(tmp_path, broken), report=report).gene_ids == ("ENSG01.3",)
    assert {unit: number for (unit, why), number in report.left_out.items() if "_id" in why}["exons"] == 2


def _gtf(gene: str, transcript: str, start: int, strand: str, line: bool = False) -> str:
    about = f'gene_id "{gene}"; transcript_id "{transcript}"; gene_biotype "lncRNA";'
    rows = [("exon", start, start + 99), ("exon", start + 200, start + 299)]
    rows += [("gene", start, start + 299)] * line
    return "".join(f"1 x {kind} {first} {last} . {strand} . {about}\n" for kind, first, last in rows)


@pytest.mark.parametrize("line", [True, False])
@pytest.mark.parametrize(
    ("places", "genes"),
    [
        ([(101, "+"), (9001, "+")], [(100, 400, 1), (9000, 9300, 1)]),  # one id at two places: two genes
        ([(101, "+"), (9001, "-")], [(100, 400, 1), (9000, 9300, -1)]),
        ([(101, "+"), (251, "+"), (351, "+")], [(100, 650, 1)]),
        ([(101, "+"), (251, "+"), (351, "-")], [(100, 550, 1)]),  # on both strands of one place: the larger
        ([(101, "."), (251, "+")], [(100, 550, 1)]),
    ],
)
def test_a_gene_is_what_overlaps_on_one_strand(
    tmp_path: Path, places: list[tuple[int, str]], genes: list[tuple[int, int, int]], line: bool
) -> None:
    text = "".join(_gtf("G", f"T{number}", start, strand, line) for number, (start, strand) in enumerate(places))
    table = compile_genes(write_text(tmp_path, text))
    found = zip(table.gene_start.tolist(), table.gene_end.tolist(), table.gene_strand.tolist(), strict=True)
    assert list(found) == genes
    assert set(table.gene_ids) == {"G"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "1 x mRNA 101 200 . + . ID=t\n1 x exon 101 200 . + . Parent=t",
            "no genes(.|\n)*their gene is not in the file",
        ),
        (GENE_G, "no exons(.|\n)*lncRNA"),
        (f"{GENE_G}1 x mRNA 4001 4100 . + . ID=t;Parent=g\n1 x CDS 4001 4100 . + . Parent=t", "no exons"),
        (GENE_G.replace("+", ".") + "1 x exon 4001 4100 . . . Parent=g", "No gene(.|\n)*no strand"),
        ("MT x gene 1 200 . + . ID=m;biotype=lncRNA", "no genes(.|\n)*mitochondrial"),
        (GENE_G.replace("lncRNA", "tRNA") + "1 x exon 4001 4100 . + . Parent=g", r"wanted biotypes(.|\n)*tRNA \(1\)"),
    ],
)
def test_an_annotation_without_usable_genes_is_told_the_cause(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(AnnotationError, match=message):
        compile_genes(write_text(tmp_path, text))
