"""What the host can feed a model: alleles per second with no model at all, on one core; and what memory it takes.

    python benchmarks/host.py --vcf clinvar.vcf.gz -R GRCh38.fa --records 30000 --before ../earlier-checkout
    python benchmarks/host.py --vcf clinvar.vcf.gz -R GRCh38.fa --memory

The backend is ``null``, the output a plain VCF. Where the VCF has too few records, SNVs in genes of --contig follow
them, or with --again its own records from the first on, and the output says so. Net CPU seconds are those of the run
without those of a run on one record, which are start-up; on a busy machine they move less than seconds on the wall.
With --memory also the peak resident memory and the net seconds of a process each on 10,000, 100,000 and 1,000,000
records: how much they grow says whether memory is bounded and time in proportion.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from pathlib import Path

import click
import numpy as np
from common import (
    BEFORE,
    annotate,
    genome,
    has_alt,
    lines,
    machine,
    make_input,
    median,
    print_table,
    say,
    show,
    write_first,
)

WAYS = {"LLR": ["--scores", "LLR"], "all default scores": [], "the same, from a filled store": []}
STORED = "the same, from a filled store"
SIZES = (10_000, 100_000, 1_000_000)


@click.command()
@click.option("--vcf", required=True, type=click.Path(exists=True, path_type=Path))
@genome
@click.option("--records", default=100_000)
@click.option("--contig", default="chr19", help="Where SNVs are made when the VCF has too few records.")
@click.option("--again", is_flag=True, help="Repeat the records of the VCF in place of making SNVs.")
@click.option("--repeats", default=3)
@click.option("--memory", is_flag=True, help="Measure memory and time on longer and longer files, and nothing else.")
@BEFORE
def main(
    vcf: Path, reference: str, annotation: str, records: int, contig: str, again: bool, repeats: int, memory: bool,
    before: Path | None,
) -> None:  # fmt: skip
    """Print the table."""
    words = ["-R", reference, "-A", annotation]
    options = [*words, "--backend", "null"]

    def make(target: Path, count: int) -> str:
        if again:
            return repeat_records(vcf, count, target)
        return make_input("large", target, *words, "--vcf", str(vcf), "--records", str(count), "--contig", contig)

    click.echo(f"{machine()}; null backend, threads and cores 1")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if memory:
            measure_growth(folder, make, options)
            return
        source, target = folder / "in.vcf", folder / "out.vcf"
        say("making the input")
        described = make(source, records)
        one = write_first(source, 1, folder / "one.vcf")
        versions = {"now": None} if before is None else {before.name: before, "now": None}
        annotate(one, target, options, 1)  # indexes and digests the FASTA
        runs: dict[tuple[str, str], list[tuple[float, float, float, int]]] = {}
        for repeat in range(repeats):
            for way, scores in WAYS.items():
                for version, checkout in versions.items():
                    more = [*options, *scores]
                    if way == STORED:
                        more += ["--store", folder / f"{version}.sqlite"]
                        if not repeat:
                            annotate(source, target, more, 1, checkout)
                    start = annotate(one, target, more, 1, checkout).cpu
                    ran = annotate(source, target, more, 1, checkout)
                    runs.setdefault((way, version), []).append((start, ran.cpu, ran.seconds, ran.alleles))
                    say(f"{way}, {version}: run {repeat + 1} of {repeats}, {ran.cpu - start:.2f} s net CPU")
        click.echo(f"{described}; medians of {repeats} alternating runs")
        rows, first = [], None
        for (way, version), found in runs.items():
            starts, cpus, seconds, (alleles, *_) = map(list, zip(*found, strict=True))
            cpu = statistics.median(cpus) - statistics.median(starts)
            first = cpu if version == next(iter(versions)) else first
            ratio = f"{(first or cpu) / cpu:.2f}"
            rows.append([way, version, f"{alleles:,}", show(cpu), show(alleles / cpu), show(median(seconds)), ratio])
        head = ("scores", "version", "ALTs", "net CPU s", "ALTs/s of CPU", "wall s without start-up", "times as fast")
        print_table(head, rows)


def repeat_records(vcf: Path, count: int, target: Path) -> str:
    """Write so many records with an ALT, those of the VCF again and again, and return a description."""
    every = list(lines(vcf))
    header, own = [one for one in every if one[0] == "#"], [one for one in every if one[0] != "#" and has_alt(one)]
    target.write_text("\n".join([*header, *islice(cycle(own), count)]) + "\n")
    return f"{count:,} records: the {len(own):,} of {vcf.name} again and again"


def measure_growth(folder: Path, make: Callable[[Path, int], str], options: Sequence[str]) -> None:
    """Print net CPU seconds and peak memory of longer and longer files, and the exponent of the time."""
    source, target = folder / "in.vcf", folder / "out.vcf"
    rows, seconds, peaks = [], [], []
    start = None
    for count in SIZES:
        say(f"{count:,} records")
        described = make(source, count)
        if start is None:
            one = write_first(source, 1, folder / "one.vcf")
            annotate(one, target, options, 1)  # indexes and digests the FASTA
            start = annotate(one, target, options, 1).cpu
        ran = annotate(source, target, options, 1)
        seconds.append(ran.cpu - start)
        peaks.append(ran.peak)
        rate = show(ran.alleles / seconds[-1])
        rows.append([described, show(seconds[-1]), rate, show(ran.peak), f"{ran.peak / peaks[0] - 1:+.1%}"])
        say(", ".join(rows[-1]))
    print_table(("input, all default scores", "net CPU s", "ALTs/s", "peak MiB", "growth"), rows)
    slope = np.polyfit(np.log(SIZES), np.log(seconds), 1)[0]
    click.echo(f"seconds grow with the records to the power of {slope:.3f}")


if __name__ == "__main__":
    main()
