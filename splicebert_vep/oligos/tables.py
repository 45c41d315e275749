"""Oligos as a table, TSV or Parquet by the file's suffix; whole under its name, or not there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from splicebert_vep.adapters.parquet import RowsWriter
from splicebert_vep.adapters.text import cell
from splicebert_vep.errors import SettingsError
from splicebert_vep.files import is_stdout, whole_or_not
from splicebert_vep_spec import Value

from .aim import KINDS
from .results import Oligo, Oligos

SUFFIXES = (".tsv", ".parquet")
_INTEGER, _FLOAT, _TEXT = pa.int64(), pa.float64(), pa.string()
_OF_SITES = (("OFFSET", _TEXT), ("DLNP", _FLOAT), ("DP", _FLOAT), ("DHEAD", _FLOAT))
COLUMNS = (
    ("RANK", _INTEGER), ("STATUS", _TEXT), ("CHROM", _TEXT), ("START", _INTEGER), ("END", _INTEGER), ("STRAND", _TEXT),
    ("LENGTH", _INTEGER), ("TARGET", _TEXT), ("OLIGO", _TEXT), ("REGION", _TEXT), ("OWN_SITE", _TEXT),
    ("EFFECT", _FLOAT), ("DLNP", _FLOAT), ("DHEAD", _FLOAT), ("N_SITES", _INTEGER), ("OUTSIDE", _TEXT),
    *((f"{kind.upper()}_{name}", type_) for kind in KINDS for name, type_ in _OF_SITES),
    ("GC", _FLOAT), ("SELF_COMPLEMENT", _INTEGER), ("HAIRPIN", _INTEGER), ("OFF_TARGETS", _INTEGER),
)  # fmt: skip


def check_table(path: str) -> None:
    """See that an output is stdout, or a file whose name says which kind of table it is.

    Raises:
        SettingsError: it is not.
    """
    if not is_stdout(path) and not path.lower().endswith(SUFFIXES):
        raise SettingsError("The table's format is told by its suffix.", needed=", ".join(SUFFIXES), found=path)


def rows(found: Oligos) -> Iterator[tuple[Value, ...]]:
    """Yield one row of ``COLUMNS`` for each oligo, in their order; positions are 1-based."""
    for oligo in found.oligos:
        sites = [value for kind in KINDS for value in _of_site(oligo, kind)]
        yield (
            oligo.rank, oligo.status, found.aim.contig, oligo.start + 1, oligo.end, found.aim.strand, len(oligo),
            oligo.target, oligo.sequence, oligo.region, oligo.own_site, oligo.effect, oligo.log_p, oligo.head,
            len(oligo.changes), "&".join(oligo.outside) or None, *sites,
            oligo.gc, oligo.self_complementarity, oligo.hairpin, oligo.off_targets,
        )  # fmt: skip


def text(found: Oligos) -> Iterator[str]:
    """Yield the lines of the TSV: provenance, header, rows."""
    yield from (f"## {key}={value}\n" for key, value in found.provenance.items())
    yield "\t".join(name for name, _ in COLUMNS) + "\n"
    yield from ("\t".join(map(cell, row)) + "\n" for row in rows(found))


def write_oligos(found: Oligos, path: str | Path) -> None:
    """Write the table.

    Raises:
        SettingsError: another suffix, or stdout.
        OutputError: it cannot be written.
    """
    check_table(str(path))
    with whole_or_not(path) as temporary:
        if Path(path).suffix.lower() == ".parquet":
            writer = RowsWriter(str(temporary), pa.schema(COLUMNS, metadata=dict(found.provenance)))
            try:
                writer.append(rows(found))
            finally:
                writer.close()
            return
        with temporary.open("w", encoding="utf-8", newline="") as out:
            out.writelines(text(found))


def _of_site(oligo: Oligo, kind: str) -> tuple[Value, ...]:
    where = oligo.offsets.get(kind)
    offset = None if where is None else f"{where[0]:+d}..{where[1]:+d}"
    change = oligo.changes.get(kind)
    return (offset, None, None, None) if change is None else (offset, change.log_p, change.p, change.head)
