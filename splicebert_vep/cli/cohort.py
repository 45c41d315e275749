"""``cohort``: many files, each allele scored once; and the difference of two runs."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import cloup

from ..errors import shortened
from ..files import reporting
from ..progress import progress_bar
from .options import (
    PATH,
    REMOVED,
    annotation_option,
    check_targets,
    clock,
    computed_options,
    dask_option,
    failed_code,
    introduce,
    machine_options,
    open_annotator,
    print_table,
    reference_option,
    say,
    split_words,
    store_option,
    warn,
)

if TYPE_CHECKING:
    from splicebert_vep_spec import Allele

    from ..tools.manifest import CohortFile

_SHOWN = 10
_EPILOG = """\b
Examples:
  splicebert-vep cohort run 'vcfs/*.vcf.gz' -R GRCh38.fa -A grch38 --store scores.sqlite -O cohort2026
  splicebert-vep cohort diff cohort2025 cohort2026 -O changes.tsv
"""
_RUN_EPILOG = """\b
Examples:
  splicebert-vep cohort run 'vcfs/*.vcf.gz' -R GRCh38.fa -A grch38 --store scores.sqlite -O cohort2026
  splicebert-vep cohort run manifest.tsv -R GRCh38.fa --store scores.sqlite -O cohort2026 --dry-run
  splicebert-vep cohort run manifest.tsv -R GRCh38.fa -O cohort2026 --dask local:8
"""
_DIFF_EPILOG = """\b
Examples:
  splicebert-vep cohort diff cohort2025 cohort2026 -O changes.tsv
  splicebert-vep cohort diff old/cohort.parquet new/cohort.parquet -O changes.parquet --threshold 0.1
"""


class CohortGroup(cloup.Group):
    """A group that says what replaces a command that is gone."""

    def handle_bad_command_name(
        self, bad_name: str, valid_names: list[str], error: click.UsageError
    ) -> click.UsageError:
        """Name the replacement, or suggest a similar name."""
        if gone := REMOVED.get(f"cohort {bad_name}"):
            return click.UsageError(f"cohort {bad_name} is gone: {gone}", click.get_current_context())
        return super().handle_bad_command_name(bad_name, valid_names, error)


@cloup.group(cls=CohortGroup, epilog=_EPILOG)
def cohort() -> None:
    """Annotate many files, each allele once; compare two runs."""


@cohort.command("run", epilog=_RUN_EPILOG)
@cloup.argument("manifest", metavar="MANIFEST", type=PATH)
@cloup.option_group(
    "Input and output",
    cloup.option("-O", "--output", "folder", required=True, type=PATH, metavar="FOLDER", help="Folder of the run."),
    cloup.option(
        "--emit",
        multiple=True,
        callback=split_words,
        metavar="WHAT,...",
        help="flat (default), vep, csq or a plugin's, into the annotated files.",
    ),
    reference_option,
    annotation_option,
    store_option,
)
@cloup.option_group(
    "How it runs",
    cloup.option("--dry-run", is_flag=True, help="Say how many alleles are new and what they will cost here; no more."),
    dask_option,
)
@computed_options
@machine_options
def run_command(
    manifest: str, folder: str, emit: tuple[str, ...], store: str | None, dry_run: bool, dask: str | None, **model: Any
) -> int:  # fmt: skip
    """Annotate files, scoring only alleles that the store lacks.

    MANIFEST is a table of paths (and, after a tab, names), a pattern in quotes, or one VCF or BCF of many samples.
    FOLDER gets annotated/, cohort.parquet and cohort.json. Scores are committed batch by batch: after a kill the same
    command goes on.
    """
    from ..tools.manifest import STORE, read_manifest
    from ..tools.processes import start_processes

    files = read_manifest(manifest)
    where = store or os.path.join(folder, STORE)
    emit = emit or ("flat",)
    if dry_run:
        _dry_run(files, emit, where, model)
        return 0
    writers = None if dask else model["threads"]
    if dask and model["threads"] is None:
        model["threads"] = 1  # of each worker
    if store is None:
        with reporting(folder):
            os.makedirs(folder, exist_ok=True)
    # The processes get ready while this one imports torch.
    with (
        start_processes([one.signature[0] for one in files], writers) as processes,
        open_annotator(**model, store=where) as annotator,
    ):
        from ..tools.cohort import ANNOTATED, run_cohort
        from ..tools.diff import TABLE
        from ..tools.workers import dask_workers

        introduce(annotator.backend.info, annotator.note)
        with dask_workers(dask, annotator) as workers, progress_bar() as progress:
            done = run_cohort(
                Path(folder), files, annotator, emit=emit, workers=workers, processes=processes, progress=progress
            )
    counts = done["counts"]
    say(_found(counts))
    say(f"{counts['distinct'] - counts['new']:,} alleles known or in no gene, {counts['new']:,} scored")
    rate = done["annotated"] / max(done["seconds"], 1e-9)
    say(f"{done['annotated']:,} records annotated in {done['seconds']:.1f} s ({rate:,.0f}/s)")
    status = ", ".join(f"{word} {count:,}" for word, count in done["status"].items()) or "none"
    say(f"{len(done['files']):,} files in {os.path.join(folder, ANNOTATED)}; by status: {status}")
    if said := annotator.delta.outcome(done["ds_max"]["at_or_above"], done["ds_max"]["alleles"]):
        say(f"{os.path.join(folder, TABLE)}: {said}")
    for warning in done["notes"][:_SHOWN]:
        warn(shortened(warning))
    if len(done["notes"]) > _SHOWN:
        warn(f"and {len(done['notes']) - _SHOWN:,} more like these")
    if failed := done["failed"]:
        warn(
            f"{failed:,} ALTs FAILED in a gene and are not in the store; the column REASON of cohort.parquet says why. "
            "The same command tries them again"
        )
    return failed_code(done["status"])


@cohort.command("diff", epilog=_DIFF_EPILOG)
@cloup.argument("old", metavar="OLD", type=PATH)
@cloup.argument("new", metavar="NEW", type=PATH)
@cloup.option(
    "-O", "--output", type=PATH, metavar="FILE",
    help="List the changed alleles: FILE.parquet is Parquet, any other name tab-separated text.",
)  # fmt: skip
@cloup.option(
    "--threshold", type=click.FloatRange(min=0), default=1e-4, show_default=True, metavar="X",
    help="A number changed when it moved by more than X, or came or went.",
)  # fmt: skip
def diff_command(old: str, new: str, output: str | None, threshold: float) -> None:
    """Compare two runs, allele by allele and gene by gene.

    OLD and NEW are folders of 'cohort run', the cohort.parquet in them, or Parquet of 'annotate'. Prints how many rows
    of each column changed, and lines of provenance that differ. chr17 and 17 are the same contig. The exit code is 0
    whether or not anything changed.
    """
    from ..tools.diff import TABLE, compare, write_changes

    if output is not None:
        check_targets([output], {}, *(os.path.join(run, TABLE) if os.path.isdir(run) else run for run in (old, new)))
    found = compare(old, new, threshold)
    rows = [("field", "rows in both", f"changed by more than {threshold:g}", "largest change")]
    for one in found.fields:
        largest = "" if one.largest is None else f"{one.largest:.6g}"
        rows.append((one.field, f"{one.compared:,}", f"{one.changed:,}", largest))
    print_table(rows)
    click.echo(f"alleles only in OLD: {found.only_old:,}; only in NEW: {found.only_new:,}")
    if found.not_compared:
        click.echo(f"not compared: {', '.join(found.not_compared)}")
    for key, before, after in found.provenance:
        click.echo(f"{key}: {before or '-'} -> {after or '-'}")
    if any(key == "ScoreDigest" for key, *_ in found.provenance):
        warn("the score digests differ: the scores are of different models or settings and not comparable")
    if output is not None:
        write_changes(found, output)
        say(f"{len(found.changes):,} changes in {output}")


def _dry_run(files: list[CohortFile], emit: tuple[str, ...], store: str, model: dict[str, Any]) -> None:
    from ..tools.processes import start_processes

    with tempfile.TemporaryDirectory(prefix="splicebert-vep-") as scratch:
        # A store that is not there yet is not made: an empty one answers the same.
        known = store if os.path.exists(store) else os.path.join(scratch, "empty.sqlite")
        with (
            start_processes([one.signature[0] for one in files], model["threads"]) as processes,
            open_annotator(**model, store=known) as annotator,
            progress_bar() as progress,
        ):
            from ..tools.cohort import read_alleles
            from ..tools.workers import alleles_per_second, missing_of

            processes.prepare(annotator.run.provenance, annotator.reference.lengths, annotator.settings.chunk_records)
            alleles, counts, read = read_alleles(files, annotator, emit, processes, progress)
            new = 0
            sample: list[Allele] = []
            for block in alleles.blocks():
                missing = missing_of(annotator, block)
                new += len(missing)
                sample += missing[: 64 - len(sample)]
            rate = alleles_per_second(annotator, sample) if sample else 0.0
    warnings = [f"{one.path}: {said}" for one, about in zip(files, read, strict=True) for said in about.warnings]
    for warning in warnings[:_SHOWN]:
        warn(warning)
    say(f"{_found(counts)}, {new:,} of them new")
    if new:
        say(f"about {clock(new / rate)} to score them here ({rate:,.1f} alleles/s, measured on {len(sample)})")


def _found(counts: dict[str, int]) -> str:
    return (
        f"{counts['files']:,} files, {counts['records']:,} records, {counts['alts']:,} ALTs, "
        f"{counts['distinct']:,} distinct alleles"
    )
