"""The straight line: record -> alleles -> gene & strand -> window pair -> tokens -> model -> aligned output -> scores.

Every step returns a value or a ``Skipped`` with its reason, and both travel on to the adapters. Work flows in chunks of
records; within a chunk every distinct allele x gene is scored once.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import numpy as np

from splicebert_vep_spec import Allele, AlleleReport, GeneContext, RecordReport, ScoredContext, Skipped, Status, Value

from ..genome.gene_index import GeneIndex
from ..genome.reference import Reference
from ..model.engine import Engine
from ..sequence import alleles as changes
from ..sequence import windows
from ..sequence.windows import WindowPairs, Windows, WindowShape
from ..settings import DISTURBED, N_FRAC
from .plan import ScorePlan, scored, scored_by_sequence

log = logging.getLogger(__name__)

_TOGETHER = 4096  # alleles whose windows are in memory at a time
#: Longest span, in nt, of an allele that is TOO_LONG and normalised all the same: thousands of ALTs would each hold a
#: copy of a REF of a million bases.
_WRITTEN = 1000


class Record(Protocol):
    """A VCF record, or a variant given by hand; ``pos`` is 1-based."""

    @property
    def chrom(self) -> str: ...
    @property
    def pos(self) -> int: ...
    @property
    def id(self) -> str: ...
    @property
    def ref(self) -> str: ...
    @property
    def alts(self) -> tuple[str, ...]: ...
    @property
    def size(self) -> int: ...  # letters that it holds


class ScoringLike(Protocol):
    """Outcomes for distinct alleles: computed, taken from a store, or with percentiles added."""

    def outcomes(self, alleles: Sequence[Allele]) -> list[tuple[ScoredContext, ...]]: ...


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Turn records into reports; holds no state between chunks, so an allele's scores depend on nothing but itself.

    Args:
        reference: the FASTA, which REF must agree with.
        scoring: gives the outcomes.
        shape: of the windows, which say what is too long.
        offsets: ids of fields that count from POS; see ``FieldSpec.from_pos``.
    """

    reference: Reference
    scoring: ScoringLike
    shape: WindowShape
    offsets: frozenset[str] = frozenset()

    def report(self, records: Sequence[Record]) -> list[RecordReport]:
        """Return one report per record, in order."""
        alleles = [self.alleles(record) for record in records]
        distinct = list(dict.fromkeys(allele for found in alleles for allele in found if isinstance(allele, Allele)))
        by_allele = dict(zip(distinct, self.scoring.outcomes(distinct), strict=True))
        both = zip(records, alleles, strict=True)
        return [_record_report(record, found, by_allele, self.offsets) for record, found in both]

    def alleles(self, record: Record) -> list[Allele | Skipped]:
        """VCF record -> alleles; what takes REF's length is done once, however many ALTs there are."""
        skipped = [changes.classify(record.ref, alt) for alt in record.alts]
        if all(skipped):
            return [one for one in skipped if one]
        contig = self._contig(record)
        if isinstance(contig, Skipped):
            return [one or contig for one in skipped]
        both = zip(record.alts, skipped, strict=True)
        return [one or self._allele(contig, record, alt) for alt, one in both]

    def _contig(self, record: Record) -> str | Skipped:
        """Return the FASTA's name of a record's contig, where REF is what the FASTA has."""
        contig = self.reference.find(record.chrom)
        if contig is None:
            return Skipped(Status.NO_CONTIG, f"contig {record.chrom} is not in the FASTA")
        start = record.pos - 1
        actual = self.reference.fetch(contig, start, start + len(record.ref)) if start >= 0 else b""
        if actual != record.ref.upper().encode("ascii"):
            shown = actual[:20].decode("ascii") or "nothing"
            return Skipped(Status.REF_MISMATCH, f"REF {record.ref[:20]}, FASTA {shown} at {record.chrom}:{record.pos}")
        return contig

    def _allele(self, contig: str, record: Record, alt: str) -> Allele | Skipped:
        longest = max(len(record.ref), len(alt))
        if longest > _WRITTEN:
            longest -= sum(changes.shared_ends(record.ref, alt))
            too_long = windows.check_length(longest, self.shape) if longest > _WRITTEN else None
            if too_long:
                return too_long
        return changes.normalise(contig, record.pos, record.ref, alt, partial(self.reference.fetch, contig))


def genes_of(allele: Allele, genes: GeneIndex, shape: WindowShape) -> Sequence[GeneContext] | Skipped:
    """Alleles -> gene & strand."""
    too_long = windows.check_length(max(len(allele.ref), len(allele.alt)), shape)
    if too_long:
        return too_long
    found = genes.contexts(allele.contig, allele.start, allele.end)
    return found or Skipped(Status.NO_GENE, "no gene of the annotation overlaps")


@dataclass(frozen=True, slots=True)
class Scoring:
    """Score alleles: the part of the line that costs."""

    reference: Reference
    genes: GeneIndex
    shape: WindowShape
    engine: Engine
    plan: ScorePlan
    choice_plan: ScorePlan

    def outcomes(self, alleles: Sequence[Allele]) -> list[tuple[ScoredContext, ...]]:
        """Return the outcomes of each allele: one per gene, that of flat output first.

        Thousands of alleles (of one record even) go in parts, so that memory is that of a part.
        """
        parts = (alleles[start : start + _TOGETHER] for start in range(0, len(alleles), _TOGETHER))
        return [outcome for part in parts for outcome in self._part(part)]

    def _part(self, alleles: Sequence[Allele]) -> list[tuple[ScoredContext, ...]]:
        genes = [genes_of(allele, self.genes, self.shape) for allele in alleles]
        cut = self.cut(alleles, genes)
        scores = self._scores(alleles, genes, cut)
        return [self._outcomes(k, found, cut, scores) for k, found in enumerate(genes)]

    def cut(self, alleles: Sequence[Allele], genes: Sequence[Sequence[GeneContext] | Skipped]) -> Cut:
        """Gene & strand -> windows and their tokens."""
        in_gene = [k for k, found in enumerate(genes) if not isinstance(found, Skipped)]
        lengths = self.reference.lengths
        placed, found = windows.place_and_cut([alleles[k] for k in in_gene], lengths, self.reference.fetch, self.shape)
        without = [in_gene[i] for i in np.flatnonzero(~placed.fits).tolist()]
        skipped = {k: windows.no_room(alleles[k], lengths[alleles[k].contig], self.shape) for k in without}
        fits = np.flatnonzero(placed.fits)
        fitting = [in_gene[i] for i in fits.tolist()]
        skipped.update((fitting[i], windows.not_clean(self.shape)) for i in np.flatnonzero(~found.clean).tolist())
        row_of = {fitting[i]: i for i in np.flatnonzero(found.clean).tolist()}
        return Cut(found, found.n_frac.tolist(), row_of, skipped)

    def _scores(
        self, alleles: Sequence[Allele], genes: Sequence[Sequence[GeneContext] | Skipped], cut: Cut
    ) -> dict[PairKey, Scored]:
        """Windows -> window pairs -> model -> aligned output -> scores.

        Where KL_CTX has to choose between genes for flat output it is computed even when nobody asked for it, so that
        the choice, and with it every other flat value, does not depend on the list of scores.
        """
        choosing: dict[bool, list[tuple[PairKey, GeneContext]]] = {True: [], False: []}
        for k in cut.row_of:
            contexts = genes[k]
            assert not isinstance(contexts, Skipped)  # such an allele has no window
            chosen = self.plan is self.choice_plan or needs_choice(contexts)
            choosing[chosen].extend(((k, i), context) for i, context in enumerate(contexts))
        scores: dict[PairKey, Scored] = {}
        for plan, keyed in ((self.choice_plan, choosing[True]), (self.plan, choosing[False])):
            if keyed:
                keys, contexts = zip(*keyed, strict=True)
                asked = dict(zip(keys, zip((alleles[k] for k, _ in keys), contexts, strict=True), strict=True))
                pairs = windows.pair(cut.windows, [cut.row_of[k] for k, _ in keys], contexts)
                scores.update(self._run(asked, pairs, plan))
        return scores

    def _run(
        self, asked: Mapping[PairKey, tuple[Allele, GeneContext]], pairs: WindowPairs, plan: ScorePlan
    ) -> dict[PairKey, Scored]:
        """Run the model's scorers, then those of the sequence alone on all that has not failed."""
        keys = list(asked)
        scores: dict[PairKey, Scored] = {}
        there: dict[PairKey, Mapping[str, Value]] = {}
        for done in scored(self.engine.run(pairs, plan.needs), plan):
            for row, reason in done.failed.items():
                scores[keys[row]] = _failed(asked[keys[row]][0], Skipped(Status.FAILED, reason))
            there.update((keys[row], values) for row, values in done.values.items())
        more = scored_by_sequence([asked[key] for key in there], self.reference, plan)
        for (key, values), added in zip(there.items(), more, strict=True):
            scores[key] = _failed(asked[key][0], added) if isinstance(added, Skipped) else {**values, **added}
        return scores

    def _outcomes(
        self, k: int, genes: Sequence[GeneContext] | Skipped, cut: Cut, scores: Mapping[PairKey, Scored]
    ) -> tuple[ScoredContext, ...]:
        """Scores -> outcomes for the adapters; the gene that flat output reports comes first."""
        if isinstance(genes, Skipped):
            return (skipped_outcome(None, genes),)
        if k in cut.skipped:
            return in_order([skipped_outcome(context, cut.skipped[k]) for context in genes])
        about = {N_FRAC.id: cut.n_frac[cut.row_of[k]]}
        return in_order(
            [
                skipped_outcome(context, found)
                if isinstance(found := scores[k, i], Skipped)
                else scored_outcome(context, found, about, self.plan)
                for i, context in enumerate(genes)
            ]
        )


@dataclass(frozen=True, slots=True)
class Cut:
    """Windows of a chunk's distinct alleles, which are known by their numbers.

    Args:
        windows: of those that one fits.
        n_frac: share of N in each window, which is reported.
        row_of: row of every allele that can be scored, by its number.
        skipped: why the others cannot, by their numbers.
    """

    windows: Windows
    n_frac: Sequence[float]
    row_of: Mapping[int, int]
    skipped: Mapping[int, Skipped]


Scored = Mapping[str, Value] | Skipped
PairKey = tuple[int, int]
"""The number of a distinct allele and the index of one of its genes."""


def _failed(allele: Allele, why: Skipped) -> Skipped:
    """Say on stderr why an allele failed."""
    log.warning("FAILED %s:%d %s>%s: %s", allele.contig, allele.start + 1, allele.ref, allele.alt, why.reason)
    return why


def _record_report(
    record: Record,
    found: Sequence[Allele | Skipped],
    outcomes: Mapping[Allele, tuple[ScoredContext, ...]],
    offsets: frozenset[str],
) -> RecordReport:
    reports = [
        AlleleReport(alt, None, (skipped_outcome(None, allele),))
        if isinstance(allele, Skipped)
        else AlleleReport(alt, allele, _counted_from(record.pos, allele, outcomes[allele], offsets))
        for alt, allele in zip(record.alts, found, strict=True)
    ]
    return RecordReport(record.chrom, record.pos, record.id, record.ref, tuple(reports))


def _counted_from(
    pos: int, allele: Allele, outcomes: tuple[ScoredContext, ...], offsets: frozenset[str]
) -> tuple[ScoredContext, ...]:
    """Turn offsets that count from the normalised allele's POS to the record's, which padding or shifting moved."""
    moved = changes.written_pos(allele) - pos
    if not moved or not offsets:
        return outcomes

    def counted(values: Mapping[str, Value]) -> dict[str, Value]:
        return {name: v + moved if name in offsets and isinstance(v, int) else v for name, v in values.items()}

    return tuple(replace(outcome, values=counted(outcome.values)) for outcome in outcomes)


def skipped_outcome(context: GeneContext | None, why: Skipped) -> ScoredContext:
    """Return the outcome of an allele that could not be scored."""
    return ScoredContext(context, why.status, why.reason, {})


def scored_outcome(
    context: GeneContext, values: Mapping[str, Value], about: Mapping[str, Value], plan: ScorePlan
) -> ScoredContext:
    """Return the outcome of a scored allele: NOT_APPLICABLE where it has none of the requested scores."""
    if all(values[field.id] is None for field in plan.fields if field.id in values):
        reason = "none of the requested scores is defined for this allele"
        return ScoredContext(context, Status.NOT_APPLICABLE, reason, values)
    return ScoredContext(context, Status.OK, "", {**values, **about})


def _preference(context: GeneContext) -> tuple[bool, bool]:
    """Order genes for flat output: the span near an exon or site first, then protein-coding."""
    return (not context.near_site, context.biotype != "protein_coding")


def needs_choice(contexts: Sequence[GeneContext]) -> bool:
    """Tell whether KL_CTX decides: genes of both strands share the first place. On one strand all have the same."""
    if len(contexts) < 2:
        return False
    best = min(map(_preference, contexts))
    return len({context.strand for context in contexts if _preference(context) == best}) > 1


def in_order(outcomes: Sequence[ScoredContext]) -> tuple[ScoredContext, ...]:
    """Order outcomes for flat output.

    A gene whose splicing the allele disturbs, by a DS_MAX of ``DISTURBED`` or more, comes first, the most disturbed of
    several; then the order of the genes, the larger KL_CTX, and the gene id. Genes of one strand have one window and so
    one KL_CTX; it is read off the first of them, because batches may give it other last digits for each.
    """
    if len(outcomes) == 1:
        return tuple(outcomes)
    by_id = sorted(outcomes, key=lambda outcome: outcome.context.gene_id if outcome.context else "")
    of_strand: dict[str, float] = {}
    for outcome in by_id:
        kl_ctx = outcome.values.get("KL_CTX")
        if outcome.context and isinstance(kl_ctx, float):
            of_strand.setdefault(outcome.context.strand, kl_ctx)

    def order(outcome: ScoredContext) -> tuple[float, tuple[bool, bool], float]:
        assert outcome.context is not None
        ds_max = outcome.values.get("DS_MAX")
        disturbed = -ds_max if isinstance(ds_max, float) and ds_max >= DISTURBED else 0.0
        return disturbed, _preference(outcome.context), -of_strand.get(outcome.context.strand, -math.inf)

    return tuple(sorted(by_id, key=order))
