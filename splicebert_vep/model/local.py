"""Local mode: which positions of a window are computed again when a few tokens of it change.

A transformer's answer far from a change hardly moves. The changed window keeps the REF pass's keys and values, in
every layer, outside a set of positions around the change; the cost is that set's share of a pass. How far off this is
was measured: docs/performance.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..sequence.windows import Index, Mask


@dataclass(frozen=True, slots=True)
class Local:
    """How far around a change the network is computed again, in nucleotides on each side.

    Args:
        radius: around the span of an ALT that replaces bases by as many; other ALTs are computed whole.
        masked_radius: around masked positions.
    """

    radius: int
    masked_radius: int


def count_around(length: Index, wanted: Mask, radius: int, extra: int = 0) -> Index:
    """Return how many positions of each window, (N,), are computed again: a number that the allele alone decides.

    Args:
        length: (N,) from the first to the last position that differs.
        wanted: (N, W) positions that are read.
        radius: on both sides.
        extra: room for wanted positions that lie farther away.
    """
    needed: Index = np.maximum(2 * radius + length + extra, wanted.sum(axis=1))
    return np.minimum(needed, wanted.shape[1])


def around(first: Index, length: Index, wanted: Mask, count: int) -> Index:
    """Choose the positions to compute again: those that are read, then the nearest to the change.

    Args:
        first: (N,) first window index that differs.
        length: (N,) from there to the last that does.
        wanted: (N, W) positions that are read.
        count: K, how many.

    Returns:
        (N, K) ascending window indices.
    """
    at = np.arange(wanted.shape[1])
    distance = np.maximum(first[:, None] - at, at - (first + length - 1)[:, None]).astype(np.int32)
    distance[wanted] = -len(at)  # before all others
    chosen = np.argsort(distance, axis=1, kind="stable")[:, :count]
    chosen.sort(axis=1)
    return chosen
