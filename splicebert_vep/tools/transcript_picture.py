"""The picture of a transcript that an allele changes: sites lost and gained, and the predicted exons under the normal.

Everything is read from the fields of an annotated allele and from the exons of its reported transcript, so the picture
says what the file says. Coordinates are genomic, 0-based; the picture runs 5' to 3' of the transcript.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from splicebert_vep_spec import Interval

from ..consequence.outcomes import ACCEPTOR, DONOR, THRESHOLD, Effect
from ..errors import VcfError
from ..genome.gene_index import Transcript
from .drawing import DARK, EXON, GREY, OF_SITE, drawing

_LEAST = 0.05  # a smaller change of p is not drawn, unless an outcome rests on the site
_SITE = re.compile(rf"({ACCEPTOR}|{DONOR}):(\d+|inserted):(\w+):([.\d]+)>([.\d]+)")
_EVENTS = {"AL": (ACCEPTOR, "LOSS"), "DL": (DONOR, "LOSS"), "AG": (ACCEPTOR, "GAIN"), "DG": (DONOR, "GAIN")}


class SiteChange(NamedTuple):
    """A splice site and its p in REF and ALT.

    Args:
        kind: acceptor or donor.
        at: position of the exonic base; None within inserted bases.
        known: reported, other or new; empty where it is not told.
        before, after: p(REF) and p(ALT); None where the file does not have them.
    """

    kind: str
    at: int | None
    known: str
    before: float | None
    after: float | None

    @property
    def words(self) -> str:
        """Return what becomes of it, on two lines, e.g. ``donor lost`` and ``.98 to .01``."""
        if self.before is None or self.after is None:
            return self.kind
        change = self.after - self.before
        if abs(change) >= THRESHOLD:
            fate = "gained" if change > 0 else "lost"
        else:
            fate = "unchanged" if abs(change) < _LEAST else "stronger" if change > 0 else "weaker"
        return f"{self.kind} {fate}\n{_short(self.before)} to {_short(self.after)}"


def _short(p: float) -> str:
    return f"{p:.2f}".removeprefix("0")


def site_changes(fields: Mapping[str, str], pos: int) -> list[SiteChange]:
    """Return the sites that EFFECT rests on, else those of the largest gains and losses.

    Args:
        fields: of an annotated allele, as the file has them.
        pos: of its record, which DP_* count from.
    """
    if text := fields.get("EFFECT_SITES"):
        return [_site(word) for word in text.split("&")]
    found = []
    for change in ("LOSS", "GAIN"):
        scores = {event: number(fields, f"DS_{event}") for event, (_, of) in _EVENTS.items()
                  if of == change and f"DS_{event}" in fields}  # fmt: skip
        if not scores or max(scores.values()) < _LEAST:
            continue
        largest = max(scores, key=lambda one: scores[one])
        for event, score in scores.items():
            if score < _LEAST or f"DP_{event}" not in fields:
                continue
            at = pos + int(number(fields, f"DP_{event}")) - 1
            if event == largest and f"{change}_P_REF" in fields and f"{change}_P_ALT" in fields:
                before, after = number(fields, f"{change}_P_REF"), number(fields, f"{change}_P_ALT")
                found.append(SiteChange(_EVENTS[event][0], at, fields.get(f"{change}_ANNOTATED", ""), before, after))
            else:
                found.append(SiteChange(_EVENTS[event][0], at, "", None, None))
    return found


def number(fields: Mapping[str, str], name: str) -> float:
    """Return a field that is there as a number; VcfError where it is none."""
    try:
        value = float(fields[name])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise VcfError(f"{name} is not a number.", found=fields[name][:40], remedy="annotate again")
    return value


def _site(word: str) -> SiteChange:
    match = _SITE.fullmatch(word)
    if match is None:
        needed = "kind:position:annotation:p(REF)>p(ALT)"
        raise VcfError(
            "A site of EFFECT_SITES cannot be read.", needed=needed, found=word[:60], remedy="annotate again"
        )
    kind, at, known, before, after = match.groups()
    return SiteChange(kind, None if at == "inserted" else int(at) - 1, known, float(before), float(after))


def predicted_exons(
    transcript: Transcript, effect: str, size: int, sites: Sequence[SiteChange], slack: int
) -> tuple[tuple[Interval, ...], int, int] | None:
    """Return the exons after an effect and the numbers, from 0, of the first and last old exon that it changes.

    The exons that change are told from the sites and checked by the size of the effect, so nothing is drawn that the
    fields do not say.

    Args:
        size: of EFFECT_SIZE.
        slack: nt by which the allele itself changes the length.

    Returns:
        The exons in the order of the transcript; None where the effect has no exons of its own, or none fit.
    """
    exons, plus = transcript.exons, transcript.strand == "+"
    touched = {(site.kind, site.at) for site in sites}

    def fits(change: int) -> bool:
        return abs(change - size) <= slack

    def own(exon: Interval) -> set[tuple[str, int]]:
        first, last = exon.start, exon.end - 1
        return {(ACCEPTOR, first if plus else last), (DONOR, last if plus else first)}

    def replaced(first: int, last: int, *new: Interval) -> tuple[tuple[Interval, ...], int, int]:
        return (*exons[:first], *new, *exons[last + 1 :]), first, last

    if effect == Effect.EXON_SKIPPING:
        for first in range(1, len(exons) - 1):
            for last in range(first, len(exons) - 1):
                gone = exons[first : last + 1]
                if fits(-sum(exon.end - exon.start for exon in gone)) and any(own(exon) & touched for exon in gone):
                    return replaced(first, last)
    elif effect in (Effect.EXON_EXTENSION, Effect.EXON_TRUNCATION):
        for site in sites:
            if site.at is None or site.known == "reported":
                continue
            for i, exon in enumerate(exons):
                left = (site.kind == ACCEPTOR) == plus
                moved = Interval(site.at, exon.end) if left else Interval(exon.start, site.at + 1)
                if moved.start < moved.end and fits(moved.end - moved.start - exon.end + exon.start):
                    return replaced(i, i, moved)
    elif effect == Effect.INTRON_RETENTION:
        for i, (one, other) in enumerate(pairwise(exons)):
            whole = Interval(min(one.start, other.start), max(one.end, other.end))
            intron = whole.end - whole.start - (one.end - one.start) - (other.end - other.start)
            if fits(intron) and (own(one) | own(other)) & touched:
                return replaced(i, i + 1, whole)
    elif effect == Effect.PSEUDOEXON:
        ends = {site.kind: site.at for site in sites if site.known != "reported" and site.at is not None}
        if len(ends) == 2:
            new = Interval(min(ends.values()), max(ends.values()) + 1)
            before = [i for i, exon in enumerate(exons) if (exon.end <= new.start if plus else exon.start >= new.end)]
            if before and before[-1] + 1 < len(exons) and fits(new.end - new.start):
                at = before[-1]
                return (*exons[: at + 1], new, *exons[at + 1 :]), at, at + 1
    return None


class _Axis:
    """Where positions stand: distances between the marked ones grow with their logarithm, so that all can be seen."""

    def __init__(self, marks: Sequence[int], *, plus: bool) -> None:
        self._plus = plus
        ordered = sorted(set(marks), reverse=not plus)
        self._at = [ordered[0]]
        self._x = [0.0]
        for one, other in pairwise(ordered):
            self._at.append(other)
            self._x.append(self._x[-1] + 0.45 + math.log2(1 + abs(other - one)) / 4)

    @property
    def width(self) -> float:
        return self._x[-1]

    def x(self, boundary: int) -> float:
        """Return where the boundary before a genomic base stands."""
        pairs = list(zip(self._at, self._x, strict=True))
        for (low, x), (high, further) in pairwise(pairs):
            if min(low, high) <= boundary <= max(low, high):
                return x + (further - x) * abs(boundary - low) / abs(high - low)
        return pairs[0][1] if (boundary < pairs[0][0]) == self._plus else pairs[-1][1]


def describe_effect(fields: Mapping[str, str]) -> str:
    """Return EFFECT, its size, frame and names in words; empty without one."""
    effect = fields.get("EFFECT", "")
    if effect in ("", Effect.NO_EFFECT, Effect.NOT_JUDGEABLE):
        return ""
    words = [effect.replace("_", " ")]
    if "EFFECT_SIZE" in fields:
        words.append(f"{number(fields, 'EFFECT_SIZE'):+,.0f} nt")
    if "EFFECT_FRAME" in fields:
        words.append(fields["EFFECT_FRAME"].replace("_", " "))
    if fields.get("EFFECT_NMD") == "yes":
        words.append("decay of the mRNA expected")
    return ", ".join(words)


def draw_transcript(fields: Mapping[str, str], pos: int, ref: str, alt: str, transcript: Transcript) -> Any:
    """Return a matplotlib figure of a transcript around an allele, small enough for a phone.

    Args:
        fields: of the annotated allele in that transcript's gene.
        pos, ref, alt: of its record.
    """
    with drawing():
        from matplotlib.figure import Figure

        figure: Any = Figure(figsize=(4.9, 2.45))
        draw_effect(figure.add_axes((0.01, 0.01, 0.98, 0.98)), fields, pos, ref, alt, transcript)
    return figure


def draw_effect(axes: Any, fields: Mapping[str, str], pos: int, ref: str, alt: str, transcript: Transcript) -> None:
    """Draw the normal transcript, its changed sites and, where the effect is certain, the predicted one into axes."""
    plus = transcript.strand == "+"
    exons = transcript.exons
    sites = site_changes(fields, pos)
    span = Interval(pos - 1, pos - 1 + len(ref))
    effect, size = fields.get("EFFECT", ""), int(number({"EFFECT_SIZE": "0"} | dict(fields), "EFFECT_SIZE"))
    found = predicted_exons(transcript, effect, size, sites, abs(len(ref) - len(alt)))
    places = [span.start, span.end, *(at for site in sites if (at := site.at) is not None)]
    low, high = min(places), max(places)
    near = [i for i, exon in enumerate(exons) if exon.start <= high and exon.end > low]
    left = [i for i, exon in enumerate(exons) if (exon.end <= low if plus else exon.start > high)]
    right = [i for i, exon in enumerate(exons) if (exon.start > high if plus else exon.end <= low)]
    changed = range(found[1], found[2] + 1) if found else range(0)
    known = [*near, *changed]
    first = min([*known, *([left[-1] + 1] if left and not near else [])], default=left[-1] if left else 0)
    last = max([*known, *([right[0] - 1] if right and not near else [])], default=right[0] if right else len(exons) - 1)
    first, last = max(0, min(first - 1, last)), min(len(exons) - 1, max(last + 1, first))
    shown = exons[first : last + 1]
    predicted = None
    if found:
        predicted = found[0][first : len(found[0]) - (len(exons) - 1 - last)]
    edges = [edge for exon in (*shown, *(predicted or ())) for edge in (exon.start, exon.end)]
    axis = _Axis([*edges, *places, *(at + 1 for at in places[2:])], plus=plus)
    _draw_row(axes, axis, shown, 1.0, "normal", numbers=(first, len(exons)))
    if predicted:
        _draw_row(axes, axis, predicted, 0.0, "predicted", normal=shown)
    _draw_variant(axes, axis, span)
    _draw_sites(axes, axis, sites, span)
    margin = 0.03 * axis.width + 0.25
    axes.set_xlim(-margin - 0.12 * axis.width, axis.width + margin)
    axes.set_ylim(-0.62 if predicted else 0.3, 3.35)
    axes.set_axis_off()


def _draw_row(
    axes: Any, axis: _Axis, exons: Sequence[Interval], y: float, name: str, *,
    numbers: tuple[int, int] | None = None, normal: Sequence[Interval] = (),
) -> None:  # fmt: skip
    """Draw exons as boxes and introns as lines; those that the normal transcript lacks are outlined and bold."""
    size = 0.36
    spans = [sorted((axis.x(exon.start), axis.x(exon.end))) for exon in exons]
    axes.text(-0.03 * axis.width - 0.3, y, name, ha="right", va="center", fontsize=7.5, color=DARK)
    junctions = {_intron(one, other) for one, other in pairwise(normal)}
    for (one, other), ((_, low), (high, _)) in zip(pairwise(exons), pairwise(spans), strict=True):
        new = bool(normal) and _intron(one, other) not in junctions
        middle = (low + high) / 2
        drop = 0.3 if new else 0.12
        axes.plot([low, middle, high], [y, y - drop if new else y, y], color=DARK, lw=1.6 if new else 0.8, zorder=1)
    for exon, (low, high), index in zip(exons, spans, range(len(exons)), strict=True):
        new = bool(normal) and exon not in normal
        axes.barh(y, high - low, left=low, height=size, color="white" if new else EXON, zorder=2,
                  edgecolor=DARK if new else EXON, linewidth=1.6 if new else 0.5,
                  hatch="////" if new else None)  # fmt: skip
        if numbers:
            axes.text((low + high) / 2, y, str(numbers[0] + index + 1), color="white", ha="center", va="center",
                      fontsize=7.5, fontweight="bold", zorder=3)  # fmt: skip
        if numbers or new:
            axes.text((low + high) / 2, y - 0.3, f"{exon.end - exon.start:,} nt", ha="center", va="center",
                      fontsize=6.5, color=GREY, zorder=6,
                      bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6})  # fmt: skip


def _intron(one: Interval, other: Interval) -> tuple[int, int]:
    """Return start and end of what lies between two exons, in either order."""
    return min(one.end, other.end), max(one.start, other.start)


def _draw_variant(axes: Any, axis: _Axis, span: Interval) -> None:
    x = (axis.x(span.start) + axis.x(span.end)) / 2
    axes.plot([x, x], [0.74, 1.3], color=DARK, lw=0.9, ls=":", zorder=4)
    axes.plot([x], [1.34], marker="v", ms=6, color=DARK, zorder=5)


def _draw_sites(axes: Any, axis: _Axis, sites: Sequence[SiteChange], span: Interval) -> None:
    """Draw p of REF, hollow, beside that of ALT, solid, above each site, with words that stand clear of each other."""
    base, full = 1.45, 0.85
    step = 0.012 * axis.width + 0.04
    ordered = sorted(sites, key=lambda site: _x_of(axis, site, span))
    taken: list[float] = []
    for site in ordered:
        x, colour = _x_of(axis, site, span), OF_SITE[site.kind]
        axes.plot([x, x], [1.18, base], color=colour, lw=1.2, zorder=4)
        if site.before is not None and site.after is not None:
            axes.bar(
                [x - step], [full * site.before], 1.5 * step, bottom=base, facecolor="white", edgecolor=colour, lw=1
            )
            axes.bar([x + step], [full * site.after], 1.5 * step, bottom=base, facecolor=colour, edgecolor=colour, lw=1)
        wide = 0.15 * axis.width + 0.6
        level = next((k for k, end in enumerate(taken) if x - wide >= end), len(taken))
        taken[level : level + 1] = [x + wide]
        middle = min(max(x, wide - 0.14 * axis.width), axis.width - wide + 0.06 * axis.width)
        axes.text(middle, base + full + 0.08 + 0.48 * (level % 2), site.words, ha="center", va="bottom",
                  fontsize=7, color=colour, fontweight="bold", linespacing=1.0)  # fmt: skip


def _x_of(axis: _Axis, site: SiteChange, span: Interval) -> float:
    if site.at is None:
        return (axis.x(span.start) + axis.x(span.end)) / 2
    return (axis.x(site.at) + axis.x(site.at + 1)) / 2
