"""How far from `--mode exact --window-mode centred` the other ways to compute are, in scores and in what they rank.

    python benchmarks/fidelity.py clinvar.vcf.gz -R GRCh38.fa -A grch38 --every 5 \\
        --labelled mfass.tsv --assay-reference GRCh38=GRCh38.fa --assay-reference GRCh37=GRCh37.fa

For the SNVs of a VCF: Spearman's rank correlation of each score with the exact, centred one, the largest difference,
the share of alleles with both splice sites in the window (N_SITES), and the seconds by those of exact. For a labelled
assay, whose sites are the labelled exon's: the difference in average precision, with the middle 95 % of a bootstrap
that draws the same rows for both.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score

from splicebert_vep import Annotator, Settings, Variant
from splicebert_vep.plugins import load_plugins
from splicebert_vep.scoring.plan import plan_scores
from splicebert_vep.sequence.windows import WindowShape
from splicebert_vep.settings import MASKED_RADIUS
from splicebert_vep.train.evaluate import BenchRow, open_references, read_labelled, score_labelled
from splicebert_vep.vcf.read import open_vcf
from splicebert_vep_spec import BackendOptions, Status

SCORES = ("LLR", "PLLR", "KL_CTX", "KL_SS", "EMB_COS", "EMB_L2")
ASSAY_SCORES = {"DELTA_P": -1.0, "LLR": -1.0, "KL_CTX": 1.0, "KL_SS": 1.0, "EMB_L2": 1.0}
HARMFUL_BELOW = -0.5

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Way:
    """One way to compute."""

    name: str
    settings: Settings


@dataclass(frozen=True)
class Found:
    """Scores of the SNVs of a VCF by field, NaN where missing, and how long they took."""

    scores: dict[str, Floats]
    seconds: float


def ways(window: int, radii: Sequence[int]) -> list[Way]:
    """Return the ways to compare; the first is the measure."""
    shape = WindowShape(window)
    exact = Settings(shape, SCORES + ("N_SITES",))
    tiled = replace(shape, mode="tiled")
    return [
        Way("exact centred", exact),
        Way("exact tiled", replace(exact, window=tiled)),
        *(Way(f"local {radius} centred", replace(exact, mode="local", radius=radius)) for radius in radii),
        *(
            Way(f"local {radius} tiled", replace(exact, window=tiled, mode="local", radius=radius))
            for radius in radii[-1:]
        ),
    ]


def snvs(path: str, every: int) -> list[Variant]:
    """Return every so-manieth SNV of a VCF."""
    with open_vcf(path) as reader:
        found = [
            Variant(record.chrom, record.pos, record.ref, alt)
            for record in reader
            for alt in record.alts
            if len(record.ref) == len(alt) == 1
        ]
    return found[::every]


def score(variants: Sequence[Variant], annotator: Annotator) -> Found:
    """Score variants; those without scores are left out, in every way the same ones."""
    began = time.perf_counter()
    results = [result for result in annotator.score(variants) if result.status is Status.OK]
    seconds = time.perf_counter() - began
    values = {name: np.array([result[name] for result in results], dtype=np.float64) for name in (*SCORES, "N_SITES")}
    return Found(values, seconds)


def print_scores(found: dict[str, Found]) -> None:
    """Print correlation and largest difference by way and score."""
    base = next(iter(found.values()))
    click.echo(f"{'way':<22}{'seconds':>9}{'by exact':>9}{'2 sites':>9}" + "".join(f"{s:>19}" for s in SCORES))
    for name, one in found.items():
        cells = []
        for field in SCORES:
            both = ~np.isnan(base.scores[field]) & ~np.isnan(one.scores[field])
            ours, theirs = base.scores[field][both], one.scores[field][both]
            cells.append(f"{spearmanr(ours, theirs).statistic:.5f} {np.abs(ours - theirs).max():>8.4f}")
        sites = np.mean(one.scores["N_SITES"] == 2)
        click.echo(
            f"{name:<22}{one.seconds:>9.1f}{one.seconds / base.seconds:>9.2f}{sites:>9.3f}"
            + "".join(f"{cell:>19}" for cell in cells)
        )


def assay_column(rows: Sequence[BenchRow], field: str) -> Floats:
    """Return a score of every row; an assay in which one is missing is not compared."""
    values = [row.values[field] for row in rows]
    if None in values:
        raise click.ClickException(f"{values.count(None)} rows of the assay have no {field}")
    return np.array(values, dtype=np.float64)


def print_assay(rows: dict[str, list[BenchRow]], resamples: int) -> None:
    """Print average precision by way and score, less that of the first way."""
    base = next(iter(rows.values()))
    usable = [i for i, row in enumerate(base) if row.skipped is None and row.variant.effect is not None]
    harmful = np.array([float(base[i].variant.effect or 0) < HARMFUL_BELOW for i in usable])
    rng = np.random.default_rng(0)
    draws = [rng.integers(len(usable), size=len(usable)) for _ in range(resamples)]
    click.echo(
        f"{len(usable)} SNVs of the assay, {harmful.sum()} harmful; average precision less that of exact centred"
    )
    for name, scored in rows.items():
        cells = []
        for field, sign in ASSAY_SCORES.items():
            a, b = (sign * assay_column([one[i] for i in usable], field) for one in (scored, base))
            difference = average_precision_score(harmful, a) - average_precision_score(harmful, b)
            drawn = [
                average_precision_score(harmful[at], a[at]) - average_precision_score(harmful[at], b[at])
                for at in draws
                if harmful[at].any()
            ]
            low, high = np.quantile(drawn, [0.025, 0.975])
            cells.append(f"{field} {difference:+.4f} ({low:+.4f} {high:+.4f})")
        click.echo(f"{name:<22}" + "  ".join(cells))


@click.command()
@click.argument("vcf")
@click.option("-R", "--reference", required=True)
@click.option("-A", "--annotation", default="grch38")
@click.option("--model", default="splicebert-mini")
@click.option("--window", default=510)
@click.option("--every", default=1, help="Of the SNVs, every so-manieth.")
@click.option("--radius", "radii", multiple=True, type=int, default=(100, 128, 160, 200))
@click.option("--labelled")
@click.option("--assay-reference", multiple=True)
@click.option("--resamples", default=1000)
@click.option("--threads", default=2)
def main(
    vcf: str, reference: str, annotation: str, model: str, window: int, every: int, radii: tuple[int, ...],
    labelled: str | None, assay_reference: tuple[str, ...], resamples: int, threads: int,
) -> None:  # fmt: skip
    """Print the tables."""
    variants = snvs(vcf, every)
    compared = ways(window, radii)
    found = {}
    for way in compared:
        with Annotator(reference, annotation, model=model, threads=threads, settings=way.settings) as annotator:
            found[way.name] = score(variants, annotator)
            info = annotator.backend.info
        click.echo(f"{way.name}: {found[way.name].seconds:.0f} s", err=True)
    count = len(next(iter(found.values())).scores["LLR"])
    click.echo(
        f"{Path(vcf).name}, {count} SNVs; {info.model}, W {window}, masked radius {MASKED_RADIUS}, {info.precision}"
    )
    print_scores(found)
    if labelled:
        plugins = load_plugins()
        backend = plugins.open_backend("torch", BackendOptions(model, "auto", threads))
        asked = Settings(WindowShape(window), tuple(ASSAY_SCORES))
        plan = plan_scores(plugins.scorers, plugins.origins("scorer"), asked)
        rows = {}
        with open_references(assay_reference) as opened:
            known = read_labelled(Path(labelled))
            for way in compared:
                rows[way.name] = score_labelled(
                    known, opened, backend, plan, "own", shape=way.settings.window, local=way.settings.local
                )
                click.echo(f"assay, {way.name}", err=True)
        print_assay(rows, resamples)


if __name__ == "__main__":
    main()
