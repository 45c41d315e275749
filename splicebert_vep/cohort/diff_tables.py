"""Read the tables of two runs, column by column, as numbers over the rows of both."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from splicebert_vep_spec import RunInfo

from ..errors import CohortError
from ..genome.contigs import canonical_name
from ..outputs.tables import columns
from .names import COUNTS, SUMMARY, TABLE

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Kind = Literal["float", "whole", "word"]

_NO_SCORES = columns(RunInfo((), {}))
_NEEDED = (*_NO_SCORES, *COUNTS)
_DIGEST = "ScoreDigest"


@dataclass(frozen=True, slots=True)
class About:
    """What is said of a run.

    Args:
        name: the path as it was given.
        rows: of its table.
        provenance: of its scores.
        counts: files, records and the like from ``cohort.json``; empty where that is missing or of another table.
    """

    name: str
    rows: int
    provenance: Mapping[str, str]
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Words:
    """A column of words over the rows of OLD, then those of NEW: codes, and the value of each code."""

    codes: Ints
    values: Sequence[str | None]

    def at(self, rows: Ints) -> list[str | None]:
        """Return the values of rows; None for row -1."""
        codes = zip(rows.tolist(), self.codes[rows].tolist(), strict=True)
        return [None if row < 0 else self.values[code] for row, code in codes]

    def merged(self, meaning: Callable[[str], str]) -> Ints:
        """Return codes that are the same for values of the same meaning."""
        known: dict[str, int] = {}
        of_code = [known.setdefault("" if v is None else meaning(v), len(known)) for v in self.values]
        return np.array(of_code, np.int64)[self.codes]


class CohortTable:
    """The table of a run; a context manager.

    Args:
        path: folder of the run, or its table.

    Raises:
        CohortError: there is none, or it is no such table.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = table_path(path)
        with self._reading():
            self._file = pq.ParquetFile(self.path)
        try:
            schema = self._file.schema_arrow
            self.provenance = {_text(key): _text(value) for key, value in (schema.metadata or {}).items()}
            self._check(schema)
            #: The scores in the order of the table, and what their values are.
            self.scores = {name: _kind(schema.field(name).type) for name in schema.names if name not in _NEEDED}
            self.rows: int = self._file.metadata.num_rows
            self.about = About(str(path), self.rows, self.provenance, self._counts())
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> CohortTable:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def column(self, name: str, kind: pa.DataType) -> pa.ChunkedArray:
        """Return a column as a type.

        Raises:
            CohortError: it cannot be read.
        """
        with self._reading():
            return self._file.read(columns=[name]).column(0).cast(kind)

    def numbers(self, name: str) -> Floats:
        """Return a column of numbers, NaN where one is missing or not finite."""
        found = self.column(name, pa.float64()).to_numpy()
        return np.where(np.isfinite(found), found, np.nan)

    def _check(self, schema: pa.Schema) -> None:
        lacking = [name for name in _NEEDED if schema.names.count(name) != 1]
        if not lacking and not pa.types.is_integer(schema.field("POS").type):
            lacking = ["POS as whole numbers"]
        if not lacking and _DIGEST not in self.provenance:
            lacking = [f"{_DIGEST} in the metadata of its schema"]
        if lacking:
            raise CohortError(
                "The file is not the table of a cohort.",
                needed=f"a table that has {', '.join(lacking)}, as 'cohort run' and 'cohort merge' write it",
                found=f"columns {', '.join(schema.names)}",
                where=str(self.path),
                remedy=f"give a folder of 'cohort run' or the {TABLE} in it; tables of 'annotate' have alleles as "
                "their file wrote them, which cannot be compared",
            )

    def _counts(self) -> Mapping[str, int]:
        path = self.path.with_name(SUMMARY)
        if self.path.name != TABLE or not path.is_file():
            return {}
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["provenance"] != self.provenance:
                return {}
            return {str(key): int(value) for key, value in content["counts"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CohortError(
                "The summary of the run is damaged.",
                needed="what 'cohort run' or 'cohort merge' wrote",
                found=f"{type(error).__name__}: {error}",
                where=str(path),
                remedy=f"run 'splicebert-vep cohort merge {self.path.parent}', or give {self.path} under another name",
            ) from error

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError) as error:
            raise CohortError(
                "The table of a cohort could not be read.",
                needed=f"{TABLE} as 'cohort run' or 'cohort merge' wrote it",
                found=str(error),
                where=str(self.path),
                remedy="if it is damaged, remove it and run 'splicebert-vep cohort merge' on its folder again",
            ) from error


def table_path(path: str | Path) -> Path:
    """Return the table that a folder of a run, or the path of a table, means.

    Raises:
        CohortError: there is none.
    """
    given = Path(path)
    found = given / TABLE if given.is_dir() else given
    if not found.is_file():
        folder = given.is_dir()
        raise CohortError(
            "The folder has no table of a cohort." if folder else "There is no such run.",
            needed=f"the folder of a 'cohort run' that came to its end, or the {TABLE} in it",
            found=f"no {TABLE}" if folder else "no such file or folder",
            where=str(given),
            remedy=f"splicebert-vep cohort merge {given}" if folder else "look after the path",
        )
    return found


def words(old: CohortTable, new: CohortTable, name: str) -> Words:
    """Return a column of words over both tables; a missing one has the last code."""
    both = [chunk for table in (old, new) for chunk in table.column(name, pa.large_string()).chunks]
    encoded = pa.chunked_array(both, pa.large_string()).dictionary_encode().unify_dictionaries()
    values: list[str | None] = encoded.chunk(0).dictionary.to_pylist() if encoded.num_chunks else []
    codes = [chunk.indices.fill_null(len(values)).to_numpy().astype(np.int64) for chunk in encoded.chunks]
    return Words(np.concatenate([np.empty(0, np.int64), *codes]), [*values, None])


def positions(old: CohortTable, new: CohortTable) -> Ints:
    """Return POS over both tables, 1-based; -1 where it is missing."""
    found = [table.column("POS", pa.int64()).fill_null(-1).to_numpy() for table in (old, new)]
    return np.concatenate(found)


def contigs(found: Words, split: int) -> Words:
    """Return contigs so that chr17 and 17 are one: by NEW's name where it has one, in NEW's order, then OLD's.

    Args:
        found: the column as it is.
        split: number of OLD's rows.
    """
    meaning = ["" if value is None else canonical_name(value) for value in found.values]
    known: dict[str, int] = {}
    names: list[str | None] = []
    for code in [*_appearing(found.codes[split:]), *_appearing(found.codes[:split])]:
        if meaning[code] not in known:
            known[meaning[code]] = len(known)
            names.append(found.values[code])
    of_code = np.array([known.get(word, -1) for word in meaning], np.int64)  # -1: no row has it
    return Words(of_code[found.codes], names)


def _appearing(codes: Ints) -> list[int]:
    """Return the distinct codes in the order of their first appearance."""
    distinct, first = np.unique(codes, return_index=True)
    found: list[int] = distinct[np.argsort(first)].tolist()
    return found


def _kind(kind: pa.DataType) -> Kind:
    if pa.types.is_floating(kind):
        return "float"
    return "whole" if pa.types.is_integer(kind) else "word"


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
