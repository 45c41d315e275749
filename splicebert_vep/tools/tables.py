"""Tables of the tools: TSV under lines of provenance, or Parquet, by the file's suffix."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa

from splicebert_vep_spec import Value

from ..errors import SettingsError
from ..files import whole_or_not
from ..outputs.tables import RowsWriter, cell

SUFFIXES = (".tsv", ".parquet")


def check_table(path: str) -> None:
    """Raise SettingsError where a file's name does not say which kind of table it is."""
    if not path.lower().endswith(SUFFIXES):
        raise SettingsError("The suffix does not name a format of tables.", needed=", ".join(SUFFIXES), found=path)


def lines_of(schema: pa.Schema, rows: Iterable[tuple[Value, ...]]) -> Iterator[str]:
    """Yield the lines of a TSV: the schema's metadata as provenance, header, rows."""
    yield from (f"## {key.decode()}={value.decode()}\n" for key, value in (schema.metadata or {}).items())
    yield "\t".join(schema.names) + "\n"
    yield from ("\t".join(map(cell, row)) + "\n" for row in rows)


def write_table(path: str | Path, schema: pa.Schema, rows: Iterable[tuple[Value, ...]]) -> None:
    """Write a table, whole or not at all; SettingsError for another suffix, OutputError where it cannot be written."""
    check_table(str(path))
    with whole_or_not(path) as temporary:
        if Path(path).suffix.lower() == ".parquet":
            writer = RowsWriter(str(temporary), schema)
            try:
                writer.append(rows)
            finally:
                writer.close()
            return
        with temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as text:
            text.writelines(lines_of(schema, rows))
