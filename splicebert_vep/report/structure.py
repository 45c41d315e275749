"""Exons and introns of a gene along the columns of a picture, 5' on the left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from splicebert_vep.genome.gene_index import Exon
from splicebert_vep.sequence.windows import Index, Mask
from splicebert_vep_spec import Interval

BLUE, ORANGE, DARK, GREY = "#0072B2", "#B84D00", "#333333", "#6B6B6B"
_ROOM = 40 / 510  # of the width: what the word takes


def draw_structure(axes: Any, position: Index, exons: Sequence[Exon], there: Mask | None = None) -> None:
    """Draw the exons, those of the reported transcript above the others'.

    Args:
        position: (P,) genomic position of column k, which stands at x = k.
        exons: of the gene.
        there: (P,) which columns have a position; None is all.
    """
    last = len(position) - 0.5
    apart = max(1, round(len(position) / 12.75))
    arrows = np.arange(apart / 2, last, apart)
    axes.plot([-0.5, last], [1, 1], color=DARK, linewidth=1, zorder=1)
    axes.plot(arrows, np.ones_like(arrows), ls="", marker=">", ms=4, color=DARK)
    drawn: set[tuple[float, float]] = set()
    for exon in sorted(exons, key=lambda exon: not exon.reported):
        edges = edges_of(position, exon.interval, there)
        if edges is None or edges in drawn:
            continue
        drawn.add(edges)
        low, high = edges
        if exon.reported:
            axes.barh(1, high - low, left=low, height=0.9, color=BLUE, zorder=2)
            if high - low > _ROOM * len(position):
                axes.text((low + high) / 2, 1, "exon", color="white", ha="center", va="center", fontweight="bold")
        else:
            axes.barh(0, high - low, left=low, height=0.55, color="white", edgecolor=BLUE, hatch="////", linewidth=0.8)
    if any(not exon.reported for exon in exons):
        axes.annotate("exons of other\ntranscripts", (0, 0), xytext=(-4, 0), xycoords=("axes fraction", "data"),
                      textcoords="offset points", ha="right", va="center", fontsize=6.5, color=GREY)  # fmt: skip
    axes.set_axis_off()


def edges_of(position: Index, interval: Interval, there: Mask | None = None) -> tuple[float, float] | None:
    """Return the edges of a stretch of the genome on the x axis; None where it has no column."""
    inside = (position >= interval.start) & (position < interval.end)
    columns = np.flatnonzero(inside if there is None else inside & there)
    return (float(columns[0]) - 0.5, float(columns[-1]) + 0.5) if len(columns) else None
