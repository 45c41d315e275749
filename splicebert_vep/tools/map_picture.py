"""Pictures of a mutagenesis map: heat maps of ALT by position under exons and logo; and the dependency map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from splicebert_vep_spec import FieldSpec

from .drawing import (
    DARK,
    GREY,
    OF_SITE,
    draw_logo,
    draw_site,
    draw_structure,
    drawing,
    label_positions,
    plain,
    plain_words,
    runs_of,
    stacked,
)
from .map import BASES, Dependency, RegionMap, check_scores

_MISSING = "#D9D9D9"
_LETTERS = 260  # nt: in a wider region letters cannot be read
_LOGO = 600  # nt: nor can stacks of them
_LOWEST_KL = 1e-5  # nats; smaller values are drawn as this
_STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)  # nt between labels
_DECADES = 1e3  # scores that spread wider are drawn on a logarithmic scale of this range
#: What is drawn when nothing is asked for: the score that was measured best, else the one that every SNV has; and LLR.
_USUAL = (("KL_SS", "KL_CTX"), ("LLR",))
#: Colours and words by a score's direction.
_LOOKS = {
    "negative": ("RdBu", "low = less\nexpected"), "higher": ("YlOrRd", "high = more\ndisturbed"),
    "none": ("viridis", ""),
}  # fmt: skip


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

    Without scores they are ``usual_scores``; SettingsError is raised for one that was not computed.
    """
    scores = scores or usual_scores(found)
    check_scores(scores, found.fields)
    expected = found.expected() if len(found) <= _LOGO else None
    heights = [0.45, *([0.95] if expected is not None else []), *[0.85] * len(scores)]
    width = min(max(8.0, 0.1 * len(found) + 2.2), 28.0)
    with drawing():
        figure, grid, height = stacked(heights, width, 0.36, 0.7)
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
        label_positions(rest[-1].xaxis, found.position, _STEPS, 16)
        rest[-1].set_xlabel(
            f"position on {plain(found.contig)} (1-based), {found.gene.strand} strand: transcript from left to right; "
            "dot: reference base; grey: no score"
        )
    return figure


def draw_dependency(found: RegionMap, dependency: Dependency) -> Any:
    """Return a matplotlib figure of a dependency map: mean KL over the ALTs of a mutated position, at every other.

    Rows are the mutated positions and columns those that are read, both 5' to 3' of the transcript. The diagonal, what
    an SNV does to its own position, is left out.
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
        for kind, mask in (("donor", found.donor), ("acceptor", found.acceptor)):
            for low, high in runs_of(mask):
                for edge in (low - 0.5, high + 0.5):
                    axes.axvline(edge, color=OF_SITE[kind], linewidth=0.6, linestyle=":")
                    axes.axhline(edge, color=OF_SITE[kind], linewidth=0.6, linestyle=":")
        for axis in (axes.xaxis, axes.yaxis):
            label_positions(axis, found.position, _STEPS, 6 if axis is axes.xaxis else 16)
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
    for name, mask in (("acceptor", found.acceptor), ("donor", found.donor)):
        for low, high in runs_of(mask):
            draw_site(axes, name, low, high)
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
    colours, words = _LOOKS[field.direction]
    image = axes.imshow(values, cmap=_colours(colours), norm=_norm(values, field), **look)
    axes.imshow(np.where(reference, 1.0, np.nan), cmap=ListedColormap(["white"]), vmin=0, vmax=1, **look)
    row, column = np.nonzero(reference)
    axes.plot(column, row, ls="", marker="o", ms=2.5 if len(found) <= _LETTERS else 1, color=DARK)
    for kind, mask in (("donor", found.donor), ("acceptor", found.acceptor)):
        for first, last in runs_of(mask):
            for edge in (first - 0.5, last + 0.5):
                axes.axvline(edge, color=OF_SITE[kind], linewidth=0.8, linestyle=":")
    axes.set_yticks(range(4), list(BASES), fontfamily="monospace")
    axes.tick_params(axis="y", length=0)
    axes.set_ylabel(f"{field.id}\nALT")
    for side in axes.spines.values():
        side.set_visible(False)
    figure.colorbar(image, cax=bar, format="{x:g}")
    bar.tick_params(labelsize=7)
    bar.minorticks_off()
    bar.set_title(words, fontsize=6.5, color=GREY, loc="left")


def _norm(values: NDArray[np.float64], field: FieldSpec) -> Any:
    """Return the scale of colours: around 0 for negative scores, logarithmic where values spread wide."""
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
