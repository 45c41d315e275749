"""``genes``: compile a gene annotation into a table, and say what a table holds."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import click

from splicebert_vep.genome.annotation import load_table
from splicebert_vep.genome.gene_build import DEFAULT_BIOTYPES, compile_genes, read_contig_lengths
from splicebert_vep.genome.gene_table import CHOICES, GeneTable


@click.group()
def genes() -> None:
    """Compile and inspect gene annotations."""


@genes.command()
@click.argument("annotation", metavar="IN", type=click.Path(path_type=Path))
@click.option("-o", "--output", metavar="OUT", required=True, type=click.Path(path_type=Path), help="Table to write.")
@click.option("--name", help="Name of the table for provenance.  [default: IN's name up to the first dot]")
@click.option("--source", metavar="TEXT", help="What the annotation is, in words.  [default: IN's name]")
@click.option("--assembly", help="Name of the genome assembly.  [default: as IN says]")
@click.option(
    "--biotype",
    "biotypes",
    multiple=True,
    default=DEFAULT_BIOTYPES,
    show_default=True,
    help="Gene biotype to keep, as IN writes it; may be repeated.",
)
@click.option(
    "--mane-from",
    metavar="TABLE",
    help="Report the MANE Select transcripts of this table (grch38, or a file) where IN has them.",
)
@click.option(
    "--contig-lengths",
    metavar="FAI",
    type=click.Path(path_type=Path),
    help="Contig lengths: name, TAB, length, as in a .fai.",
)
def build(
    annotation: Path,
    output: Path,
    name: str | None,
    source: str | None,
    assembly: str | None,
    biotypes: tuple[str, ...],
    mane_from: str | None,
    contig_lengths: Path | None,
) -> None:
    """Compile IN (GFF3, GTF or SpliceAI's table, plain or gzip) into the gene table OUT."""
    table = compile_genes(
        annotation,
        name=name,
        source=source,
        assembly=assembly,
        biotypes=biotypes,
        mane_from=load_table(mane_from) if mane_from else None,
        contig_lengths=read_contig_lengths(contig_lengths) if contig_lengths else None,
    )
    table.save(output)
    click.echo(f"{output}: {len(table):,} genes, {len(table.exon_start):,} exons, digest {table.digest}", err=True)


@genes.command()
@click.argument("table", metavar="TABLE")
def info(table: str) -> None:
    """Print what TABLE (grch38, grch37, a compiled table or an annotation) holds, as JSON."""
    click.echo(json.dumps(_describe(load_table(table)), indent=2))


def _describe(table: GeneTable) -> dict[str, object]:
    sites = table.splice_sites()
    return {
        "name": table.name,
        "source": table.source,
        "assembly": table.assembly,
        "digest": table.digest,
        "genes": len(table),
        "genes_by_biotype": dict(Counter(table.biotypes).most_common()),
        "genes_by_transcript_choice": dict(Counter(CHOICES[row] for row in table.choice.tolist()).most_common()),
        "exons": len(table.exon_start),
        "splice_sites": {"donor": int(sites.is_donor.sum()), "acceptor": int((~sites.is_donor).sum())},
        "contigs": list(table.contigs),
        "contig_lengths": dict(table.contig_lengths),
    }
