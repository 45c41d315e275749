"""The precision-recall picture of a bench."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from splicebert_vep.extras import require
from splicebert_vep.files import whole_or_not

from .benches import BenchProtocol, BenchRow
from .metrics import DISTANCE, BenchFigure, harmful_rows, in_subset, value_of


def draw_precision_recall(
    path: Path,
    rows: Mapping[BenchProtocol, Sequence[BenchRow]],
    figures: Sequence[BenchFigure],
    signs: Mapping[str, float],
    threshold: float,
) -> None:
    """Draw a panel for every protocol and subset, with a curve for every score that has a figure there.

    Args:
        rows: by protocol.
        signs: 1 where a higher score is more harmful, else -1.

    Raises:
        SettingsError: matplotlib or scikit-learn is not installed.
        OutputError: it cannot be written.
    """
    require("matplotlib", "sklearn")
    from matplotlib.figure import Figure
    from sklearn.metrics import precision_recall_curve

    panels = list(dict.fromkeys((figure.protocol, figure.subset) for figure in figures))
    across = min(2, len(panels))
    down = -(-len(panels) // across)
    figure_ = Figure(figsize=(6 * across, 4.6 * down), layout="constrained")
    grid = figure_.subplots(down, across, squeeze=False).flatten()
    for axes, (protocol, subset) in zip(grid, panels, strict=False):
        shown = [figure for figure in figures if (figure.protocol, figure.subset) == (protocol, subset)]
        for figure in shown:
            having = [row for row in in_subset(rows[protocol], subset) if value_of(row, figure.score) is not None]
            scores = signs[figure.score] * np.array([value_of(row, figure.score) for row in having], dtype=np.float64)
            precision, recall, _ = precision_recall_curve(harmful_rows(having, threshold), scores)
            style = {"color": "black", "linewidth": 2.0} if figure.score == DISTANCE else {"linewidth": 1.0}
            label = f"{figure.score} {figure.average_precision.value:.3f}"
            axes.step(recall, precision, where="post", label=label, **style)
        axes.axhline(shown[0].base_rate, color="grey", linestyle=":", linewidth=1)
        axes.set(xlabel="recall", ylabel="precision", ylim=(0, 1), title=f"{protocol}, {subset}")
        axes.legend(fontsize=7, title="average precision", title_fontsize=7)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    with whole_or_not(path) as temporary:
        figure_.savefig(temporary, format="png", dpi=120)
