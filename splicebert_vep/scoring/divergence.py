"""Divergence scores: how much the allele changes what the model expects around it, in nats."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from splicebert_vep_spec import NEEDS_PAIRS, AlignedBatch, FieldSpec

from .likelihood import log_p

KL_FLOOR = 1e-6  # published; keeps the logarithm of a vanishing divergence finite

FIELDS = (
    FieldSpec(
        "KL_CTX", "A", "Float",
        "Context score: mean over d = 1..F of ln of the mean KL divergence at -d and +d; higher = more disturbed",
        direction="higher",
    ),
    FieldSpec(
        "KL_DONOR", "A", "Float",
        "Mean KL divergence, nats, over the donor dinucleotide of the nearest exon; higher = more disturbed",
        direction="higher",
    ),
    FieldSpec(
        "KL_ACCEPTOR", "A", "Float",
        "Mean KL divergence, nats, over the acceptor dinucleotide of the nearest exon; higher = more disturbed",
        direction="higher",
    ),
    FieldSpec(
        "KL_SS", "A", "Float",
        "Splice-site score: sum of KL_DONOR and KL_ACCEPTOR, of those present (N_SITES); higher = more disturbed",
        direction="higher",
    ),
    FieldSpec("N_SITES", "A", "Integer", "Number of splice sites in KL_SS, 1 or 2"),
    FieldSpec(
        "KL_MAX", "A", "Float", "Largest KL divergence in the flanks, nats; higher = more disturbed",
        direction="higher", default=False,
    ),
    FieldSpec(
        "KL_MAX_POS", "A", "Integer",
        "Where KL_MAX lies: offset from the span in transcript direction, -1 the last base 5' of it, +1 the first 3'",
        default=False,
    ),
)  # fmt: skip


class DivergenceScorer:
    """KL_CTX and KL_SS as published (Chen et al. 2024, 10.1093/bib/bbae163), their parts and the peak."""

    name = "divergence"
    version = "1"
    fields = FIELDS

    def needs(self, fields: frozenset[str]) -> frozenset[str]:
        """Return pairs whatever is asked."""
        return frozenset((NEEDS_PAIRS,))

    def score(self, batch: AlignedBatch, fields: frozenset[str]) -> Mapping[str, torch.Tensor]:
        """Return the asked fields, (B,) float64 each."""
        kl = divergence(batch)  # (B, P)
        flanks = kl[:, : 2 * batch.flank]
        donor, acceptor = _site_mean(kl, batch.donor), _site_mean(kl, batch.acceptor)
        both = torch.stack([donor, acceptor], dim=1)  # (B, 2)
        n_sites = (~both.isnan()).sum(dim=1).double()
        peak, peak_at = _peak(flanks, batch.flank)
        scores = {
            "KL_CTX": context_score(flanks, batch.flank),
            "KL_DONOR": donor,
            "KL_ACCEPTOR": acceptor,
            "KL_SS": torch.where(n_sites > 0, both.nansum(dim=1), torch.nan),
            "N_SITES": torch.where(n_sites > 0, n_sites, torch.nan),
            "KL_MAX": peak,
            "KL_MAX_POS": peak_at,
        }
        return {field: scores[field] for field in scores if field in fields}


def divergence(batch: AlignedBatch) -> torch.Tensor:
    """Return KL(i) = sum_b p_ALT ln(p_ALT / p_REF) per column, (B, P) float64; read it where ``paired``."""
    if batch.ref is None or batch.alt is None:
        raise ValueError("divergence needs pairs")
    alt, ref = log_p(batch.alt.logits), log_p(batch.ref.logits)
    return (alt.exp() * (alt - ref)).sum(dim=-1)


def context_score(flanks: torch.Tensor, flank: int) -> torch.Tensor:
    """Return sum over d of ln(max((KL(-d) + KL(+d)) / 2, 1e-6)), divided by F, (B,), from flanks (B, 2 F)."""
    by_distance = (flanks[:, :flank] + flanks[:, flank:]) / 2
    return by_distance.clamp(min=KL_FLOOR).log().sum(dim=1) / flank


def _site_mean(kl: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    count = where.sum(dim=1)
    total = torch.where(where, kl, 0.0).sum(dim=1)
    return torch.where(count > 0, total / count.clamp(min=1), torch.nan)


def _peak(flanks: torch.Tensor, flank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the largest KL and its offset; ties go to the smaller distance, then to the negative side."""
    ordered = torch.stack([flanks[:, :flank], flanks[:, flank:]], dim=2).flatten(1)  # (B, 2 F): -1 +1 -2 +2 ...
    peak = ordered.max(dim=1).values
    order = torch.arange(2 * flank, device=flanks.device)
    first = torch.where(ordered == peak[:, None], order, 2 * flank).min(dim=1).values
    sign = torch.where(first % 2 == 0, -1.0, 1.0)
    return peak, (sign * (first // 2 + 1)).double()
