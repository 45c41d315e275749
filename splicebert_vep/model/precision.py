"""Which precision to compute in: half only where it ranks variants as fp32 does."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from splicebert_vep_spec import CLS, NUCLEOTIDES, SEP, A, BackendOutput

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
AGREEMENT = 0.999
"""Least rank correlation with fp32 of the context score, whose logarithm of small divergences suffers first."""

_PAIRS = 256
_PAIRS_PER_CALL = 16
_FLANK = 100

Forward = Callable[[NDArray[np.uint8], NDArray[np.int64]], BackendOutput]


def agreement(exact: Forward, half: Forward, width: int) -> float:
    """Return Spearman's correlation of the context score of random SNVs between two precisions; 0 with a NaN.

    Args:
        exact, half: the same network's ``forward`` in fp32 and in the other precision.
        width: W of the windows, at least 3.
    """
    scores = [np.concatenate(list(_context_scores(forward, width))) for forward in (exact, half)]
    if not np.isfinite(scores).all():
        return 0.0
    first, second = (np.argsort(np.argsort(score)) for score in scores)
    return float(np.corrcoef(first, second)[0, 1])


def _context_scores(forward: Forward, width: int) -> Iterator[NDArray[np.float64]]:
    rng = np.random.default_rng(0)
    middle, flank = width // 2, min(_FLANK, (width - 1) // 2)
    d = np.arange(1, flank + 1)
    read = np.concatenate([middle - d, middle + d])
    for _ in range(0, _PAIRS, _PAIRS_PER_CALL):
        ref = rng.integers(4, size=(_PAIRS_PER_CALL, width))
        alt = ref.copy()
        alt[:, middle] = (ref[:, middle] + rng.integers(1, 4, _PAIRS_PER_CALL)) % 4
        both = np.pad(A + np.concatenate([ref, alt]), ((0, 0), (1, 1)), constant_values=((0, 0), (CLS, SEP)))
        out = forward(both.astype(np.uint8), np.tile(read + 1, (len(both), 1)))
        p, q = torch.log_softmax(out.logits[..., NUCLEOTIDES].double(), dim=-1).cpu().chunk(2)
        kl = (q.exp() * (q - p)).sum(dim=-1)
        yield ((kl[:, :flank] + kl[:, flank:]) / 2).clamp(min=1e-6).log().mean(dim=1).numpy()
