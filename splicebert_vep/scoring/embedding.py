"""Embedding scores: how far the allele moves the model's last hidden states."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from splicebert_vep_spec import NEEDS_HIDDEN, NEEDS_PAIRS, AlignedBatch, FieldSpec

FIELDS = (
    FieldSpec(
        "EMB_COS", "A", "Float",
        "Mean over the flanks of 1 - cosine of the last hidden states of REF and ALT; higher = more disturbed",
        direction="higher",
    ),
    FieldSpec(
        "EMB_L2", "A", "Float",
        "Root mean square over the flanks of the L2 distance of the last hidden states; higher = more disturbed",
        direction="higher",
    ),
)  # fmt: skip


class EmbeddingScorer:
    """EMB_COS and EMB_L2 over the aligned flanks."""

    name = "embedding"
    version = "1"
    fields = FIELDS

    def needs(self, fields: frozenset[str]) -> frozenset[str]:
        """Return pairs with hidden states."""
        return frozenset((NEEDS_PAIRS, NEEDS_HIDDEN))

    def score(self, batch: AlignedBatch, fields: frozenset[str]) -> Mapping[str, torch.Tensor]:
        """Return the asked fields, (B,) float64 each."""
        if batch.ref is None or batch.alt is None:
            raise ValueError("embedding scores need pairs")
        ref, alt = (side.hidden[:, : 2 * batch.flank] for side in (batch.ref, batch.alt))  # (B, 2 F, H)
        distance = _norm(ref - alt)
        scores: dict[str, torch.Tensor] = {}
        if "EMB_COS" in fields:
            a, b = _norm(ref), _norm(alt)
            # 1 - cosine by the law of cosines: the difference of two near-equal numbers is taken of the lengths only.
            scores["EMB_COS"] = ((distance.square() - (a - b).square()) / (2 * a * b)).mean(dim=1)
        if "EMB_L2" in fields:
            scores["EMB_L2"] = distance.square().mean(dim=1).sqrt()
        return scores


def _norm(states: torch.Tensor) -> torch.Tensor:
    """Return lengths, (B, 2 F) float64, of states (B, 2 F, H) float32: one pass over the memory, 1e-7 of the value."""
    lengths: torch.Tensor = torch.linalg.vector_norm(states, dim=-1).double()
    return lengths
