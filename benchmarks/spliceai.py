"""SpliceAI and splicebert-vep on the same VCF, FASTA and cores.

    python -m venv spliceai-env
    spliceai-env/bin/pip install spliceai==1.3.1 "tensorflow-cpu<2.16" "numpy<2" "setuptools<80" biopython
    python benchmarks/make_inputs.py sparse sparse.vcf -R GRCh38.fa --count 40 --also SPLICEAIS_TABLE
    python benchmarks/spliceai.py --vcf sparse.vcf -R GRCh38.fa --spliceai spliceai-env/bin/spliceai

SpliceAI lives in an environment of its own, with Python 3.11 or older. Without biopython it reads no bgzip FASTA, with
a newer numpy or setuptools it does not start or does not score. Its index is written beside a link to the FASTA. Its
table of genes is spliceai/annotations/grch38.txt in the site-packages of that environment.

The tools take turns. Each is timed on the whole file and on its first record, after one untimed start, so that the rate
is that of scoring: (ALTs - ALTs of the first record) / (seconds of the file - seconds of the first record). Only ALTs
that the tool scored count, since SpliceAI skips in silence, in no time, what its own table of genes does not hold. Of
little worth where the difference in seconds is not far above the scatter of a start: look at the slowest and fastest.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click
from common import LABELS, annotate, lines, machine, median, print_table, run, say, show, write_first

FACTS = """
import importlib.metadata as m, tensorflow as tf
print("SpliceAI", m.version("spliceai"), "cuda" if tf.config.list_physical_devices("GPU") else "cpu")
"""


@dataclass(frozen=True, slots=True)
class Timed:
    """One run of one tool: wall seconds, ALTs that it scored, and device, precision and weights."""

    wall: float
    scored: int
    labels: list[str]


def run_spliceai(program: Path, device: str, options: list[str], threads: int, vcf: Path, target: Path) -> Timed:
    """Run SpliceAI and count the ALTs that it gave numbers."""
    ran = run([program, "-I", vcf, "-O", target, *options], threads)
    scored = 0
    for line in lines(target):
        found = re.search(r"[\t;]SpliceAI=([^;\t]+)", line)
        entries = [entry.split("|") for entry in found[1].split(",")] if found else []
        scored += len({entry[0] for entry in entries if entry[2] != "."})
    return Timed(ran.wall, scored, [device, "fp32", "its five"])


def run_ours(options: list[str], threads: int, vcf: Path, target: Path) -> Timed:
    """Run splicebert-vep."""
    ran = annotate(vcf, target, options, threads)
    return Timed(ran.wall, ran.scored, ran.labels)


def alts(vcf: Path) -> int:
    """Count the ALTs of a file."""
    fields = (line.split("\t", 5)[4] for line in lines(vcf) if line[0] != "#")
    return sum(len(field.split(",")) for field in fields if field != ".")


@click.command()
@click.option("--vcf", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("-R", "--reference", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("-A", "--annotation", default="grch38", help="grch38 or grch37: each tool's own table of that name.")
@click.option("--spliceai", required=True, type=click.Path(exists=True, path_type=Path), help="Its executable.")
@click.option("-D", "--distance", default=50, help="SpliceAI's -D.")
@click.option("--model", "models", multiple=True, default=["splicebert-mini"], help="May be repeated.")
@click.option("--extra", "extras", multiple=True, help="Options of 'annotate' for one more row; may be repeated.")
@click.option("--threads", default=2)
@click.option("--repeats", default=3)
def main(
    vcf: Path,
    reference: Path,
    annotation: str,
    spliceai: Path,
    distance: int,
    models: tuple[str, ...],
    extras: tuple[str, ...],
    threads: int,
    repeats: int,
) -> None:
    """Print the table."""
    facts = subprocess.run(
        [spliceai.with_name("python"), "-I", "-c", FACTS], capture_output=True, text=True, check=True
    )
    theirs, device = facts.stdout.strip().rsplit(" ", 1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        link = folder / reference.name
        link.symlink_to(reference.resolve())
        one = write_first(vcf, 1, folder / "one.vcf")
        shared = ["-A", annotation]
        options = ["-R", str(link), *shared, "-D", str(distance)]
        tools: dict[str, Callable[[Path, Path], Timed]] = {
            theirs: partial(run_spliceai, spliceai.absolute(), device, options, threads)
        }
        for model in models:
            for extra in ("", *extras):
                words = ["-R", str(reference), *shared, "--model", model]
                title = f"{Path(model).name} {extra}".strip()
                tools[title] = partial(run_ours, [*words, *shlex.split(extra)], threads)
        whole: dict[str, list[Timed]] = {title: [] for title in tools}
        start: dict[str, list[Timed]] = {title: [] for title in tools}
        for title, tool in tools.items():
            untimed = tool(one, folder / "out.vcf")
            say(f"{title}: untimed start, {untimed.wall:.1f} s")
            if not untimed.scored:
                raise click.ClickException(f"{title} does not score the first record of {vcf}: begin with another")
        for repeat in range(repeats):
            for title, tool in tools.items():
                start[title].append(tool(one, folder / "out.vcf"))
                whole[title].append(tool(vcf, folder / "out.vcf"))
                seconds = f"{start[title][-1].wall:.1f} s for one record, {whole[title][-1].wall:.1f} s for all"
                say(f"{title}: run {repeat + 1} of {repeats}, {seconds}")

    def rates(title: str) -> list[float | None]:
        """Return scored ALTs/s net of start-up, run by run; None where the file took no longer than one record."""
        pairs = zip(whole[title], start[title], strict=True)
        differences = [(a.scored - b.scored, a.wall - b.wall) for a, b in pairs]
        return [scored / seconds if seconds > 0 else None for scored, seconds in differences]

    rows = []
    for title, runs in whole.items():
        found = rates(title)
        there = [rate for rate in found if rate is not None]
        faster = [a / b if a and b else None for a, b in zip(found, rates(theirs), strict=True)]
        shorter = [b.wall / a.wall for a, b in zip(runs, whole[theirs], strict=True)]
        rows.append(
            [
                title,
                *runs[0].labels,
                f"{runs[0].scored:,}",
                show(median([run.wall for run in runs])),
                show(median([run.wall for run in start[title]])),
                show(median(shorter), "x"),
                show(median(found)),
                f"{show(min(there))} - {show(max(there))}" if there else "-",
                show(median(faster), "x"),
            ]
        )
    click.echo(f"{vcf.name}: {alts(vcf):,} ALTs; {reference.name}, annotation {annotation}, -D {distance}")
    click.echo(f"{machine()}; threads and cores {threads}; medians of {repeats} alternating runs")
    titles = ("scored", "wall s", "one record s", "wall ratio", "ALTs/s net", "slowest - fastest", "rate ratio")
    print_table(("tool", *LABELS, *titles), rows)


if __name__ == "__main__":
    main()
