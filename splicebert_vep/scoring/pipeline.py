"""The straight line: record -> alleles -> gene & strand -> window pair -> tokens -> model -> aligned output -> scores.

Every step returns a value or a ``Skipped`` with its reason, and both travel on to the adapters. Work flows in chunks of
records; within a chunk every distinct allele x gene is scored once.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from operator import attrgetter
from typing import Any, NamedTuple, Protocol

import numpy as np

from splicebert_vep_spec import (
    Allele,
    AlleleReport,
    GeneContext,
    Interval,
    RecordReport,
    ScoredContext,
    Skipped,
    Status,
    Value,
)

from ..consequence.hgvs import genomic_name, transcript_name
from ..genome.gene_index import GeneIndex
from ..genome.reference import Reference
from ..model.engine import Engine
from ..sequence import alleles as changes
from ..sequence import windows
from ..sequence.tokens import other_strand
from ..sequence.windows import WindowPairs, Windows, WindowShape
from ..settings import DISTURBED, N_FRAC
from .plan import ScorePlan, scored, scored_by_sequence

log = logging.getLogger(__name__)

_TOGETHER = 1024  # alleles x genes whose windows are in memory at a time
#: Longest span, in nt, of an allele that is TOO_LONG and normalised all the same: thousands of ALTs would each hold a
#: copy of a REF of a million bases.
_WRITTEN = 1000
_NAMED = 100_000  # nt of REF and ALT of the longest of these that get HGVS names


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
    def info(self) -> Mapping[str, str]: ...


class ScoringLike(Protocol):
    """Outcomes for distinct alleles: computed, taken from a store, or with percentiles added."""

    def outcomes(self, alleles: Sequence[Allele]) -> list[tuple[ScoredContext, ...]]: ...


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Turn records into reports; holds no state between chunks, so an allele's scores depend on nothing but itself.

    Args:
        reference: the FASTA, which REF must agree with.
        scoring: gives the outcomes.
        genes: where ALTs lie that have no outcomes.
        shape: of the windows, which say what is too long.
        offsets: ids of fields that count from POS; see ``FieldSpec.from_pos``.
    """

    reference: Reference
    scoring: ScoringLike
    genes: GeneIndex
    shape: WindowShape
    offsets: frozenset[str] = frozenset()

    def report(self, records: Sequence[Record]) -> list[RecordReport]:
        """Return one report per record, in order."""
        alleles = [self.alleles(record) for record in records]
        number: dict[Allele, int] = {}
        numbered = [
            [allele if isinstance(allele, Skipped) else number.setdefault(allele, len(number)) for allele in found]
            for found in alleles
        ]
        distinct = list(number)
        outcomes = self.outcomes(distinct)
        both = zip(records, numbered, strict=True)
        return [self._record_report(record, found, distinct, outcomes) for record, found in both]

    def outcomes(self, alleles: Sequence[Allele]) -> list[tuple[ScoredContext, ...]]:
        """Return the outcomes of normalised alleles, with their HGVS names."""
        return [self._named(*one) for one in zip(alleles, self.scoring.outcomes(alleles), strict=True)]

    def _named(self, allele: Allele, outcomes: tuple[ScoredContext, ...]) -> tuple[ScoredContext, ...]:
        """Add the allele's HGVS names to the genes of its outcomes."""
        if outcomes[0].context is None:
            return outcomes
        fetch = partial(self.reference.fetch, allele.contig)
        end = changes.placements(allele, fetch)[1].end
        hgvsg = genomic_name(allele, self.reference.assembly, fetch)
        hgvsc = {
            transcript.gene_id: name
            for transcript in self.genes.transcripts(allele.contig, allele.start, end)
            if (name := transcript_name(allele, transcript, fetch))
        }
        genes = [one.context and _with_names(one.context, hgvsc.get(one.context.gene_id), hgvsg) for one in outcomes]
        return tuple(
            ScoredContext(gene, one.status, one.reason, one.values) for gene, one in zip(genes, outcomes, strict=True)
        )

    def skipped_outcomes(
        self, why: Skipped, span: Span | None, pos: int, ref: str, alt: str
    ) -> tuple[ScoredContext, ...]:
        """Return the outcomes of an ALT that is no normalised allele, in the genes of its span.

        Args:
            pos, ref, alt: as the record writes them.
        """
        outcomes = skipped_outcomes(self.genes.contexts(*span) if span else (), why)
        if span is None or why.status != Status.TOO_LONG or len(ref) + len(alt) > _NAMED:
            return outcomes
        fetch = partial(self.reference.fetch, span.contig)
        return self._named(changes.normalise(span.contig, pos, ref, alt, fetch), outcomes)

    def _skipped(self, record: Record, number: int, why: Skipped) -> tuple[ScoredContext, ...]:
        span = self.span_of_skipped(record, number, why)
        return self.skipped_outcomes(why, span, record.pos, record.ref, record.alts[number])

    def span_of_skipped(self, record: Record, number: int, why: Skipped) -> Span | None:
        """Return which bases an ALT that is no normalised allele changes, None where it is not certain.

        Certain are a symbolic ALT that tells its length, and what stands beside a REF that the FASTA has.

        Args:
            number: of the ALT among the record's, from 0.
        """
        contig = self.reference.find(record.chrom)
        if contig is None or record.pos < 1:
            return None
        if why.status == Status.SYMBOLIC:
            symbolic = changes.symbolic_span(record.pos, record.alts, number, record.info())
            return Span(contig, *symbolic) if symbolic else None
        if why.status in (Status.NON_ACGT, Status.NO_CHANGE):
            certain = len(record.ref) <= _WRITTEN and self._found(contig, record) == record.ref.upper()
        else:
            certain = why.status == Status.TOO_LONG  # whose REF has been compared
        if not certain:
            return None
        start, alt = record.pos - 1, record.alts[number]
        same = len(record.ref) == len(alt) and record.ref.upper() == alt.upper()
        prefix, suffix = (0, 0) if same else changes.shared_ends(record.ref, alt)
        return Span(contig, start + prefix, start + len(record.ref) - suffix)

    def _record_report(
        self,
        record: Record,
        found: Sequence[int | Skipped],
        alleles: Sequence[Allele],
        outcomes: Sequence[tuple[ScoredContext, ...]],
    ) -> RecordReport:
        """Return the report of a record whose alleles are given by their numbers."""
        reports = [
            AlleleReport(alt, None, self._skipped(record, number, one))
            if isinstance(one, Skipped)
            else AlleleReport(alt, alleles[one], _counted_from(record.pos, alleles[one], outcomes[one], self.offsets))
            for number, (alt, one) in enumerate(zip(record.alts, found, strict=True))
        ]
        return RecordReport(record.chrom, record.pos, record.id, record.ref, tuple(reports))

    def alleles(self, record: Record) -> list[Allele | Skipped]:
        """VCF record -> alleles; what takes REF's length is done once, however many ALTs there are."""
        if len(record.alts) == 1 and changes.is_snv(record.ref, alt := record.alts[0]):  # nearly always
            contig = self._contig(record)
            return [contig if isinstance(contig, Skipped) else Allele(contig, record.pos - 1, record.ref, alt)]
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
        actual = self._found(contig, record)
        if actual != record.ref.upper():
            shown = actual[:20] or "nothing"
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

    def _found(self, contig: str, record: Record) -> str:
        """Return the bases of the FASTA where REF should be."""
        start = record.pos - 1
        return self.reference.fetch(contig, start, start + len(record.ref)).decode("ascii") if start >= 0 else ""


_unnamed: Callable[[GeneContext], tuple[Any, ...]] = attrgetter(
    *[field.name for field in fields(GeneContext) if field.name not in ("hgvsc", "hgvsg")]
)


def _with_names(context: GeneContext, hgvsc: str | None, hgvsg: str | None) -> GeneContext:
    """Do what ``dataclasses.replace`` does in a third of its time, of which every allele takes some."""
    values = (*_unnamed(context), hgvsc, hgvsg)
    return GeneContext(*values)


class Span(NamedTuple):
    """A stretch of a contig under the FASTA's name, 0-based half-open."""

    contig: str
    start: int
    end: int


class Located(NamedTuple):
    """The genes of an allele, and why it cannot be scored in any of them."""

    genes: Sequence[GeneContext]
    why: Skipped | None


def genes_of(allele: Allele, genes: GeneIndex, reference: Reference, shape: WindowShape) -> Located:
    """Alleles -> gene & strand."""
    _, last = changes.placements(allele, partial(reference.fetch, allele.contig))
    found = genes.contexts(allele.contig, allele.start, allele.end, last.start - allele.start)
    too_long = windows.check_length(max(len(allele.ref), len(allele.alt)), shape)
    return Located(
        found, too_long or (None if found else Skipped(Status.NO_GENE, "no gene of the annotation overlaps"))
    )


def turns(allele: Allele, strand: str) -> bool:
    """Tell whether an allele is scored on the reverse strand: see ``Mirror``."""
    return strand == "+" and allele.shift != 0


class Mirror:
    """Contigs read from their other end.

    Windows of an allele that changes length differ on its left and right: REF and ALT share a start there. Of one on +
    they are cut from the reverse strand, as those on - are, so that the same change of an RNA has one score.

    Args:
        reference: the FASTA.
    """

    _SIGN = "\0"  # before the name of a contig that is read from its other end; no FASTA has it

    def __init__(self, reference: Reference) -> None:
        self._reference = reference

    def allele(self, allele: Allele) -> Allele:
        """Return an allele as the reverse strand has it."""
        return self._other(allele, allele.contig, f"{self._SIGN}{allele.contig}")

    def forward(self, allele: Allele) -> Allele:
        """Return an allele of either strand as the forward one has it."""
        if not allele.contig.startswith(self._SIGN):
            return allele
        contig = allele.contig.removeprefix(self._SIGN)
        return self._other(allele, contig, contig)

    def _other(self, allele: Allele, contig: str, name: str) -> Allele:
        length = self._reference.lengths[contig]
        return Allele(name, length - allele.end, other_strand(allele.ref), other_strand(allele.alt))

    def context(self, context: GeneContext, contig: str) -> GeneContext:
        """Return a gene on + as one on -, with its sites."""
        length = self._reference.lengths[contig]
        donor, acceptor = (
            Interval(length - site.end, length - site.start) if site else None
            for site in (context.donor, context.acceptor)
        )
        return replace(context, strand="-", donor=donor, acceptor=acceptor)

    def lengths_of(self, alleles: Sequence[Allele]) -> Mapping[str, int]:
        """Return the lengths of the contigs of alleles of either strand."""
        lengths = self._reference.lengths
        return {allele.contig: lengths[allele.contig.removeprefix(self._SIGN)] for allele in alleles}

    def fetch(self, contig: str, start: int, end: int) -> bytes:
        """Return the bases of a contig of either strand."""
        if not contig.startswith(self._SIGN):
            return self._reference.fetch(contig, start, end)
        contig = contig.removeprefix(self._SIGN)
        length = self._reference.lengths[contig]
        return other_strand(self._reference.fetch(contig, length - end, length - start))


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
        outcomes: list[tuple[ScoredContext, ...]] = []
        part: list[tuple[Allele, Located]] = []
        rows = 0
        for allele in alleles:
            found = genes_of(allele, self.genes, self.reference, self.shape)
            own = max(1, len(found.genes))
            if part and rows + own > _TOGETHER:
                outcomes += self._part(part)
                part, rows = [], 0
            rows += own
            part.append((allele, found))
        return outcomes + self._part(part) if part else outcomes

    def _part(self, part: Sequence[tuple[Allele, Located]]) -> list[tuple[ScoredContext, ...]]:
        alleles, located = [allele for allele, _ in part], [found for _, found in part]
        cut = self.cut(alleles, [() if why else genes for genes, why in located], mirrored=True)
        scores = self._scores(alleles, [genes for genes, _ in located], cut)
        return [
            skipped_outcomes(genes, why) if why else self._outcomes(k, genes, cut, scores)
            for k, (genes, why) in enumerate(located)
        ]

    def cut(self, alleles: Sequence[Allele], genes: Sequence[Sequence[GeneContext]], *, mirrored: bool = False) -> Cut:
        """Gene & strand -> windows and their tokens; an insertion or deletion stands where the transcript has it.

        Args:
            mirrored: of alleles that change length on + the windows are those of the reverse strand; see ``Mirror``.
        """
        mirror = Mirror(self.reference)
        asked: dict[tuple[int, str], Allele] = {}
        for k, found in enumerate(genes):
            for strand in dict.fromkeys(gene.strand for gene in found):
                fetch = partial(self.reference.fetch, alleles[k].contig)
                allele = changes.in_transcript(alleles[k], strand, fetch)
                asked[k, strand] = mirror.allele(allele) if mirrored and turns(allele, strand) else allele
        distinct = list(dict.fromkeys(asked.values()))
        placed, cut = windows.place_and_cut(distinct, mirror.lengths_of(distinct), mirror.fetch, self.shape)
        fitting = [distinct[i] for i in np.flatnonzero(placed.fits).tolist()]
        row_of = {fitting[i]: i for i in np.flatnonzero(cut.clean).tolist()}
        skipped = {fitting[i]: windows.not_clean(self.shape) for i in np.flatnonzero(~cut.clean).tolist()}
        for i in np.flatnonzero(~placed.fits).tolist():
            allele = mirror.forward(distinct[i])
            skipped[distinct[i]] = windows.no_room(allele, self.reference.lengths[allele.contig], self.shape)
        return Cut(
            cut,
            fitting,
            cut.n_frac.tolist(),
            {key: row_of[allele] for key, allele in asked.items() if allele in row_of},
            {key: skipped[allele] for key, allele in asked.items() if allele in skipped},
        )

    def _scores(
        self, alleles: Sequence[Allele], genes: Sequence[Sequence[GeneContext]], cut: Cut
    ) -> dict[PairKey, Scored]:
        """Windows -> window pairs -> model -> aligned output -> scores.

        Where KL_CTX has to choose between genes for flat output it is computed even when nobody asked for it, so that
        the choice, and with it every other flat value, does not depend on the list of scores.
        """
        mirror = Mirror(self.reference)
        choosing: dict[bool, list[tuple[PairKey, GeneContext]]] = {True: [], False: []}
        for k, contexts in enumerate(genes):
            there = [((k, i), one) for i, one in enumerate(contexts) if (k, one.strand) in cut.row_of]
            choosing[self.plan is self.choice_plan or needs_choice(contexts)] += there
        scores: dict[PairKey, Scored] = {}
        for plan, keyed in ((self.choice_plan, choosing[True]), (self.plan, choosing[False])):
            if keyed:
                asked = {key: (alleles[key[0]], context) for key, context in keyed}
                rows = [cut.row_of[k, context.strand] for (k, _), context in keyed]
                turned = [
                    mirror.context(context, alleles[k].contig) if turns(alleles[k], context.strand) else context
                    for (k, _), context in keyed
                ]
                pairs = windows.pair(cut.windows, rows, turned)
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
        self, k: int, genes: Sequence[GeneContext], cut: Cut, scores: Mapping[PairKey, Scored]
    ) -> tuple[ScoredContext, ...]:
        """Scores -> outcomes for the adapters; the gene that flat output reports comes first."""
        return in_order([self._outcome((k, i), context, cut, scores) for i, context in enumerate(genes)])

    def _outcome(self, key: PairKey, context: GeneContext, cut: Cut, scores: Mapping[PairKey, Scored]) -> ScoredContext:
        of_strand = key[0], context.strand
        found = cut.skipped[of_strand] if of_strand in cut.skipped else scores[key]
        if isinstance(found, Skipped):
            return skipped_outcome(context, found)
        return scored_outcome(context, found, {N_FRAC.id: cut.n_frac[cut.row_of[of_strand]]}, self.plan)


@dataclass(frozen=True, slots=True)
class Cut:
    """Windows of a chunk's distinct alleles, known by their numbers, on the strands of their genes.

    Args:
        windows: of those that one fits.
        alleles: of each window, as they stand in the transcript.
        n_frac: share of N in each window, which is reported.
        row_of: row of every allele that can be scored, by its number and the strand.
        skipped: why the others cannot, by the same.
    """

    windows: Windows
    alleles: Sequence[Allele]
    n_frac: Sequence[float]
    row_of: Mapping[tuple[int, str], int]
    skipped: Mapping[tuple[int, str], Skipped]


Scored = Mapping[str, Value] | Skipped
PairKey = tuple[int, int]
"""The number of a distinct allele and the index of one of its genes."""


def _failed(allele: Allele, why: Skipped) -> Skipped:
    """Say on stderr why an allele failed."""
    log.warning("FAILED %s:%d %s>%s: %s", allele.contig, allele.start + 1, allele.ref, allele.alt, why.reason)
    return why


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


def skipped_outcomes(genes: Sequence[GeneContext], why: Skipped) -> tuple[ScoredContext, ...]:
    """Return the outcomes of an allele that could not be scored: one for each gene, or one without a gene."""
    return in_order([skipped_outcome(gene, why) for gene in genes] or [skipped_outcome(None, why)])


def scored_outcome(
    context: GeneContext, values: Mapping[str, Value], about: Mapping[str, Value], plan: ScorePlan
) -> ScoredContext:
    """Return the outcome of a scored allele: NOT_APPLICABLE where it has none of the requested scores."""
    if not any(values.get(field.id) is not None for field in plan.fields):
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
