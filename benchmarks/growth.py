"""Does the cost grow in proportion to the number of alleles? The exponent b of seconds = a * alleles ** b.

    python benchmarks/growth.py -R GRCh38.fa

The files are the beginnings of one file of SNVs in genes, --step nt apart, so that a long one differs from a short one
in its length alone. Seconds are those that ``annotate`` reports, without start-up; the sizes take turns. The exponent
is that of least squares on logarithms, over all sizes; the residual is the root mean square distance from the line.
"""

from __future__ import annotations

import math
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click
from common import LABELS, Annotated, annotate, machine, make_input, print_table, say, show, write_first


def fit(alleles: Sequence[int], seconds: list[float]) -> tuple[float, float]:
    """Return the exponent and the residual, a factor less 1."""
    x, y = [math.log(value) for value in alleles], [math.log(value) for value in seconds]
    slope, intercept = statistics.linear_regression(x, y)
    squares = [(intercept + slope * a - b) ** 2 for a, b in zip(x, y, strict=True)]
    return slope, math.expm1(math.sqrt(statistics.mean(squares)))


@click.command()
@click.option("-R", "--reference", required=True)
@click.option("-A", "--annotation", default="grch38")
@click.option("--model", default="splicebert-mini")
@click.option("--contig", default="chr19")
@click.option("--step", default=20, help="nt between SNVs.")
@click.option("--threads", default=2, help="Of the model.")
@click.option("--repeats", default=3)
def main(reference: str, annotation: str, model: str, contig: str, step: int, threads: int, repeats: int) -> None:
    """Print a table and its fit for the null backend, and for the model."""
    genome = ["-R", reference, "-A", annotation]
    plans = [
        ("null", ["--backend", "null"], (1000, 3000, 10_000, 30_000, 100_000), 1),
        (Path(model).name, ["--model", model], (50, 100, 200, 500, 1000, 2000), threads),
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, target = folder / "all.vcf", folder / "out.vcf"
        most = max(size for _, _, wanted, _ in plans for size in wanted)
        say("making the input")
        make_input("stepped", source, *genome, "--contig", contig, "--step", str(step), "--count", str(most))
        click.echo(f"{machine()}; medians of {repeats} alternating runs")
        click.echo(f"SNVs {step} nt apart in genes of {contig}, {Path(reference).name}, annotation {annotation}")
        for title, options, wanted, cores in plans:
            files = {size: write_first(source, size, folder / f"{size}.vcf") for size in wanted}
            annotate(files[wanted[0]], target, [*genome, *options], cores)  # indexes and digests the FASTA
            runs: dict[int, list[Annotated]] = {size: [] for size in wanted}
            for repeat in range(repeats):
                for size, file in files.items():
                    runs[size].append(annotate(file, target, [*genome, *options], cores))
                    say(f"{title}: run {repeat + 1} of {repeats}, {size:,} alleles, {runs[size][-1].seconds:.2f} s")
            seconds = [statistics.median([run.seconds for run in runs[size]]) for size in wanted]
            rows = [
                [f"{title}, {size:,}", *runs[size][0].labels, str(cores), show(spent), show(size / spent)]
                for size, spent in zip(wanted, seconds, strict=True)
            ]
            click.echo()
            print_table(("alleles", *LABELS, "threads", "net s", "alleles/s"), rows)
            exponent, residual = fit(wanted, seconds)
            click.echo(f"{title}: seconds grow as alleles ** {exponent:.3f}, residual {residual:.1%}")


if __name__ == "__main__":
    main()
