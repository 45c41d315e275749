"""Score once, annotate many: what a cohort saves, how fast a second run is, and whether its files are annotate's.

    python benchmarks/make_inputs.py samples samples/ --vcf 1000G.RYR1.vcf.gz --vcf 1000G.CYP2D6.vcf.gz --count 200
    python benchmarks/cohort.py samples/ -R GRCh38.fa --compare 5

The store of the first run serves the second, which writes all files anew.
"""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

import click
from common import MODEL, PROGRAM, genome, lines, machine, print_table, run

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


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True))
@genome
@MODEL
@click.option("--backend", default="torch")
@click.option("--threads", default=2)
@click.option("--compare", default=3, help="Files that are also annotated by themselves.")
def main(folder: Path, reference: str, annotation: str, model: str, backend: str, threads: int, compare: int) -> None:
    """Run a cohort twice and print what came of it."""
    shared = ["-R", reference, "-A", annotation, "--model", model, "--backend", backend, "--device", "cpu"]
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        cohort = [PROGRAM, "cohort", "run", f"{folder}/*.vcf.gz", *shared, "--store", work / "scores.sqlite"]
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


if __name__ == "__main__":
    main()
