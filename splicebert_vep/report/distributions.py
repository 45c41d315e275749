"""How scores are distributed in each region class: a box for every class and score, and the same in figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .drawing import drawing, plain_words
from .places import order_of

_BOX, _MEDIAN = "#9CC9E3", "#333333"
_LOGARITHMIC, _FLOOR = ("KL_SS",), 1e-6  # the floor is that of the published context score
_PERCENTILES = (5, 25, 50, 75, 95)
_LEAST = 10  # values that make a box; fewer are drawn one by one


@dataclass(frozen=True, slots=True)
class Spread:
    """Values of one score in one class: their number, and the 5th, 25th, 50th, 75th and 95th percentile."""

    place: str
    count: int
    percentiles: tuple[float, ...]


def spreads(by_place: Mapping[str, ArrayLike]) -> list[Spread]:
    """Return a score's figures for each class, from the splice site outwards."""
    found = []
    for place in sorted(by_place, key=order_of):
        values = np.asarray(by_place[place], dtype=np.float64)
        found.append(Spread(place, len(values), tuple(np.percentile(values, _PERCENTILES).tolist())))
    return found


def draw_distributions(values: Mapping[str, Mapping[str, ArrayLike]], directions: Mapping[str, str]) -> Any:
    """Return a matplotlib figure: a panel for every score, a row for every class.

    Args:
        values: score -> class -> values.
        directions: what the direction of a score means, in words.

    Raises:
        SettingsError: matplotlib is not installed.
    """
    places = sorted({place for by_place in values.values() for place in by_place}, key=order_of)
    with drawing():
        from matplotlib.figure import Figure
        from matplotlib.ticker import LogLocator, NullLocator

        figure: Any = Figure(figsize=(11, 0.9 + 0.42 * len(places)), layout="constrained")
        panels = figure.subplots(1, len(values), sharey=True, squeeze=False)[0]
        for axes, (score, by_place) in zip(panels, values.items(), strict=True):
            for y, place in enumerate(places):
                if place in by_place:
                    drawn = np.asarray(by_place[place], dtype=np.float64)
                    _draw_row(axes, y, np.maximum(drawn, _FLOOR) if score in _LOGARITHMIC else drawn)
            if score in _LOGARITHMIC:
                axes.set_xscale("log")
                axes.xaxis.set_major_locator(LogLocator(numticks=4))
                axes.xaxis.set_major_formatter("{x:g}")
                axes.xaxis.set_minor_locator(NullLocator())
            axes.set_title(f"{score}\n({directions[score]})", fontsize=9, fontweight="bold")
            axes.set_ylim(len(places) - 0.5, -0.5)
            axes.grid(axis="x", alpha=0.3)
        panels[0].set_yticks(range(len(places)), _labels(places, next(iter(values.values()))))
    return figure


def _labels(places: Sequence[str], by_place: Mapping[str, ArrayLike]) -> list[str]:
    return [f"{plain_words(place)} (n = {len(np.asarray(by_place.get(place, []))):,})" for place in places]


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
