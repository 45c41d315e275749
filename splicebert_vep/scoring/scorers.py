"""Embedding scores: how far the allele moves the model's last hidden states."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import torch

from splicebert_vep_spec import (
    NEEDS_HIDDEN,
    NEEDS_MASKED,
    NEEDS_PAIRS,
    NUCLEOTIDES,
    A,
    AlignedBatch,
    FieldSpec,
    MaskedSite,
    Scorer,
    Side,
)

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


class LikelihoodScorer(Scorer):
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


@lru_cache(maxsize=2)  # those of REF and ALT serve likelihood and divergence; every batch has tensors of its own
def _log_p_of(logits: torch.Tensor) -> torch.Tensor:
    return log_p(logits)


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
    return torch.where(where, _pick(_log_p_of(side.logits), side.tokens), 0.0).sum(dim=1)


def _pick(logp: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Gather (..., 4) at the tokens' nucleotides (...); tokens that are no nucleotide read A and must be masked out."""
    nucleotide = (tokens.long() - A).clamp(min=0)
    return logp.gather(-1, nucleotide.unsqueeze(-1)).squeeze(-1)


KL_FLOOR = 1e-6  # published; keeps the logarithm of a vanishing divergence finite

DIVERGENCE_FIELDS = (
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


class DivergenceScorer(Scorer):
    """KL_CTX and KL_SS as published (Chen et al. 2024, 10.1093/bib/bbae163), their parts and the peak."""

    name = "divergence"
    version = "1"
    fields = DIVERGENCE_FIELDS

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
    alt, ref = _log_p_of(batch.alt.logits), _log_p_of(batch.ref.logits)
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


EMBEDDING_FIELDS = (
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


class EmbeddingScorer(Scorer):
    """EMB_COS and EMB_L2 over the aligned flanks."""

    name = "embedding"
    version = "1"
    fields = EMBEDDING_FIELDS

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
