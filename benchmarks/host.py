"""What the host can feed a model: alleles per second with no model at all, on one core; and what memory it takes.

    python benchmarks/host.py --vcf clinvar.vcf.gz -R GRCh38.fa --records 100000
    python benchmarks/host.py --vcf clinvar.vcf.gz -R GRCh38.fa --memory

The backend is ``null``, the output a plain VCF. Where the VCF has too few records, SNVs in genes of --contig follow
them, and the output says so. Net seconds are those that ``annotate`` reports, without start-up. With --memory also the
peak resident memory of a process each on a short and a long file; how much it grows says whether it is bounded.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
from common import LABELS, annotate, genome, machine, make_input, median, print_table, say, show, write_first

SCORES = {"LLR": ["--scores", "LLR"], "all default scores": []}


@click.command()
@click.option("--vcf", required=True, type=click.Path(exists=True, path_type=Path))
@genome
@click.option("--records", default=100_000)
@click.option("--contig", default="chr19", help="Where SNVs are made when the VCF has too few records.")
@click.option("--repeats", default=3)
@click.option("--memory", is_flag=True, help="Measure peak memory too.")
def main(vcf: Path, reference: str, annotation: str, records: int, contig: str, repeats: int, memory: bool) -> None:
    """Print the table."""
    words = ["-R", reference, "-A", annotation]
    options = [*words, "--backend", "null"]

    def make(target: Path, count: int) -> str:
        return make_input("large", target, *words, "--vcf", str(vcf), "--records", str(count), "--contig", contig)

    click.echo(f"{machine()}; null backend, threads and cores 1")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, target = folder / "in.vcf", folder / "out.vcf"
        say("making the input")
        described = make(source, records)
        annotate(write_first(source, 1, folder / "one.vcf"), target, options, 1)  # indexes and digests the FASTA
        runs = {title: [] for title in SCORES}
        for repeat in range(repeats):
            for title, scores in SCORES.items():
                runs[title].append(annotate(source, target, [*options, *scores], 1))
                say(f"{title}: run {repeat + 1} of {repeats}, {runs[title][-1].seconds:.1f} s")
        click.echo(f"{described}; medians of {repeats} alternating runs")
        rows = [
            [
                title, *found[0].labels, f"{found[0].alleles:,}", f"{found[0].scored:,}",
                show(median([run.wall for run in found])), show(median([run.seconds for run in found])),
                show(median([run.alleles / run.seconds for run in found])),
            ]
            for title, found in runs.items()
        ]  # fmt: skip
        print_table(("scores", *LABELS, "ALTs", "scored", "wall s", "net s", "ALTs/s net"), rows)
        if memory:
            peaks, rows = [], []
            for count in (10_000, 1_000_000):
                say(f"memory: {count:,} records")
                described = make(source, count)
                measured = annotate(source, target, options, 1)
                peaks.append(measured.peak)
                rows.append([described, show(measured.seconds), show(peaks[-1]), f"{peaks[-1] / peaks[0] - 1:+.1%}"])
            click.echo("\nall default scores, one process each")
            print_table(("input", "net s", "peak MiB", "growth"), rows)


if __name__ == "__main__":
    main()
