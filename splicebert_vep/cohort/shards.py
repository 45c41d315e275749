"""The scores of one unit in one Parquet file: there whole, or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from splicebert_vep_spec import Allele, GeneContext, ScoredContext, Skipped, Status

from ..errors import CohortError
from ..files import whole_or_not
from ..provenance import Space
from ..scoring.cache import Columns, gene_keys
from ..scoring.pipeline import needs_choice, skipped_outcome
from ..store.store import StoredScores

#: Stands for all genes of an allele whose unit failed as a whole.
EVERY_GENE = ""
_KEY = [
    ("contig", pa.string()), ("start", pa.int64()), ("ref", pa.string()), ("alt", pa.string()), ("gene", pa.string()),
    ("status", pa.string()), ("reason", pa.string()),
]  # fmt: skip

Scored = tuple[Allele, Sequence[StoredScores]]


def write_shard(path: Path, identity: str, space: Space, scored: Iterable[Scored]) -> None:
    """Write a unit's scores.

    Args:
        path: of the shard.
        identity: of the plan.
        space: of the scores.
        scored: each allele with one entry per gene.

    Raises:
        OutputError: disk full and the like; no shard is left then.
    """
    rows = [
        (allele.contig, allele.start, allele.ref, allele.alt, one.gene, one.status, one.reason, *one.values)
        for allele, scores in scored
        for one in scores
    ]
    schema = pa.schema(_KEY + [(column, pa.float64()) for column in space.columns], {b"plan": identity.encode()})
    columns = zip(*rows, strict=True)
    table = pa.table([pa.array(list(v), kind.type) for v, kind in zip(columns, schema, strict=True)], schema=schema)
    with whole_or_not(path) as temporary:
        pq.write_table(table, temporary)


def failed(allele: Allele, reason: str, space: Space) -> Scored:
    """Return what stands in a shard for an allele whose unit failed."""
    return allele, [StoredScores(EVERY_GENE, str(Status.FAILED), reason, (None,) * len(space.columns))]


def read_shard(path: Path, identity: str, space: Space) -> list[Scored]:
    """Return a unit's scores.

    Raises:
        CohortError: damaged, or of another plan.
    """
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise _unusable(path, f"a file that cannot be read: {error}") from error
    if (table.schema.metadata or {}).get(b"plan") != identity.encode():
        raise _unusable(path, "a shard of another plan")
    if table.schema.names != [name for name, _ in _KEY] + list(space.columns):
        raise _unusable(path, f"columns {', '.join(table.schema.names)}")
    rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
    found: list[Scored] = []
    for key, group in groupby(rows, key=itemgetter(0, 1, 2, 3)):
        found.append((Allele(*key), [StoredScores(row[4], row[5], row[6], row[7:]) for row in group]))
    return found


def outcomes_of(
    contexts: Sequence[GeneContext], rows: Sequence[StoredScores], columns: Columns
) -> list[tuple[str, ScoredContext]]:
    """Return an allele's outcome in each of its genes, as its shard has it, with the gene's key."""
    by_gene = {row.gene: row for row in rows}
    found = []
    for context, key in zip(contexts, gene_keys(contexts), strict=True):
        row = by_gene.get(key) or by_gene[EVERY_GENE]
        if row.status == Status.FAILED:
            found.append((key, skipped_outcome(context, Skipped(Status.FAILED, row.reason))))
        else:
            found.append((key, columns.outcome(context, row, choosing=needs_choice(contexts))))
    return found


def _unusable(path: Path, found: str) -> CohortError:
    return CohortError(
        "A shard cannot be used.",
        needed="the scores of one unit of this plan",
        found=found,
        where=str(path),
        remedy="remove it and run the same command again; its unit is scored again",
    )
