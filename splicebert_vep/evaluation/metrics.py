"""How well a score ranks harmful variants first, with bootstrap intervals, beside the distance to the splice site."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from splicebert_vep.extras import require
from splicebert_vep_spec import FieldSpec, Value

from .benches import BenchProtocol, BenchRow

DISTANCE = "distance"
"""Name of the baseline: the nearer to an edge of the exon, the more harmful."""

EVERYTHING, WITHOUT_SITES = "all", "without splice-site SNVs"

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its interval: the middle 95 % of its bootstrap values."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class BenchFigure:
    """How one score did on one subset.

    Args:
        subset: ``all``, or without the SNVs in the two nt of a donor or acceptor.
        variants, positives: with this score; ``missing`` more of the subset have none.
        average_precision, auroc: of harmful against other variants, the score turned so that higher is more harmful.
        ratio: average precision by that of the distance baseline on the same rows, resampled together.
    """

    protocol: BenchProtocol
    score: str
    subset: str
    variants: int
    positives: int
    missing: int
    average_precision: Estimate
    auroc: Estimate
    ratio: Estimate

    @property
    def base_rate(self) -> float:
        """Average precision of chance."""
        return self.positives / self.variants


def judge(
    rows: Sequence[BenchRow],
    fields: Sequence[FieldSpec],
    protocol: BenchProtocol,
    threshold: float,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> list[BenchFigure]:
    """Return a figure for the distance baseline and every field that has a direction, on both subsets.

    A subset in which a score has no harmful or no other variant gives no figure.

    Args:
        threshold: an effect below it is harmful; rows without effect or scores do not count.
        resamples: of the rows, with replacement, for the intervals.

    Raises:
        SettingsError: scikit-learn is not installed.
    """
    figures = []
    require("sklearn")
    for subset in (EVERYTHING, WITHOUT_SITES):
        chosen = in_subset(rows, subset)
        known: dict[tuple[int, ...], _Resamples] = {}
        for score, sign in directed(fields).items():
            having = tuple(i for i, row in enumerate(chosen) if value_of(row, score) is not None)
            scored = [chosen[i] for i in having]
            if not _both(harmful_rows(scored, threshold)):
                continue
            if having not in known:
                known[having] = _Resamples(scored, threshold, resamples, seed)
            drawn = known[having]
            values = sign * np.array([value_of(row, score) for row in scored], dtype=np.float64)
            precision, auroc, ratio = drawn.estimates(values)
            missing = len(chosen) - len(having)
            figures.append(
                BenchFigure(
                    protocol, score, subset, len(having), int(drawn.harmful.sum()), missing, precision, auroc, ratio
                )
            )
    return figures


def directed(fields: Sequence[FieldSpec]) -> dict[str, float]:
    """Return the scores that say how harmful a variant is: 1 where higher is more harmful, -1 where lower is."""
    signs = {field.id: -1.0 if field.direction == "negative" else 1.0 for field in fields if field.direction != "none"}
    return {DISTANCE: -1.0} | signs


def in_subset(rows: Sequence[BenchRow], subset: str) -> list[BenchRow]:
    """Return the rows of a subset that count: scored, and with an effect."""
    return [
        row
        for row in rows
        if row.skipped is None and row.variant.effect is not None and (subset == EVERYTHING or not row.variant.in_site)
    ]


def value_of(row: BenchRow, score: str) -> Value:
    """Return a row's score, or its distance; None is missing."""
    return row.variant.distance if score == DISTANCE else row.values.get(score)


def harmful_rows(rows: Sequence[BenchRow], threshold: float) -> NDArray[np.bool_]:
    """Tell of each row whether its effect lies below the threshold."""
    return np.array([row.variant.effect is not None and row.variant.effect < threshold for row in rows], dtype=bool)


class _Resamples:
    """Rows drawn with replacement, and what the distance does on them: the same for every score of these rows."""

    def __init__(self, rows: Sequence[BenchRow], threshold: float, resamples: int, seed: int) -> None:
        self.harmful = harmful_rows(rows, threshold)
        distances = -np.array([row.variant.distance for row in rows], dtype=np.float64)
        rng = np.random.default_rng(seed)
        drawn = (rng.integers(len(rows), size=len(rows)) for _ in range(resamples))
        self.draws = [np.arange(len(rows)), *(at for at in drawn if _both(self.harmful[at]))]
        self._baseline = [_average_precision(self.harmful[at], distances[at]) for at in self.draws]

    def estimates(self, scores: Floats) -> tuple[Estimate, Estimate, Estimate]:
        """Return average precision, AUROC and ratio of a score."""
        values = np.array(
            [
                (precision := _average_precision(self.harmful[at], scores[at]), _auroc(self.harmful[at], scores[at]))
                + (precision / baseline,)
                for at, baseline in zip(self.draws, self._baseline, strict=True)
            ]
        )
        low, high = np.quantile(values[1:], [0.025, 0.975], axis=0) if len(values) > 1 else np.full((2, 3), math.nan)
        first, second, third = (Estimate(float(values[0, i]), float(low[i]), float(high[i])) for i in range(3))
        return first, second, third


def _average_precision(harmful: NDArray[np.bool_], scores: Floats) -> float:
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(harmful, scores))


def _auroc(harmful: NDArray[np.bool_], scores: Floats) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(harmful, scores))


def _both(harmful: NDArray[np.bool_]) -> bool:
    return bool(harmful.any() and not harmful.all())
