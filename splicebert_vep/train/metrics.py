"""How well a model tells sequences apart: by class, or by value."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import require
from .labels import UNLABELLED, Labels


@dataclass(frozen=True, slots=True)
class SiteFigures:
    """Figures of one kind of site among n nucleotides.

    Args:
        sites: how many there are.
        auprc: average precision, the area under the curve of precision against recall; chance is ``sites`` / n.
        top_k: of as many nucleotides as there are sites, those with the largest probability, the share that are sites
            (Jaganathan et al. 2019, 10.1016/j.cell.2018.12.015).
        mcc: Matthews' correlation coefficient where a probability of .5 or more is a call.
        expected: sum of the probabilities; of a model whose probabilities hold it is about ``sites``.
    """

    label: str
    nucleotides: int
    sites: int
    auprc: float
    top_k: float
    mcc: float
    expected: float


def site_figures(probabilities: NDArray[np.floating], labels: Labels, names: tuple[str, ...]) -> list[SiteFigures]:
    """Return a figure for every kind of site but the first, which is none, and of which the labels hold some.

    Args:
        probabilities: (n, K).
        labels: (n,); nucleotides without a label do not count.

    Raises:
        SettingsError: scikit-learn is not installed.
    """
    require("sklearn")
    from sklearn.metrics import average_precision_score, matthews_corrcoef

    counted = labels != UNLABELLED
    found = []
    for number, name in enumerate(names):
        truth, p = labels[counted] == number, probabilities[counted, number]
        sites = int(truth.sum())
        if number and sites:
            top = np.argsort(-p, kind="stable")[:sites]
            found.append(
                SiteFigures(
                    name, len(truth), sites, float(average_precision_score(truth, p)), float(truth[top].mean()),
                    float(matthews_corrcoef(truth, p >= 0.5)), float(p.sum(dtype=np.float64)),
                )
            )  # fmt: skip
    return found


AnyFloats = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """Figures of one class among n sequences.

    Args:
        members: sequences of the class.
        auprc: average precision; chance is ``members`` / n.
        mcc: Matthews' correlation coefficient where the most probable class is called.
    """

    label: str
    sequences: int
    members: int
    auprc: float
    mcc: float


@dataclass(frozen=True, slots=True)
class ValueFigures:
    """Figures of n values.

    Args:
        spearman: rank correlation; None where all values are equal.
        r2: coefficient of determination, 1 - residual / total sum of squares: below 0 where the mean would have been
            the better guess; None where all values are equal.
    """

    sequences: int
    spearman: float | None
    r2: float | None


def class_figures(probabilities: AnyFloats, truth: AnyFloats, names: tuple[str, ...]) -> list[ClassFigures]:
    """Return a figure for every class that has members.

    Args:
        probabilities: (n, K).
        truth: (n,) numbers of classes.

    Raises:
        SettingsError: scikit-learn is not installed.
    """
    require("sklearn")
    from sklearn.metrics import average_precision_score, matthews_corrcoef

    called = probabilities.argmax(axis=1)
    return [
        ClassFigures(
            name, len(truth), int((truth == number).sum()),
            float(average_precision_score(truth == number, probabilities[:, number])),
            float(matthews_corrcoef(truth == number, called == number)),
        )
        for number, name in enumerate(names)
        if (truth == number).any()
    ]  # fmt: skip


def value_figures(predicted: AnyFloats, truth: AnyFloats) -> ValueFigures:
    """Return the figures of predicted values, (n,); the rank correlation of predictions that are all equal is 0."""
    residual, total = float(((truth - predicted) ** 2).sum()), float(((truth - truth.mean()) ** 2).sum())
    if len(np.unique(truth)) < 2:
        return ValueFigures(len(truth), None, None)
    ranks, wanted = _ranks(predicted), _ranks(truth)
    spread = float(ranks.std() * wanted.std())
    spearman = float(((ranks - ranks.mean()) * (wanted - wanted.mean())).mean()) / spread if spread else 0.0
    return ValueFigures(len(truth), spearman, 1 - residual / total)


def _ranks(values: AnyFloats) -> NDArray[np.float64]:
    """Return ranks; equal values share the mean of theirs."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    found: NDArray[np.float64] = (np.cumsum(counts) - (counts - 1) / 2)[which]
    return found
