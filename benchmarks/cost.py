"""What exomes, genomes and cohorts cost in time, from measured rates.

    python benchmarks/cost.py growth 1000G.RYR1.vcf.gz 1000G.CYP2D6.vcf.gz
    python benchmarks/cost.py table

``growth`` prints how many distinct alleles n samples of files with genotypes have on average, over all choices of n:
an allele that c of N samples carry is missing from n of them with the chance C(N - c, n) / C(N, n).

``table`` reads ``results/rates.tsv``: name, value and source of each rate. Seconds are CPU seconds of one
core per allele x gene; more cores divide them, since alleles are scored apart from each other, and the host's share on
a GPU takes one core. Nothing is printed for a GPU that was not measured but the bound that the host sets.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from common import lines
from numpy.typing import NDArray
from scipy.special import gammaln

RATES = Path(__file__).with_name("results") / "rates.tsv"
SAMPLES = (1, 2, 10, 100, 1000, 2000)
CORES = (2, 16)
COHORT = 1000


def carriers(vcf: Path) -> tuple[list[int], int]:
    """Return how many samples carry each ALT of a file, and how many samples there are."""
    found, samples = [], 0
    for line in lines(vcf):
        if line.startswith("##"):
            continue
        columns = line.split("\t")
        if line[0] == "#":
            samples = len(columns) - 9
            continue
        genotypes = [set(column.partition(":")[0].replace("|", "/").split("/")) for column in columns[9:]]
        for number in range(1, len(columns[4].split(",")) + 1):
            found.append(sum(str(number) in genotype for genotype in genotypes))
    return found, samples


def distinct(count: NDArray[np.int64], samples: int, n: int) -> float:
    """Return the mean number of alleles that n of the samples carry, of alleles with so many carriers each."""

    def log_choose(a: NDArray[np.int64] | int, b: int) -> NDArray[np.float64]:
        found: NDArray[np.float64] = gammaln(np.asarray(a) + 1) - gammaln(b + 1) - gammaln(np.asarray(a) - b + 1)
        return found

    others = samples - count
    missed = np.exp(log_choose(others[others >= n], n) - log_choose(samples, n))
    return float(len(count) - missed.sum())


@dataclass(frozen=True, slots=True)
class Work:
    """Alleles x genes of an input.

    Args:
        scored: in the first year, when the store is empty.
        new: those that the store does not have in the second year.
        read: that the host reads and writes, in either year.
        apart: how near to each other those of either year lie: ``scattered`` or ``own``, as a genome's own alleles.
    """

    name: str
    scored: float
    new: float
    read: float
    apart: tuple[str, str]


def works(rates: Mapping[str, float]) -> list[Work]:
    """Return the inputs of the table: a sample, and a cohort, whose second year is as many samples again."""
    found = []
    once = rates["seen_once"]
    for name, alleles, apart in (
        ("exome", rates["exome_alleles"], "scattered"),
        ("genome", rates["genome_alleles"] * rates["genic_share"] * rates["genes_per_allele"], "own"),
    ):
        found.append(Work(name, alleles, alleles * (rates["new_share"] + once), alleles, (apart, "scattered")))
        first = alleles * (rates["distinct_1000"] + COHORT * once)
        second = alleles * (rates["distinct_2000"] - rates["distinct_1000"] + COHORT * once)
        found.append(Work(f"{COHORT:,} {name}s", first, second, COHORT * alleles, (apart, apart)))
    return found


def spell(seconds: float) -> str:
    """Return a duration in the unit that suits it."""
    for unit, size in (("days", 172_800.0), ("h", 7200.0), ("min", 120.0)):
        if seconds >= size:
            value = seconds / {"days": 86_400.0, "h": 3600.0, "min": 60.0}[unit]
            return f"{value:,.0f} {unit}" if value >= 10 else f"{value:.1f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"


def row(work: Work, scores: Sequence[str], rates: Mapping[str, float]) -> list[str]:
    """Return the cells of an input: first year and second year by number of cores, and the host's bound."""
    host = work.read * rates["host"]
    seconds = [
        host + alleles * sum(rates[f"{score}_{apart}"] for score in scores)
        for alleles, apart in zip((work.scored, work.new), work.apart, strict=True)
    ]
    times = [spell(of_year / cores) for cores in CORES for of_year in seconds]
    return [work.name, f"{work.scored:,.0f}", f"{work.new:,.0f}", *times, f"not measured; host {spell(host)}"]


@click.group()
def main() -> None:
    """Growth of alleles, and the table of costs."""


@main.command()
@click.argument("vcfs", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
def growth(vcfs: tuple[Path, ...]) -> None:
    """Print distinct alleles of n samples, relative to those of one, and the share that the next sample adds."""
    counts, numbers = zip(*map(carriers, vcfs), strict=True)
    samples = min(numbers)
    count = np.array([number for of_file in counts for number in of_file if number])
    click.echo(f"{samples:,} samples, {len(count):,} alleles, {np.count_nonzero(count == 1)} of them in one sample")
    one = distinct(count, samples, 1)
    for n in SAMPLES:
        here, after = distinct(count, samples, n), distinct(count, samples, n + 1)
        click.echo(
            f"{n:>6,} samples: {here / one:6.2f} times the alleles of one; the next adds {(after - here) / one:.2%}"
        )


@main.command()
@click.argument("file", default=RATES, type=click.Path(exists=True, path_type=Path))
def table(file: Path) -> None:
    """Print the table in Markdown."""
    with file.open() as handle:
        rates = {line["name"]: float(line["value"]) for line in csv.DictReader(handle, delimiter="\t")}
    head = ["", "scored, first year", "second year"]
    head += [f"{cores} cores, {year} year" for cores in CORES for year in ("first", "second")] + ["one GPU"]
    for title, scores in (("delta scores", ["delta"]), ("delta and zero-shot scores", ["delta", "zero_shot"])):
        click.echo(f"\n{title}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
        for work in works(rates):
            click.echo(f"| {' | '.join(row(work, scores, rates))} |")


if __name__ == "__main__":
    main()
