"""One self-contained HTML page about an annotated file; whatever text it shows is escaped, and nothing is fetched."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from splicebert_vep_spec import Value, format_number

from ...annotator import Annotator
from ...errors import SettingsError, require
from ...joining.evidence import EVIDENCE, SPLICEAI_THRESHOLD
from ...variants import Variant
from ..drawing import svg
from ..plot import Profile, describe, draw
from ..plot import profile as profile_at
from .collect import (
    DRAWN,
    LIMITS,
    STATUSES,
    AnnotatedVcf,
    Collected,
    Column,
    Kept,
    Row,
    cells,
    columns,
    direction,
    draw_distributions,
    evidence_words,
    gene_of,
    name_of,
    order_of,
    parts,
    place_of,
    spreads,
    type_of,
)
from .collect import PROVENANCE_LABELS as PROVENANCE

#: What has to be the same for a picture to belong to a file, with the options that set it.
_SAME = (
    ("WeightsSHA256", "--model"),
    ("ScoreDigest", "--model, --backend and --precision"),
    ("AnnotationDigest", "-A"),
)
_TOLERANCE = 1e-3  # what another processor moves a score by, and the digits that the file prints, are below it


def check_same(provenance: Mapping[str, str], annotator: Annotator, where: str) -> None:
    """See that an annotator gives the scores that a file holds.

    Args:
        provenance: of the file.
        where: its name, for the message.

    Raises:
        SettingsError: another model, other options that change scores, or other genes.
    """
    opened = annotator.run.provenance
    for name, option in _SAME:
        if provenance.get(name) != opened[name]:
            raise SettingsError(
                "The pictures would not be of the model and genes that the file's scores are of.",
                needed=f"{name} {provenance.get(name, 'as in the file, which does not say')}",
                found=f"{opened[name]}, of {opened['Model']} and {opened['Annotation']}",
                where=where,
                remedy=f"give {option} as for the run that annotated the file, or no -R for a page without pictures",
            )


def draw_pictures(rows: Sequence[Row], annotator: Annotator, provenance: Mapping[str, str]) -> Iterator[Picture]:
    """Draw rows, one by one.

    Args:
        provenance: of the file.

    Raises:
        SettingsError: the scores come out otherwise than in the file, as with another reference; or none of them is
            there to be compared, and the reference is another.
    """
    same_reference = provenance.get("ReferenceSHA256") == annotator.run.provenance["ReferenceSHA256"]
    for row in rows:
        profile = profile_at(annotator, Variant(row.chrom, row.pos, row.ref, row.alt), row.fields.get("GENE"))
        of_file = _check_scores(row, profile)
        if not of_file and not same_reference:
            raise SettingsError(
                f"No score of {name_of(row)} tells that the reference is the one that the file was annotated with.",
                needed=f"ReferenceSHA256 {provenance.get('ReferenceSHA256', 'as in the file, which does not say')}",
                found=annotator.run.provenance["ReferenceSHA256"],
                where=row.where,
                remedy="give -R as for the run that annotated the file, or no -R for a page without pictures",
            )
        profile = replace(profile, values={**profile.values, **of_file})  # one number on the page, to the last digit
        yield Picture(row, name_of(row), describe(profile), svg(draw(profile)))


def _check_scores(row: Row, profile: Profile) -> dict[str, Value]:
    """Return the scores of a row that its picture has too, as the file has them."""
    same: dict[str, Value] = {}
    for name, value in profile.values.items():
        if not isinstance(value, float) or name not in row.fields:
            continue
        written = row.number(name)
        assert written is not None
        if abs(written - value) > _TOLERANCE * max(1.0, abs(value)):
            raise SettingsError(
                f"The scores of {name_of(row)} come out otherwise than in the file, so its picture would be wrong.",
                needed=f"{name} {row.fields[name]}, as in the file",
                found=f"{value:.4f}",
                where=row.where,
                remedy="give -R as for the run that annotated the file; if it is that, annotate again",
            )
        same[name] = written
    return same


_TEMPLATE = Path(__file__).parent / "template"
_GENES_NAMED = 20


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of one allele in one gene.

    Args:
        row: the allele.
        title: its name.
        words: where it lies.
        svg: the drawing.
    """

    row: Row
    title: str
    words: str
    svg: str


def check_page() -> None:
    """See that what the page needs is installed.

    Raises:
        SettingsError: matplotlib or jinja2 is not.
    """
    require("matplotlib", "jinja2", extra="report")


def render(vcf: AnnotatedVcf, found: Collected, pictures: Sequence[Picture], version: str, *, drawn: bool) -> str:
    """Return the page.

    Args:
        vcf: the file, read to its end.
        found: what it holds.
        pictures: of some of the rows.
        version: of this program.
        drawn: whether pictures were asked for.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATE), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    style, script = ((_TEMPLATE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    return environment.get_template("page.html").render(
        # Ours and no one else's may run, even if some text of the file got past the escaping.
        style=Markup(style),
        script=Markup(script),
        style_hash=_hash(style),
        script_hash=_hash(script),
        version=version,
        name=Path(vcf.name).name,
        provenance=vcf.provenance,
        labels=_labelled(vcf.provenance),
        found=found,
        kinds=_kinds(found),
        statuses=[(status, found.statuses[status], STATUSES.get(status, "")) for status in _ordered(found)],
        limits=LIMITS,
        evidence=[(evidence_words(word), count) for word, count in found.evidence.most_common()],
        evidence_meaning=vcf.fields.get(EVIDENCE, ""),
        genes=found.genes.most_common(_GENES_NAMED),
        distributions=_distributions(found),
        drawn_scores=DRAWN,
        direction=direction,
        number=format_number,
        parts=parts,
        pictures=[(picture, _uri(picture.svg)) for picture in pictures],
        drawn=drawn,
        **_table(vcf, found, pictures),
    )


def _table(vcf: AnnotatedVcf, found: Collected, pictures: Sequence[Picture]) -> dict[str, Any]:
    shown = columns(vcf.fields, found.score)
    classed = "REGION_CLASS" in vcf.fields
    numbers = {id(picture.row): number for number, picture in enumerate(pictures, start=1)}
    every = found.shown()
    content = [cells(row, shown) for row in every]
    places = [place_of(row, classed=classed) or "" for row in every]
    there = {row.fields.get("STATUS") for row in every}
    return {
        "columns": shown,
        "rows": [
            {"row": row, "cells": texts, "place": place, "type": type_of(row), "picture": numbers.get(id(row))}
            for row, texts, place in zip(every, content, places, strict=True)
        ],
        "gene_names": sorted({gene_of(row) or "" for row in every} - {""}, key=str.casefold),
        "places": sorted(set(places) - {""}, key=order_of),
        "status_names": [status for status in _ordered(found) if status in there],
        "evidence_names": sorted({cell for texts in content for cell in _evidence(texts, shown)}),
        "classed": classed,
        "every_gene": vcf.every_gene,
        "joined": EVIDENCE in vcf.fields,
    }


def _evidence(texts: Sequence[str], shown: Sequence[Column]) -> list[str]:
    return [cell for cell, column in zip(texts, shown, strict=True) if column.id == EVIDENCE and cell]


def _kinds(found: Collected) -> list[str]:
    """Say which rows the table has."""
    words = [f"the {len(found.top):,} of {found.scored:,} with the most disturbed {found.score}"]
    if found.scored == len(found.top):
        words = [f"all {found.scored:,} that have {found.score}"]
    kept: tuple[tuple[Kept, str], ...] = (
        (found.hits, "that touch a splice-site dinucleotide"),
        (found.elsewhere, f"elsewhere with a SpliceAI score of {SPLICEAI_THRESHOLD} or more"),
        (found.unscored, "without scores"),
    )
    for kind, what in kept:
        if kind.total:
            every = f"all {kind.total:,}" if kind.total > 1 else "1"
            some = f"the first {len(kind.rows):,} of {kind.total:,}"
            words.append(f"{every if kind.total == len(kind.rows) else some} {what}")
    return words


def _ordered(found: Collected) -> list[str]:
    """Return the statuses that occur: OK first, then as they are documented."""
    return [status for status in STATUSES if found.statuses[status]] + sorted(set(found.statuses) - set(STATUSES))


def _labelled(provenance: Mapping[str, str]) -> list[tuple[str, str]]:
    known = [(label, provenance[name]) for name, label in PROVENANCE.items() if name in provenance]
    return known + [(name, text) for name, text in provenance.items() if name not in PROVENANCE and name != "Note"]


def _distributions(found: Collected) -> dict[str, Any]:
    values = {score: by_place for score, by_place in found.values.items() if by_place}
    if not values:
        return {"image": None, "figures": []}
    drawing = svg(draw_distributions(values, {score: direction(score) for score in values}))
    return {"image": _uri(drawing), "figures": [(score, spreads(by_place)) for score, by_place in values.items()]}


def _uri(drawing: str) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(drawing.encode()).decode()}"


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
