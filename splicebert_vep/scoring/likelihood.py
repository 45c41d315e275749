"""Likelihood scores: how expected are the ALT's bases, in nats."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from splicebert_vep_spec import NEEDS_MASKED, NEEDS_PAIRS, NUCLEOTIDES, A, AlignedBatch, FieldSpec, MaskedSite, Side

LLR = FieldSpec(
    "LLR", "A", "Float",
    "Masked-marginal ln p(alt) - ln p(ref), nats; equal-length alleles only; negative = ALT less expected",
    direction="negative",
)  # fmt: skip
PLLR = FieldSpec(
    "PLLR", "A", "Float",
    "Pseudo-log-likelihood ratio of ALT against REF over flanks and span, nats; negative = ALT less expected",
    direction="negative",
)  # fmt: skip
DELTA_P = FieldSpec(
    "DELTA_P", "A", "Float",
    "p(alt) - p(ref) at the masked site of an SNV, softmax over the full vocabulary; negative = ALT less expected",
    direction="negative", default=False,
)  # fmt: skip


class LikelihoodScorer:
    """LLR, PLLR and DELTA_P.

    LLR is the masked marginal of Meier et al. 2021 (10.1101/2021.07.09.450648, eq. 1), PLLR the ratio of Brandes et
    al. 2023 (10.1038/s41588-023-01465-0), DELTA_P the published one of Chen et al. 2024 (10.1093/bib/bbae163).
    """

    name = "likelihood"
    version = "1"
    fields = (LLR, PLLR, DELTA_P)

    def needs(self, fields: frozenset[str]) -> frozenset[str]:
        """Return masked outputs for LLR and DELTA_P, pairs for PLLR."""
        masked = frozenset((NEEDS_MASKED,)) if fields & {"LLR", "DELTA_P"} else frozenset()
        return masked | (frozenset((NEEDS_PAIRS,)) if "PLLR" in fields else frozenset())

    def score(self, batch: AlignedBatch, fields: frozenset[str]) -> Mapping[str, torch.Tensor]:
        """Return the asked fields, (B,) float64 each."""
        scores: dict[str, torch.Tensor] = {}
        if batch.masked is not None and "LLR" in fields:
            scores["LLR"] = masked_marginal(batch.masked)
        if batch.masked is not None and "DELTA_P" in fields:
            scores["DELTA_P"] = delta_p(batch.masked, batch.snv)
        if batch.ref is not None and batch.alt is not None and "PLLR" in fields:
            scores["PLLR"] = log_likelihood(batch.alt, batch.in_alt) - log_likelihood(batch.ref, batch.in_ref)
        return scores


def log_p(logits: torch.Tensor) -> torch.Tensor:
    """Return ln p over A, C, G, T, (..., 4) float64, from logits (..., V) float32."""
    by_base = logits[..., NUCLEOTIDES].movedim(-1, 0).contiguous().double()  # where a sum over four is fast
    by_base -= by_base.amax(dim=0)
    by_base -= by_base.exp().sum(dim=0).log()
    return by_base.movedim(0, -1)


def masked_marginal(site: MaskedSite) -> torch.Tensor:
    """Return sum over differing positions of ln p(alt) - ln p(ref), (B,); NaN for alleles that change length."""
    logp = log_p(site.logits)  # (B, M, 4)
    ratio = _pick(logp, site.alt) - _pick(logp, site.ref)  # (B, M)
    total = torch.where(site.valid, ratio, 0.0).sum(dim=1)
    return torch.where(site.valid.any(dim=1), total, torch.nan)


def delta_p(site: MaskedSite, snv: torch.Tensor) -> torch.Tensor:
    """Return p(alt) - p(ref) at the first differing position, softmax over all V tokens; NaN unless an SNV."""
    p = torch.softmax(site.logits[:, 0].double(), dim=-1)  # (B, V)
    alt, ref = site.alt[:, :1].long(), site.ref[:, :1].long()
    return torch.where(snv, (p.gather(1, alt) - p.gather(1, ref))[:, 0], torch.nan)


def log_likelihood(side: Side, where: torch.Tensor) -> torch.Tensor:
    """Return the sum of ln p(x_i) of a sequence's own bases over the columns ``where``, (B,)."""
    return torch.where(where, _pick(log_p(side.logits), side.tokens), 0.0).sum(dim=1)


def _pick(logp: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Gather (..., 4) at the tokens' nucleotides (...); tokens that are no nucleotide read A and must be masked out."""
    nucleotide = (tokens.long() - A).clamp(min=0)
    return logp.gather(-1, nucleotide.unsqueeze(-1)).squeeze(-1)
