"""``cohort``: many files, each allele scored once; on one machine or many, and whatever happens in between."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import cloup

from ..progress import progress_bar
from .options import (
    PATH,
    annotation_option,
    clock,
    computed_options,
    introduce,
    json_option,
    machine_options,
    opening_of,
    print_json,
    reference_option,
    say,
    scheduler_option,
    shortened,
    split_words,
    store_option,
    warn,
)

if TYPE_CHECKING:
    from ..cohort.merge import Merged
    from ..cohort.planning import Cohort
    from ..cohort.run import Planned

_MANIFEST = "MANIFEST"
_SHOWN = 10
_EPILOG = """\b
Examples:
  splicebert-vep cohort run 'vcfs/*.vcf.gz' -R GRCh38.fa -A grch38 --store scores.sqlite -O cohort2026
  splicebert-vep cohort plan manifest.tsv -R GRCh38.fa --store scores.sqlite -O cohort2026
  splicebert-vep cohort work cohort2026 1-40
  splicebert-vep cohort merge cohort2026
"""
_RUN_EPILOG = """\b
Examples:
  splicebert-vep cohort run 'vcfs/*.vcf.gz' -R GRCh38.fa -A grch38 --store scores.sqlite -O cohort2026
  splicebert-vep cohort run manifest.tsv -R GRCh38.fa --store scores.sqlite -O cohort2026 --dry-run
  splicebert-vep cohort run manifest.tsv -R GRCh38.fa -O cohort2026 --scheduler local:8
"""
_PLAN_EPILOG = """\b
Examples:
  splicebert-vep cohort plan manifest.tsv -R GRCh38.fa --store scores.sqlite -O cohort2026
  splicebert-vep cohort plan manifest.tsv -R GRCh38.fa -O cohort2026 --json | jq .units
"""
_WORK_EPILOG = """\b
Examples:
  splicebert-vep cohort work cohort2026 17
  splicebert-vep cohort work cohort2026 1-40
  splicebert-vep cohort work cohort2026 missing
"""
_MERGE_EPILOG = """\b
Examples:
  splicebert-vep cohort merge cohort2026
"""
_DIFF_EPILOG = """\b
Examples:
  splicebert-vep cohort diff cohort2025 cohort2026 -O changes.tsv --summary changes.md
  splicebert-vep cohort diff cohort2025 cohort2026 --threshold 0.1 | grep -w SCORE
  splicebert-vep cohort diff old/cohort.parquet new/cohort.parquet -O changes.parquet
"""

cohort_options = cloup.option_group(
    "Input and output",
    cloup.option("-O", "--output", "folder", required=True, type=PATH, metavar="FOLDER", help="Folder of the run."),
    cloup.option(
        "--emit", multiple=True, callback=split_words, metavar="WHAT,...",
        help="flat (default), vep, csq or a plugin's, into the annotated files.",
    ),
    reference_option,
    annotation_option,
    store_option,
)  # fmt: skip


@cloup.group(epilog=_EPILOG)
def cohort() -> None:
    """Annotate many files, scoring each allele once.

    A run that was killed goes on with the same command and ends with the same bytes.
    """


@cohort.command("run", epilog=_RUN_EPILOG)
@cloup.argument("manifest", metavar=_MANIFEST, type=PATH)
@cohort_options
@cloup.option_group(
    "How it runs",
    cloup.option("--dry-run", is_flag=True, help="Say how many alleles are new and what they will cost here; no more."),
    scheduler_option,
)
@computed_options
@machine_options
def run_command(
    manifest: str, folder: str, emit: tuple[str, ...], store: str | None, dry_run: bool, scheduler: str | None,
    **model: Any,
) -> None:  # fmt: skip
    """Plan, score and annotate a cohort in one go.

    MANIFEST is a table of paths (and, after a tab, names), a pattern in quotes, or one VCF or BCF of many samples.
    FOLDER gets annotated/, cohort.parquet and cohort.json.
    """
    from ..cohort.run import run_cohort

    if scheduler and model["threads"] is None:
        model["threads"] = 1  # of each worker
    if dry_run:
        _dry_run(manifest, folder, emit, store, model)
        return
    asked = _cohort(manifest, folder, emit, store, model)

    def planned(found: Planned) -> None:
        _say_planned(found)

    with progress_bar() as progress:
        merged = run_cohort(Path(folder), asked, scheduler=scheduler, progress=progress, planned=planned)
    _say_end(folder, merged)


@cohort.command("plan", epilog=_PLAN_EPILOG)
@cloup.argument("manifest", metavar=_MANIFEST, type=PATH)
@cohort_options
@json_option
@computed_options
@machine_options
def plan_command(
    manifest: str, folder: str, emit: tuple[str, ...], store: str | None, as_json: bool, **model: Any
) -> None:
    """Find what is new and cut it into units.

    Prints how many units there are; they are numbered from 1.
    """
    from ..cohort.run import make_plan
    from ..files import locked

    asked = _cohort(manifest, folder, emit, store, model)
    with (
        locked(Path(folder), "planning a cohort"),
        asked.opening.open(store=asked.store) as annotator,
        progress_bar() as progress,
    ):
        found = make_plan(Path(folder), asked, annotator, progress)
    _say_planned(found)
    if as_json:
        print_json(dict(found.counts))
    else:
        click.echo(found.counts["units"])


@cohort.command("work", epilog=_WORK_EPILOG)
@cloup.argument("folder", metavar="FOLDER", type=PATH)
@cloup.argument("units", metavar="UNIT...", nargs=-1, required=True)
def work_command(folder: str, units: tuple[str, ...]) -> None:
    """Score units of a plan, each into its own shard.

    UNIT is a number, a range such as 1-40, or 'missing' for all that have no shard. Never opens the store; any number
    of processes may work at once.
    """
    from ..cohort.run import missing_units, work_units

    with progress_bar() as progress:
        asked: list[int] = []
        for word in units:
            asked += missing_units(Path(folder)) if word == "missing" else _range(word)
        done = work_units(Path(folder), asked, progress)
    say(f"{done:,} units scored, {len(set(asked)) - done:,} were there")


@cohort.command("merge", epilog=_MERGE_EPILOG)
@cloup.argument("folder", metavar="FOLDER", type=PATH)
def merge_command(folder: str) -> None:
    """Store all shards, annotate every file, write the table.

    Names the units whose shards are missing, and stops.
    """
    from ..cohort.merge import merge
    from ..cohort.plan import Plan
    from ..files import locked

    with Plan(Path(folder)):  # says that there is none before a folder is made
        pass
    with locked(Path(folder), "merging a cohort"), progress_bar() as progress:
        merged = merge(Path(folder), progress)
    _say_end(folder, merged)


@cohort.command("diff", epilog=_DIFF_EPILOG)
@cloup.argument("old", metavar="OLD", type=PATH)
@cloup.argument("new", metavar="NEW", type=PATH)
@cloup.option(
    "-O", "--output", default="-", type=PATH, metavar="FILE",
    help="Table of the changes: FILE.parquet is Parquet, any other name tab-separated text. Default: stdout.",
)  # fmt: skip
@cloup.option("--summary", type=PATH, metavar="FILE.md", help="Write a page about the changes, in Markdown.")
@cloup.option(
    "--threshold", type=click.FloatRange(min=0), default=0.01, show_default=True, metavar="X",
    help="A score changed when it moved by more than X, or came or went.",
)  # fmt: skip
def diff_command(old: str, new: str, output: str, summary: str | None, threshold: float) -> None:
    """Tell what changed between two cohort runs.

    OLD and NEW are folders of runs, or the cohort.parquet in them. Each line is one change of an allele or of an
    allele in a gene: NEW_ALLELE, GONE_ALLELE, NEW_GENE, GONE_GENE, STATUS, CONTEXT or SCORE. chr17 and 17 are the same
    contig. The exit code is 0 whether or not anything changed.
    """
    from ..cohort.diff import compare
    from ..cohort.diff_outputs import check_destinations, text_blocks, write_changes
    from ..cohort.diff_summary import write_summary
    from ..files import is_stdout

    check_destinations(old, new, output, summary)
    found = compare(old, new, threshold)
    if summary is not None:
        write_summary(found, summary)
    if found.differs("ScoreDigest"):
        warn("the score digests differ: the scores are of different models or settings and not comparable")
    counts = found.counts()
    say(
        f"{counts.old:,} alleles in OLD, {counts.new:,} in NEW: {counts.appeared:,} new, {counts.gone:,} gone, "
        f"{counts.status:,} with another status, {counts.genes:,} in other genes or another context, "
        f"{counts.scores:,} with other scores; {len(found.changes):,} changes"
    )
    if not is_stdout(output):
        write_changes(found, output)
        return
    for block in text_blocks(found):
        click.echo(block, nl=False)


def _cohort(manifest: str, folder: str, emit: tuple[str, ...], store: str | None, model: Mapping[str, Any]) -> Cohort:
    from ..cohort.inputs import read_manifest
    from ..cohort.planning import Cohort
    from ..cohort.run import STORE, decided
    from ..files import reporting

    inputs = read_manifest(manifest)
    where = os.path.abspath(store or os.path.join(folder, STORE))
    with reporting(folder):
        Path(folder).mkdir(parents=True, exist_ok=True)
    opening, info = decided(opening_of(**model))
    introduce(info)
    return Cohort(inputs, opening, where, emit or ("flat",))


def _dry_run(manifest: str, folder: str, emit: tuple[str, ...], store: str | None, model: Mapping[str, Any]) -> None:
    from ..cohort.run import STORE, estimate, make_plan

    where = store or os.path.join(folder, STORE)
    with tempfile.TemporaryDirectory(prefix="splicebert-vep-") as scratch:
        # A store that is not there yet is not made: planning with an empty one comes to the same.
        known = where if os.path.exists(where) else os.path.join(scratch, STORE)
        asked = _cohort(manifest, scratch, emit, known, model)
        with asked.opening.open(store=known) as annotator, progress_bar() as progress:
            counts = make_plan(Path(scratch), asked, annotator, progress).counts
            found = estimate(Path(scratch), annotator)
    _say_counts(counts, "dry run")
    if found.rate is None:
        say("nothing has to be scored")
    else:
        cost = f"{found.rate:,.1f} alleles/s, measured on {found.measured}"
        say(f"about {clock(found.seconds)} to score them on this machine ({cost})")


def _range(word: str) -> list[int]:
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", word)
    if match is None or int(match[2] or match[1]) < int(match[1]):
        raise click.UsageError(f"UNIT is a number, a range such as 1-40, or 'missing'; not {word!r}")
    return list(range(int(match[1]), int(match[2] or match[1]) + 1))


def _say_planned(found: Planned) -> None:
    if found.note:
        say(found.note)
    _say_counts(found.counts, "plan taken up" if found.resumed else "planned")
    _warn_all(found.warnings)


def _warn_all(warnings: Sequence[str]) -> None:
    for warning in warnings[:_SHOWN]:
        warn(warning)
    if len(warnings) > _SHOWN:
        warn(f"and {len(warnings) - _SHOWN:,} more like these")


def _say_counts(counts: Mapping[str, int], what: str) -> None:
    say(
        f"{what}: {counts['files']:,} files, {counts['records']:,} records, {counts['alts']:,} ALTs; "
        f"{counts['distinct']:,} distinct alleles, {counts['new']:,} of them new, in {counts['units']:,} units"
    )


def _say_end(folder: str, merged: Merged) -> None:
    summary = merged.summary
    rate = merged.records / max(merged.seconds, 1e-9)
    say(f"{merged.records:,} records annotated in {merged.seconds:.1f} s ({rate:,.0f}/s)")
    status = ", ".join(f"{word} {count:,}" for word, count in summary["status"].items()) or "none"
    say(f"{len(summary['files']):,} files in {os.path.join(folder, 'annotated')}; by status: {status}")
    _warn_all([f"{one['name']}: {warning}" for one in summary["files"] for warning in one["warnings"]])
    if failed := summary["failed"]:
        warn(
            f"{failed:,} ALTs FAILED in a gene and are not in the store; the column REASON of cohort.parquet says why. "
            "The same command tries them again"
        )
    if merged.stale:
        warn(f"annotated/ also holds files that an earlier plan made: {shortened(', '.join(merged.stale))}")
