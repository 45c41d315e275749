"""Tables: one row per allele x gene, as TSV or Parquet. An ALT without scores has a row too, with its status."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from splicebert_vep.errors import SettingsError
from splicebert_vep.files import destination, reporting
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
        """Return a writer; ``-`` is stdout.

        Raises:
            SettingsError: the name promises a compressed file.
        """
        if path.endswith((".gz", ".bgz", ".zst")):
            raise SettingsError("TSV is written as plain text.", needed="a name without .gz", found=path)
        return TsvWriter(path, run)


class TsvWriter:
    """Write rows as text; bytes that are no UTF-8 leave as they came."""

    def __init__(self, path: str, run: RunInfo) -> None:
        self._run = run
        self._to = destination(path)
        with reporting(self._to.name):
            # A descriptor of its own: closing it must not close the program's stdout.
            self._out: IO[bytes] = open(self._to.path or os.dup(sys.stdout.fileno()), "wb")  # noqa: SIM115
        lines = [f"## {key}={value}\n" for key, value in run.provenance.items()]
        self._write("".join(lines) + "\t".join(columns(run)) + "\n")

    def write(self, reports: Iterable[RecordReport]) -> None:
        """Append rows."""
        self._write("".join("\t".join(_cell(value) for value in row) + "\n" for row in rows(reports, self._run)))

    def finish(self) -> None:
        """Write the last bytes; the file is whole then, under its temporary name."""
        with reporting(self._to.name):
            self._out.flush()
            if self._to.temporary is not None:
                os.fsync(self._out.fileno())
            self._out.close()

    def publish(self) -> None:
        """Put the file under its final name."""
        self._to.publish()

    def abort(self) -> None:
        """Remove what is not published."""
        with contextlib.suppress(OSError):  # the disk may be what failed, and that error is on its way to the user
            self._out.close()
        self._to.discard()

    def _write(self, text: str) -> None:
        with reporting(self._to.name):
            self._out.write(text.encode("utf-8", "surrogateescape"))


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
    """Write rows in groups of thousands."""

    def __init__(self, path: str, run: RunInfo) -> None:
        self._run = run
        self._to = destination(path)
        self._schema = _schema(run)
        self._buffer: list[tuple[Value, ...]] = []
        with reporting(self._to.name):
            self._writer = pq.ParquetWriter(self._to.path, self._schema)

    def write(self, reports: Iterable[RecordReport]) -> None:
        """Append rows."""
        self._buffer.extend(rows(reports, self._run))
        if len(self._buffer) >= _ROWS_BUFFERED:
            self._flush()

    def finish(self) -> None:
        """Write the last rows and the index; the file is whole then, under its temporary name."""
        self._flush()
        with reporting(self._to.name):
            self._writer.close()

    def publish(self) -> None:
        """Put the file under its final name."""
        self._to.publish()

    def abort(self) -> None:
        """Remove what is not published."""
        with contextlib.suppress(OSError):  # the disk may be what failed, and that error is on its way to the user
            self._writer.close()
        self._writer.is_open = False  # so that it does not try again when it is collected
        self._to.discard()

    def _flush(self) -> None:
        if not self._buffer:
            return
        by_column = zip(*self._buffer, strict=True)
        arrays = [
            pa.array([_utf8(value) for value in values], type=kind.type)
            for values, kind in zip(by_column, self._schema, strict=True)
        ]
        with reporting(self._to.name):
            self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))
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


def _utf8(value: Value) -> Value:
    """Return text that Parquet can hold: bytes of the VCF that are no UTF-8 become U+FFFD."""
    if isinstance(value, str) and not value.isascii():
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return value


def _cell(value: Value) -> str:
    """Print a value; a tab or line break inside a string would break the row."""
    text = format_value(value)
    return " ".join(text.split()) if isinstance(value, str) else text
