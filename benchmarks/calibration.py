"""Whether percentiles are what they say, and what they and the raw scores make of splice sites.

    python benchmarks/calibration.py uniform -R GRCh38.fa --contigs chr19,chr22
    python benchmarks/calibration.py clinvar clinvar.BRCA1.vcf.gz -R GRCh38.fa

``uniform`` draws a second background with another seed, from places that the table does not have, and tests in each
region class whether its percentiles are uniform (Kolmogorov-Smirnov; ``2-sample`` compares the scores themselves with
the table's, and so allows for the table being a sample too). ``clinvar`` compares SNVs of BRCA1 in canonical
dinucleotides with deep-intronic ones. Percentiles are within a class, so that they say nothing about one class against
another; the raw scores do.
"""

from __future__ import annotations

import statistics
from pathlib import Path

import click
from common import MODEL, genome, print_table, say
from delta import print_areas
from scipy.stats import ks_2samp, kstest

from splicebert_vep import Annotator, Settings
from splicebert_vep.scoring.percentiles import REGION_CLASSES, steps
from splicebert_vep.settings import PERCENTILES
from splicebert_vep.tools.calibrate import SCORES, Sampler, contigs_of, score_random

#: Score -> the sign that makes larger mean more disturbed.
CLINVAR_SCORES = {"KL_CTX": 1, "KL_SS": 1, "LLR": -1, "PCTL_KL_CTX": 1, "PCTL_LLR": 1}
CALIBRATION = click.option("--calibration", help="Default: the bundled model's own table.")


@click.group()
def main() -> None:
    """Choose what to measure."""


@main.command()
@genome
@MODEL
@CALIBRATION
@click.option("--contigs", default="", help="Comma-separated. Default: all.")
@click.option("--per-class", default=500)
@click.option("--seed", default=2)
def uniform(
    reference: str, annotation: str, model: str, calibration: str | None, contigs: str, per_class: int, seed: int
) -> None:
    """Test the percentiles of a second background."""
    settings = Settings(scores=tuple(PERCENTILES))
    with Annotator(reference, annotation, model=model, settings=settings, calibration=calibration) as annotator:
        table = annotator.percentiles.table
        assert table is not None
        names = contigs_of(annotator.reference, [name for name in contigs.split(",") if name])
        first = Sampler(annotator.genes, annotator.reference, table.about["contigs"], table.about["seed"])
        taken = first.take(dict.fromkeys(REGION_CLASSES, table.about["per_class"]))
        second = Sampler(annotator.genes, annotator.reference, names, seed, {one.place for one in taken})
        scored = score_random(annotator, second, per_class, lambda what, done, of: say(f"{what}: {done} of {of}"))
    rows = []
    for name in REGION_CLASSES:
        for score in SCORES:
            values = [one.scores[score] for one in scored if one.region_class == name]
            shares = [table.percentile(score, name, value) / 100 for value in values]
            one = kstest(shares, "uniform")
            background = table.values[score][name]
            two = ks_2samp([steps(score, value) for value in values], background)
            counts = [str(len(background)), str(len(values))]
            figures = [f"{one.statistic:.3f}", f"{one.pvalue:.3f}", f"{two.statistic:.3f}", f"{two.pvalue:.3f}"]
            rows.append([name, f"PCTL_{score}", *counts, f"{100 * statistics.mean(shares):.1f}", *figures])
    print_table(["class", "field", "table", "second", "mean", "D", "p", "2-sample D", "2-sample p"], rows)


@main.command()
@click.argument("vcf", type=Path)
@genome
@MODEL
@CALIBRATION
def clinvar(vcf: Path, reference: str, annotation: str, model: str, calibration: str | None) -> None:
    """Compare canonical with deep-intronic SNVs, whatever ClinVar says of them."""
    settings = Settings(scores=tuple(CLINVAR_SCORES))
    with Annotator(reference, annotation, model=model, settings=settings, calibration=calibration) as annotator:
        print_areas(annotator, vcf, lambda kind, said: True, CLINVAR_SCORES)


if __name__ == "__main__":
    main()
