"""Pictures of a mutagenesis map: heat maps of ALT by position under exons and logo; and the dependency map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from splicebert_vep_spec import FieldSpec

from .drawing import DARK, GREY, ORANGE, draw_logo, draw_structure, drawing, plain, plain_words
from .map import BASES, Dependency, RegionMap, check_scores

_MISSING = "#D9D9D9"
_LETTERS = 260  # nt: in a wider region letters cannot be read
_LOGO = 600  # nt: nor can stacks of them
_LOWEST_KL = 1e-5  # nats: what is smaller is drawn alike
_APART = 0.36  # inch between panels
_DECADES = 1e3  # of a score whose values spread wider: what is drawn on a logarithmic scale
#: What is drawn when nothing is asked for: the score that was measured best, else the one that every SNV has; and LLR.
_USUAL = (("KL_SS", "KL_CTX"), ("LLR",))


#: By a score's direction.
_COLOURS: dict[str | None, str] = {"negative": "RdBu", "higher": "YlOrRd"}
_MEANS: dict[str | None, str] = {"negative": "low = less\nexpected", "higher": "high = more\ndisturbed"}


def usual_scores(found: RegionMap) -> tuple[str, ...]:
    """Return the scores that are drawn when none is asked for: KL_SS, or KL_CTX where no SNV has it, and LLR."""
    known = [field.id for field in found.fields if field.type != "String"]
    there = [name for name in known if not np.isnan(found.matrix(name)).all()]
    chosen = [next((name for name in names if name in there), None) for names in _USUAL]
    return tuple(name for name in chosen if name) or tuple(known[:1])


def draw_map(found: RegionMap, scores: Sequence[str] = ()) -> Any:
    """Return a matplotlib figure of a map: exons, logo of p(base) where LLR was computed, and a heat map a score.

    The transcript runs from left to right, and bases are those of its strand. A dot marks the reference base; grey is
    missing.

    Args:
        scores: names of fields; none is ``usual_scores``.

    Raises:
        SettingsError: matplotlib is not installed, or a score was not computed.
    """
    scores = scores or usual_scores(found)
    check_scores(scores, found.fields)
    expected = found.expected() if len(found) <= _LOGO else None
    with drawing():
        from matplotlib.figure import Figure

        heights = [0.45, *([0.95] if expected is not None else []), *[0.85] * len(scores)]
        head, foot = 0.7, 0.62
        height = head + foot + sum(heights) + _APART * (len(heights) - 1)
        width = min(max(8.0, 0.1 * len(found) + 2.2), 28.0)
        figure: Any = Figure(figsize=(width, height))
        grid = figure.subplots(
            len(heights), 2, squeeze=False,
            gridspec_kw={"height_ratios": heights, "width_ratios": [width - 2.2, 0.12], "wspace": 0.3 / width,
                         "hspace": _APART * len(heights) / sum(heights), "left": 1.1 / width, "right": 1 - 0.75 / width,
                         "top": 1 - head / height, "bottom": foot / height},
        )  # fmt: skip
        _write_head(figure, found, width, height)
        structure, *rest = grid[:, 0]
        for unused in grid[: len(heights) - len(scores), 1]:
            unused.set_axis_off()
        _draw_sites(structure, found)
        if expected is not None:
            _draw_expected(rest.pop(0), found, expected)
        fields = {field.id: field for field in found.fields}
        for axes, bar, name in zip(rest, grid[-len(scores) :, 1], scores, strict=True):
            _draw_heat(figure, axes, bar, found, fields[name])
        for axes in grid[:, 0]:
            axes.set_xlim(-0.5, len(found) - 0.5)
        for axes in rest[:-1]:
            axes.set_xticks([])
        _label_positions(rest[-1].xaxis, found)
        rest[-1].set_xlabel(
            f"position on {plain(found.contig)} (1-based), {found.gene.strand} strand: transcript from left to right; "
            "dot: reference base; grey: no score"
        )
    return figure


def draw_dependency(found: RegionMap, dependency: Dependency) -> Any:
    """Return a matplotlib figure of a dependency map: mean KL over the ALTs of a mutated position, at every other.

    Rows are the mutated positions and columns those that are read, both 5' to 3' of the transcript. The diagonal, what
    an SNV does to its own position, is left out.

    Raises:
        SettingsError: matplotlib is not installed.
    """
    shown = dependency.mean()
    np.fill_diagonal(shown, np.nan)
    with drawing():
        from matplotlib.colors import LogNorm
        from matplotlib.figure import Figure

        figure: Any = Figure(figsize=(8.6, 8.6))
        (structure, unused), (axes, bar) = figure.subplots(
            2, 2,
            gridspec_kw={"height_ratios": [0.4, 7], "width_ratios": [7, 0.14], "hspace": 0.03, "wspace": 0.05,
                         "left": 0.14, "right": 0.9, "top": 0.9, "bottom": 0.1},
        )  # fmt: skip
        unused.set_axis_off()
        _write_head(figure, found, 8.6, 8.6)
        _draw_sites(structure, found)
        structure.set_xlim(-0.5, len(found) - 0.5)
        top = max(float(np.nanmax(shown)), 10 * _LOWEST_KL) if not np.isnan(shown).all() else 1.0
        image = axes.imshow(
            np.maximum(shown, _LOWEST_KL), norm=LogNorm(_LOWEST_KL, top), cmap=_colours("magma_r"), aspect="auto",
            interpolation="nearest",
        )  # fmt: skip
        for mask in (found.donor, found.acceptor):
            for low, high in _runs(mask):
                for edge in (low - 0.5, high + 0.5):
                    axes.axvline(edge, color=ORANGE, linewidth=0.6, linestyle=":")
                    axes.axhline(edge, color=ORANGE, linewidth=0.6, linestyle=":")
        for axis in (axes.xaxis, axes.yaxis):
            _label_positions(axis, found, most=6 if axis is axes.xaxis else 16)
        strand = f"{plain(found.contig)} (1-based), {found.gene.strand} strand"
        axes.set_xlabel(f"position that is read, on {strand}: transcript from left to right")
        axes.set_ylabel("position that is mutated: transcript from top to bottom")
        label = "KL divergence, nats, mean over the three ALTs (higher = more disturbed)"
        figure.colorbar(image, cax=bar, label=label, format="{x:g}")
    return figure


def _write_head(figure: Any, found: RegionMap, width: float, height: float) -> None:
    gene = found.gene
    left = min(1.1, 0.14 * width) / width
    name = f"{plain(found.contig)}:{found.start + 1:,}-{found.end:,}"
    figure.text(left, 1 - 0.2 / height, name, fontsize=13, fontweight="bold", va="center")
    words = f"{gene.symbol or gene.gene_id} ({gene.strand} strand), {gene.transcript_id}, {len(found):,} nt"
    figure.text(left, 1 - 0.45 / height, plain_words(words), va="center")


def _draw_sites(axes: Any, found: RegionMap) -> None:
    draw_structure(axes, found.position, found.exons)
    # A label goes away from its exon, where the other's of a small exon is not.
    for name, mask, side in (("acceptor", found.acceptor, "right"), ("donor", found.donor, "left")):
        for low, high in _runs(mask):
            axes.axvspan(low - 0.5, high + 0.5, color=ORANGE, alpha=0.35, linewidth=0)
            axes.annotate(name, ((low + high) / 2, 1.65), ha=side, va="bottom", color=ORANGE, fontsize=8,
                          fontweight="bold", annotation_clip=False)  # fmt: skip
    axes.set_ylim(-0.5 if any(not exon.reported for exon in found.exons) else 0.4, 1.6)


def _draw_expected(axes: Any, found: RegionMap, expected: NDArray[np.float64]) -> None:
    draw_logo(axes, expected)
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 0.5, 1], ["0", ".5", "1"])
    axes.set_ylabel("p(base),\nmasked")
    axes.set_xticks([])
    if len(found) <= _LETTERS:
        axes.set_xticks(range(len(found)), found.ref, fontfamily="monospace", fontsize=7)
        axes.tick_params(axis="x", length=0, pad=1)


def _draw_heat(figure: Any, axes: Any, bar: Any, found: RegionMap, field: FieldSpec) -> None:
    from matplotlib.colors import ListedColormap

    values = found.matrix(field.id).T  # (4, P)
    reference = np.array([[base == letter for letter in found.ref] for base in BASES])
    look = {"aspect": "auto", "interpolation": "nearest"}
    image = axes.imshow(
        values, cmap=_colours(_COLOURS.get(field.direction, "viridis")), norm=_norm(values, field), **look
    )
    axes.imshow(np.where(reference, 1.0, np.nan), cmap=ListedColormap(["white"]), vmin=0, vmax=1, **look)
    row, column = np.nonzero(reference)
    axes.plot(column, row, ls="", marker="o", ms=2.5 if len(found) <= _LETTERS else 1, color=DARK)
    for mask in (found.donor, found.acceptor):
        for first, last in _runs(mask):
            for edge in (first - 0.5, last + 0.5):
                axes.axvline(edge, color=ORANGE, linewidth=0.8, linestyle=":")
    axes.set_yticks(range(4), list(BASES), fontfamily="monospace")
    axes.tick_params(axis="y", length=0)
    axes.set_ylabel(f"{field.id}\nALT")
    for side in axes.spines.values():
        side.set_visible(False)
    figure.colorbar(image, cax=bar, format="{x:g}")
    bar.tick_params(labelsize=7)
    bar.minorticks_off()
    bar.set_title(_MEANS.get(field.direction, ""), fontsize=6.5, color=GREY, loc="left")


def _norm(values: NDArray[np.float64], field: FieldSpec) -> Any:
    """Return how values become colours: around 0 where less is worse, in decades where they span many."""
    from matplotlib.colors import LogNorm, Normalize

    if np.isnan(values).all():
        return Normalize(0, 1)
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if field.direction == "negative":
        reach = max(abs(low), abs(high)) or 1.0
        return Normalize(-reach, reach)
    if low >= 0 and high > _DECADES * low:
        return LogNorm(high / _DECADES, high, clip=True)
    return Normalize(low, high)


def _colours(name: str) -> Any:
    from matplotlib import colormaps

    return colormaps[name].with_extremes(bad=_MISSING)


def _label_positions(axis: Any, found: RegionMap, most: int = 16) -> None:
    """Label round positions of the genome, which fall from left to right on the reverse strand."""
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if len(found) / s <= most)
    columns = np.flatnonzero((found.position + 1) % step == 0)
    if not len(columns):
        columns = np.array([0])
    axis.set_ticks(columns.tolist(), [f"{found.position[k] + 1:,}" for k in columns])


def _runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return first and last column of every run of a mask."""
    edges = np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8))
    first, after = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    return [(int(low), int(high) - 1) for low, high in zip(first, after, strict=True)]
