"""Figures of sites, classes and values, from predictions and truth."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import require
from .labels import UNLABELLED, Labels

Floats = NDArray[np.floating]


def site_figures(probabilities: Floats, labels: Labels, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return a row for every kind of site but the first, which is none, of which the labels hold some.

    Args:
        probabilities: (n, K).
        labels: (n,); nucleotides without a label do not count.

    Returns:
        Rows of ``label``; ``nucleotides``, n; ``sites``, their number; ``auprc``, average precision, the area under the
        curve of precision against recall (chance is sites / n); ``top_k``, of as many nucleotides as there are sites,
        those with the largest probability, the share that are sites (Jaganathan et al. 2019,
        10.1016/j.cell.2018.12.015); ``mcc``, Matthews' correlation coefficient where a probability of .5 or more is a
        call; ``expected``, the sum of the probabilities, which is about ``sites`` where the probabilities are right.

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
            found.append({
                "label": name, "nucleotides": len(truth), "sites": sites,
                "auprc": float(average_precision_score(truth, p)), "top_k": float(truth[top].mean()),
                "mcc": float(matthews_corrcoef(truth, p >= 0.5)), "expected": float(p.sum(dtype=np.float64)),
            })  # fmt: skip
    return found


def class_figures(probabilities: Floats, truth: Floats, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return a row for every class that has members.

    Args:
        probabilities: (n, K).
        truth: (n,) numbers of classes.

    Returns:
        Rows of ``label``; ``sequences``, n; ``members``, of the class; ``auprc``, average precision (chance is
        members / n); ``mcc``, Matthews' correlation coefficient where the most probable class is called.

    Raises:
        SettingsError: scikit-learn is not installed.
    """
    require("sklearn")
    from sklearn.metrics import average_precision_score, matthews_corrcoef

    called = probabilities.argmax(axis=1)
    return [
        {
            "label": name, "sequences": len(truth), "members": int((truth == number).sum()),
            "auprc": float(average_precision_score(truth == number, probabilities[:, number])),
            "mcc": float(matthews_corrcoef(truth == number, called == number)),
        }
        for number, name in enumerate(names)
        if (truth == number).any()
    ]  # fmt: skip


def value_figures(predicted: Floats, truth: Floats) -> dict[str, Any]:
    """Return the figures of predicted values, (n,).

    Returns:
        ``sequences``, n; ``spearman``, rank correlation, 0 where all predictions are equal; ``r2``, coefficient of
        determination, 1 - residual / total sum of squares, below 0 where the mean would have been the better guess.
        Both are None where all true values are equal.
    """
    if len(np.unique(truth)) < 2:
        return {"sequences": len(truth), "spearman": None, "r2": None}
    residual, total = float(((truth - predicted) ** 2).sum()), float(((truth - truth.mean()) ** 2).sum())
    ranks, wanted = _ranks(predicted), _ranks(truth)
    spread = float(ranks.std() * wanted.std())
    spearman = float(((ranks - ranks.mean()) * (wanted - wanted.mean())).mean()) / spread if spread else 0.0
    return {"sequences": len(truth), "spearman": spearman, "r2": 1 - residual / total}


def _ranks(values: Floats) -> NDArray[np.float64]:
    """Return ranks; equal values share the mean of theirs."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    found: NDArray[np.float64] = (np.cumsum(counts) - (counts - 1) / 2)[which]
    return found
