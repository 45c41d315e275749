"""Canonical splice-site SNVs of BRCA1 against deep-intronic ones: scores and medians.

    python benchmarks/brca1_sites.py -R GRCh38.fa

Ten SNVs at +1, +2, -1 or -2 of MANE Select exons and ten at least 150 nt from every annotated exon, drawn with a fixed
seed; the ALT is the transition of the reference base.
"""

from __future__ import annotations

import random
import statistics

import click

from splicebert_vep import Annotator, ScoredVariant, Variant
from splicebert_vep_spec import ScoredContext

CONTIG, FIRST, LAST = "chr17", 43_045_000, 43_125_000  # within BRCA1, 1-based
TRANSITION = {"A": "G", "G": "A", "C": "T", "T": "C"}
FIELDS = ("LLR", "PLLR", "KL_CTX", "KL_SS", "EMB_COS", "EMB_L2")
DEEP = 150  # nt from the nearest exon of any transcript


def draw(annotator: Annotator, count: int, seed: int) -> tuple[list[int], list[int]]:
    """Return 0-based positions of canonical splice-site and of deep-intronic bases."""
    sites, deep = [], []
    for position in range(FIRST - 1, LAST):
        for context in annotator.genes.contexts(CONTIG, position, position + 1):
            if context.symbol != "BRCA1" or context.region != "intron" or context.site_offset is None:
                continue
            distance = abs(int(context.site_offset))
            if distance <= 2 and context.site_hit:
                sites.append(position)
            elif distance >= DEEP:
                deep.append(position)
    rng = random.Random(seed)
    return sorted(rng.sample(sites, count)), sorted(rng.sample(deep, count))


@click.command()
@click.option("-R", "--reference", required=True)
@click.option("-A", "--annotation", default="grch38")
@click.option("--model", default="splicebert-mini")
@click.option("--count", default=10)
@click.option("--seed", default=1)
def main(reference: str, annotation: str, model: str, count: int, seed: int) -> None:
    """Print the table."""
    with Annotator(reference, annotation, model=model) as annotator:
        info = annotator.backend.info
        click.echo(f"model {info.model}, {info.device}, {info.precision}, seed {seed}")
        click.echo(f"{'variant':<22}{'offset':>8}" + "".join(f"{name:>11}" for name in FIELDS))
        for title, positions in zip(("splice site", "deep intron"), draw(annotator, count, seed), strict=True):
            variants = []
            for position in positions:
                base = annotator.reference.fetch(CONTIG, position, position + 1).decode()
                variants.append(Variant(CONTIG, position + 1, base, TRANSITION[base]))
            rows = []
            for result in annotator.score(variants):
                outcome = chosen(result)
                assert outcome.context is not None
                values = [outcome.values[name] for name in FIELDS]
                rows.append(values)
                cells = "".join(f"{show(value):>11}" for value in values)
                click.echo(f"{result.variant!s:<22}{outcome.context.site_offset or '':>8}{cells}")
            medians = []
            for column in zip(*rows, strict=True):
                there = [float(value) for value in column if value is not None]
                medians.append(statistics.median(there) if there else None)
            click.echo(f"{'median, ' + title:<30}" + "".join(f"{show(v):>11}" for v in medians))


def chosen(result: ScoredVariant) -> ScoredContext:
    """Return the outcome in BRCA1, which overlaps other genes at its 5' end."""
    return next(c for c in result.contexts if c.context is not None and c.context.symbol == "BRCA1")


def show(value: object) -> str:
    """Print a value in short; a missing one as a dot."""
    return "." if value is None else f"{value:.5f}"


if __name__ == "__main__":
    main()
