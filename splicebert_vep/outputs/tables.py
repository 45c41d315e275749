"""Tables, one row per allele and gene: TSV, JSON Lines and Parquet, with provenance at their head."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from splicebert_vep_spec import RecordReport, RunInfo, TableAdapter, TableWriter, TextAdapter, Value, format_value

from ..settings import CONTEXT_FIELDS
from .flat import CONTEXT_IDS, context_values, per_run, score_ids


@per_run
def columns(run: RunInfo) -> tuple[str, ...]:
    """Return the names of a table's columns."""
    before = ("CHROM", "POS", "ID", "REF", "ALT", "START", "SPAN_REF", "SPAN_ALT")
    return (*before, *CONTEXT_IDS, "TRANSCRIPT_CHOICE", "BIOTYPE", *score_ids(run), "STATUS", "REASON")


def rows(report: RecordReport, run: RunInfo) -> Iterator[tuple[Value, ...]]:
    """Yield the rows of a record in the order of ``columns``.

    POS is 1-based as in VCF, START the 0-based start of the span; None is missing.
    """
    ids = score_ids(run)
    for allele in report.alleles:
        change = allele.allele
        head: tuple[Value, ...] = (report.chrom, report.pos, report.id, report.ref, allele.alt)
        head += (change.start, change.ref, change.alt) if change else (None, None, None)
        for outcome in allele.contexts:
            gene = outcome.context
            choice = (gene.transcript_choice, gene.biotype) if gene else (None, None)
            scores = map(outcome.values.get, ids)
            yield (*head, *context_values(gene), *choice, *scores, str(outcome.status), outcome.reason or None)


def objects(report: RecordReport, run: RunInfo) -> Iterator[dict[str, Value]]:
    """Yield the rows of a record as JSON objects by column."""
    names = columns(run)
    for row in rows(report, run):
        yield dict(zip(names, map(utf8, row), strict=True))


def utf8(value: Value) -> Value:
    """Return text that Unicode formats can hold: bytes of the VCF that are not UTF-8 become U+FFFD."""
    if isinstance(value, str) and not value.isascii():
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return value


_FORMULA = re.compile(r"[=+@-](?!$|[\d.]+(?:[eE][+-]?\d+)?$)")  # not a strand, not a number
_json = json.JSONEncoder(allow_nan=False).encode


class TsvAdapter(TextAdapter):
    """Write tab-separated text: provenance in ``##`` lines, then a header line, empty = missing."""

    name = "tsv"
    version = "1"

    def head(self, run: RunInfo) -> Iterator[str]:
        """Yield the provenance lines and the header line."""
        yield from (f"## {key}={value}" for key, value in run.provenance.items())
        yield "\t".join(columns(run))

    def lines(self, report: RecordReport, run: RunInfo) -> Iterator[str]:
        """Yield one line per allele x gene."""
        for row in rows(report, run):
            yield "\t".join(map(cell, row))


class JsonlAdapter(TextAdapter):
    """Write JSON Lines: first an object that holds the provenance, then one object per row; null = missing.

    Numbers have full precision.
    """

    name = "jsonl"
    version = "1"

    def head(self, run: RunInfo) -> Iterator[str]:
        """Yield the line of the provenance."""
        yield json.dumps({"provenance": dict(run.provenance)})

    def lines(self, report: RecordReport, run: RunInfo) -> Iterator[str]:
        """Yield one line per allele x gene."""
        for row in objects(report, run):
            yield _json(row)


def cell(value: Value) -> str:
    """Print a value of a TSV so that every reader takes the row whole, and no spreadsheet takes text for a formula."""
    if not isinstance(value, str):
        return format_value(value)
    text = " ".join(value.split()).replace("#", "%23").replace('"', "%22")
    return f"'{text}" if _FORMULA.match(text) else text


_ROWS_BUFFERED = 16384
_LETTERS_BUFFERED = 1 << 25  # each of a record's ALTs repeats its REF
_ARROW_TYPES = {"Float": pa.float64(), "Integer": pa.int64(), "String": pa.string()}


class ParquetAdapter(TableAdapter):
    """Write Apache Parquet, one row per allele x gene."""

    name = "parquet"
    version = "1"

    def open(self, path: str, run: RunInfo) -> ParquetWriter:
        """Return a writer."""
        return ParquetWriter(path, run)


class ParquetWriter(TableWriter):
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
    """Write rows, whose values come in the order of the schema, in groups of thousands."""

    def __init__(self, path: str, schema: pa.Schema, together: int = _ROWS_BUFFERED) -> None:
        self._schema, self._together = schema, together
        self._buffer: list[tuple[Value, ...]] = []
        self._letters = 0
        self._file = open(path, "wb")  # noqa: SIM115 (pyarrow takes no path that is not UTF-8)
        self._writer = pq.ParquetWriter(self._file, schema, write_page_checksum=True)

    def append(self, rows: Iterable[tuple[Value, ...]]) -> None:
        """Append rows."""
        for row in rows:
            self._buffer.append(row)
            self._letters += sum(len(value) for value in row if isinstance(value, str))
            if len(self._buffer) >= self._together or self._letters > _LETTERS_BUFFERED:
                self._flush()

    def close(self) -> None:
        """Write the last rows and the index."""
        try:
            self._flush()
            self._writer.close()
        finally:
            self._writer.is_open = False  # so that it does not try again when it is collected
            self._file.close()

    def _flush(self) -> None:
        if not self._buffer:
            return
        by_column = zip(zip(*self._buffer, strict=True), self._schema, strict=True)
        arrays = [pa.array(map(utf8, values), type=column.type) for values, column in by_column]
        self._buffer.clear()
        self._letters = 0
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))


def schema_of(run: RunInfo) -> pa.Schema:
    """Return the schema of a run's rows, with its provenance as metadata."""
    fields = (*CONTEXT_FIELDS.values(), *run.fields)
    types = {"POS": pa.int64(), "START": pa.int64()} | {field.id: _ARROW_TYPES[field.type] for field in fields}
    kinds = [(name, types.get(name, pa.string())) for name in columns(run)]
    return pa.schema(kinds, metadata={key: utf8(value) for key, value in run.provenance.items()})
