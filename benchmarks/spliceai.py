"""Delta scores by SpliceAI and by splicebert-vep's splice-site models, on the same VCF, FASTA and cores.

    python -m venv spliceai-env
    spliceai-env/bin/pip install spliceai==1.3.1 "tensorflow-cpu<2.16" "numpy<2" "setuptools<80" biopython
    python benchmarks/make_inputs.py sparse sparse.vcf -R GRCh38.fa --count 40 --also SPLICEAIS_TABLE
    python benchmarks/spliceai.py --vcf sparse.vcf -R GRCh38.fa --spliceai spliceai-env/bin/spliceai

SpliceAI lives in an environment of its own, with Python 3.11 or older and these versions; it reads no bgzip FASTA
without biopython. Its genes are in spliceai/annotations/grch38.txt of that environment's site-packages.

The tools take turns. Each is timed on the whole file and on its first record, after one untimed start; the rate is
(ALTs - ALTs of the first record) / (seconds of the file - seconds of the first record), of ALTs that the tool scored.
Where the difference in seconds is not far above the scatter of a start, it is worth little: see slowest and fastest.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click
from common import LABELS, annotate, lines, machine, median, print_table, run, say, show, write_first

FACTS = """
import importlib.metadata as m, tensorflow as tf
print("SpliceAI", m.version("spliceai"), "cuda" if tf.config.list_physical_devices("GPU") else "cpu")
"""


#: One run of one tool: wall seconds, ALTs that it scored, and device, precision and weights.
Timed = tuple[float, int, list[str]]


def run_spliceai(program: Path, device: str, options: list[str], threads: int, vcf: Path, target: Path) -> Timed:
    """Run SpliceAI and count the ALTs that it gave numbers."""
    ran = run([program, "-I", vcf, "-O", target, *options], threads)
    scored = 0
    for line in lines(target):
        found = re.search(r"[\t;]SpliceAI=([^;\t]+)", line)
        entries = [entry.split("|") for entry in found[1].split(",")] if found else []
        scored += len({entry[0] for entry in entries if entry[2] != "."})
    return ran.wall, scored, [device, "fp32", "its five"]


def run_ours(options: list[str], threads: int, vcf: Path, target: Path) -> Timed:
    """Run splicebert-vep."""
    ran = annotate(vcf, target, options, threads)
    return ran.wall, ran.scored, [ran.provenance["Device"], "fp32", ran.provenance["SpliceModelSHA256"][:8]]


def alts(vcf: Path) -> int:
    """Count the ALTs of a file."""
    fields = (line.split("\t", 5)[4] for line in lines(vcf) if line[0] != "#")
    return sum(len(field.split(",")) for field in fields if field != ".")


@click.command()
@click.option("--vcf", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("-R", "--reference", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("-A", "--annotation", default="grch38", help="grch38 or grch37: each tool's own table of that name.")
@click.option("--spliceai", required=True, type=click.Path(exists=True, path_type=Path), help="Its executable.")
@click.option("-D", "--distance", default=50, help="-D of both.")
@click.option("--splice-model", "models", multiple=True, default=["cispliceai"], help="May be repeated.")
@click.option("--threads", default=2)
@click.option("--repeats", default=3)
def main(
    vcf: Path, reference: Path, annotation: str, spliceai: Path, distance: int, models: tuple[str, ...],
    threads: int, repeats: int,
) -> None:  # fmt: skip
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
            words = ["-R", str(reference), *shared, "--scores", "delta", "--splice-model", model, "-D", str(distance)]
            tools[Path(model).name] = partial(run_ours, words, threads)
        whole: dict[str, list[Timed]] = {title: [] for title in tools}
        start: dict[str, list[Timed]] = {title: [] for title in tools}
        for title, tool in tools.items():
            wall, scored, _ = tool(one, folder / "out.vcf")
            say(f"{title}: untimed start, {wall:.1f} s")
            if not scored:
                raise click.ClickException(f"{title} does not score the first record of {vcf}: begin with another")
        for repeat in range(repeats):
            for title, tool in tools.items():
                start[title].append(tool(one, folder / "out.vcf"))
                whole[title].append(tool(vcf, folder / "out.vcf"))
                seconds = f"{start[title][-1][0]:.1f} s for one record, {whole[title][-1][0]:.1f} s for all"
                say(f"{title}: run {repeat + 1} of {repeats}, {seconds}")

    def rates(title: str) -> list[float | None]:
        """Return scored ALTs/s net of start-up, run by run; None where the file took no longer than one record."""
        pairs = zip(whole[title], start[title], strict=True)
        return [(a[1] - b[1]) / (a[0] - b[0]) if a[0] > b[0] else None for a, b in pairs]

    rows = []
    for title, runs in whole.items():
        found = rates(title)
        there = [rate for rate in found if rate is not None]
        faster = [a / b if a and b else None for a, b in zip(found, rates(theirs), strict=True)]
        shorter = [b[0] / a[0] for a, b in zip(runs, whole[theirs], strict=True)]
        wall, first = (median([run[0] for run in of]) for of in (runs, start[title]))
        spread = f"{show(min(there))} - {show(max(there))}" if there else "-"
        cells = [f"{runs[0][1]:,}", show(wall), show(first), show(median(shorter), "x"), show(median(found)), spread]
        rows.append([title, *runs[0][2], *cells, show(median(faster), "x")])
    click.echo(f"{vcf.name}: {alts(vcf):,} ALTs; {reference.name}, annotation {annotation}, -D {distance}")
    click.echo(f"{machine()}; threads and cores {threads}; medians of {repeats} alternating runs")
    titles = ("scored", "wall s", "one record s", "wall ratio", "ALTs/s net", "slowest - fastest", "rate ratio")
    print_table(("tool", *LABELS, *titles), rows)


if __name__ == "__main__":
    main()
