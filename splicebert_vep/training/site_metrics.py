"""How well a model finds the nucleotides of a kind: as the field reports it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from splicebert_vep.extras import require

from .labelled import UNLABELLED, Labels


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
