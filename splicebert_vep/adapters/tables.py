"""Tables: one row per allele x gene, as TSV or Parquet. An ALT without scores has a row too, with its status."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from splicebert_vep.errors import SettingsError
from splicebert_vep.files import cannot_write, temporary_name
from splicebert_vep_spec import FieldSpec, RecordReport, RunInfo, Value, format_value

from .flat import CONTEXT_FIELDS

_ROWS_BUFFERED = 16384
_ARROW_TYPES = {"Float": pa.float64(), "Integer": pa.int64(), "String": pa.string()}


def columns(run: RunInfo) -> tuple[str, ...]:
    """Return the names of a table's columns."""
    before = ("CHROM", "POS", "ID", "REF", "ALT", "START", "SPAN_REF", "SPAN_ALT")
    gene = tuple(name for name, _, _ in CONTEXT_FIELDS)
    return (*before, *gene, "TRANSCRIPT_CHOICE", "BIOTYPE", *(f.id for f in run.fields), "STATUS", "REASON")


def rows(reports: Iterable[RecordReport], run: RunInfo) -> Iterable[tuple[Value, ...]]:
    """Yield rows in the order of ``columns``; POS is 1-based as in VCF, START the 0-based start of the span."""
    for report in reports:
        for allele in report.alleles:
            change = allele.allele
            head: tuple[Value, ...] = (report.chrom, report.pos, report.id, report.ref, allele.alt)
            head += (change.start, change.ref, change.alt) if change else (None, None, None)
            for outcome in allele.contexts:
                gene = outcome.context
                yield (
                    *head,
                    *(get(outcome) for _, _, get in CONTEXT_FIELDS),
                    gene.transcript_choice if gene else None,
                    gene.biotype if gene else None,
                    *(outcome.values.get(f.id) for f in run.fields),
                    str(outcome.status),
                    outcome.reason or None,
                )


class TsvAdapter:
    """Write tab-separated text: provenance in ``##`` lines, then a header line, empty = missing."""

    name = "tsv"
    version = "1"
    suffix = ".tsv"

    def open(self, path: str, run: RunInfo) -> TsvWriter:
        """Return a writer; ``-`` is stdout."""
        return TsvWriter(path, run)


class TsvWriter:
    """Write rows as text, to a temporary name until ``commit``."""

    def __init__(self, path: str, run: RunInfo) -> None:
        self._run = run
        self._final = None if path == "-" else Path(path)
        self._temporary = temporary_name(self._final) if self._final else None
        try:
            self._out: IO[str] = (
                self._temporary.open("w", encoding="utf-8", newline="\n") if self._temporary else sys.stdout
            )
        except OSError as error:
            raise cannot_write(path, error) from error
        lines = [f"## {key}={value}\n" for key, value in run.provenance.items()]
        self._write("".join(lines) + "\t".join(columns(run)) + "\n")

    def write(self, reports: Iterable[RecordReport]) -> None:
        """Append rows."""
        self._write("".join("\t".join(_cell(value) for value in row) + "\n" for row in rows(reports, self._run)))

    def commit(self) -> None:
        """Put the file under its final name."""
        try:
            self._out.flush()
            if self._temporary and self._final:
                self._out.close()
                self._temporary.replace(self._final)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise cannot_write(self._final or "stdout", error) from error

    def abort(self) -> None:
        """Remove the temporary file."""
        if self._temporary:
            self._out.close()
            self._temporary.unlink(missing_ok=True)

    def _write(self, text: str) -> None:
        try:
            self._out.write(text)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise cannot_write(self._final or "stdout", error) from error


class ParquetAdapter:
    """Write Apache Parquet: typed columns, provenance in the schema's metadata."""

    name = "parquet"
    version = "1"
    suffix = ".parquet"

    def open(self, path: str, run: RunInfo) -> ParquetWriter:
        """Return a writer.

        Raises:
            SettingsError: ``path`` is ``-``; Parquet has its index at the end and cannot be streamed.
        """
        if path == "-":
            raise SettingsError(
                "Parquet cannot be written to stdout.", needed="a file", remedy="--emit parquet=FILE.parquet"
            )
        return ParquetWriter(path, run)


class ParquetWriter:
    """Write rows in groups of thousands, to a temporary name until ``commit``."""

    def __init__(self, path: str, run: RunInfo) -> None:
        self._run = run
        self._final = Path(path)
        self._temporary = temporary_name(self._final)
        self._schema = _schema(run)
        self._buffer: list[tuple[Value, ...]] = []
        try:
            self._writer = pq.ParquetWriter(self._temporary, self._schema)
        except OSError as error:
            raise cannot_write(path, error) from error

    def write(self, reports: Iterable[RecordReport]) -> None:
        """Append rows."""
        self._buffer.extend(rows(reports, self._run))
        if len(self._buffer) >= _ROWS_BUFFERED:
            self._flush()

    def commit(self) -> None:
        """Put the file under its final name."""
        self._flush()
        try:
            self._writer.close()
            self._temporary.replace(self._final)
        except OSError as error:
            raise cannot_write(self._final, error) from error

    def abort(self) -> None:
        """Remove the temporary file."""
        try:
            self._writer.close()
        except OSError:
            # The disk may be what failed; the file goes away either way and the first error is on its way to the user.
            self._writer.is_open = False
        self._temporary.unlink(missing_ok=True)

    def _flush(self) -> None:
        if not self._buffer:
            return
        by_column = zip(*self._buffer, strict=True)
        arrays = [pa.array(values, type=kind.type) for values, kind in zip(by_column, self._schema, strict=True)]
        try:
            self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))
        except OSError as error:
            raise cannot_write(self._final, error) from error
        self._buffer.clear()


def _schema(run: RunInfo) -> pa.Schema:
    types: dict[str, FieldSpec] = {field.id: field for field in run.fields}
    kinds = []
    for name in columns(run):
        if name in types:
            kinds.append((name, _ARROW_TYPES[types[name].type]))
        else:
            kinds.append((name, pa.int64() if name in ("POS", "START") else pa.string()))
    return pa.schema(kinds, metadata=dict(run.provenance))


def _cell(value: Value) -> str:
    """Print a value; a tab or line break inside a string would break the row."""
    text = format_value(value)
    return " ".join(text.split()) if isinstance(value, str) else text
