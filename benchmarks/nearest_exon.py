"""How often is a variant in a splice-site dinucleotide measured at another splice site than its own?

    python benchmarks/nearest_exon.py clinvar.BRCA1.vcf.gz -A grch38

Counts SNVs that touch an annotated donor or acceptor of a protein-coding gene, and those of them whose dinucleotide is
neither the donor nor the acceptor of the nearest exon that KL_DONOR and KL_ACCEPTOR are measured at.
"""

from __future__ import annotations

import click

from splicebert_vep.genome.gene_build import load_table
from splicebert_vep.genome.gene_index import GeneIndex
from splicebert_vep.vcf.read import open_vcf


@click.command()
@click.argument("vcf")
@click.option("-A", "--annotation", default="grch38")
def main(vcf: str, annotation: str) -> None:
    """Print the two counts."""
    genes = GeneIndex(load_table(annotation))
    hits = elsewhere = 0
    with open_vcf(vcf) as records:
        for record in records:
            for alt in record.alts:
                if len(record.ref) != 1 or len(alt) != 1 or alt in "*.":
                    continue
                start = record.pos - 1
                for context in genes.contexts(record.chrom, start, start + 1):
                    if context.biotype == "protein_coding" and context.site_hit:
                        hits += 1
                        sites = [site for site in (context.donor, context.acceptor) if site is not None]
                        elsewhere += not any(site.start <= start < site.end for site in sites)
    click.echo(f"{elsewhere} of {hits} SNVs in an annotated dinucleotide are measured at another splice site")


if __name__ == "__main__":
    main()
