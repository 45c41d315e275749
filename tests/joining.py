"""A small genome with overlapping genes, and what a run with joins says on it; for the tests of joins."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pysam

from gene_snippets import ENSEMBL_GTF, tabbed
from splicebert_vep import Annotator, Settings

_GAMMA = 'gene_id "ENSG09"; gene_version "4"; gene_name "GAMMA"; gene_biotype "protein_coding";'
_T9 = f'{_GAMMA} transcript_id "ENST09"; transcript_version "1"; tag "basic";'
#: ALPHA (ENSG01.3, plus) and GAMMA (ENSG09.4, minus) share 101-600; BETA (ENSG02.1, minus) lies at 2001-2300.
GTF = f"""{ENSEMBL_GTF.rstrip()}
1 havana gene        101  600  . - . {_GAMMA}
1 havana transcript  101  600  . - . {_T9}
1 havana exon        101  200  . - . {_T9}
1 havana exon        401  600  . - . {_T9}
"""
#: 1-based place -> bases that lie there. 303-311 is ACACACACA between T and T.
PLANTED = {301: "GTACACACACATTG", 350: "A", 360: "GCTT", 2050: "C"}

HEADER = "##fileformat=VCFv4.2\n{more}#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
SPLICEAI = (
    '##INFO=<ID=SpliceAI,Number=.,Type=String,Description="SpliceAIv1.3.1 variant annotation. Format: '
    'ALLELE|SYMBOL|DS_AG|DS_AL|DS_DG|DS_DL|DP_AG|DP_AL|DP_DG|DP_DL">\n'
)
PANGOLIN = (
    '##INFO=<ID=Pangolin,Number=.,Type=String,Description="Pangolin splice scores. '
    'Format: gene|pos:score_change|pos:score_change|warnings,...">\n'
)


def genome(seed: int = 1) -> str:
    """The bases of chr1; other seeds are other builds of it."""
    bases = bytearray(random.Random(seed).choices(b"ACGT", k=5000))
    for place, planted in PLANTED.items():
        bases[place - 1 : place - 1 + len(planted)] = planted.encode()
    return bases.decode()


def open_annotator(folder: Path, **settings) -> Annotator:
    """An annotator on that genome without a model."""
    fasta, gtf = folder / "g.fa", folder / "g.gtf"
    fasta.write_text(f">chr1\n{genome()}\n>chr2\n{genome(2)}\n")
    gtf.write_text(tabbed(GTF))
    return Annotator(fasta, gtf, backend="null", settings=Settings(**settings))


def vcf(path: Path, rows: list[str], more: str = "") -> Path:
    """Write a VCF; a row is ``contig pos ref alt [info]``."""
    lines = []
    for row in rows:
        chrom, pos, ref, alt, *info = row.split(" ")
        lines.append("\t".join((chrom, pos, ".", ref, alt, ".", ".", info[0] if info else ".")) + "\n")
    path.write_text(HEADER.format(more=more) + "".join(lines))
    return path


def tabixed(path: Path, rows: list[str], more: str = SPLICEAI) -> Path:
    """Write a VCF that tabix can read by place."""
    vcf(path, sorted(rows, key=lambda row: (row.split(" ")[0], int(row.split(" ")[1]))), more)
    return Path(pysam.tabix_index(str(path), preset="vcf", force=True))


def table(path: Path, lines: list[str], **columns) -> Path:
    """Write a table of words that tabix can read by place."""
    path.write_text("".join(line.replace(" ", "\t") + "\n" for line in lines))
    columns = {"seq_col": 0, "start_col": 1, "end_col": 1, **columns}
    return Path(pysam.tabix_index(str(path), force=True, **columns))


def annotated(annotator: Annotator, source: Path, *joins: str, **options) -> list[dict]:
    """What the run says, one row per allele and gene."""
    out = source.with_suffix(".jsonl")
    annotator.annotate(source, "-", emit=[f"jsonl={out}"], join=joins, **options)
    return [json.loads(line) for line in out.read_text().splitlines()[1:]]


def words(rows: list[dict], *fields: str) -> list[tuple]:
    """Some columns of the rows."""
    return [tuple(row[field] for field in fields) for row in rows]
