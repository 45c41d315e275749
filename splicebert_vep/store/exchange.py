"""Move scores between stores: one space as a Parquet file, or all spaces of another store."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby, islice
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import StoreError
from ..files import whole_or_not
from ..provenance import Space
from .store import AlleleKey, ScoreStore, StoredScores

_FORMAT = b"splicebert-vep scores 1"
_BATCH = 16384  # rows
_KEY = [
    ("contig", pa.string()), ("md5", pa.string()), ("start", pa.int64()), ("ref", pa.string()), ("alt", pa.string()),
    ("gene", pa.string()), ("status", pa.string()), ("reason", pa.string()),
]  # fmt: skip

T = TypeVar("T")
Row = tuple[str, AlleleKey, StoredScores]  # with the contig's name


def export_space(store: ScoreStore, space: Space | None, path: str | Path) -> int:
    """Write a space as Parquet in full precision, by contig and position; return the number of rows.

    Of a store without spaces, None writes a file that ``import_scores`` takes, without rows.

    Raises:
        StoreError, OutputError: the store is damaged; the file cannot be written, and none is left then.
    """
    about = (
        None
        if space is None
        else {
            "score_digest": space.score_digest,
            "annotation_digest": space.annotation_digest,
            "columns": list(space.columns),
            "provenance": dict(space.provenance),
            "contigs": store.contigs(space),
        }
    )
    fields = _KEY + [(column, pa.float64()) for column in (space.columns if space else ())]
    schema = pa.schema(fields, {b"format": _FORMAT, b"space": json.dumps(about).encode()})
    count = 0
    with whole_or_not(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        for batch in _batched(store.rows(space) if space else ()):
            columns = zip(
                *((name, *key, one.gene, one.status, one.reason, *one.values) for name, key, one in batch), strict=True
            )
            arrays = [pa.array(list(v), kind.type) for v, kind in zip(columns, schema, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            count += len(batch)
    return count


def import_scores(store: ScoreStore, path: str | Path, *, beside: bool = False) -> int:
    """Put the scores of an exported Parquet file into a store; return how many rows were new.

    Args:
        store: open for writing.
        path: of the file.
        beside: whether a store that holds scores of other kinds may get these as one more space.

    Raises:
        StoreError: the file is no export, the store holds scores of other provenance only, or another value.
        OutputError: disk full and the like.
    """
    with _reading(path), pq.ParquetFile(path) as file:
        metadata = file.schema_arrow.metadata or {}
        if metadata.get(b"format") != _FORMAT:
            raise StoreError("The Parquet file is no export of a score store.", where=str(path))
        about = json.loads(metadata[b"space"])
        if about is None:
            return 0
        columns = tuple(about["columns"])
        space = Space(about["score_digest"], about["annotation_digest"], columns, dict(about["provenance"]))
        spaces = store.spaces()
        if spaces and space not in spaces and not beside:
            raise StoreError(
                "The file's scores were made otherwise than the store's.",
                needed="; ".join(map(_made_by, spaces)),
                found=_made_by(space),
                where=str(store.path),
                remedy="give another store, or --beside to keep both kinds in this one",
            )
        return _add(store, space, dict(about["contigs"]), _rows(file))


def merge_store(into: ScoreStore, source: ScoreStore) -> int:
    """Put all spaces of one store into another; return how many rows were new.

    Raises:
        StoreError, OutputError: as ``ScoreStore.add``.
    """
    return sum(_add(into, space, source.contigs(space), source.rows(space)) for space in source.spaces())


def _add(store: ScoreStore, space: Space, contigs: dict[str, str], rows: Iterable[Row]) -> int:
    by_allele = ((key, [scores for _, _, scores in group]) for key, group in groupby(rows, key=lambda row: row[1]))
    return sum(store.add(space, block, contigs) for block in _batched(by_allele))


def _rows(file: pq.ParquetFile) -> Iterator[Row]:
    for batch in file.iter_batches(_BATCH):
        for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            yield row[0], AlleleKey(*row[1:5]), StoredScores(row[5], row[6], row[7], row[8:])


@contextmanager
def _reading(path: str | Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException, KeyError) as error:
        problem = "The file is no whole Parquet file of 'store export'."
        raise StoreError(problem, found=str(error), where=str(path)) from error


def _batched(items: Iterable[T]) -> Iterator[list[T]]:
    rest = iter(items)
    while batch := list(islice(rest, _BATCH)):
        yield batch


def _made_by(space: Space) -> str:
    about = space.provenance
    digests = f"score digest {space.score_digest[:12]}, annotation digest {space.annotation_digest[:12]}"
    return f"{about.get('Model', 'a model')}, window {about.get('Window', '?')} ({digests})"
