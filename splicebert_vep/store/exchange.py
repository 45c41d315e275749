"""Move scores between stores: one space as a Parquet file, or all spaces of another store."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from itertools import groupby, islice
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import StoreError
from ..files import whole_or_not
from ..provenance import Space, is_text
from .store import AlleleKey, ScoreStore, StoredScores

# Format 2 has digests: check sums of Parquet are of pages, and a flipped bit in the footer gives other columns.
_FORMAT = b"splicebert-vep scores 2"
_BATCH = 16384  # rows of a row group
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
    about = space and {
        "score_digest": space.score_digest,
        "annotation_digest": space.annotation_digest,
        "columns": space.columns,
        "provenance": dict(space.provenance),
        "contigs": store.contigs(space),
    }
    columns = space.columns if space else ()
    fields = _KEY + [(column, pa.string() if is_text(column) else pa.float64()) for column in columns]
    schema = pa.schema(fields, {b"format": _FORMAT})
    count, digests = 0, list[str]()
    with (
        whole_or_not(path) as temporary, temporary.open("wb") as out, pq.ParquetWriter(out, schema) as writer,
    ):  # fmt: skip
        for batch in _batched(store.rows(space) if space else ()):
            rows = [(name, *key, one.gene, one.status, one.reason, *one.values) for name, key, one in batch]
            values = zip(*rows, strict=True)
            arrays = [pa.array(list(v), kind.type) for v, kind in zip(values, schema, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            count += len(rows)
            digests.append(_digest(rows))
        text = json.dumps({"space": about, "digests": digests})
        writer.add_key_value_metadata({"scores": text, "seal": _digest(text)})
    return count


def import_scores(store: ScoreStore, path: str | Path, *, beside: bool = False) -> int:
    """Put the scores of an exported Parquet file into a store; return how many rows were new.

    Args:
        store: open for writing.
        path: of the file.
        beside: whether a store that holds scores of other kinds may get these as one more space.

    Raises:
        StoreError: the file is no export or not as it was written, the store holds scores of other provenance only, or
            another value.
        OutputError: disk full and the like.
    """
    with _reading(path), Path(path).open("rb") as handle, pq.ParquetFile(handle) as file:
        written = file.metadata.metadata or {}
        if written.get(b"format") != _FORMAT:
            remedy = "files of older versions have no digests: make them again with 'store export'"
            raise StoreError("The Parquet file is no export of a score store.", where=str(path), remedy=remedy)
        text = written[b"scores"].decode()
        if written[b"seal"].decode() != _digest(text):
            raise _changed(path)
        content = json.loads(text)
        about, digests = content["space"], content["digests"]
        if file.num_row_groups != len(digests):
            raise _changed(path)
        if about is None:
            return 0
        columns = tuple(about["columns"])
        if file.schema_arrow.names != [*(name for name, _ in _KEY), *columns]:
            raise _changed(path)
        space = Space(about["score_digest"], about["annotation_digest"], columns, dict(about["provenance"]))
        spaces = store.spaces()
        if spaces and space not in spaces and not beside:
            remedy = "give another store, or --beside to keep both kinds in this one"
            raise StoreError(
                "The file's scores were made otherwise than the store's.",
                needed="; ".join(map(_made_by, spaces)), found=_made_by(space), where=str(store.path), remedy=remedy,
            )  # fmt: skip
        return _add(store, space, dict(about["contigs"]), _rows(file, digests, path))


def merge_store(into: ScoreStore, source: ScoreStore) -> int:
    """Put all spaces of one store into another; return how many rows were new; raises as ``ScoreStore.add``."""
    return sum(_add(into, space, source.contigs(space), source.rows(space)) for space in source.spaces())


def _add(store: ScoreStore, space: Space, contigs: dict[str, str], rows: Iterable[Row]) -> int:
    by_allele = ((key, [scores for _, _, scores in group]) for key, group in groupby(rows, key=lambda row: row[1]))
    return sum(store.add(space, block, contigs) for block in _batched(by_allele))


def _rows(file: pq.ParquetFile, digests: Sequence[str], path: str | Path) -> Iterator[Row]:
    for number, digest in enumerate(digests):
        table = file.read_row_group(number)
        rows = list(zip(*(column.to_pylist() for column in table.columns), strict=True))
        if _digest(rows) != digest:
            raise _changed(path)
        for row in rows:
            yield row[0], AlleleKey(*row[1:5]), StoredScores(row[5], row[6], row[7], row[8:])


def _digest(content: object) -> str:
    return sha256(repr(content).encode()).hexdigest()  # repr() has every bit of a float


def _changed(path: str | Path) -> StoreError:
    return StoreError("The file is not as 'store export' wrote it: export or copy it again.", where=str(path))


@contextmanager
def _reading(path: str | Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException, KeyError, UnicodeDecodeError) as error:
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
