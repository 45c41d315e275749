"""Write the changes between two runs as a table: tab-separated text or Parquet, block by block."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from splicebert_vep_spec import Value, format_value

from ..errors import SettingsError
from ..files import is_stdout, whole_or_not
from ..outputs.tables import RowsWriter, cell
from .diff import Change, Changes, Comparison, shown
from .diff_tables import table_path
from .names import SUMMARY

COLUMNS = ("CHROM", "POS", "REF", "ALT", "GENE", "SYMBOL", "CHANGE", "FIELD", "OLD", "NEW", "DELTA")
_BLOCK = 16384  # rows
_PARQUET = ".parquet"
_PACKED = (".gz", ".bgz", ".zst", ".bz2", ".xz")


def check_destinations(old: str, new: str, output: str, summary: str | None) -> None:
    """Refuse what could not be written in the end, before anything is read.

    Args:
        old, new: the runs.
        output: of the changes, ``-`` for stdout.
        summary: of the page, if one is asked for.

    Raises:
        SettingsError: an output would replace a run's file or the other output, or cannot be of that name.
        CohortError: there is no such run.
    """
    if output.endswith(_PACKED):
        raise SettingsError(
            "The changes are written as plain text or as Parquet.",
            needed="a name that ends in .parquet, or has no compressor's suffix",
            found=output,
        )
    if summary is not None and is_stdout(summary):
        raise SettingsError("The summary cannot go to stdout.", needed="a file name", found=summary)
    written = [os.path.realpath(path) for path in (output, summary) if path is not None and not is_stdout(path)]
    tables = [os.path.realpath(table_path(run)) for run in (old, new)]
    kept = {*tables, *(os.path.join(os.path.dirname(table), SUMMARY) for table in tables)}
    if kept & set(written):
        raise SettingsError("An output would replace a file of a run.", needed="another file", found=", ".join(written))
    if len(set(written)) < len(written):
        raise SettingsError("Two outputs would go to the same place.", needed="two files", found=written[0])


def text_blocks(comparison: Comparison) -> Iterator[bytes]:
    """Yield the table as tab-separated text: a header line, then a line per change; empty = missing."""
    yield _line(COLUMNS)
    for block in _blocks(comparison):
        yield b"".join(_line((*row[:8], *map(format_value, row[8:]))) for row in block)


def write_changes(comparison: Comparison, path: str) -> None:
    """Write the table into a file: Parquet where its name says so, else tab-separated text.

    Parquet has OLD and NEW as text, because fields differ in type, DELTA in full precision, and what was compared in
    the metadata of its schema.

    Raises:
        OutputError: disk full and the like; nothing is left then.
    """
    with whole_or_not(path) as temporary:
        if path.endswith(_PARQUET):
            _write_parquet(comparison, temporary)
            return
        with temporary.open("wb") as out:
            out.writelines(text_blocks(comparison))


def _write_parquet(comparison: Comparison, path: Path) -> None:
    kinds = {"POS": pa.int64(), "DELTA": pa.float64()}
    about = {"Old": comparison.old, "New": comparison.new}
    metadata = {f"{run}.{key}": value for run, one in about.items() for key, value in one.provenance.items()}
    metadata["Threshold"] = repr(comparison.threshold)
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in COLUMNS], metadata=metadata)
    writer = RowsWriter(str(path), schema)
    try:
        for block in _blocks(comparison):
            writer.append(
                (*row[:8], *(None if v is None else format_value(v) for v in row[8:10]), row[10]) for row in block
            )
    finally:
        writer.close()


def _blocks(comparison: Comparison) -> Iterator[Iterator[tuple[Value, ...]]]:
    for begin in range(0, len(comparison.changes), _BLOCK):
        yield rows(comparison, comparison.changes.of(slice(begin, begin + _BLOCK)))


def rows(comparison: Comparison, changes: Changes) -> Iterator[tuple[Value, ...]]:
    """Yield changes as values in the order of ``COLUMNS``; None is missing."""
    both, names = comparison.rows, comparison.names
    at = shown(changes, both)
    chrom, ref, alt, gene, symbol = (both.words[name].at(at) for name in ("CHROM", "REF", "ALT", "GENE", "SYMBOL"))
    values = _values(comparison, changes)
    for i, (pos, kind, field) in enumerate(
        zip(both.pos[at].tolist(), changes.kind.tolist(), changes.field.tolist(), strict=True)
    ):
        old, new = values[i]
        delta = new - old if isinstance(old, float | int) and isinstance(new, float | int) else None
        yield chrom[i], pos, ref[i], alt[i], gene[i], symbol[i], Change(kind).name, names[field], old, new, delta


def _values(comparison: Comparison, changes: Changes) -> list[tuple[Value, Value]]:
    """Return the old and the new value of each change."""
    found: list[tuple[Value, Value]] = [(None, None)] * len(changes)
    for field, (name, kind) in enumerate(comparison.fields.items()):
        chosen = (changes.field == field).nonzero()[0]
        if not len(chosen):
            continue
        part = changes.of(chosen)
        if kind == "word":
            words = comparison.rows.words[name]
            pairs: Iterator[tuple[Value, Value]] = zip(words.at(part.left), words.at(part.right), strict=True)
        else:
            pairs = zip(_numbers(part.old.tolist(), kind), _numbers(part.new.tolist(), kind), strict=True)
        for i, pair in zip(chosen.tolist(), pairs, strict=True):
            found[i] = pair
    return found


def _numbers(values: list[float], kind: str) -> list[Value]:
    whole = kind == "whole"
    return [None if value != value else int(value) if whole else value for value in values]


def _line(cells: tuple[Value, ...]) -> bytes:
    return ("\t".join(map(cell, cells)) + "\n").encode()
