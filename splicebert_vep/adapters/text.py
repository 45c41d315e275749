"""Tables as text: tab-separated values, and JSON Lines."""

from __future__ import annotations

import json
from collections.abc import Iterator

from splicebert_vep_spec import RecordReport, RunInfo, Value, format_value

from .rows import columns, objects, rows

_json = json.JSONEncoder(allow_nan=False).encode


class TsvAdapter:
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


class JsonlAdapter:
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
    """Print a value; a tab or line break inside a string would break the row."""
    return " ".join(value.split()) if isinstance(value, str) else format_value(value)
