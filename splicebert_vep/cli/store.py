"""``store``: what is in a score store, and scores from one file into another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
import cloup

from splicebert_vep_spec import Status

from ..errors import StoreError
from ..progress import progress_bar
from .options import (
    PATH,
    annotation_option,
    check_targets,
    clock,
    computed_options,
    dask_option,
    failed_code,
    introduce,
    json_option,
    machine_options,
    open_annotator,
    print_json,
    print_table,
    reference_option,
    say,
    split_words,
    store_option,
    warn,
)

if TYPE_CHECKING:
    from splicebert_vep_spec import Allele

    from ..provenance import Space
    from ..store.store import ScoreStore


_SHOWN = 10
_STORE_EPILOG = """\b
Examples:
  splicebert-vep store info scores.sqlite
  splicebert-vep store import scores.sqlite part1.parquet part2.parquet
  splicebert-vep store export scores.sqlite --space 1 -O scores.parquet
  splicebert-vep store merge scores.sqlite other.sqlite
  splicebert-vep store prune scores.sqlite --space 2
  splicebert-vep store verify scores.sqlite -R GRCh38.fa -A grch38
"""
_INFO_EPILOG = """\b
Examples:
  splicebert-vep store info scores.sqlite
  splicebert-vep store info scores.sqlite --json
"""
_IMPORT_EPILOG = """\b
Examples:
  splicebert-vep store import scores.sqlite part1.parquet part2.parquet
  splicebert-vep store import scores.sqlite old.parquet --beside
"""
_EXPORT_EPILOG = """\b
Examples:
  splicebert-vep store export scores.sqlite -O scores.parquet
  splicebert-vep store export scores.sqlite --space 2 -O scores.parquet
"""
_MERGE_EPILOG = """\b
Examples:
  splicebert-vep store merge scores.sqlite other.sqlite
"""
_PRUNE_EPILOG = """\b
Examples:
  splicebert-vep store prune scores.sqlite --space 2
"""
_VERIFY_EPILOG = """\b
Examples:
  splicebert-vep store verify scores.sqlite -R GRCh38.fa -A grch38 --sample 1000
"""

_store_argument = cloup.argument("path", metavar="STORE", type=PATH)


@cloup.group(epilog=_STORE_EPILOG)
def store() -> None:
    """Look into score stores, and move scores.

    A store is one SQLite file. Scores of different models, settings or annotations live in it side by side, each kind
    in a space of its own; 'store info' numbers them.
    """


@store.command(epilog=_INFO_EPILOG)
@_store_argument
@json_option
def info(path: str, as_json: bool) -> None:
    """Describe a score store.

    One space for each way of scoring: how the scores were made, and how many rows there are.
    """
    with _open(path) as opened:
        content = [_described(opened, space, number) for number, space in enumerate(opened.spaces(), start=1)]
    if as_json:
        print_json({"store": path, "spaces": content})
        return
    if not content:
        say(f"{path}: a score store that holds nothing yet")
    for one in content:
        rows = [("space", str(one["space"])), ("rows", f"{one['rows']:,}"), ("contigs", ", ".join(one["contigs"]))]
        rows += [("score digest", one["score_digest"]), ("annotation", one["provenance"].get("Annotation", "?"))]
        rows += [("annotation digest", one["annotation_digest"]), ("columns", ", ".join(one["columns"]))]
        shown = ("Model", "WeightsSHA256", "Window", "Flank", "Precision", "ScoreVersion")
        rows += [(key, one["provenance"].get(key, "?")) for key in shown]
        print_table(rows, wrap=True)
        click.echo()


@store.command("import", epilog=_IMPORT_EPILOG)
@_store_argument
@cloup.argument("files", metavar="FILE...", nargs=-1, required=True, type=PATH)
@cloup.option(
    "--beside", is_flag=True, help="Take scores that were made otherwise than the store's, as one more space."
)
def import_command(path: str, files: tuple[str, ...], beside: bool) -> None:
    """Put scores of Parquet files of 'store export' into a store.

    Scores that were made otherwise than the store's are refused, as is another value for an allele that it holds. A
    file that is refused half-way may have left some; the same command again changes nothing.
    """
    from ..store.exchange import import_scores
    from ..store.store import ScoreStore

    with ScoreStore(path) as opened:
        for file in files:
            say(f"{file}: {import_scores(opened, file, beside=beside):,} new rows")


@store.command(epilog=_EXPORT_EPILOG)
@_store_argument
@cloup.option("-O", "--output", "target", metavar="FILE", required=True, type=PATH, help="Parquet file to write.")
@cloup.option("--space", type=click.IntRange(1), metavar="N", help="Which space; needed where there are several.")
def export(path: str, target: str, space: int | None) -> None:
    """Write a space as Parquet.

    One row per allele and gene, in full precision; 'store import' takes it back.
    """
    from ..store.exchange import export_space

    check_targets([target], {}, path)
    with _open(path) as opened:
        chosen = _chosen(opened, space) if space or opened.spaces() else None  # nothing was scored yet
        say(f"{target}: {export_space(opened, chosen, target):,} rows")


@store.command(epilog=_MERGE_EPILOG)
@_store_argument
@cloup.argument("sources", metavar="STORE...", nargs=-1, required=True, type=PATH)
def merge(path: str, sources: tuple[str, ...]) -> None:
    """Put all scores of other stores into the first.

    Every space goes where it belongs; another value for an allele is an error.
    """
    from ..store.exchange import merge_store
    from ..store.store import ScoreStore

    with ScoreStore(path) as into:
        for source in sources:
            with _open(source) as opened:
                say(f"{source}: {merge_store(into, opened):,} new rows")


@store.command(epilog=_PRUNE_EPILOG)
@_store_argument
@cloup.option(
    "--space", "numbers", type=click.IntRange(1), multiple=True, required=True, metavar="N",
    help="Space to remove, as 'store info' numbers it; may be repeated.",
)  # fmt: skip
def prune(path: str, numbers: tuple[int, ...]) -> None:
    """Remove whole spaces from a store, and give back their room."""
    from ..store.store import ScoreStore

    with ScoreStore(path) as opened:
        chosen = [_chosen(opened, number) for number in numbers]
        say(f"{path}: {opened.remove(dict.fromkeys(chosen)):,} rows removed")


@store.command(epilog=_VERIFY_EPILOG)
@_store_argument
@cloup.option_group("Input", reference_option, annotation_option)
@cloup.option_group(
    "What is compared",
    cloup.option("--sample", type=click.IntRange(1), default=200, show_default=True, metavar="N", help="Alleles."),
    cloup.option("--seed", type=int, default=1, show_default=True, metavar="N", help="Of the choice of alleles."),
)
@computed_options
@machine_options
def verify(path: str, sample: int, seed: int, **model: Any) -> int:
    """Check a store, and score a sample of it again.

    Reads the whole file, then scores random alleles with the model and settings given and compares them with what is
    stored. Exit code 1 when they differ, or none could be compared.
    """
    from ..tools.verify import verify as verify_store

    with _open(path) as opened:
        damage = opened.check()
        for line in damage[:_SHOWN]:
            warn(line)
        if damage:
            raise StoreError("The score store is damaged.", found=damage[0], where=path)
        found = verify_store(opened, model, sample=sample, seed=seed)
    for one in found:
        for contig in one.strange:
            warn(f"contig {contig} of the store is not in this FASTA, or has another sequence there")
        for line in one.differing[:_SHOWN]:
            warn(line)
        say(
            f"{one.space.score_digest[:12]}: {one.compared:,} rows scored again, largest difference {one.largest:.2g}, "
            f"{len(one.differing):,} beyond {one.space.tolerance:g}"
        )
        if not one.compared:
            warn("nothing of this space could be compared")
    return 1 if any(one.differing or not one.compared for one in found) else 0


def _open(path: str) -> ScoreStore:
    from ..store.store import ScoreStore

    return ScoreStore(path, writing=False)


def _chosen(opened: ScoreStore, number: int | None) -> Space:
    spaces: Sequence[Space] = opened.spaces()
    if number is None and len(spaces) == 1:
        return spaces[0]
    if number is None or number > len(spaces):
        problem = f"Give --space 1 to {len(spaces)}; 'store info' describes them." if spaces else "The store is empty."
        raise StoreError(problem, found="none given" if number is None else str(number), where=str(opened.path))
    return spaces[number - 1]


def _described(opened: ScoreStore, space: Space, number: int) -> dict[str, Any]:
    return {
        "space": number,
        "rows": opened.count(space),
        "score_digest": space.score_digest,
        "annotation_digest": space.annotation_digest,
        "columns": list(space.columns),
        "contigs": sorted(opened.contigs(space).values()),
        "provenance": dict(space.provenance),
    }


_SATURATE_EPILOG = """\b
Examples:
  splicebert-vep saturate --gene BRCA1 -R GRCh38.fa -A grch38 -O BRCA1.vcf.gz
  splicebert-vep saturate --gene BRCA1 --gene BRCA2 --indels -R GRCh38.fa -O brca.vcf.gz --dry-run
  splicebert-vep saturate --region chr17:43044295-43125364 -R GRCh38.fa -O region.vcf.gz
  splicebert-vep saturate --bed exons.bed.gz -R GRCh38.fa -O exons.vcf.gz --store scores.sqlite --dask local:8
"""


@cloup.command(epilog=_SATURATE_EPILOG)
@cloup.option_group(
    "Which alleles",
    cloup.option(
        "--gene", "genes", multiple=True, metavar="SYMBOL|ID",
        help="All of a gene's span, with every gene that overlaps it; may be repeated.",
    ),
    cloup.option(
        "--region", "regions", multiple=True, metavar="CHROM:START-END", help="1-based with both ends; may be repeated."
    ),
    cloup.option("--bed", type=PATH, metavar="FILE", help="Intervals, 0-based half-open, plain or gzip."),
    cloup.option("--indels", is_flag=True, help="Insertions of 1 nt and deletions of 1 to 4 nt as well as SNVs."),
)  # fmt: skip
@cloup.option_group(
    "Input and output",
    cloup.option(
        "-O", "--output", required=True, type=PATH, metavar="OUT.vcf.gz", help="Sites-only VCF with its index."
    ),
    cloup.option(
        "--emit", multiple=True, callback=split_words, metavar="WHAT,...",
        help="flat (default); vep, spliceai-layout: an entry for each gene; parquet=FILE and other tables: a row for "
        "each gene.",
    ),
    reference_option, annotation_option, store_option,
)  # fmt: skip
@cloup.option_group(
    "How it runs",
    cloup.option("--dry-run", is_flag=True, help="Say how many alleles there are and what they will cost; no more."),
    dask_option,
)
@computed_options
@machine_options
def saturate(
    genes: tuple[str, ...], regions: tuple[str, ...], bed: str | None, indels: bool, output: str,
    emit: tuple[str, ...], store: str | None, dry_run: bool, dask: str | None, **model: Any,
) -> int:  # fmt: skip
    """Score every SNV of genes or regions into one VCF.

    The file has one record per ALT, as vcfanno and VEP's --custom read it; of several genes its flat values are of
    one, as in 'annotate'. --emit flat,vep,parquet=FILE keeps all genes apart. Positions that are not A, C, G or T, or
    in no gene, have no record. With --store the scores are kept too, and a run that was killed goes on when it is run
    again.
    """
    from ..genome.places import Places
    from ..tools.saturate import Saturation
    from ..tools.saturate import saturate as run
    from ..tools.workers import alleles_per_second, dask_workers

    check_targets([output, *filter(None, (word.partition("=")[2] for word in emit))], model, store, bed)
    if dask and model["threads"] is None:
        model["threads"] = 1  # of each worker
    with open_annotator(**model, store=None if dry_run else store) as annotator, progress_bar() as progress:
        asked = Saturation(Places(genes, regions, bed), annotator, indels=indels)
        introduce(annotator.backend.info, annotator.note)
        if dry_run:
            counts: Counter[str] = Counter()
            sample: list[Allele] = []
            for block in asked.blocks(counts):
                sample += block[: 64 - len(sample)]
            rate = alleles_per_second(annotator, sample)
        else:
            with dask_workers(dask, annotator) as workers:
                counts, summary = run(
                    output, asked, annotator, emit=emit or ("flat",), workers=workers, progress=progress
                )
    for text in asked.warnings:
        warn(text)
    say(
        f"{counts['positions']:,} positions, {counts['not_acgt']:,} of them not A, C, G or T and "
        f"{counts['no_gene']:,} in no gene; {counts['alleles']:,} alleles"
    )
    if dry_run:
        took = clock(counts["alleles"] / rate)
        say(f"about {took} to score them here ({rate:,.1f} alleles/s, measured on {len(sample)})")
        return 0
    words = ", ".join(f"{word} {count:,}" for word, count in summary.by_status().items())
    say(f"{summary.records:,} records in {output}; by status: {words}")
    if said := annotator.delta.outcome(summary.disturbed, summary.judged):
        say(said)
    if failed := summary.status[Status.FAILED]:
        warn(f"{failed:,} records FAILED and have no scores; SpliceBERT_REASON says why")
    return failed_code(summary.status)
