"""``genes``: compile a gene annotation into a table, and say what a table holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cloup

from ..errors import shortened
from ..files import check_place
from ..genome.ids import DEFAULT_BIOTYPES
from .options import PATH, json_option, print_json, print_table, say

if TYPE_CHECKING:
    from ..genome.gene_table import GeneTable

_EPILOG = """\b
Examples:
  splicebert-vep genes info grch38
  splicebert-vep genes build genes.gff3.gz -O mine.genes.parquet
"""
_BUILD_EPILOG = """\b
Examples:
  splicebert-vep genes build Homo_sapiens.GRCh38.113.gff3.gz -O ensembl113.genes.parquet
  splicebert-vep genes build gencode.gtf.gz -O gencode.genes.parquet --biotype protein_coding --biotype lncRNA
  splicebert-vep genes build refseq.gff3.gz -O refseq.genes.parquet --mane-from grch38 --contig-lengths GRCh38.fa.fai
"""
_INFO_EPILOG = """\b
Examples:
  splicebert-vep genes info grch38
  splicebert-vep genes info mine.genes.parquet --json | jq .digest
"""


@cloup.group(epilog=_EPILOG)
def genes() -> None:
    """Compile and inspect gene annotations."""


@genes.command(epilog=_BUILD_EPILOG)
@cloup.argument("annotation", metavar="IN", type=PATH)
@cloup.option("-O", "--output", metavar="OUT", required=True, type=PATH, help="Table to write, OUT.genes.parquet.")
@cloup.option(
    "--name", metavar="NAME", help="Name of the table for provenance. Default: IN's name up to the first dot."
)
@cloup.option("--source", metavar="TEXT", help="What the annotation is, in words. Default: IN's name.")
@cloup.option("--assembly", metavar="NAME", help="Name of the genome assembly. Default: as IN says.")
@cloup.option(
    "--biotype", "biotypes", multiple=True, default=DEFAULT_BIOTYPES, show_default=True, metavar="WORD",
    help="Gene biotype to keep, as IN writes it; may be repeated.",
)  # fmt: skip
@cloup.option(
    "--mane-from", metavar="NAME|FILE",
    help="Report the MANE Select transcripts of this table (grch38, or a file) where IN has them.",
)  # fmt: skip
@cloup.option(
    "--mane", metavar="FILE", type=PATH,
    help="MANE's summary (MANE.GRCh38.v1.5.summary.txt.gz): RefSeq names of Ensembl's transcripts, so that "
    "NM_007294.4:c.68A>G is found. Others come from --mane-from, where positions are equal.",
)  # fmt: skip
@cloup.option("--contig-lengths", metavar="FAI", type=PATH, help="Contig lengths: name, TAB, length, as in a .fai.")
def build(
    annotation: str,
    output: str,
    name: str | None,
    source: str | None,
    assembly: str | None,
    biotypes: tuple[str, ...],
    mane_from: str | None,
    mane: str | None,
    contig_lengths: str | None,
) -> None:
    """Compile an annotation into a gene table.

    IN is GFF3, GTF or SpliceAI's table, plain or gzip.
    """
    from ..genome.gene_build import BuildReport, compile_genes, load_table, read_contig_lengths, read_mane

    check_place(output)
    report = BuildReport()
    table = compile_genes(
        Path(annotation),
        name=name,
        source=source,
        assembly=assembly,
        biotypes=biotypes,
        mane_from=load_table(mane_from) if mane_from else None,
        refseq=read_mane(mane) if mane else None,
        contig_lengths=read_contig_lengths(Path(contig_lengths)) if contig_lengths else None,
        report=report,
    )
    table.save(Path(output))
    print_table([("feature", "number", ""), *report.rows()], wrap=True)
    say(f"{output}: {len(table):,} genes, {len(table.exon_start):,} exons, digest {table.digest}")


@genes.command(epilog=_INFO_EPILOG)
@cloup.argument("table", metavar="NAME|FILE")
@json_option
def info(table: str, as_json: bool) -> None:
    """Describe a gene table.

    The table is grch38, grch37, a file of 'genes build', or an annotation.
    """
    from ..genome.gene_build import load_table

    about = _describe(load_table(table))
    if as_json:
        print_json(about)
        return
    del about["contig_lengths"]
    print_table(((key.replace("_", " "), _shown(value)) for key, value in about.items()), wrap=True)


def _shown(value: Any) -> str:
    """Return a value in a line, long lists shortened."""
    if isinstance(value, Mapping):
        return shortened(", ".join(f"{key} {number:,}" for key, number in value.items())) or "none"
    if isinstance(value, list):
        return f"{len(value):,}: {shortened(', '.join(value))}"
    return f"{value:,}" if isinstance(value, int) else "not said" if value is None else str(value)


def _describe(table: GeneTable) -> dict[str, object]:
    from ..genome.gene_table import CHOICES

    donors = table.splice_sites()[3]
    return {
        "name": table.name,
        "source": table.source,
        "assembly": table.assembly,
        "digest": table.digest,
        "genes": len(table),
        "genes_by_biotype": dict(Counter(table.biotypes).most_common()),
        "genes_by_transcript_choice": dict(Counter(CHOICES[row] for row in table.choice.tolist()).most_common()),
        "refseq_names": sum(name is not None for name in table.refseq_ids),
        "exons": len(table.exon_start),
        "splice_sites": {"donor": int(donors.sum()), "acceptor": int((1 - donors).sum())},
        "contigs": list(table.contigs),
        "contig_lengths": dict(table.contig_lengths),
    }
