"""Fonts, panels, exons and logos of all pictures; foreign text stays text, and the same figure gives the same bytes."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from splicebert_vep_spec import Interval

from ..errors import SettingsError, require
from ..files import whole_or_not
from ..genome.gene_index import Exon
from ..sequence.windows import Index, Mask

SUFFIXES = (".png", ".svg", ".pdf")
_LONGEST = 48
_BASES = 16
_PATHS = re.compile(r'(?<= d=")[^"]+')
_LONG_NUMBER = re.compile(r"(\.\d\d)\d+")
_SETTINGS: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "sans-serif"],  # the first is matplotlib's own
    "font.monospace": ["DejaVu Sans Mono", "Menlo", "Consolas", "monospace"],  # the others are for who reads an SVG
    "font.size": 9,
    "text.parse_math": False,  # a symbol from a VCF may hold a dollar sign
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "splicebert-vep",  # ids that are the same in every run
    "svg.fonttype": "none",  # text stays text: it can be searched, edited and read aloud
}


@contextmanager
def drawing() -> Iterator[None]:
    """Draw with this program's settings, and leave the caller's as they were; needs matplotlib."""
    require("matplotlib", extra="report")
    from matplotlib import rc_context

    with rc_context(_SETTINGS):
        yield


def plain(text: str) -> str:
    """Return foreign text as a picture can show it: printable ASCII, not too long."""
    text = "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def cut(bases: str) -> str:
    """Return the bases of an allele; of a long one the first and how many there are."""
    return bases if len(bases) <= _BASES else f"{bases[: _BASES // 2]}...({len(bases)} nt)"


def plain_words(text: str) -> str:
    """Return a sentence with foreign words in it as a picture can show it."""
    return " ".join(map(plain, text.split(" ")))


def position_words(region: str, offset: str | None) -> str:
    """Return where an allele lies in a gene; 'exon 12' would be read as the twelfth exon."""
    if offset is None:
        return region
    return f"{region} {offset}" if offset.startswith(("+", "-")) else f"{region}, base {offset} from the site"


def stacked(heights: Sequence[float], width: float, apart: float, head: float) -> tuple[Any, Any, float]:
    """Return a matplotlib figure, its axes (n, 2) above each other, the right ones for colour bars, and its height.

    Args:
        heights: of the n panels, inch.
        width: of the figure, inch.
        apart: inch between panels.
        head: inch above the panels, for a title.
    """
    from matplotlib.figure import Figure

    foot = 0.62
    height = head + foot + sum(heights) + apart * (len(heights) - 1)
    figure: Any = Figure(figsize=(width, height))
    grid = figure.subplots(
        len(heights), 2, squeeze=False,
        gridspec_kw={"height_ratios": heights, "width_ratios": [width - 2.2, 0.12], "wspace": 0.3 / width,
                     "hspace": apart * len(heights) / sum(heights), "left": 1.1 / width, "right": 1 - 0.75 / width,
                     "top": 1 - head / height, "bottom": foot / height},
    )  # fmt: skip
    return figure, grid, height


def runs_of(mask: Mask) -> list[tuple[int, int]]:
    """Return first and last column of every run of a mask."""
    edges = np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8))
    starts, ends = np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist()
    return [(low, after - 1) for low, after in zip(starts, ends, strict=True)]


_LETTER, _APART = 0.075, 0.12  # inch: of a digit at most, and between labels


def label_positions(axis: Any, position: Index, steps: Sequence[int], most: int) -> None:
    """Label round positions of the genome, which fall from left to right on the reverse strand.

    Args:
        steps: nt between labels, of which the smallest is taken that keeps them apart.
        most: labels there may be, however much room there is.
    """
    axes = axis.axes
    if axis.axis_name == "x":
        width = axes.get_position().width * axes.get_figure(root=True).get_figwidth()
        most = min(most, int(width / (_LETTER * len(f"{position.max() + 1:,}") + _APART)))
    step = next((s for s in steps if len(position) / s <= most), steps[-1])
    columns = np.flatnonzero((position + 1) % step == 0)
    columns = columns if len(columns) else np.array([0])
    axis.set_ticks(columns.tolist(), [f"{position[k] + 1:,}" for k in columns])


def svg(figure: Any) -> str:
    """Return a figure as SVG; the same figure gives the same text."""
    buffer = io.StringIO()
    with drawing():
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    # A hundredth of a point is nothing to the eye, and half of the file. Outlines only: text holds scores.
    return _PATHS.sub(lambda path: _LONG_NUMBER.sub(r"\1", path[0]), buffer.getvalue())


def check_picture(path: str) -> None:
    """Raise SettingsError where a file's name does not say which kind of picture it is, or matplotlib is missing."""
    if not path.lower().endswith(SUFFIXES):
        raise SettingsError("The suffix does not name a format of pictures.", needed=", ".join(SUFFIXES), found=path)
    require("matplotlib", extra="report")


def save(figure: Any, path: str | Path) -> None:
    """Write a figure as PNG, SVG or PDF, by the file's suffix; OutputError where it cannot be written."""
    check_picture(str(path))
    kind = Path(path).suffix.lower()[1:]
    with drawing(), whole_or_not(path) as temporary:
        if kind == "svg":
            temporary.write_text(svg(figure), encoding="utf-8")
        else:
            figure.savefig(temporary, format=kind, dpi=160, metadata={"CreationDate": None} if kind == "pdf" else {})


BLUE, ORANGE, DARK, GREY = "#0072B2", "#B84D00", "#333333", "#6B6B6B"
#: Of splice sites, in every picture; exons and bars of scores have others.
OF_SITE = {"acceptor": BLUE, "donor": ORANGE}
EXON, SCORE = "#4A5A6A", "#7A5195"
_ROOM = 40 / 510  # of the width, for the word


def draw_site(axes: Any, name: str, low: float, high: float) -> None:
    """Shade columns ``low`` to ``high`` of a structure as a splice site, and name it.

    The label stands on the side away from the exon, where the other site's of a small exon is not.
    """
    colour = OF_SITE[name]
    axes.axvspan(low - 0.5, high + 0.5, color=colour, alpha=0.35, linewidth=0)
    axes.annotate(name, ((low + high) / 2, 1.65), ha="right" if name == "acceptor" else "left", va="bottom",
                  color=colour, fontsize=8, fontweight="bold", annotation_clip=False)  # fmt: skip


def draw_structure(
    axes: Any, position: Index, exons: Sequence[Exon], there: Mask | None = None,
    names: Mapping[Interval, str] = MappingProxyType({}),
) -> None:  # fmt: skip
    """Draw the exons, those of the reported transcript above the others'.

    Args:
        position: (P,) genomic position of column k, which stands at x = k.
        exons: of the gene.
        there: (P,) which columns have a position; None is all.
        names: of exons of the reported transcript; of others it is ``exon``.
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
            axes.barh(1, high - low, left=low, height=0.9, color=EXON, zorder=2)
            if high - low > _ROOM * len(position):
                axes.text(
                    (low + high) / 2,
                    1,
                    names.get(exon.interval, "exon"),
                    color="white",
                    ha="center",
                    va="center",
                    fontweight="bold",
                )
        else:
            axes.barh(0, high - low, left=low, height=0.55, color="white", edgecolor=EXON, hatch="////", linewidth=0.8)
    if any(not exon.reported for exon in exons):
        axes.annotate("exons of other\ntranscripts", (0, 0), xytext=(-4, 0), xycoords=("axes fraction", "data"),
                      textcoords="offset points", ha="right", va="center", fontsize=6.5, color=GREY)  # fmt: skip
    axes.set_axis_off()


def edges_of(position: Index, interval: Interval, there: Mask | None = None) -> tuple[float, float] | None:
    """Return the edges of a stretch of the genome on the x axis; None where it has no column."""
    inside = (position >= interval.start) & (position < interval.end)
    columns = np.flatnonzero(inside if there is None else inside & there)
    return (float(columns[0]) - 0.5, float(columns[-1]) + 0.5) if len(columns) else None


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
