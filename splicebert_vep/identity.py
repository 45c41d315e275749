"""The score digest: two runs with the same one give every allele the same scores of the model, to 1e-4.

What reads the sequence alone, delta scores among it, is known by the scorer's version, which is in a store's columns.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from .settings import N_FRAC, WINDOW_MODE, PlannedScorer, ScorePlan
from .store.spaces import Space

#: What of a run's provenance determines its scores. Batch size, threads and the kind of device do not.
SCORED_BY = (
    "Backend", "WeightsSHA256", "Architecture", "Window", "Flank", "WindowMode", "Stride", "EngineMode", "Radius",
    "Precision", "ScoreVersion",
)  # fmt: skip

#: Columns about the window that every stored score carries besides the fields asked for.
ABOUT_WINDOW = (N_FRAC.id, WINDOW_MODE.id)


def score_digest(provenance: Mapping[str, str]) -> str:
    """Return the SHA-256 of what determines scores, as hex.

    A model without weights of its own (the null backend's, some plugin's) is known by its name.

    Raises:
        KeyError: the provenance lacks one of ``SCORED_BY``.
    """
    parts = [(key, provenance[key]) for key in SCORED_BY]
    if provenance["WeightsSHA256"] == "none":
        parts.append(("Model", provenance["Model"]))
    return hashlib.sha256("".join(f"{key}={value}\n" for key, value in parts).encode()).hexdigest()


def asked_columns(plan: ScorePlan) -> tuple[str, ...]:
    """Return the store's columns of the scores that a run asks for, with who computes them."""
    return tuple(_columns(plan.scorers))


def space_of(provenance: Mapping[str, str], plan: ScorePlan, choice_plan: ScorePlan) -> Space:
    """Return the space of a store that a run reads and fills."""
    asked = asked_columns(plan)
    choosing = tuple(f"({name})" for name in _columns(choice_plan.scorers) if name not in asked)
    columns = (*asked, *choosing, *ABOUT_WINDOW)
    return Space(provenance["ScoreDigest"], provenance["AnnotationDigest"], columns, dict(provenance))


def field_of(column: str) -> str:
    """Return the field that a column holds."""
    return column.strip("()").partition("=")[0]


def _columns(scorers: Iterable[PlannedScorer]) -> list[str]:
    return [
        f"{field}={planned.scorer.name}/{planned.scorer.version}" for planned in scorers for field in planned.fields
    ]
