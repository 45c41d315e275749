"""The numbers behind a picture: what the model expects at every base around one allele in one gene."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from splicebert_vep_spec import (
    Allele,
    Backend,
    GeneContext,
    Interval,
    ScoredContext,
    Status,
    Value,
)

from .errors import BackendError, SettingsError
from .genome.gene_index import Exon, GeneIndex
from .genome.reference import Reference
from .results import ScoredVariant
from .scoring.likelihood import log_p
from .sequence import windows
from .sequence.across import Across, across
from .sequence.tokens import LETTERS, with_special
from .sequence.windows import Index, Mask, WindowShape
from .variants import Variant


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """What the model expects around an allele, REF beside ALT, in P columns 5' to 3' of the transcript.

    REF and ALT are paired as for the scores; each side is one whole window of W bases, whatever the engine's mode.

    Args:
        variant: as it was given.
        allele: normalised, 0-based.
        gene: the gene, its reported transcript, and the place of the allele in it.
        values: the scores by field; None is missing.
        window: width, flank and placing of the windows.
        position: (P,) genomic position of the REF base, 0-based; read it where ``in_ref``.
        offset: (P,) nt from the span in transcript direction: -1 the last base 5' of it, +1 the first 3', 0 within.
        ref, alt: P letters A, C, G, T or N of the transcribed strand; ``-`` where that side has no base.
        in_ref, in_alt: (P,) that side has a base.
        paired: (P,) both have, and they are each other's counterpart, which bases of a length change are not.
        p_ref, p_alt: (P, 4) probabilities of A, C, G, T; NaN where that side has no base.
        kl: (P,) KL divergence of ALT from REF, nats; NaN where not paired.
        donor, acceptor: (P,) REF bases of that site of the nearest exon.
        exons: every distinct exon of the gene that touches the window, by genomic position.
    """

    variant: Variant
    allele: Allele
    gene: GeneContext
    values: dict[str, Value]
    window: WindowShape
    position: Index
    offset: Index
    ref: str
    alt: str
    in_ref: Mask
    in_alt: Mask
    paired: Mask
    p_ref: NDArray[np.float64]
    p_alt: NDArray[np.float64]
    kl: NDArray[np.float64]
    donor: Mask
    acceptor: Mask
    exons: tuple[Exon, ...]


def profile_of(
    result: ScoredVariant,
    gene: str | None,
    *,
    reference: Reference,
    genes: GeneIndex,
    shape: WindowShape,
    backend: Backend,
) -> Profile:
    """Run the windows of a scored variant and lay out what the model says of every base.

    Args:
        result: of a variant with scores.
        gene: symbol or id of one of its genes; None is the one that flat output reports.

    Raises:
        SettingsError: the variant has no scores, or does not lie in that gene.
        BackendError: the model failed.
    """
    outcome = _chosen(result, gene)
    allele, context = result.allele, outcome.context
    if outcome.status != Status.OK or allele is None or context is None:
        raise SettingsError(
            "There is nothing to draw of a variant without scores.",
            needed="a variant of status OK",
            found=f"{result.variant}: {outcome.status}" + (f", {outcome.reason}" if outcome.reason else ""),
        )
    placed = windows.place([allele], [reference.lengths[allele.contig]], shape)
    start = int(placed.start[0])
    low, high = windows.region(allele, start, shape.width)
    cut = windows.cut([allele], placed.start, [reference.fetch(allele.contig, low, high)], shape)
    pair = windows.pair(cut, [0], [context])
    columns = across(allele, start, shape.width, minus=context.strand == "-")
    every = [pair.ref, pair.alt] if allele.shift == 0 else [pair.ref, pair.alt, pair.ref_right]
    tokens = np.concatenate(every)  # (2 or 3, W)
    log_ps = _expected(tokens, backend)  # (2 or 3, W, 4)
    ref_row = np.where(columns.right, len(tokens) - 1, 0)
    log_ref, log_alt = log_ps[ref_row, columns.index], log_ps[1, columns.index]
    kl = (np.exp(log_alt) * (log_alt - log_ref)).sum(axis=1)
    return Profile(
        variant=result.variant,
        allele=allele,
        gene=context,
        values={spec.id: outcome.values.get(spec.id) for spec in result.fields},
        window=shape,
        position=columns.position,
        offset=columns.offset,
        ref=_letters(tokens[ref_row, columns.index], columns.in_ref),
        alt=_letters(tokens[1, columns.index], columns.in_alt),
        in_ref=columns.in_ref,
        in_alt=columns.in_alt,
        paired=columns.paired,
        p_ref=np.where(columns.in_ref[:, None], np.exp(log_ref), np.nan),
        p_alt=np.where(columns.in_alt[:, None], np.exp(log_alt), np.nan),
        kl=np.where(columns.paired, kl, np.nan),
        donor=_within(columns, context.donor),
        acceptor=_within(columns, context.acceptor),
        exons=tuple(genes.exons(context.gene_id, allele.contig, low, high)),
    )


def _chosen(result: ScoredVariant, gene: str | None) -> ScoredContext:
    if gene is None:
        return result.contexts[0]
    found = [outcome for outcome in result.contexts if outcome.context and is_named(outcome.context, gene)]
    if not found:
        genes = [f"{one.context.symbol or one.context.gene_id}" for one in result.contexts if one.context]
        raise SettingsError(
            f"{result.variant} does not lie in that gene.", needed=", ".join(genes) or "no gene", found=gene
        )
    return found[0]


def is_named(context: GeneContext, name: str) -> bool:
    """Tell whether a name is a gene's symbol or its id, with or without version."""
    return name in (context.symbol, context.gene_id, context.gene_id.partition(".")[0])


def _expected(tokens: NDArray[np.uint8], backend: Backend) -> NDArray[np.float64]:
    """Return ln p over A, C, G, T at every base of windows (N, W): (N, W, 4)."""
    n, width = tokens.shape
    positions = np.tile(np.arange(1, width + 1), (n, 1))  # past [CLS]
    try:
        logits = backend.forward(with_special(tokens), positions).logits
    except RuntimeError as error:
        raise BackendError("The model failed.", found=" ".join(str(error).split())) from error
    found: NDArray[np.float64] = log_p(logits).cpu().numpy()
    return found


def _letters(tokens: NDArray[np.uint8], there: Mask) -> str:
    return "".join(np.where(there, LETTERS[tokens], "-").tolist())


def _within(columns: Across, site: Interval | None) -> Mask:
    """Tell which columns hold the REF bases of a site."""
    if site is None:
        return np.zeros_like(columns.in_ref)
    inside: Mask = columns.in_ref & (columns.position >= site.start) & (columns.position < site.end)
    return inside
