"""The count model: what the four nucleotides on either side alone tell of the one between them.

It is the least that a language model has to beat: it has no idea of exons, tracts or repeats.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from splicebert_vep.sequence.tokens import Tokens
from splicebert_vep.training.sampling import WindowSampler
from splicebert_vep_spec import A, N

REACH = 4
"""Neighbours on either side, nt."""

_NUCLEOTIDES = 25_000_000  # counted
_BATCH = 5_000  # windows drawn at a time
_CONTEXTS = 4 ** (2 * REACH)
_PRIOR = 4.0  # nucleotides of the overall frequencies added to each context, so that a rare one is not certain


class CountModel:
    """Frequencies of a nucleotide given its neighbours.

    Args:
        sampler: of the training genes; the windows counted lie around splice sites, where the model is to be beaten.
        width: of these windows, nt, as long as those that the model is measured on: the shorter they are, the less rare
            is a splice site.
        nucleotides: to count.
    """

    def __init__(self, sampler: WindowSampler, width: int, *, nucleotides: int = _NUCLEOTIDES, seed: int = 0) -> None:
        windows = -(-nucleotides // width)
        rng = np.random.default_rng(seed)
        counts = np.zeros(_CONTEXTS * 4, dtype=np.int64)
        for done in range(0, windows, _BATCH):
            drawn = sampler.draw(rng, min(_BATCH, windows - done), width, site_share=1.0)
            view = np.lib.stride_tricks.sliding_window_view(drawn, 2 * REACH + 1, axis=1).reshape(-1, 2 * REACH + 1)
            view = view[(view != N).all(axis=1)]
            counts += np.bincount(_context(view) * 4 + (view[:, REACH] - A), minlength=len(counts))
        table = counts.reshape(_CONTEXTS, 4)
        overall = table.sum(axis=0) / table.sum()
        smoothed = table + _PRIOR * overall
        self._log_p = np.log(smoothed / smoothed.sum(axis=1, keepdims=True))

    def log_p(self, around: Tokens) -> NDArray[np.float64]:
        """Return ln p of A, C, G, T, (n, 4), from a nucleotide and its neighbours (n, 9); the middle is not read.

        Raises:
            ValueError: a neighbour is N.
        """
        if (around == N).any():
            raise ValueError("the count model has no idea of N")
        found: NDArray[np.float64] = self._log_p[_context(around)]
        return found


def _context(around: Tokens) -> NDArray[np.int64]:
    """Number the neighbours, (n, 9) to (n,)."""
    neighbours = np.delete(around, REACH, axis=1).astype(np.int64) - A
    powers: NDArray[np.int64] = 4 ** np.arange(2 * REACH, dtype=np.int64)
    numbered: NDArray[np.int64] = neighbours @ powers
    return numbered
