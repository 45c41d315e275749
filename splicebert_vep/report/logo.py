"""Sequence logos: at every base a stack of four letters, each as high as the model's probability of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Okabe and Ito's palette (2008), which colour-blind readers tell apart; the letters themselves say which base it is.
COLOURS = {"A": "#009E73", "C": "#0072B2", "G": "#E69F00", "T": "#AA4499"}
_LOWEST = 0.03  # of the height; what is smaller cannot be read
_WIDTH = 0.9  # of a base's place


def draw_logo(axes: Any, probabilities: NDArray[np.float64]) -> None:
    """Draw a logo into matplotlib axes; base k stands at x = k, heights are from 0 to 1.

    Args:
        probabilities: (P, 4) of A, C, G, T; rows of NaN stay empty.
    """
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    glyphs = {letter: _glyph(letter) for letter in COLOURS}
    placed: dict[str, list[Path]] = {letter: [] for letter in COLOURS}
    for k, row in enumerate(probabilities):
        if np.isnan(row).any():
            continue
        low = 0.0
        for p, letter in sorted(zip(row.tolist(), COLOURS, strict=True)):
            if p >= _LOWEST:
                glyph = glyphs[letter]
                corner = np.array([k - _WIDTH / 2, low])
                placed[letter].append(Path(glyph.vertices * (_WIDTH, p) + corner, glyph.codes))
            low += p
    for letter, paths in placed.items():
        if paths:
            axes.add_patch(PathPatch(Path.make_compound_path(*paths), facecolor=COLOURS[letter], linewidth=0))


def _glyph(letter: str) -> Any:
    """Return a letter's outline, stretched to the unit square."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.path import Path
    from matplotlib.textpath import TextPath

    outline = TextPath((0, 0), letter, size=1, prop=FontProperties(family="DejaVu Sans", weight="bold"))
    low, high = outline.vertices.min(axis=0), outline.vertices.max(axis=0)
    return Path((outline.vertices - low) / (high - low), outline.codes)
