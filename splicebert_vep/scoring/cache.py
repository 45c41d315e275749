"""Score an allele once in its life: read the scores that the store has, score and store the rest batch by batch."""

from __future__ import annotations

import time
from collections.abc import Sequence

from splicebert_vep_spec import Allele, GeneContext, ScoredContext, Skipped, Status, Value

from ..genome.gene_index import GeneIndex
from ..genome.reference import Reference
from ..provenance import ABOUT_WINDOW, Space, field_of
from ..sequence.windows import WindowShape
from ..settings import CHOICE, N_FRAC
from ..store.store import AlleleKey, ScoreStore, StoredScores
from .pipeline import ScoringLike, genes_of, in_order, needs_choice, scored_outcome, skipped_outcome, skipped_outcomes
from .plan import ScorePlan

BATCH = 256  # alleles that are scored before they are committed, at most
_SECONDS = 30.0  # that scoring a batch takes, about
_FIRST_BATCH = 32  # alleles, while nobody knows how fast the model is

Outcomes = tuple[ScoredContext, ...]

#: Statuses that depend on nothing but the key of a stored score.
STORED = frozenset((Status.OK, Status.NOT_APPLICABLE, Status.N_CONTEXT))


class RowCodec:
    """Turn the outcomes of a run's scores into rows of a space, and back."""

    def __init__(self, space: Space, plan: ScorePlan) -> None:
        self.space = space
        self._plan = plan
        self._fields = tuple(field_of(column) for column in space.columns)
        asked = {field.id for field in plan.fields}
        read = [
            (i, field)
            for i, field in enumerate(self._fields)
            if field not in ABOUT_WINDOW and (field in asked or field == CHOICE)
        ]
        self._read, self._rows = tuple(field for _, field in read), [i for i, _ in read]
        whole = {name for planned in plan.scorers for name in planned.fields if planned.is_integer(name)}
        self._whole = [field for field in self._read if field in whole]
        self._choice_asked = CHOICE in asked
        self._n_frac = self._fields.index(N_FRAC.id)

    def row(self, gene: str, outcome: ScoredContext) -> StoredScores:
        values = tuple(outcome.values.get(field) for field in self._fields)
        return StoredScores(gene, str(outcome.status), outcome.reason, values)

    def outcomes(self, contexts: Sequence[GeneContext], rows: Sequence[StoredScores]) -> Outcomes | None:
        """Return an allele's outcomes in its genes, in the order of flat output; None where a gene has no row."""
        if len(contexts) == 1 and len(rows) == 1 and rows[0].gene == contexts[0].gene_id:  # nearly always
            return (self._outcome(contexts[0], rows[0], choosing=False),)
        by_gene = {row.gene: row for row in rows}
        names = gene_keys(contexts)
        if not by_gene.keys() >= set(names):
            return None
        choosing = needs_choice(contexts)
        return in_order(
            [self._outcome(c, by_gene[name], choosing=choosing) for c, name in zip(contexts, names, strict=True)]
        )

    def _outcome(self, context: GeneContext, row: StoredScores, *, choosing: bool) -> ScoredContext:
        if row.status == Status.N_CONTEXT:
            return skipped_outcome(context, Skipped(Status.N_CONTEXT, row.reason))
        stored = row.values
        values: dict[str, Value] = dict(zip(self._read, [stored[i] for i in self._rows], strict=True))
        for field in self._whole:
            if (value := values[field]) is not None:
                values[field] = int(value)
        if not choosing and not self._choice_asked:
            values.pop(CHOICE, None)  # a plain run has no KL_CTX there
        return scored_outcome(context, values, {N_FRAC.id: row.values[self._n_frac]}, self._plan)


class StoredScoring:
    """Take outcomes from a store; score alleles that it lacks, and commit them batch by batch.

    Args:
        store: open for writing.
        space, plan: of this run.
        reference: the FASTA.
        scoring: scores an allele that the store does not know.
    """

    def __init__(
        self,
        store: ScoreStore,
        space: Space,
        plan: ScorePlan,
        *,
        genes: GeneIndex,
        shape: WindowShape,
        reference: Reference,
        scoring: ScoringLike,
    ) -> None:
        self._store, self._genes, self._shape, self._scoring = store, genes, shape, scoring
        self._reference = reference
        self._own, self._plan, self._batch = RowCodec(space, plan), plan, _FIRST_BATCH
        self.known = self.scored = 0  # alleles so far
        #: Outcomes that no store takes, FAILED above all, where a run must not score such alleles again.
        self.unstored: dict[Allele, Outcomes] | None = None

    def outcomes(self, alleles: Sequence[Allele]) -> list[Outcomes]:
        """Return the outcomes of each allele, as the store has them where it knows the allele.

        Alleles that it lacks are scored in batches of at most 256, or of as many as take about 30 s, and each batch
        is committed: a run that is killed loses the scores of one batch.

        Raises:
            StoreError: the store is damaged, or holds another value.
            OutputError: it cannot be written.
        """
        found = self.find_known(alleles)
        missing = [i for i, outcome in enumerate(found) if outcome is None]
        self.known += sum(is_stored(outcome) for outcome in found if outcome)
        done = 0
        while done < len(missing):
            batch = missing[done : done + self._batch]
            began = time.monotonic()
            fresh = self._scoring.outcomes([alleles[i] for i in batch])
            seconds = time.monotonic() - began
            self.keep([alleles[i] for i in batch], fresh)
            for i, outcome in zip(batch, fresh, strict=True):
                found[i] = outcome
            done += len(batch)
            self._batch = max(1, min(BATCH, int(len(batch) * _SECONDS / max(seconds, 1e-3))))
        return [outcome for outcome in found if outcome is not None]

    def find_known(self, alleles: Sequence[Allele]) -> list[Outcomes | None]:
        """Return the outcomes that the store has of each allele; None where it has to be scored."""
        known = self.unstored
        found: list[Outcomes | None] = [known.get(one) for one in alleles] if known else [None] * len(alleles)
        asked: dict[int, Sequence[GeneContext]] = {}
        for i, allele in enumerate(alleles):
            genes, why = genes_of(allele, self._genes, self._reference, self._shape)
            if why:
                found[i] = skipped_outcomes(genes, why)
            elif found[i] is None:
                asked[i] = genes
        own = self._own.space
        others = [one for one in self._store.spaces() if one != own and one.serves(self._plan.columns, own)]
        for codec in (self._own, *(RowCodec(space, self._plan) for space in others)):
            left = [i for i in asked if found[i] is None]
            keys = [self._key(alleles[i]) for i in left]
            for i, rows in zip(left, self._store.find(codec.space, keys), strict=True):
                found[i] = codec.outcomes(asked[i], rows)
        return found

    def keep(self, alleles: Sequence[Allele], outcomes: Sequence[Outcomes]) -> None:
        """Commit the outcomes of alleles that were scored; leave out those that failed in any gene."""
        self.scored += len(alleles)
        kept = []
        for allele, outcome in zip(alleles, outcomes, strict=True):
            if rows := stored_rows(outcome, self._own):
                kept.append((self._key(allele), rows))
            elif self.unstored is not None:
                self.unstored[allele] = outcome
        self._store.add(self._own.space, kept, {self._reference.md5(a.contig): a.contig for a in alleles})

    def _key(self, allele: Allele) -> AlleleKey:
        return AlleleKey(self._reference.md5(allele.contig), allele.start, allele.ref, allele.alt)


def is_stored(outcome: Sequence[ScoredContext]) -> bool:
    """Tell whether a store takes an allele: every status is one of ``STORED``, and the genes can be told apart.

    An annotation may have a transcript twice at one place.
    """
    if any(one.context is None or one.status not in STORED for one in outcome):
        return False
    return len(outcome) == 1 or len(set(gene_keys([one.context for one in outcome if one.context]))) == len(outcome)


def stored_rows(outcome: Sequence[ScoredContext], codec: RowCodec) -> list[StoredScores]:
    """Return the rows of an allele, one per gene; none where a store does not take it."""
    if not is_stored(outcome):
        return []
    names = gene_keys([one.context for one in outcome if one.context])
    return [codec.row(name, one) for name, one in zip(names, outcome, strict=True)]


def gene_keys(contexts: Sequence[GeneContext]) -> list[str]:
    """Return a name for each gene of an allele: its id, and where annotations have an id twice, its transcript too."""
    ids = [context.gene_id for context in contexts]
    if len(ids) == 1 or len(set(ids)) == len(ids):
        return ids
    return [
        context.gene_id if ids.count(context.gene_id) == 1 else f"{context.gene_id} {context.transcript_id}"
        for context in contexts
    ]
