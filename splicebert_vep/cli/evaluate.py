"""``splicebert-vep evaluate``: how well scores rank the harmful among labelled SNVs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
import cloup

from .complete import PATH, complete_scores
from .console import introduce, print_json, print_table, say, warn
from .options import (
    delta_distance_option,
    device_option,
    json_option,
    model_option,
    splice_model_option,
    split_words,
)

if TYPE_CHECKING:
    from splicebert_vep.evaluation.benches import BenchProtocol, BenchRow
    from splicebert_vep.evaluation.metrics import BenchFigure, Estimate

_EPILOG = """\b
Examples:
  splicebert-vep evaluate mfass.tsv -R GRCh38=hg38.fa -R GRCh37=hg19.fa
  splicebert-vep evaluate mine.tsv -R hg38.fa --model run/model --picture curves.png --rows scores.tsv
  splicebert-vep evaluate vexseq.tsv --harmful-below -24
  splicebert-vep evaluate mfass.tsv -R GRCh38=hg38.fa -R GRCh37=hg19.fa --scores zero-shot,delta
"""


@cloup.command(epilog=_EPILOG)
@cloup.argument("labelled", metavar="TSV", type=PATH)
@cloup.option(
    "-R", "--reference", "references", multiple=True, metavar="[ASSEMBLY=]FASTA",
    help="Reference of the rows that name this assembly, or of those that name none; may be repeated.",
)  # fmt: skip
@cloup.option(
    "--harmful-below", type=float, default=-0.5, show_default=True, metavar="X", help="A delta_psi below X is harmful."
)
@cloup.option(
    "--protocol", "protocols", multiple=True, type=click.Choice(["published", "own"]),
    help="Exon-centred windows as published, or variant-centred as 'annotate' takes them. Default: both.",
)  # fmt: skip
@cloup.option("--window", default=510, show_default=True, metavar="NT", help="Bases that the model sees at once.")
@cloup.option("--flank", default=100, show_default=True, metavar="NT", help="Bases on each side that count.")
@cloup.option(
    "--scores", "named", multiple=True, callback=split_words, metavar="FIELD,...", shell_complete=complete_scores,
    help="Scores to judge; delta: the delta scores. Default: all that have a direction, but delta scores.",
)  # fmt: skip
@splice_model_option
@delta_distance_option
@cloup.option("--resamples", type=click.IntRange(10), default=1000, show_default=True, help="For the intervals.")
@cloup.option("--picture", type=PATH, metavar="FILE.png", help="Draw the precision-recall curves.")
@cloup.option("--rows", "rows_file", type=PATH, metavar="FILE.tsv", help="Write every row's scores.")
@model_option
@device_option
@cloup.option("--threads", type=click.IntRange(1), metavar="N", help="CPU threads. Default: torch's choice.")
@json_option
def evaluate(
    labelled: str, references: tuple[str, ...], harmful_below: float, protocols: tuple[BenchProtocol, ...],
    window: int, flank: int, named: tuple[str, ...], splice_model: str, delta_distance: int, resamples: int,
    picture: str | None, rows_file: str | None, model: str, device: str, threads: int | None, as_json: bool,
) -> None:  # fmt: skip
    """Measure how well scores rank harmful SNVs.

    The SNVs are those of an assay of exon inclusion. TSV has the columns chrom pos ref alt strand exon_start exon_end
    delta_psi (exon 0-based half-open), assembly where rows are of several, or those of Vex-seq's, whose rows carry
    their sequence. Every figure stands beside that of the distance to the splice site on the same rows. Intervals are
    the middle 95 % of bootstrap values.
    """
    from splicebert_vep.delta.opening import open_delta
    from splicebert_vep.errors import LabelError
    from splicebert_vep.evaluation.benches import PROTOCOLS, score_labelled
    from splicebert_vep.evaluation.labelled import read_labelled
    from splicebert_vep.evaluation.metrics import directed, judge
    from splicebert_vep.evaluation.picture import draw_precision_recall
    from splicebert_vep.evaluation.references import open_references
    from splicebert_vep.extras import require
    from splicebert_vep.plugins import load_plugins
    from splicebert_vep.sequence.windows import WindowShape
    from splicebert_vep.settings import DeltaSettings, Settings, plan_scores
    from splicebert_vep_spec import BackendOptions, Scorer

    require("sklearn", *(["matplotlib"] if picture else []))
    variants = read_labelled(Path(labelled))
    plugins = load_plugins()
    of_model = [scorer for scorer in plugins.scorers if isinstance(scorer, Scorer)]
    every = tuple(field.id for scorer in of_model for field in scorer.fields if field.direction != "none")
    settings = Settings(WindowShape(window, flank), named or every, delta=DeltaSettings(delta_distance))
    delta = open_delta(plugins.scorers, settings, splice_model, device=device, threads=threads)
    plan = plan_scores(delta.scorers, plugins.origins("scorer"), settings)
    scores = tuple(field.id for field in plan.fields if field.direction != "none")
    with open_references(references) as opened:
        backend = plugins.open_backend("torch", BackendOptions(model, device, threads))
        introduce(backend.info, delta.note)
        rows: dict[BenchProtocol, list[BenchRow]] = {}
        figures: list[BenchFigure] = []
        for protocol in protocols or PROTOCOLS:
            rows[protocol] = score_labelled(variants, opened, backend, plan, protocol, shape=settings.window)
            _report_skipped(protocol, rows[protocol])
            figures += judge(rows[protocol], plan.fields, protocol, harmful_below, resamples=resamples)
    if any(variant.sequence is not None for variant in variants):
        warn("rows carry their own short sequence: these figures compare with nothing published")
    if not figures:
        assemblies = sorted({variant.assembly or "none" for variant in variants})
        raise LabelError(
            "There is nothing to judge.",
            needed="scored rows, some with an effect below --harmful-below and some without",
            found=f"none; assemblies named by the rows: {', '.join(assemblies) or 'no rows'}",
            where=labelled,
            remedy="name the assembly of a reference as the rows do: -R ASSEMBLY=FASTA",
        )
    if as_json:
        judged = [asdict(figure) for figure in figures]
        print_json({"model": asdict(backend.info), **delta.provenance, "figures": judged})
    else:
        _print_figures(figures)
    if picture:
        draw_precision_recall(Path(picture), rows, figures, directed(plan.fields), harmful_below)
    if rows_file:
        _write_rows(Path(rows_file), rows, scores)


def _report_skipped(protocol: str, rows: Sequence[BenchRow]) -> None:
    skipped = Counter(row.skipped.status.value for row in rows if row.skipped)
    unlabelled = sum(row.skipped is None and row.variant.effect is None for row in rows)
    counts = [f"{word} {number:,}" for word, number in sorted(skipped.items())]
    counts += [f"without effect {unlabelled:,}"] if unlabelled else []
    scored = len(rows) - sum(skipped.values()) - unlabelled
    say(f"{protocol}: {scored:,} of {len(rows):,} rows count" + (f"; not: {', '.join(counts)}" if counts else ""))


def _print_figures(figures: Sequence[BenchFigure]) -> None:
    head = ("protocol", "rows", "score", "n", "harmful", "missing", "average precision", "AUROC", "by distance's")
    print_table(
        [
            head,
            *(
                (
                    figure.protocol, figure.subset, figure.score, str(figure.variants), str(figure.positives),
                    str(figure.missing), _interval(figure.average_precision), _interval(figure.auroc),
                    _interval(figure.ratio, 2),
                )
                for figure in figures
            ),
        ]
    )  # fmt: skip


def _interval(estimate: Estimate, digits: int = 3) -> str:
    return f"{estimate.value:.{digits}f} ({estimate.low:.{digits}f}-{estimate.high:.{digits}f})"


def _write_rows(path: Path, rows: Mapping[BenchProtocol, Sequence[BenchRow]], scores: Sequence[str]) -> None:
    from splicebert_vep.files import whole_or_not
    from splicebert_vep_spec import format_value

    head = ("protocol", "line", "chrom", "pos", "ref", "alt", "effect", "distance", "in_site", "status", *scores)
    with whole_or_not(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as handle:
        handle.write("\t".join(head) + "\n")
        for protocol, scored in rows.items():
            for row in scored:
                one = row.variant
                status = row.skipped.status.value if row.skipped else "OK"
                about = (protocol, one.line, one.chrom, one.start + 1, one.ref, one.alt, one.effect, one.distance)
                cells = (*about, int(one.in_site), status, *(row.values.get(score) for score in scores))
                handle.write("\t".join(format_value(cell) for cell in cells) + "\n")
