"""One self-contained HTML page about an annotated file; every text it shows is escaped, and nothing is fetched."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from splicebert_vep_spec import Value, format_number

from ...annotator import Annotator
from ...errors import SettingsError, require
from ...variants import Variant
from ..drawing import cut, drawing, plain_words, position_words, svg
from ..plot import Profile, describe, draw
from ..plot import profile as profile_of
from .collect import DRAWN, SPLICEAI, SPLICEAI_THRESHOLD, STATUSES, AnnotatedVcf, Collected, Row, order_of, place_of

#: Provenance that a picture must share with its file, with the options that set it.
_SAME = (
    ("WeightsSHA256", "--model"),
    ("ScoreDigest", "--model, --backend and --precision"),
    ("AnnotationDigest", "-A"),
)
_TOLERANCE = 1e-3  # above the digits that the file prints and the differences between processors
_AS_ANNOTATED = "give {} as for the run that annotated the file, or no -R for a page without pictures"


Picture = tuple[Row, str, str]
"""An allele in one gene, its place in words, and the drawing as SVG."""


def check_same(provenance: Mapping[str, str], annotator: Annotator, where: str) -> None:
    """Raise SettingsError where an annotator has not the model, options and genes of a file's provenance."""
    opened = annotator.run.provenance
    for name, option in _SAME:
        if provenance.get(name) != opened[name]:
            raise SettingsError(
                "The pictures would not be of the model and genes that the file's scores are of.",
                needed=f"{name} {provenance.get(name, 'as in the file, which does not say')}",
                found=f"{opened[name]}, of {opened['Model']} and {opened['Annotation']}", where=where,
                remedy=_AS_ANNOTATED.format(option),
            )  # fmt: skip


def draw_pictures(rows: Sequence[Row], annotator: Annotator, provenance: Mapping[str, str]) -> Iterator[Picture]:
    """Draw rows of a file of some provenance, one by one.

    Raises:
        SettingsError: the scores differ from the file's, as with another reference; or there is none to compare, and
            the reference is another.
    """
    wanted, opened = provenance.get("ReferenceSHA256"), annotator.run.provenance["ReferenceSHA256"]
    for row in rows:
        found = profile_of(annotator, Variant(row.chrom, row.pos, row.ref, row.alt), row.fields.get("GENE"))
        of_file = _compared(row, found)
        if not of_file and wanted != opened:
            raise SettingsError(
                f"No score of {name_of(row)} tells that the reference is the one that the file was annotated with.",
                needed=f"ReferenceSHA256 {wanted or 'as in the file, which does not say'}", found=opened,
                where=row.where, remedy=_AS_ANNOTATED.format("-R"),
            )  # fmt: skip
        found = replace(found, values={**found.values, **of_file})  # the page shows one number, to the last digit
        yield row, describe(found), svg(draw(found))


def _compared(row: Row, found: Profile) -> dict[str, Value]:
    """Return the scores of a row that its picture has too, as the file has them; raise where they differ."""
    same: dict[str, Value] = {}
    for name, value in found.values.items():
        written = row.number(name) if isinstance(value, float) else None
        if written is None or not isinstance(value, float):
            continue
        if abs(written - value) > _TOLERANCE * max(1.0, abs(value)):
            raise SettingsError(
                f"The scores of {name_of(row)} come out otherwise than in the file, so its picture would be wrong.",
                needed=f"{name} {row.fields[name]}, as in the file", found=f"{value:.4f}", where=row.where,
                remedy=f"{_AS_ANNOTATED.format('-R')}; if it is that, annotate again",
            )  # fmt: skip
        same[name] = written
    return same


_SCORES = ("KL_CTX", "PCTL_KL_CTX", "KL_SS", "LLR", "PCTL_LLR", "PLLR")
#: Scores that are shown small under their sum, with their names.
_PARTS = {"KL_SS": (("KL_DONOR", "donor"), ("KL_ACCEPTOR", "acceptor"))}
_NOTES = {
    "KL_SS": "Of one site and of two it is not on one scale: KL_DONOR and KL_ACCEPTOR under it say which are in it.",
    "PLLR": "Compare it among alleles of one length only: a deletion's is large whatever it disturbs.",
}
_DELTAS = ("AG", "AL", "DG", "DL")
_DELTAS_MEANING = (
    "SpliceAI's delta scores of acceptor gain and loss (AG, AL) and donor gain and loss (DG, DL), and in "
    "brackets where, in nt from POS along the genome, whatever the strand; those of 0 are left out."
)
#: Name, heading and meaning of the columns that every page has.
_FIRST_COLUMNS = (
    ("variant", "Variant", "Contig, 1-based position, REF and ALT as in the VCF, and its ID."),
    ("gene", "Gene", "Gene, and the transcript that is reported for it."),
    ("place", "Place", "Region, and the distance to the nearest exon: +5 or -12 in an intron as in HGVS; in an exon "
     "its bases counted from the nearest splice site, base 1 beside it. Then the splice site whose dinucleotide the "
     "allele touches."),
    ("STATUS", "Status", "OK, or why the allele has no scores; see Statuses."),
)  # fmt: skip
_SPLICEAI_STATUS = "SpliceAI_STATUS"


class TableColumn(NamedTuple):
    """A column of the table."""

    id: str  # field id, or a name of the page's own
    label: str  # its heading
    note: str  # meaning of a high or low value, under the heading
    kind: str  # how it sorts: text, high or low; numbers sort the more disturbed ones first
    meaning: str  # a sentence for the legend


def table_columns(vcf: AnnotatedVcf, score: str) -> list[TableColumn]:
    """Return the columns for a file's fields; ``score`` chose the rows."""
    fields = vcf.fields
    found = [TableColumn(name, label, "", "text", meaning) for name, label, meaning in _FIRST_COLUMNS]
    for name in dict.fromkeys((score, *_SCORES)):
        if name in fields and name != SPLICEAI:  # which has its own column
            note = vcf.directions.get(name, "")
            meaning = ". ".join(part for part in (fields[name], _NOTES.get(name, "")) if part)
            found.append(TableColumn(name, name, note, "low" if note.startswith("negative") else "high", meaning))
    if SPLICEAI in fields:
        meaning = ". ".join(text for text in (fields[SPLICEAI], fields.get(_SPLICEAI_STATUS)) if text)
        found.append(TableColumn(SPLICEAI, "SpliceAI max", vcf.directions[SPLICEAI], "high", meaning))
    if any(f"SpliceAI_DS_{delta}" in fields for delta in _DELTAS):
        found.append(TableColumn("deltas", "SpliceAI deltas", "score (nt from POS)", "text", _DELTAS_MEANING))
    return found


def name_of(row: Row) -> str:
    """Return an allele's name, long alleles cut."""
    return f"{row.chrom}-{row.pos}-{cut(row.ref)}-{cut(row.alt)}"


def _cell(row: Row, column: str) -> str:
    """Return a cell; numbers as the VCF prints them, empty where missing."""
    fields = row.fields
    if column == "variant":
        return name_of(row)
    if column == "gene":
        return row.gene or ""
    if column == "place":
        if "REGION" not in fields:
            return ""
        place = position_words(fields["REGION"], fields.get("SITE_OFFSET"))
        if "OTHER_REGION" not in fields:
            return place
        return f"{place}; {position_words(fields['OTHER_REGION'], fields.get('OTHER_OFFSET'))} in another transcript"
    if column == "deltas":
        return ", ".join(filter(None, (_delta(fields, delta) for delta in _DELTAS)))
    if column == SPLICEAI and column not in fields and fields.get(_SPLICEAI_STATUS) != "FOUND":
        return fields.get(_SPLICEAI_STATUS, "")
    return fields.get(column, "")


def _delta(fields: Mapping[str, str], delta: str) -> str:
    """Return a delta score and its place; empty where it is 0 or missing."""
    score, place = fields.get(f"SpliceAI_DS_{delta}", "0"), fields.get(f"SpliceAI_DP_{delta}")
    if not score.strip("0."):
        return ""
    return f"{delta} {score} ({place})" if place else f"{delta} {score}"


def _parts(row: Row, column: TableColumn) -> list[str]:
    return [f"{word} {row.fields[name]}" for name, word in _PARTS.get(column.id, ()) if name in row.fields]


def _type(row: Row) -> str:
    """Return SNV or other; a spanning deletion has one character, and is none."""
    return "SNV" if all(len(bases) == 1 and bases in "ACGTacgt" for bases in (row.ref, row.alt)) else "other"


_TEMPLATE = Path(__file__).parent / "template"
_GENES_NAMED = 20

LIMITS = (
    "Sequence only. The model sees one stretch of pre-mRNA sequence around one allele. It knows nothing of tissue, age "
    "or sex, of expression, of RNA structure, or of other variants on the same chromosome.",
    "Expectation, not consequence. A score says how much an allele disturbs what the model expects. It does not say "
    "that an exon is skipped, how much, or that anyone is ill.",
    "Zero-shot, not calibrated. No label of any variant went into the scores. They are not calibrated to ACMG/AMP "
    "evidence; there is no PP3 or BP4 threshold, and none may be read off this page.",
    "A splice site that is deleted has no KL score. Its bases have no counterpart in ALT, so the greatest damage can "
    "have the lowest KL_SS. Alleles that touch a splice-site dinucleotide are in the table whatever their scores.",
    "Missing is not low. An allele without scores has a status that says why; it was not found harmless.",
)

#: Labels of a provenance line's entries, in the order shown; other names are shown as they are, after these.
_LABELS = {
    "Version": "Program version", "ScoreVersion": "Score version", "ScoreDigest": "Score digest", "Backend": "Backend",
    "Model": "Model", "Quality": "Measured quality", "WeightsSHA256": "Weights, SHA-256",
    "Architecture": "Architecture", "Window": "Window, nt", "Flank": "Flank read on each side, nt", "Scores": "Scores",
    "SpliceModel": "Splice-site model of delta scores", "SpliceModelQuality": "Its measured quality",
    "SpliceModelSHA256": "Its weights, SHA-256",
    "DeltaDistance": "How far delta scores look, nt", "DeltaMask": "Delta scores masked", "Precision": "Precision",
    "Device": "Device",
    "BatchTokens": "Tokens in a call", "Reference": "Reference", "ReferenceSHA256": "Reference, SHA-256",
    "Annotation": "Gene annotation", "AnnotationDigest": "Gene annotation, digest",
    "Calibration": "Calibration table, SHA-256", "Store": "Score store", "Plugins": "Plugins",
}  # fmt: skip


def check_page() -> None:
    """Raise SettingsError where matplotlib or jinja2 is not installed."""
    require("matplotlib", "jinja2", extra="report")


def render(vcf: AnnotatedVcf, found: Collected, pictures: Sequence[Picture], version: str, *, drawn: bool) -> str:
    """Return the page of a file that was read to its end; ``drawn``: pictures were asked for."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATE), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    style, script = ((_TEMPLATE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    labels = {name: _LABELS.get(name, name) for name in (*_LABELS, *vcf.provenance) if name != "Note"}
    return environment.get_template("page.html").render(
        # The hashes let no other style or script run, even if some text of the file got past the escaping.
        style=Markup(style), script=Markup(script), style_hash=_hash(style), script_hash=_hash(script),
        version=version, name=Path(vcf.name).name, provenance=vcf.provenance,
        labels=[(label, vcf.provenance[name]) for name, label in labels.items() if name in vcf.provenance],
        found=found, kinds=_kinds(found),
        statuses=[(status, found.statuses[status], STATUSES.get(status, "")) for status in found.occurring],
        limits=LIMITS, genes=found.genes.most_common(_GENES_NAMED), distributions=_distributions(found, vcf),
        drawn_scores=DRAWN, direction=vcf.directions[found.score], number=format_number, parts=_parts,
        pictures=[(name_of(row), words, _uri(drawing)) for row, words, drawing in pictures], drawn=drawn,
        **_table(vcf, found, pictures),
    )  # fmt: skip


def _table(vcf: AnnotatedVcf, found: Collected, pictures: Sequence[Picture]) -> dict[str, Any]:
    columns = table_columns(vcf, found.score)
    classed = "REGION_CLASS" in vcf.fields
    numbers = {id(row): number for number, (row, *_) in enumerate(pictures, start=1)}
    rows = [
        {
            "row": row, "cells": [_cell(row, column.id) for column in columns],
            "place": place_of(row, classed=classed) or "", "type": _type(row), "picture": numbers.get(id(row)),
        }
        for row in found.shown
    ]  # fmt: skip
    there = {row.fields.get("STATUS") for row in found.shown}
    return {
        "columns": columns, "rows": rows, "classed": classed, "every_gene": vcf.every_gene,
        "gene_names": sorted({row.gene for row in found.shown if row.gene}, key=str.casefold),
        "places": sorted({str(row["place"]) for row in rows if row["place"]}, key=order_of),
        "status_names": [status for status in found.occurring if status in there],
    }  # fmt: skip


def _kinds(found: Collected) -> list[str]:
    """Return in words which rows the table has."""
    words = [f"the {len(found.top):,} of {found.scored:,} with the most disturbed {found.score}"]
    if found.scored == len(found.top):
        words = [f"all {found.scored:,} that have {found.score}"]
    for kind, what in (
        (found.hits, "that touch a splice-site dinucleotide"),
        (found.elsewhere, f"elsewhere with a SpliceAI score of {SPLICEAI_THRESHOLD} or more"),
        (found.unscored, "without scores"),
    ):
        if kind.total:
            every = f"all {kind.total:,}" if kind.total > 1 else "1"
            some = f"the first {len(kind.rows):,} of {kind.total:,}"
            words.append(f"{every if kind.total == len(kind.rows) else some} {what}")
    return words


_BOX, _MEDIAN = "#9CC9E3", "#333333"
_LOGARITHMIC, _FLOOR = "KL_SS", 1e-6  # the floor is that of the published context score
_PERCENTILES = (5, 25, 50, 75, 95)
_LEAST = 10  # values that make a box; fewer are drawn one by one


def _distributions(found: Collected, vcf: AnnotatedVcf) -> dict[str, Any]:
    """Return a picture of each score's values by place, and its figures: place, count and percentiles."""
    values = {
        score: {place: np.asarray(by_place[place], dtype=np.float64) for place in sorted(by_place, key=order_of)}
        for score, by_place in found.values.items()
        if by_place
    }
    if not values:
        return {"image": None, "figures": []}
    figures = [
        (score, [(place, len(one), np.percentile(one, _PERCENTILES).tolist()) for place, one in by_place.items()])
        for score, by_place in values.items()
    ]
    return {"image": _uri(svg(draw_distributions(values, vcf.directions))), "figures": figures}


def draw_distributions(values: Mapping[str, Mapping[str, Any]], directions: Mapping[str, str]) -> Any:
    """Return a matplotlib figure of score -> place -> values: a panel for every score, a row for every place."""
    places = sorted({place for by_place in values.values() for place in by_place}, key=order_of)
    with drawing():
        from matplotlib.figure import Figure
        from matplotlib.ticker import LogLocator, NullLocator

        figure: Any = Figure(figsize=(11, 0.9 + 0.42 * len(places)), layout="constrained")
        panels = figure.subplots(1, len(values), sharey=True, squeeze=False)[0]
        for axes, (score, by_place) in zip(panels, values.items(), strict=True):
            for y, place in enumerate(places):
                if place in by_place:
                    _draw_row(axes, y, np.maximum(by_place[place], _FLOOR if score == _LOGARITHMIC else -np.inf))
            if score == _LOGARITHMIC:
                axes.set_xscale("log")
                axes.xaxis.set_major_locator(LogLocator(numticks=4))
                axes.xaxis.set_major_formatter("{x:g}")
                axes.xaxis.set_minor_locator(NullLocator())
            axes.set_title(f"{score}\n({directions.get(score, '')})", fontsize=9, fontweight="bold")
            axes.set_ylim(len(places) - 0.5, -0.5)
            axes.grid(axis="x", alpha=0.3)
        first = next(iter(values.values()))
        labels = [f"{plain_words(place)} (n = {len(first.get(place, ())):,})" for place in places]
        panels[0].set_yticks(range(len(places)), labels)
    return figure


def _draw_row(axes: Any, y: int, values: Any) -> None:
    if len(values) < _LEAST:
        axes.plot(values, [y] * len(values), "o", ms=4, color=_BOX, markeredgecolor=_MEDIAN)
        return
    p5, p25, median, p75, p95 = np.percentile(values, _PERCENTILES)
    axes.plot([p5, p95], [y, y], color=_MEDIAN, linewidth=1)
    axes.barh(y, p75 - p25, left=p25, height=0.55, color=_BOX, edgecolor=_MEDIAN, linewidth=0.8)
    axes.plot([median, median], [y - 0.275, y + 0.275], color=_MEDIAN, linewidth=2.5)
    axes.plot(values.max(), y, "|", ms=8, color=_MEDIAN)
    axes.plot(values.min(), y, "|", ms=8, color=_MEDIAN)


def _uri(drawing: str) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(drawing.encode()).decode()}"


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
