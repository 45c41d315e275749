"""Maps as tables, TSV or Parquet by the file's suffix; whole under their name, or not there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa

from splicebert_vep.adapters.parquet import RowsWriter, schema_of
from splicebert_vep.adapters.rows import rows
from splicebert_vep.adapters.text import cell
from splicebert_vep.errors import SettingsError
from splicebert_vep.files import whole_or_not
from splicebert_vep_spec import RunInfo, Value

from .dependency import Dependency
from .region_map import BASES, RegionMap

SUFFIXES = (".tsv", ".parquet")
_DEPENDENCY = (
    ("CHROM", pa.string()), ("MUTATED_POS", pa.int64()), ("MUTATED_OFFSET", pa.int64()), ("MUTATED_REF", pa.string()),
    ("READ_POS", pa.int64()), ("READ_OFFSET", pa.int64()), ("READ_REF", pa.string()),
    ("N_ALTS", pa.int64()), ("KL_MEAN", pa.float64()), ("KL_MAX", pa.float64()),
)  # fmt: skip


def check_table(path: str) -> None:
    """See that a file's name says which kind of table it is.

    Raises:
        SettingsError: it does not.
    """
    if not path.lower().endswith(SUFFIXES):
        raise SettingsError("The table's format is told by its suffix.", needed=", ".join(SUFFIXES), found=path)


def write_map(found: RegionMap, path: str | Path, run: RunInfo) -> None:
    """Write one row per SNV, by position and ALT: the columns of ``--emit tsv``, then OFFSET, TX_REF and TX_ALT.

    OFFSET counts nt from the 5' end of the region, 0 the first; TX_REF and TX_ALT are on the transcribed strand.

    Raises:
        SettingsError: another suffix.
        OutputError: it cannot be written.
    """
    schema = schema_of(run)
    for name, kind in (("OFFSET", pa.int64()), ("TX_REF", pa.string()), ("TX_ALT", pa.string())):
        schema = schema.append(pa.field(name, kind))
    _write(path, schema, _of_map(found, run), run)


def write_dependency(found: RegionMap, dependency: Dependency, path: str | Path, run: RunInfo) -> None:
    """Write one row per mutated and read position, both 5' to 3' of the transcript.

    MUTATED_REF and READ_REF are on the transcribed strand. KL_MEAN and KL_MAX are over the N_ALTS that have a value.

    Raises:
        SettingsError: another suffix.
        OutputError: it cannot be written.
    """
    _write(path, pa.schema(_DEPENDENCY, metadata=dict(run.provenance)), _of_dependency(found, dependency), run)


def _of_map(found: RegionMap, run: RunInfo) -> Iterator[tuple[Value, ...]]:
    for result in found.results:
        offset, base = found.cell(result)
        for row in rows(result.report, run):
            yield (*row, offset, found.ref[offset], BASES[base])


def _of_dependency(found: RegionMap, dependency: Dependency) -> Iterator[tuple[Value, ...]]:
    mean, largest, alts = dependency.mean(), dependency.largest(), dependency.alts()
    position = (found.position + 1).tolist()
    for i, mutated in enumerate(position):
        for j, read in enumerate(position):
            count = int(alts[i, j])
            values = (float(mean[i, j]), float(largest[i, j])) if count else (None, None)
            yield (found.contig, mutated, i, found.ref[i], read, j, found.ref[j], count, *values)


def _write(path: str | Path, schema: pa.Schema, lines: Iterable[tuple[Value, ...]], run: RunInfo) -> None:
    check_table(str(path))
    with whole_or_not(path) as temporary:
        if Path(path).suffix.lower() == ".parquet":
            writer = RowsWriter(str(temporary), schema)
            try:
                writer.append(lines)
            finally:
                writer.close()
            return
        with temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as text:
            text.writelines(f"## {key}={value}\n" for key, value in run.provenance.items())
            text.write("\t".join(schema.names) + "\n")
            text.writelines("\t".join(map(cell, line)) + "\n" for line in lines)
