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
from collections.abc import Sequence
from pathlib import Path

import click
from common import lines, print_table, say
from scipy.stats import ks_2samp, kstest, mannwhitneyu

from splicebert_vep import Annotator, Settings, Variant
from splicebert_vep.scoring.percentiles import REGION_CLASSES, CalibrationTable, region_class, steps
from splicebert_vep.settings import PERCENTILES
from splicebert_vep.tools.calibrate import SCORES, RandomSnv, Sampler, contigs_of, score_random
from splicebert_vep_spec import ScoredContext, Status

GENE = "BRCA1"
CLINVAR_CLASSES = ("canonical", "deep_intron")
#: Score -> the sign that makes larger mean more disturbed.
CLINVAR_SCORES = {"KL_CTX": 1, "KL_SS": 1, "LLR": -1, "PCTL_KL_CTX": 1, "PCTL_LLR": 1}
BASES = frozenset("ACGT")


@click.group()
def main() -> None:
    """Choose what to measure."""


@main.command()
@click.option("-R", "--reference", required=True)
@click.option("-A", "--annotation", default="grch38")
@click.option("--model", default="splicebert-mini")
@click.option("--calibration", help="Default: the bundled model's own table.")
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
        report_uniform(table, scored)


def report_uniform(table: CalibrationTable, scored: Sequence[RandomSnv]) -> None:
    """Print a line for each region class and score."""
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
@click.option("-R", "--reference", required=True)
@click.option("-A", "--annotation", default="grch38")
@click.option("--model", default="splicebert-mini")
@click.option("--calibration", help="Default: the bundled model's own table.")
def clinvar(vcf: Path, reference: str, annotation: str, model: str, calibration: str | None) -> None:
    """Compare canonical with deep-intronic SNVs."""
    settings = Settings(scores=tuple(CLINVAR_SCORES))
    with Annotator(reference, annotation, model=model, settings=settings, calibration=calibration) as annotator:
        variants = []
        for line in lines(vcf):
            chrom, pos, _, ref, alt = line.split("\t", 5)[:5] if line[0] != "#" else ("", "", "", "", "")
            if ref in BASES and alt in BASES:
                for context in annotator.genes.contexts(chrom, int(pos) - 1, int(pos)):
                    if context.symbol == GENE and region_class(context) in CLINVAR_CLASSES:
                        variants.append(Variant(chrom, int(pos), ref, alt))
        say(f"{len(variants)} SNVs of {GENE}, {' or '.join(CLINVAR_CLASSES)}")
        found: dict[str, list[ScoredContext]] = {name: [] for name in CLINVAR_CLASSES}
        for result in annotator.score(variants):
            for outcome in result.contexts:
                if outcome.status == Status.OK and outcome.context and outcome.context.symbol == GENE:
                    found[str(outcome.values["REGION_CLASS"])].append(outcome)
    canonical, deep = (found[name] for name in CLINVAR_CLASSES)
    rows = []
    for score, sign in CLINVAR_SCORES.items():
        sites, others = (
            [sign * value for one in outcomes if isinstance(value := one.values.get(score), float)]
            for outcomes in (canonical, deep)
        )
        area = mannwhitneyu(sites, others).statistic / (len(sites) * len(others))
        medians = [f"{sign * statistics.median(values):.4g}" for values in (sites, others)]
        rows.append([score, str(len(sites)), str(len(others)), *medians, f"{area:.3f}"])
    print_table(["score", "canonical", "deep_intron", "median canonical", "median deep_intron", "AUC"], rows)


if __name__ == "__main__":
    main()
