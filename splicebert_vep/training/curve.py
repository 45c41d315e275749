"""The picture of a training: loss against tokens."""

from __future__ import annotations

from pathlib import Path

from splicebert_vep.errors import SettingsError
from splicebert_vep.extras import require
from splicebert_vep.files import whole_or_not

from .run_folder import CURVE, STEPS, VALIDATIONS, read_log

_SMOOTHED = 50  # steps


def draw_curve(path: Path) -> Path:
    """Draw ``curve.png`` of a run's folder from its logs, and return it.

    Raises:
        SettingsError: matplotlib is not installed, or there is nothing to draw yet.
        OutputError: it cannot be written.
    """
    require("matplotlib")
    from matplotlib.figure import Figure

    steps, validations = read_log(path / STEPS), read_log(path / VALIDATIONS)
    if not steps:
        raise SettingsError("The run has no log yet.", needed=STEPS, found="nothing", where=str(path))
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    tokens = [int(row["tokens"]) / 1e6 for row in steps]
    losses = [float(row["loss"]) for row in steps]
    smooth = [sum(part := losses[max(0, i - _SMOOTHED + 1) : i + 1]) / len(part) for i in range(len(losses))]
    axes.plot(tokens, smooth, linewidth=0.8, label=f"training, mean of {_SMOOTHED} steps")
    for key, label in (("anywhere_loss", "held-out genes, anywhere"), ("sites_loss", "held-out genes, around sites")):
        rows = [row for row in validations if key in row]
        axes.plot(
            [int(row["tokens"]) / 1e6 for row in rows], [float(row[key]) for row in rows], "o-", ms=3, label=label
        )
    stages = [row["stage"] for row in steps]
    for at in range(1, len(stages)):
        if stages[at] != stages[at - 1]:
            axes.axvline(tokens[at], color="grey", linewidth=0.6, linestyle=":")
    floor = min(smooth)
    axes.set(xlabel="tokens, millions", ylabel="loss, nats per masked nucleotide", ylim=(floor - 0.02, 1.42))
    axes.legend()
    axes.grid(alpha=0.3)
    with whole_or_not(path / CURVE) as temporary:
        figure.savefig(temporary, format="png", dpi=150)
    return path / CURVE
