"""The objective of masked language modelling, and what it is on held-out windows: one definition for all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .sampling import IGNORED, MaskedBatch, WindowSampler, mask_windows

_WINDOWS, _BATCH = 64, 16

Answers = Callable[[MaskedBatch], Tensor]
"""Runs a model on a batch and returns its logits at the selected nucleotides, (B, P, V)."""


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the sum of -ln p(truth), nats, with p over the whole vocabulary, from (B, P, V) and (B, P)."""
    return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED, reduction="sum")


def correct(logits: Tensor, targets: Tensor) -> Tensor:
    """Return how many selected nucleotides were guessed right."""
    return (logits.argmax(dim=-1) == targets).sum()


def held_out_batches(
    sampler: WindowSampler, width: int, windows: int = _WINDOWS
) -> Mapping[str, Sequence[MaskedBatch]]:
    """Draw windows ``anywhere`` in genes and around ``sites``, the same ones at every call, with no N put in."""
    found = {}
    for name, share in (("anywhere", 0.0), ("sites", 1.0)):
        rng = np.random.default_rng(0)
        drawn = sampler.draw(rng, windows, width, share)
        found[name] = [mask_windows(rng, drawn[at : at + _BATCH], unknown=0.0) for at in range(0, windows, _BATCH)]
    return found


def measure(answers: Answers, batches: Mapping[str, Sequence[MaskedBatch]]) -> dict[str, float]:
    """Return loss (nats) and accuracy of a model on batches, by their name."""
    measured = {}
    for name, drawn in batches.items():
        cost = right = count = 0.0
        for batch in drawn:
            logits, targets = answers(batch), torch.from_numpy(batch.targets)
            cost += float(cross_entropy(logits, targets.to(logits.device)))
            right += float(correct(logits, targets.to(logits.device)))
            count += np.count_nonzero(batch.targets != IGNORED)
        measured[f"{name}_loss"], measured[f"{name}_accuracy"] = round(cost / count, 6), round(right / count, 6)
    return measured
