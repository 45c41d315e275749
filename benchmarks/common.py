"""What the benchmarks of speed share: a command that is run and timed, the words for a machine, a table."""

from __future__ import annotations

import gzip
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
LINUX = sys.platform == "linux"
MIB = 1 << 10 if LINUX else 1 << 20  # in the unit of ru_maxrss: KiB on Linux, bytes on macOS


MODEL = click.option("--model", default="splicebert-mini")
BEFORE = click.option(
    "--before", type=click.Path(path_type=Path, exists=True, resolve_path=True),
    help="Checkout of an earlier version, which takes turns with this one.",
)  # fmt: skip


def genome(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options -R and -A to a command."""
    command = click.option("-A", "--annotation", default="grch38")(command)
    return click.option("-R", "--reference", required=True)(command)


@dataclass(frozen=True, slots=True)
class Ran:
    """A process that ended well: wall seconds, peak resident memory in MiB, what it wrote to stderr, and seconds of CPU
    that it took with all that it started."""

    wall: float
    peak: float
    stderr: str
    cpu: float


@dataclass(frozen=True, slots=True)
class Annotated:
    """A run of ``annotate``: wall and CPU seconds, peak MiB; from its summary seconds without start-up, and counts."""

    wall: float
    cpu: float
    peak: float
    seconds: float
    alleles: int
    scored: int
    provenance: Mapping[str, str]

    @property
    def labels(self) -> list[str]:
        """Return device, precision and the beginning of the weights' SHA-256, for ``LABELS``."""
        return [self.provenance["Device"], self.provenance["Precision"], self.provenance["WeightsSHA256"][:8]]


LABELS = ("device", "precision", "weights")


def run(argv: Sequence[str | Path], threads: int, checkout: Path | None = None) -> Ran:
    """Run a command on ``threads`` cores and with as many threads; an error ends the benchmark.

    Args:
        checkout: of the version of this package that runs; None is that of the environment.
    """
    pin = None
    if LINUX:
        cores = sorted(os.sched_getaffinity(0))[:threads]
        if len(cores) < threads:
            raise click.ClickException(f"{threads} threads need as many cores; there are {len(cores)}")

        def pin() -> None:
            os.sched_setaffinity(0, cores)

    environment = os.environ | dict.fromkeys(THREADS, str(threads)) | {"TF_CPP_MIN_LOG_LEVEL": "2"}
    if checkout is not None:
        environment["PYTHONPATH"] = os.pathsep.join([str(checkout), str(checkout / "plugin_spec")])
    with tempfile.TemporaryFile() as stderr:
        began = time.perf_counter()
        child = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=stderr, env=environment, preexec_fn=pin)
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        stderr.seek(0)
        text = stderr.read().decode(errors="replace")
    if child.returncode:
        raise click.ClickException(f"{shlex.join(map(str, argv))} ended with {child.returncode}:\n{text[-2000:]}")
    return Ran(wall, usage.ru_maxrss / MIB, text, usage.ru_utime + usage.ru_stime)


PROGRAM = str(Path(sys.executable).with_name("splicebert-vep"))


def annotate(
    vcf: Path, target: Path, options: Sequence[str | Path], threads: int, checkout: Path | None = None
) -> Annotated:
    """Run ``splicebert-vep annotate``; arguments as for ``run``."""
    report = target.with_suffix(".json")
    words = [PROGRAM, "annotate", vcf, "-O", target, "--summary", report, "--threads", str(threads), *options]
    ran = run(words, threads, checkout)
    found = json.loads(report.read_text())
    ok = found["status"].get("OK", 0)
    return Annotated(ran.wall, ran.cpu, ran.peak, found["seconds"], found["alleles"], ok, found["provenance"])


def make_input(kind: str, target: Path, *options: str) -> str:
    """Run ``make_inputs.py`` and return its description of the file.

    A process of its own: the peak memory of later children is never less than this process has, so keep torch out.
    """
    script = Path(__file__).with_name("make_inputs.py")
    return run([sys.executable, script, kind, target, *options], 1).stderr.strip().splitlines()[-1]


def lines(vcf: Path) -> Iterator[str]:
    """Yield the lines of a VCF, plain or compressed, without their ends."""
    with gzip.open(vcf, "rt") if vcf.suffix in (".gz", ".bgz") else vcf.open() as handle:
        for line in handle:
            yield line.rstrip("\n")


def has_alt(record: str) -> bool:
    """Tell whether a record's line has an ALT."""
    return record.split("\t", 5)[4] != "."


def snv(contig: str, start: int, ref: str, alt: str) -> str:
    """Return the record's line of an SNV at the 0-based ``start``."""
    return f"{contig}\t{start + 1}\t.\t{ref}\t{alt}\t.\t.\t."


def write_first(vcf: Path, count: int, target: Path) -> Path:
    """Write the header and the first ``count`` records that have an ALT."""
    with target.open("w") as out:
        left = count
        for line in lines(vcf):
            if line.startswith("#"):
                print(line, file=out)
            elif has_alt(line):
                print(line, file=out)
                left -= 1
                if not left:
                    return target
    raise click.ClickException(f"{vcf} has {count - left} records with an ALT, {count} are wanted")


def machine() -> str:
    """Return the processor's name and the number of cores that this process may use."""
    name = platform.processor() or platform.machine()
    if LINUX:
        info = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.partition(":")[2].strip() for line in info if line.startswith("model name")), name)
    return f"{name}, {len(os.sched_getaffinity(0)) if LINUX else os.cpu_count()} cores"


def median(values: Sequence[float | None]) -> float | None:
    """Return the median of the values that are there."""
    there = [value for value in values if value is not None]
    return statistics.median(there) if there else None


def show(value: float | None, unit: str = "") -> str:
    """Print a number with three digits or more; a missing one as a dash."""
    if value is None:
        return "-"
    return f"{value:,.0f}{unit}" if abs(value) >= 100 else f"{value:#.3g}{unit}"


def say(text: str) -> None:
    """Tell how far the benchmark is."""
    click.echo(text, err=True)


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print columns as wide as they need be, the first to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        first, *others = zip(row, widths, strict=True)
        click.echo("  ".join([f"{first[0]:<{first[1]}}", *(f"{cell:>{width}}" for cell, width in others)]))
