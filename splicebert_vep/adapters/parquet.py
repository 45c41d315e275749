"""Apache Parquet: typed columns, full precision, provenance in the schema's metadata."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.parquet as pq

from splicebert_vep_spec import FieldSpec, RecordReport, RunInfo, Value

from .rows import columns, rows, utf8

_ROWS_BUFFERED = 16384
_ARROW_TYPES = {"Float": pa.float64(), "Integer": pa.int64(), "String": pa.string()}


class ParquetAdapter:
    """Write Apache Parquet, one row per allele x gene."""

    name = "parquet"
    version = "1"

    def open(self, path: str, run: RunInfo) -> ParquetWriter:
        """Return a writer."""
        return ParquetWriter(path, run)


class ParquetWriter:
    """Write the rows of reports."""

    def __init__(self, path: str, run: RunInfo) -> None:
        self._run = run
        self._rows = RowsWriter(path, schema_of(run))

    def write(self, reports: Iterable[RecordReport]) -> None:
        """Append rows."""
        self._rows.append(row for report in reports for row in rows(report, self._run))

    def close(self) -> None:
        """Write the last rows and the index."""
        self._rows.close()


class RowsWriter:
    """Write rows in groups of thousands.

    Args:
        path: of the file.
        schema: names and types of the columns, in the order of a row's values.
    """

    def __init__(self, path: str, schema: pa.Schema) -> None:
        self._schema = schema
        self._buffer: list[tuple[Value, ...]] = []
        self._writer = pq.ParquetWriter(path, schema)

    def append(self, rows: Iterable[tuple[Value, ...]]) -> None:
        """Append rows."""
        self._buffer.extend(rows)
        if len(self._buffer) >= _ROWS_BUFFERED:
            self._flush()

    def close(self) -> None:
        """Write the last rows and the index."""
        try:
            self._flush()
            self._writer.close()
        finally:
            self._writer.is_open = False  # so that it does not try again when it is collected

    def _flush(self) -> None:
        if not self._buffer:
            return
        by_column = zip(*self._buffer, strict=True)
        arrays = [
            pa.array([utf8(value) for value in values], type=kind.type)
            for values, kind in zip(by_column, self._schema, strict=True)
        ]
        self._buffer.clear()
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))


def schema_of(run: RunInfo) -> pa.Schema:
    """Return the schema of a run's rows, with its provenance as metadata."""
    types: dict[str, FieldSpec] = {field.id: field for field in run.fields}
    kinds = []
    for name in columns(run):
        if name in types:
            kinds.append((name, _ARROW_TYPES[types[name].type]))
        else:
            kinds.append((name, pa.int64() if name in ("POS", "START") else pa.string()))
    return pa.schema(kinds, metadata=dict(run.provenance))
