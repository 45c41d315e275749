"""``cohort diff``: join the tables of two runs by allele and gene, and compare them column by column."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from splicebert_vep_spec import format_value

from ..errors import BuildError, CohortError
from ..files import whole_or_not
from ..genome.contigs import accession_assembly, canonical_name
from ..genome.ids import stable_id
from ..outputs.tables import cell

TABLE = "cohort.parquet"  # in the folder of 'cohort run'
#: Columns of that table about the cohort and not the allele.
COUNTS = ("FILES", "CARRIERS")
#: Columns of the table of changes.
COLUMNS = ("CHROM", "POS", "REF", "ALT", "GENE", "SYMBOL", "CHANGE", "FIELD", "OLD", "NEW", "DELTA")
_NEEDED = ("CHROM", "POS", "REF", "ALT", "START", "SPAN_REF", "SPAN_ALT", "GENE", "SYMBOL", "TRANSCRIPT", "STATUS")
_OF_THE_FILE = {"CHROM", "POS", "ID", "REF", "ALT", "START", "SPAN_REF", "SPAN_ALT", "REASON", *COUNTS}
_KEYS = ["contig", "start", "ref", "alt", "gene", "turn"]
RUNS = ("OLD", "NEW")
_ROUNDING = 1e-9  # 0.51 - 0.50 is a little more than 0.01 in binary, and yet no more than 0.01


class FieldChange(NamedTuple):
    """The comparison of one column: rows that both runs have, rows that changed, the largest move of a number."""

    field: str
    compared: int
    changed: int
    largest: float | None


class Comparison(NamedTuple):
    """The comparison of two runs."""

    fields: list[FieldChange]  # of every column that both have
    only_old: int  # alleles that one run alone has
    only_new: int
    not_compared: list[str]  # columns that one run alone has, or that hold numbers in one and words in the other
    provenance: list[tuple[str, str, str]]  # keys that differ, with the values of both
    changes: pa.Table  # one row per changed field, in the columns ``COLUMNS``


def compare(old: str | Path, new: str | Path, threshold: float) -> Comparison:
    """Compare two runs of ``cohort run``, or two tables of ``annotate --emit parquet``.

    Rows are the same when normalised allele and gene are; chr17 and 17 are one contig, and the version of a gene's
    id does not count.

    Args:
        old, new: Parquet files, or folders of ``cohort run``.
        threshold: a number changed when it moved by more than this, or came or went.

    Raises:
        CohortError: there is no such table.
        BuildError: the accessions of the contigs are of different assemblies.
    """
    before, after = _read(old), _read(new)
    told = [
        {accession_assembly(name) for name in run["CHROM"].unique().to_pylist()} - {None} for run in (before, after)
    ]
    if all(told) and not told[0] & told[1]:
        found = " and ".join(", ".join(sorted(filter(None, names))) for names in told)
        raise BuildError("The runs are of different genome assemblies.", needed="runs of one assembly", found=found)
    names = [name for name in after.column_names if name in before.column_names and name not in (*_KEYS, *_OF_THE_FILE)]
    like = [name for name in names if _is_number(before, name) == _is_number(after, name)]
    joined = before.join(after, _KEYS, join_type="full outer", left_suffix=" OLD", right_suffix=" NEW").combine_chunks()
    in_old, in_new = (pc.is_valid(joined[f"POS {run}"]) for run in RUNS)
    both = pc.and_(in_old, in_new)
    changes = [
        _changes(joined, pc.and_not(in_old, in_new), "ONLY_OLD", "STATUS"),
        _changes(joined, pc.and_not(in_new, in_old), "ONLY_NEW", "STATUS"),
    ]
    fields = []
    for name in like:
        values = [joined[f"{name} {run}"] for run in RUNS]
        present = [pc.is_valid(column) for column in values]
        largest = None
        if _is_number(after, name):
            moved = pc.fill_null(_moved(values), 0.0)
            largest = float(pc.max(pc.filter(moved, both)).as_py() or 0.0)
            differ = pc.greater(moved, threshold * (1 + _ROUNDING))
        else:
            differ = pc.fill_null(pc.not_equal(*values), False)
        changed = pc.and_(both, pc.or_(pc.xor(*present), differ))
        fields.append(FieldChange(name, _count(pc.and_(both, pc.or_(*present))), _count(changed), largest))
        kind = "STATUS" if name == "STATUS" else "CONTEXT" if largest is None else "SCORE"
        changes.append(_changes(joined, changed, kind, name))
    contigs = [name for table in (after, before) for name in table["contig"].unique().to_pylist()]
    table = pa.concat_tables(changes)
    ranks = pc.index_in(table["contig"], pa.array(list(dict.fromkeys(contigs)), pa.string()))
    table = table.set_column(0, "contig", ranks)
    table = table.sort_by([(name, "ascending") for name in ("contig", "POS", "REF", "ALT", "GENE")]).select(COLUMNS)
    alleles = [one.group_by(_KEYS[:4]).aggregate([]) for one in (before, after)]
    only_old, only_new = (
        one.join(other, _KEYS[:4], join_type="left anti").num_rows for one, other in (alleles, alleles[::-1])
    )
    one_sided = set(before.column_names) ^ set(after.column_names)
    return Comparison(
        fields, only_old, only_new, sorted(one_sided | (set(names) - set(like))), _provenance(before, after), table
    )


def write_changes(comparison: Comparison, path: str) -> None:
    """Write the table of changes: Parquet where the name says so, else tab-separated text; empty = missing.

    Raises:
        OutputError: disk full and the like; nothing is left then.
    """
    with whole_or_not(path) as temporary:
        if path.endswith(".parquet"):
            with temporary.open("wb") as handle:
                pq.write_table(comparison.changes, handle)
            return
        with temporary.open("w", encoding="utf-8") as out:
            out.write("\t".join(COLUMNS) + "\n")
            for batch in comparison.changes.to_batches():
                for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    out.write("\t".join(map(cell, row)) + "\n")


def _read(path: str | Path) -> pa.Table:
    """Return the table of a run with the columns ``_KEYS``; a key that is there twice counts up in ``turn``."""
    file = Path(path) / TABLE if os.path.isdir(path) else Path(path)
    try:
        with file.open("rb") as handle:
            table = pq.read_table(handle, page_checksum_verification=True)
        if lacking := [name for name in _NEEDED if name not in table.column_names]:
            problem = "The Parquet file is no table of 'cohort run' or 'annotate'."
            raise CohortError(problem, found=f"no column {', '.join(lacking)}", where=str(file))
        return _keyed(table)
    except (OSError, pa.ArrowException) as error:
        problem = (
            f"The table of a run cannot be read: give a folder of 'cohort run', its {TABLE}, or Parquet of 'annotate'."
        )
        raise CohortError(problem, found=str(error), where=str(file)) from error


def _keyed(table: pa.Table) -> pa.Table:
    keys = {
        "contig": _mapped(table["CHROM"], canonical_name),
        "start": pc.coalesce(table["START"], pc.subtract(table["POS"], 1)),
        "ref": pc.coalesce(table["SPAN_REF"], table["REF"]),
        "alt": pc.coalesce(table["SPAN_ALT"], table["ALT"]),
        "gene": _mapped(pc.fill_null(table["GENE"], ""), stable_id),
        "transcript": pc.fill_null(table["TRANSCRIPT"], ""),
    }
    for name, column in keys.items():
        table = table.append_column(name, column)
    for at, field in enumerate(table.schema):
        if pa.types.is_floating(field.type):  # a number that is none is missing
            table = table.set_column(at, field, pc.if_else(pc.is_finite(table[at]), table[at], None))
    table = table.sort_by([(name, "ascending") for name in keys]).combine_chunks()
    same = np.ones(max(0, len(table) - 1), np.bool_)  # as the row before
    for name in _KEYS[:5]:
        same &= _equal_to_previous(table[name])
    # Of 'annotate' an allele may stand in several records; an annotation may have a gene id twice, by transcript.
    again = np.append(False, same & _equal_to_previous(table["transcript"]))[: len(table)]
    table = table.filter(pa.array(~again)).combine_chunks()
    first = ~np.append(False, same)[: len(again)][~again]
    number = np.arange(len(first))
    turn = number - np.maximum.accumulate(np.where(first, number, 0)) if len(number) else number
    return table.append_column("turn", pa.array(turn, pa.int64())).drop_columns("transcript")


def _equal_to_previous(column: pa.ChunkedArray) -> NDArray[np.bool_]:
    flat = column.combine_chunks()
    found: NDArray[np.bool_] = pc.equal(flat[1:], flat[:-1]).to_numpy(zero_copy_only=False)
    return found


def _mapped(column: pa.ChunkedArray, meaning: Callable[[str], str]) -> pa.Array:
    """Replace the words of a column; there are few different ones."""
    words = column.unique()
    new = pa.array([meaning(word) for word in words.to_pylist()], pa.string())
    return new.take(pc.index_in(column, words).combine_chunks())


def _is_number(table: pa.Table, name: str) -> bool:
    kind = table.schema.field(name).type
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _moved(values: Sequence[pa.ChunkedArray]) -> pa.ChunkedArray:
    old, new = (column.cast(pa.float64()) for column in values)
    return pc.abs(pc.subtract(new, old))


def _count(mask: pa.ChunkedArray) -> int:
    return int(pc.sum(mask).as_py() or 0)


def _changes(joined: pa.Table, mask: pa.ChunkedArray, change: str, field: str) -> pa.Table:
    """Return the rows of a mask in the columns ``COLUMNS``, after ``contig``."""
    part = joined.filter(mask)
    where = {name: pc.coalesce(part[f"{name} NEW"], part[f"{name} OLD"]) for name in COLUMNS[:6]}
    values = [part[f"{field} {run}"] for run in RUNS]
    texts = [pa.array([None if v is None else format_value(v) for v in c.to_pylist()], pa.string()) for c in values]
    delta = pa.nulls(len(part), pa.float64())
    if not pa.types.is_string(values[0].type):
        delta = pc.subtract(*(column.cast(pa.float64()) for column in values[::-1]))
    words = [pa.array([word] * len(part), pa.string()) for word in (change, field)]
    return pa.table({"contig": part["contig"], **where, **dict(zip(COLUMNS[6:], (*words, *texts, delta), strict=True))})


def _provenance(old: pa.Table, new: pa.Table) -> list[tuple[str, str, str]]:
    about = [
        {key.decode(): value.decode("utf-8", "replace") for key, value in (table.schema.metadata or {}).items()}
        for table in (old, new)
    ]
    keys = dict.fromkeys((*about[0], *about[1]))
    return [(key, *(one.get(key, "") for one in about)) for key in keys if about[0].get(key) != about[1].get(key)]
