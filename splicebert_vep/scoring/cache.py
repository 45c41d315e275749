"""Score an allele once in its life: what the store knows is read from it, the rest is scored and stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from splicebert_vep_spec import Allele, GeneContext, RecordReport, ScoredContext, Skipped, Status, Value

from ..provenance import ABOUT_WINDOW, Space, asked_columns, field_of
from ..sequence.windows import WindowShape
from ..settings import CHOICE, N_FRAC
from ..store.store import AlleleKey, ScoreStore, StoredScores
from .pipeline import (
    GenesLike,
    Pipeline,
    Record,
    ScoringLike,
    genes_of,
    in_order,
    needs_choice,
    scored_outcome,
    skipped_outcome,
)
from .plan import ScorePlan

_KEPT = 1 << 16  # records
_LETTERS = 1 << 25  # of their alleles, which may be thousands of bases long

Render = Callable[[Sequence[RecordReport]], list[bytes]]


class Recurring:
    """Remember the report of each distinct record, and the INFO items that were rendered of it.

    Args:
        pipeline: what makes reports; of what else a record holds, such as INFO and samples, they do not depend.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._reports: dict[tuple[str, int, str, str, tuple[str, ...]], RecordReport] = {}
        self._info: dict[int, bytes] = {}  # by identity of a report that is kept
        self._letters = 0

    def report(self, records: Sequence[Record]) -> list[RecordReport]:
        """Return one report per record, in order; the same object for the same record."""
        keys = [(record.chrom, record.pos, record.id, record.ref, record.alts) for record in records]
        if len(self._reports) > _KEPT or self._letters > _LETTERS:
            self._reports.clear()
            self._info.clear()
            self._letters = 0
        known = self._reports
        new = {key: record for key, record in zip(keys, records, strict=True) if key not in known}
        if new:
            self._letters += sum(len(record.ref) + sum(map(len, record.alts)) for record in new.values())
            known.update(zip(new, self._pipeline.report(list(new.values())), strict=True))
        return [known[key] for key in keys]

    def info(self, reports: Sequence[RecordReport], render: Render) -> list[bytes]:
        """Return the INFO items of reports that ``report`` gave last; all files of one run have the same outputs."""
        known = self._info
        new = {id(report): report for report in reports if id(report) not in known}
        if new:
            known.update(zip(new, render(list(new.values())), strict=True))
        return [known[id(report)] for report in reports]


#: Statuses that depend on nothing but what the key of a stored score names.
STORED = frozenset((Status.OK, Status.NOT_APPLICABLE, Status.N_CONTEXT))


class Columns:
    """Turn values into the numbers of a space's rows, and back.

    Args:
        space: whose rows they are.
        plan: the scores that a run asks for.
    """

    def __init__(self, space: Space, plan: ScorePlan) -> None:
        self.space = space
        self._plan = plan
        self._fields = tuple(field_of(column) for column in space.columns)
        whole = {name for planned in plan.scorers for name in planned.fields if planned.is_integer(name)}
        asked = {field.id for field in plan.fields}
        self._read = [
            (i, field, field in whole)
            for i, field in enumerate(self._fields)
            if field not in ABOUT_WINDOW and (field in asked or field == CHOICE)
        ]
        self._choice_asked = CHOICE in asked
        self._n_frac = self._fields.index(N_FRAC.id)

    def row(self, gene: str, outcome: ScoredContext) -> StoredScores:
        """Return what is stored of an outcome."""
        values = tuple(cast(float | None, outcome.values.get(field)) for field in self._fields)
        return StoredScores(gene, str(outcome.status), outcome.reason, values)

    def outcome(self, context: GeneContext, row: StoredScores, *, choosing: bool) -> ScoredContext:
        """Return the outcome that was stored, as it is for the scores of this run.

        Args:
            choosing: whether KL_CTX chooses between genes of the allele; else it is there only when it was asked for.
        """
        if row.status == Status.N_CONTEXT:
            return skipped_outcome(context, Skipped(Status.N_CONTEXT, row.reason))
        values: dict[str, Value] = {}
        for i, field, whole in self._read:
            if field == CHOICE and not choosing and not self._choice_asked:
                continue
            value = row.values[i]
            values[field] = int(value) if whole and value is not None else value
        return scored_outcome(context, values, {N_FRAC.id: row.values[self._n_frac]}, self._plan)


class Remembered:
    """Outcomes from a store, and from ``scoring`` where it has none.

    Args:
        store: open for writing where ``scoring`` gives what can be stored.
        space: of this run.
        plan: the scores that this run asks for.
        genes: the annotation.
        shape: of windows.
        md5: MD5 of a contig by its name in the FASTA.
        scoring: what scores an allele that the store does not know.
        keeps: whether what was scored is stored.
    """

    def __init__(
        self,
        store: ScoreStore,
        space: Space,
        plan: ScorePlan,
        *,
        genes: GenesLike,
        shape: WindowShape,
        md5: Callable[[str], str],
        scoring: ScoringLike,
        keeps: bool = True,
    ) -> None:
        self._store, self._genes, self._shape, self._md5, self._scoring = store, genes, shape, md5, scoring
        self._own = Columns(space, plan)
        self._plan = plan
        self._asked = asked_columns(plan)
        self._keeps = keeps
        self.recalled = 0
        self.scored = 0

    def outcomes(self, alleles: Sequence[Allele]) -> list[tuple[ScoredContext, ...]]:
        """Return what the adapters get of each allele; what had to be scored is stored, all of it or nothing.

        Raises:
            StoreError: the store is damaged, or holds another value.
            OutputError: it cannot be written.
        """
        known = self.recall(alleles)
        missing = [allele for allele, outcome in zip(alleles, known, strict=True) if outcome is None]
        fresh = iter(self._scoring.outcomes(missing) if missing else [])
        found = [next(fresh) if outcome is None else outcome for outcome in known]
        self.recalled += len(alleles) - len(missing)
        self.scored += len(missing)
        if self._keeps and missing:
            outcomes = [outcome for outcome, old in zip(found, known, strict=True) if old is None]
            self.keep(missing, outcomes)
        return found

    def recall(self, alleles: Sequence[Allele]) -> list[tuple[ScoredContext, ...] | None]:
        """Return what is known of each allele without scoring it; None where it has to be scored."""
        found: list[tuple[ScoredContext, ...] | None] = [None] * len(alleles)
        asked: dict[int, Sequence[GeneContext]] = {}
        for i, allele in enumerate(alleles):
            genes = genes_of(allele, self._genes, self._shape)
            if isinstance(genes, Skipped):
                found[i] = (skipped_outcome(None, genes),)
            else:
                asked[i] = genes
        for columns in self._answering():
            left = [i for i in asked if found[i] is None]
            keys = [self._key(alleles[i]) for i in left]
            for i, rows in zip(left, self._store.find(columns.space, keys), strict=True):
                by_gene = {row.gene: row for row in rows}
                names = gene_keys(asked[i])
                if all(name in by_gene for name in names):
                    both = zip(asked[i], names, strict=True)
                    choosing = needs_choice(asked[i])
                    outcomes = [columns.outcome(context, by_gene[name], choosing=choosing) for context, name in both]
                    found[i] = in_order(outcomes)
        return found

    def keep(self, alleles: Sequence[Allele], outcomes: Sequence[tuple[ScoredContext, ...]]) -> int:
        """Store outcomes; those of an allele that failed in any gene are left out. Returns how many rows were new."""
        kept = [
            (self._key(allele), rows)
            for allele, outcome in zip(alleles, outcomes, strict=True)
            if (rows := stored_rows(outcome, self._own))
        ]
        return self._store.add(self._own.space, kept, {self._md5(a.contig): a.contig for a in alleles})

    def _answering(self) -> list[Columns]:
        """Return the spaces that may know what this run asks for: its own first."""
        own = self._own.space
        others = [space for space in self._store.spaces() if space != own and space.serves(self._asked, own)]
        return [self._own, *(Columns(space, self._plan) for space in others)]

    def _key(self, allele: Allele) -> AlleleKey:
        return AlleleKey(self._md5(allele.contig), allele.start, allele.ref, allele.alt)


def stored_rows(outcome: Sequence[ScoredContext], columns: Columns) -> list[StoredScores]:
    """Return the rows of an allele, one per gene; none where a status is not to be stored."""
    if any(one.context is None or one.status not in STORED for one in outcome):
        return []
    names = gene_keys([one.context for one in outcome if one.context])
    if len(set(names)) < len(names):  # an annotation that has a transcript twice at one place
        return []
    return [columns.row(name, one) for name, one in zip(names, outcome, strict=True)]


def gene_keys(contexts: Sequence[GeneContext]) -> list[str]:
    """Return a name for each gene of an allele: its id, and where annotations have an id twice, its transcript too."""
    ids = [context.gene_id for context in contexts]
    if len(set(ids)) == len(ids):
        return ids
    return [
        context.gene_id if ids.count(context.gene_id) == 1 else f"{context.gene_id} {context.transcript_id}"
        for context in contexts
    ]
