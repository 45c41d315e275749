"""Picture of oligos along a region: exons and sites, what hiding each stretch does, position by length."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..genome.gene_index import Exon
from .drawing import (
    DARK,
    GREY,
    OF_SITE,
    draw_site,
    draw_structure,
    drawing,
    label_positions,
    plain,
    plain_words,
    runs_of,
    stacked,
)
from .oligo import KINDS, Change, Oligo, Oligos

Floats = NDArray[np.float64]
_MISSING = "#E6E6E6"
_BEST = 10  # oligos that are marked
#: A measure's words, and what it takes from the change of a site.
_MEASURES: dict[str, tuple[str, Callable[[Change], float | None]]] = {
    "zero-shot": ("ln p of the site", lambda change: change.log_p),
    "head": ("the model's p", lambda change: change.head),
}


def draw_oligos(found: Oligos) -> Any:
    """Return a matplotlib figure of oligos, the transcript from left to right.

    From the top: exons and the target's sites; at each nucleotide the mean change of each site over the ranked oligos
    that cover it; and a heat map, a row for each length and a column for the oligo's middle, of the change that is
    ranked by, summed over the sites. Hatched are oligos that touch a site of the target; circles are the best ten.
    """
    words, value = _MEASURES[found.measure]
    columns = {position: column for column, position in enumerate(found.position.tolist())}
    lengths = found.lengths[1] - found.lengths[0] + 1
    width = min(max(9.0, 0.02 * len(columns) + 2.2), 20.0)
    with drawing():
        figure, grid, height = stacked([0.5, 1.5, max(0.9, 0.2 * lengths)], width, 0.25, 0.8)
        for unused in grid[:2, 1]:
            unused.set_axis_off()
        structure, curve, heat = grid[:, 0]
        _write_head(figure, found, width, height)
        _draw_sites(structure, found, columns)
        _draw_curve(curve, found, columns, value)
        curve.set_ylabel(f"change of {words},\nmean of ranked\noligos over it", fontsize=8)
        _draw_heat(figure, heat, grid[2, 1], found, columns, value, words)
        for axes in grid[:, 0]:
            axes.set_xlim(-0.5, len(columns) - 0.5)
        curve.set_xticks([])
        label_positions(heat.xaxis, found.position, (5, 10, 20, 50, 100, 200, 500, 1000), 10)
        heat.set_xlabel(
            f"middle of the oligo on {plain(found.aim.contig)} (1-based), {found.aim.strand} strand: transcript from "
            f"left to right; hatched: touches the target's own site, not ranked; circles: the best {_BEST}",
            fontsize=8,
        )
    return figure


def mean_change(found: Oligos, kind: str) -> Floats:
    """Return the mean change of a site over the ranked oligos that cover each nucleotide, (P,); NaN where none does."""
    _, value = _MEASURES[found.measure]
    total, count = np.zeros(len(found.position)), np.zeros(len(found.position))
    for oligo in found.oligos:
        change = oligo.changes.get(kind)
        if oligo.rank is not None and change is not None:
            low, high = _columns(found, oligo)
            total[low:high] += value(change) or 0.0
            count[low:high] += 1
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _columns(found: Oligos, oligo: Oligo) -> tuple[int, int]:
    """Return the columns that an oligo covers, half-open."""
    if found.aim.strand == "-":
        return found.region.end - oligo.end, found.region.end - oligo.start
    return oligo.start - found.region.start, oligo.end - found.region.start


def _write_head(figure: Any, found: Oligos, width: float, height: float) -> None:
    aim, left = found.aim, 1.1 / width
    figure.text(left, 1 - 0.22 / height, plain_words(f"oligos to {found.goal} {aim.name}"), fontsize=13,
                fontweight="bold", va="center")  # fmt: skip
    place = f"{plain(found.region.contig)}:{found.region.start + 1:,}-{found.region.end:,} ({aim.strand} strand)"
    ranked = {one.site.kind: np.exp(one.log_p) if found.measure == "zero-shot" else one.head for one in found.sites}
    bases = ", ".join(f"{one.site.kind} {one.bases} p {ranked[one.site.kind]:.2g}" for one in found.sites)
    figure.text(left, 1 - 0.48 / height, plain_words(f"{place}; {bases} with nothing hidden"), va="center")


def _draw_sites(axes: Any, found: Oligos, columns: dict[int, int]) -> None:
    exons = list(found.exons)
    if found.aim.exon is not None and all(exon.interval != found.aim.exon for exon in exons if exon.reported):
        exons.append(Exon(found.aim.exon, reported=True))  # not of the reported transcript, or not annotated
    draw_structure(axes, found.position, exons)
    for one in found.sites:
        site = one.site.dinucleotide
        there = [columns[at] for at in range(site.start, site.end) if at in columns]
        if there:
            draw_site(axes, one.site.kind, min(there), max(there))
    axes.set_ylim(-0.5 if any(not exon.reported for exon in exons) else 0.4, 1.6)


def _draw_curve(axes: Any, found: Oligos, columns: dict[int, int], value: Callable[[Change], float | None]) -> None:
    axes.axhline(0, color=DARK, linewidth=0.6)
    kinds = [kind for kind in KINDS if any(one.site.kind == kind for one in found.sites)]
    for kind in kinds:
        axes.plot(mean_change(found, kind), color=OF_SITE[kind], linewidth=1.4, label=f"{kind} site")
    for one in found.sites:
        touched = [columns[at] for at in range(one.site.footprint.start, one.site.footprint.end) if at in columns]
        if touched:
            axes.axvspan(min(touched) - 0.5, max(touched) + 0.5, color=GREY, alpha=0.25, linewidth=0)
    axes.legend(frameon=False, fontsize=7.5, loc="lower left", bbox_to_anchor=(0, 0.98), ncols=2, borderpad=0)
    axes.tick_params(labelsize=8)


def _draw_heat(
    figure: Any, axes: Any, bar: Any, found: Oligos, columns: dict[int, int],
    value: Callable[[Change], float | None], words: str,
) -> None:  # fmt: skip
    from matplotlib import colormaps
    from matplotlib.colors import Normalize

    low, high = found.lengths
    shown = np.full((high - low + 1, len(columns)), np.nan)
    own = np.zeros(shown.shape, dtype=np.bool_)
    for oligo in found.oligos:
        first, end = _columns(found, oligo)
        middle = (first + end - 1) // 2
        left = middle - (found.step - 1) // 2
        cells = (len(oligo) - low, slice(max(left, 0), left + found.step))
        own[cells] = oligo.own_site is not None
        values = [value(change) for change in oligo.changes.values()]
        if oligo.rank is not None:
            shown[cells] = sum(one for one in values if one is not None)
    reach = float(np.nanmax(np.abs(shown))) if not np.isnan(shown).all() else 1.0
    image = axes.imshow(
        shown, cmap=colormaps["RdBu"].with_extremes(bad=_MISSING), norm=Normalize(-(reach or 1.0), reach or 1.0),
        aspect="auto", interpolation="nearest", extent=(-0.5, len(columns) - 0.5, high + 0.5, low - 0.5),
    )  # fmt: skip
    for row, mask in enumerate(own):
        bars = [(first - 0.5, last - first + 1) for first, last in runs_of(mask)]
        axes.broken_barh(bars, (low + row - 0.5, 1), facecolor="none", edgecolor=GREY, hatch="/////", linewidth=0)
    best = [oligo for oligo in found.oligos[:_BEST] if oligo.rank is not None]
    middles = [(sum(_columns(found, oligo)) - 1) // 2 for oligo in best]
    axes.plot(middles, [len(oligo) for oligo in best], ls="", marker="o", ms=4, mfc="white", mec=DARK, mew=0.9)
    axes.set_yticks(range(low, high + 1, 1 if high - low < 10 else 2))
    axes.tick_params(labelsize=8)
    axes.set_ylabel("length, nt", fontsize=8)
    for side in axes.spines.values():
        side.set_visible(False)
    figure.colorbar(image, cax=bar, format="{x:g}")
    bar.tick_params(labelsize=7)
    bar.set_title(f"change of\n{words},\nsum of sites", fontsize=6.5, color=GREY, loc="left")
