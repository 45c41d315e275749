"""What two single-threaded Dask workers reach of what two independent processes reach, in the same run.

    python benchmarks/scale_out.py in.vcf.gz -R GRCh38.fa --units 24

A plan is made once. Two processes of ``cohort work`` score every other unit each, at the same time; then two Dask
workers score the same units anew. Both are timed from the second shard to the last, so that starting and loading the
model, which a long run does once, are left out; alternated ``--repeats`` times.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import click
from common import machine, print_table, program, run, say

from splicebert_vep.cohort.plan import Plan
from splicebert_vep.cohort.schedulers import Scheduler, dask, work_all


def between(folder: Path, score: Callable[[], None]) -> float:
    """Return units per second between the first and the last shard."""
    shutil.rmtree(folder / "shards", ignore_errors=True)
    score()
    times = sorted(path.stat().st_mtime for path in (folder / "shards").glob("unit-*"))
    return (len(times) - 2) / (times[-1] - times[1])  # the first of each worker starts the clock


def independent(folder: Path, units: int) -> None:
    """Score with two processes that know nothing of each other."""
    words = [[str(unit) for unit in range(1, units + 1) if unit % 2 == odd] for odd in (1, 0)]
    processes = [
        subprocess.Popen([program(), "cohort", "work", str(folder), *mine], stderr=subprocess.DEVNULL) for mine in words
    ]
    for process in processes:
        if process.wait():
            raise click.ClickException("cohort work failed")


def score_with(plan: Plan, units: int, workers: Scheduler) -> None:
    """Score with workers."""
    work_all(plan, range(1, units + 1), workers)


@click.command()
@click.argument("vcf", type=click.Path(path_type=Path, exists=True))
@click.option("-R", "--reference", required=True)
@click.option("--model", default="splicebert-mini")
@click.option("--units", default=12, help="Score no more units than these.")
@click.option("--repeats", default=3)
def main(vcf: Path, reference: str, model: str, units: int, repeats: int) -> None:
    """Time both ways in turn."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        words = [vcf, "-R", reference, "--model", model, "--device", "cpu", "--threads", "1", "-O", folder]
        run([program(), "cohort", "plan", *words], 2)
        alone, together = [], []
        with Plan(folder) as plan, dask("local:2") as workers:
            units = min(units, plan.units)
            for _ in range(repeats):
                alone.append(between(folder, lambda: independent(folder, units)))
                say(f"independent {alone[-1]:.4f} units/s")
                together.append(between(folder, lambda: score_with(plan, units, workers)))
                say(f"Dask {together[-1]:.4f} units/s")
        alleles = plan.about.counts["new"] / plan.units
    ratios = [two / one for one, two in zip(alone, together, strict=True)]
    print_table(
        ("two single-threaded processes", machine()),
        [
            ("units scored each time", f"{units}"),
            ("independent, alleles/s", f"{statistics.median(alone) * alleles:.1f}"),
            ("Dask workers, alleles/s", f"{statistics.median(together) * alleles:.1f}"),
            ("Dask / independent, median", f"{statistics.median(ratios):.3f}"),
            ("smallest, largest", f"{min(ratios):.3f}, {max(ratios):.3f}"),
        ],
    )


if __name__ == "__main__":
    main()
