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
        columns = 2 * batch.flank
        ref = batch.ref.hidden[:, :columns].double()  # (B, 2 F, H)
        alt = batch.alt.hidden[:, :columns].double()
        scores: dict[str, torch.Tensor] = {}
        if "EMB_COS" in fields:
            scores["EMB_COS"] = (1 - torch.cosine_similarity(ref, alt, dim=-1)).mean(dim=1)
        if "EMB_L2" in fields:
            scores["EMB_L2"] = (ref - alt).square().sum(dim=-1).mean(dim=1).sqrt()
        return scores
