"""Score once, annotate many: what a cohort saves, how fast a second run is, and whether its files are annotate's.

    python benchmarks/make_inputs.py samples samples/ --vcf 1000G.RYR1.vcf.gz --vcf 1000G.CYP2D6.vcf.gz --count 200
    python benchmarks/cohort.py samples/ -R GRCh38.fa --compare 5 --before ../earlier-checkout

The store of the first run serves the second, which writes all files anew. Second runs of one thread, of several and of
an earlier version take turns.
"""

from __future__ import annotations

import json
import re
import shutil
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import click
from common import BEFORE, MODEL, PROGRAM, genome, lines, machine, print_table, run

NAMES = ("first", "second")


def values(path: Path) -> list[list[tuple[str, str]]]:
    """Return the INFO items of every record that this program wrote."""
    infos = [line.split("\t", 8)[7] for line in lines(path) if not line.startswith("#")]
    return [
        [(key, value) for key, _, value in (item.partition("=") for item in info.split(";")) if key.startswith("Spl")]
        for info in infos
    ]


def largest_difference(one: Path, other: Path) -> float:
    """Return the largest difference of a number; infinite where anything else differs."""
    largest = 0.0
    left, right = values(one), values(other)
    if len(left) != len(right):
        return float("inf")
    for a, b in zip(left, right, strict=True):
        for (key, x), (key2, y) in zip(a, b, strict=True):
            if x != y or key != key2:
                try:
                    largest = max(largest, abs(float(x) - float(y)))
                except ValueError:
                    return float("inf")
    return largest


def second_runs(words: Sequence[str | Path], work: Path, threads: int, times: int, before: Path | None) -> list[Timed]:
    """Time second runs that take turns, of this version and of an earlier one, which write all files anew."""
    ways = [(f"--threads {count}", count, None) for count in sorted({threads, 1}, reverse=True)]
    if before is not None:
        ways.append((f"{before.name}, {threads} cores", threads, before))
        run([*words, "--store", work / "before.sqlite", "-O", work / "before-first"], threads, before)
    timed = [Timed(name, [], []) for name, *_ in ways]
    for _ in range(times):
        for (_, count, checkout), one in zip(ways, timed, strict=True):
            out, store = work / "timed", work / ("scores.sqlite" if checkout is None else "before.sqlite")
            ran = run([*words, "--store", store, "-O", out], count, checkout)
            shutil.rmtree(out)
            one.wall.append(ran.wall)
            one.cpu.append(ran.cpu)
    return timed


class Timed(NamedTuple):
    """Seconds of runs of one kind."""

    name: str
    wall: list[float]
    cpu: list[float]


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True))
@genome
@MODEL
@click.option("--backend", default="torch")
@click.option("--threads", default=2)
@click.option("--compare", default=3, help="Files that are also annotated by themselves.")
@click.option("--times", default=3, help="Second runs of each kind, which take turns; medians are printed.")
@BEFORE
def main(
    folder: Path, reference: str, annotation: str, model: str, backend: str, threads: int, compare: int, times: int,
    before: Path | None,
) -> None:  # fmt: skip
    """Run a cohort again and again and print what came of it."""
    shared = ["-R", reference, "-A", annotation, "--model", model, "--backend", backend, "--device", "cpu"]
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        words = [PROGRAM, "cohort", "run", f"{folder}/*.vcf.gz", *shared]
        cohort = [*words, "--store", work / "scores.sqlite"]
        first_run = run([*cohort, "-O", work / "first"], threads)
        second_run = run([*cohort, "-O", work / "second"], threads)
        first, second = (json.loads((work / name / "cohort.json").read_text()) for name in NAMES)
        rate = re.search(r"([\d,]+) records annotated in ([\d.]+) s", second_run.stderr)
        assert rate is not None
        records, seconds = int(rate[1].replace(",", "")), float(rate[2])
        paths = sorted(folder.glob("*.vcf.gz"))
        written = [{path.name: path.read_bytes() for path in (work / name / "annotated").iterdir()} for name in NAMES]
        apart = 0.0
        for path in paths[:: max(1, len(paths) // compare)][:compare]:
            run([PROGRAM, "annotate", path, *shared, "-O", work / "alone.vcf"], threads)
            apart = max(apart, largest_difference(work / "alone.vcf", work / "second" / "annotated" / path.name))
        timed = second_runs(words, work, threads, times, before)
    counts = first["counts"]
    rows = [
        ("files", f"{counts['files']:,}"),
        ("ALTs over all files", f"{counts['alts']:,}"),
        ("distinct alleles", f"{counts['distinct']:,}"),
        ("scored in the first run (the others are in no gene, or too long)", f"{counts['new']:,}"),
        ("factor saved: ALTs / scored", f"{counts['alts'] / max(1, counts['new']):.1f}"),
        ("scored in the second run", f"{second['counts']['new']:,}"),
        ("first run, s", f"{first_run.wall:.1f}"),
        ("second run, s", f"{second_run.wall:.1f}"),
        ("records annotated per second in the second run", f"{records / seconds:,.0f}"),
        ("records per second over the whole second run", f"{records / second_run.wall:,.0f}"),
        ("files of both runs are the same bytes", "yes" if written[0] == written[1] else "NO"),
        (f"largest difference to annotate, {compare} files", f"{apart:.2g}"),
    ]
    print_table(("what", machine()), rows)
    own = statistics.median(timed[0].wall)
    rows = [
        (one.name, *(f"{statistics.median(found):.2f}" for found in (one.wall, one.cpu)),
         f"{statistics.median(one.wall) / own:.2f}")
        for one in timed
    ]  # fmt: skip
    print_table((f"second run, median of {times}", "wall, s", "CPU, s", "wall / first line's"), rows)


if __name__ == "__main__":
    main()
