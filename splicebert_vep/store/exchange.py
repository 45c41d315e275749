"""Scores from one file into another: export and import of a space as Parquet, and one store into another."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import StoreError
from ..files import whole_or_not
from ..provenance import Space
from .store import AlleleKey, ScoreStore, StoredScores

_FORMAT = b"splicebert-vep scores 1"
_BATCH = 16384
_KEY = [
    ("contig", pa.string()), ("md5", pa.string()), ("start", pa.int64()), ("ref", pa.string()), ("alt", pa.string()),
    ("gene", pa.string()), ("status", pa.string()), ("reason", pa.string()),
]  # fmt: skip

Rows = Iterator[tuple[AlleleKey, Sequence[StoredScores]]]


@dataclass(frozen=True, slots=True)
class Exported:
    """Scores in a file.

    Args:
        space: of the scores.
        contigs: name of each MD5.
        rows: each allele with one entry per gene.
    """

    space: Space
    contigs: dict[str, str]
    rows: Rows


def export_space(store: ScoreStore, space: Space, path: str | Path) -> int:
    """Write a space as Parquet, by contig and position; returns how many rows.

    Raises:
        StoreError, OutputError: the store is damaged; the file cannot be written, and none is left then.
    """
    about = {
        "score_digest": space.score_digest,
        "annotation_digest": space.annotation_digest,
        "columns": list(space.columns),
        "provenance": dict(space.provenance),
        "contigs": store.contigs(space),
    }
    fields = _KEY + [(column, pa.float64()) for column in space.columns]
    schema = pa.schema(fields, {b"format": _FORMAT, b"space": json.dumps(about).encode()})
    count = 0
    with whole_or_not(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        for batch in _batches(store.rows(space)):
            columns = zip(
                *((name, *key, one.gene, one.status, one.reason, *one.values) for name, key, one in batch), strict=True
            )
            arrays = [pa.array(list(v), kind.type) for v, kind in zip(columns, schema, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            count += len(batch)
    return count


def read_export(path: str | Path) -> Exported:
    """Open what ``export_space`` wrote.

    Raises:
        StoreError: it is no such file.
    """
    try:
        file = pq.ParquetFile(path)
        metadata = file.schema_arrow.metadata or {}
    except (OSError, pa.ArrowException) as error:
        raise _foreign(path, str(error)) from error
    if metadata.get(b"format") != _FORMAT:
        raise _foreign(path, "a Parquet file of another kind")
    about = json.loads(metadata[b"space"])
    space = Space(about["score_digest"], about["annotation_digest"], tuple(about["columns"]), dict(about["provenance"]))
    return Exported(space, dict(about["contigs"]), _rows(file, path))


def import_scores(store: ScoreStore, given: Exported, *, beside: bool = False) -> int:
    """Put scores of a file into a store; returns how many rows were new.

    Args:
        store: open for writing.
        given: what the file holds.
        beside: whether a store that holds scores of other kinds may get these as one more.

    Raises:
        StoreError: the store holds scores of other provenance only, or another value for an allele.
        OutputError: disk full and the like.
    """
    spaces = store.spaces()
    if spaces and given.space not in spaces and not beside:
        raise StoreError(
            "The file's scores were made otherwise than the store's.",
            needed=_told(spaces[0]) + (f", or one of {len(spaces) - 1} others" if len(spaces) > 1 else ""),
            found=_told(given.space),
            where=str(store.path),
            remedy="give another store, or --beside to keep both kinds in this one",
        )
    return sum(store.add(given.space, block, given.contigs) for block in _batches(given.rows))


def merge_store(into: ScoreStore, source: ScoreStore) -> int:
    """Put all spaces of one store into another; returns how many rows were new.

    Raises:
        StoreError, OutputError: as ``ScoreStore.add``.
    """
    return sum(
        import_scores(into, Exported(space, source.contigs(space), _by_allele(source.rows(space))), beside=True)
        for space in source.spaces()
    )


def _by_allele(rows: Iterable[tuple[str, AlleleKey, StoredScores]]) -> Rows:
    for key, group in groupby(rows, key=lambda row: row[1]):
        yield key, [scores for _, _, scores in group]


def _rows(file: pq.ParquetFile, path: str | Path) -> Rows:
    def flat() -> Iterator[tuple[str, AlleleKey, StoredScores]]:
        for batch in file.iter_batches(_BATCH):
            for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                yield row[0], AlleleKey(*row[1:5]), StoredScores(row[5], row[6], row[7], row[8:])

    try:
        yield from _by_allele(flat())
    except (OSError, pa.ArrowException, TypeError) as error:
        raise _foreign(path, str(error)) from error


def _batches(rows: Iterator[Any]) -> Iterator[list[Any]]:
    block: list[Any] = []
    for row in rows:
        block.append(row)
        if len(block) == _BATCH:
            yield block
            block = []
    if block:
        yield block


def _told(space: Space) -> str:
    about = space.provenance
    model = f"{about.get('Model', 'a model')}, window {about.get('Window', '?')}"
    scores = f"scores {about.get('Scores', '?')}"
    digests = f"score digest {space.score_digest[:12]}, annotation digest {space.annotation_digest[:12]}"
    return f"{model}, {scores} ({digests})"


def _foreign(path: str | Path, found: str) -> StoreError:
    return StoreError(
        "The file holds no exported scores.",
        needed="a whole Parquet file of 'store export', or a precomputed VCF of 'saturate'",
        found=found,
        where=str(path),
    )
