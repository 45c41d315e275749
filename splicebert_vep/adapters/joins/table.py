"""Join a table that a file declares, such as CADD's or dbNSFP's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from splicebert_vep.errors import SettingsError
from splicebert_vep_spec import Allele, FieldSpec, GeneContext, JoinQuery, JoinRequest, Refused, Value
from splicebert_vep_spec._rules import fits

from .declaration import Declaration, TableField, read_declaration
from .outcome import (
    Entry,
    Joined,
    Outcome,
    Said,
    UnreadableError,
    fields_with_status,
    number,
    outcome_of,
    plain,
    values_by_field,
    whole,
)
from .rows import AlleleRows, Match, Row

#: How many bases before an allele a row of a table may begin: its index knows the position only.
PADDING = 50


class TableJoin:
    """Join tables that are declared (``--join NAME=FILE.toml``)."""

    name = "table"
    version = "1"
    label = ""

    def join(self, request: JoinRequest) -> OpenTable:
        """Open the tables.

        Raises:
            Refused: several declarations of one NAME.
            SettingsError: the declaration or a table's header is not as it should be.
        """
        if len(request.files) != 1:
            raise Refused(
                "A declared table takes one .toml for its NAME; several files of a table go into its 'files'."
            )
        return OpenTable(read_declaration(request.files[0]), request)


class OpenTable:
    """A declared table, open.

    Args:
        declaration: what it is.
        request: what opens and normalises.
    """

    def __init__(self, declaration: Declaration, request: JoinRequest) -> None:
        self._declared = declaration
        tables = [request.open_table(file) for file in declaration.files]
        headers = [_header(table.head, file) for table, file in zip(tables, declaration.files, strict=True)]
        if any(header != headers[0] for header in headers):
            raise SettingsError(
                "The files of one table differ in their columns.",
                needed="files with the same header line",
                found=" and ".join(declaration.files),
                where=declaration.path,
                remedy="declare them as two tables, each under a NAME of its own",
            )
        self._header = headers[0]
        self._chrom, self._pos, self._ref, self._alt = (self._column(name) for name in declaration.columns)
        self._columns = [self._column(field.column) for field in declaration.fields]
        self._gene = self._column(declaration.gene_column) if declaration.gene_column else None
        self.fields: tuple[FieldSpec, ...] = fields_with_status(request.name, declaration.specs, request.name)
        self.about = declaration.version
        self._rows = AlleleRows(tables, request, self._row, PADDING)

    def look_up(self, queries: Sequence[JoinQuery]) -> list[Mapping[str, Value]]:
        """Return values for every query; the files are read once per allele."""
        known: dict[Allele, list[Match] | None] = {}
        found: list[Mapping[str, Value]] = []
        for query in queries:
            if query.allele not in known:
                known[query.allele] = self._rows.find(query.allele)
            matches = known[query.allele]
            names = self._names(query.context)
            if matches is None:
                outcome = Outcome(Joined.NO_CONTIG)
            else:
                outcome = outcome_of([self._said(match.row, names) for match in matches], names)
            found.append(values_by_field(self.fields, outcome))
        return found

    def close(self) -> None:
        """The program closes the files."""

    def _names(self, context: GeneContext) -> frozenset[str]:
        """Return what the rows may call this gene."""
        name = {
            "none": None,
            "gene_id": context.gene_id,
            "symbol": context.symbol,
            "transcript": context.transcript_id,
        }[self._declared.gene_match]
        return frozenset((plain(name),)) if name else frozenset()

    def _said(self, row: Row, names: frozenset[str]) -> Said:
        """Return the entry of a row for a gene; a row of other genes gives theirs, without values."""
        genes: list[str] | None = None
        gene: str | None = None
        if self._gene is not None:
            separator = self._declared.gene_separator
            genes = row.cells[self._gene].split(separator) if separator else [row.cells[self._gene]]
            gene = next((one for one in genes if plain(one) in names), genes[0])
            if plain(gene) not in names:
                return [Entry(gene, (None,) * len(self._columns))]
        mine = (
            [i for i, one in enumerate(genes) if plain(one) in names]
            if self._declared.gene_separator and genes
            else None
        )
        values = []
        for field, column in zip(self._declared.fields, self._columns, strict=True):
            try:
                values.append(_value(row.cells[column], field, mine, len(genes or ())))
            except UnreadableError:
                return Joined.UNREADABLE
            except _DisagreeError:
                return Joined.AMBIGUOUS
        return [Entry(gene, tuple(values))]

    def _column(self, name: str) -> int:
        if self._header.count(name) == 1:
            return self._header.index(name)
        raise SettingsError(
            "A declared column is not in the table's header, or twice.",
            needed=name,
            found=", ".join(self._header),
            where=f"{self._declared.path} for {self._declared.files[0]}",
        )

    def _row(self, line: str) -> Row:
        cells = line.split("\t")
        if len(cells) != len(self._header) or not cells[self._pos].isdigit():
            raise SettingsError(
                "A row of a joined table cannot be read.",
                needed=f"{len(self._header)} columns as in its header, and a position",
                found=f"{len(cells)}: {line[:60]}",
                where=" or ".join(self._declared.files),
            )
        pos = int(cells[self._pos]) + 1 - self._declared.base
        return Row(pos, cells[self._ref].upper(), tuple(cells[self._alt].upper().split(",")), cells)


class _DisagreeError(ValueError):
    """Elements of one gene differ."""


def _header(head: Sequence[str], file: str) -> list[str]:
    """Return the names of the columns: the last line before the rows, without the character that marks a comment."""
    if not head or "\t" not in head[-1]:
        raise SettingsError(
            "A table to join has no line that names its columns.",
            needed="one right before the rows, which begins with # or which the index skips (tabix -S 1)",
            found=head[-1][:60] if head else "none",
            where=file,
        )
    return head[-1].lstrip("#").split("\t")


def _value(cell: str, field: TableField, mine: Sequence[int] | None, genes: int) -> Value:
    """Return a field's value.

    Args:
        mine: which elements of a list are of the gene; None is all.
        genes: how many elements the list of genes has.
    """
    if not field.separator:
        return _one(cell, field)
    if cell in field.missing:
        return None
    elements = cell.split(field.separator)
    if mine is not None:
        if len(elements) != genes:
            raise UnreadableError(cell)
        elements = [elements[i] for i in mine]
    values = [value for element in elements if (value := _one(element, field)) is not None]
    if not values:
        return None
    if field.pick == "matched":
        if len(set(values)) > 1:
            raise _DisagreeError(cell)
        return values[0]
    numbers = [value for value in values if not isinstance(value, str)]
    return max(numbers) if field.pick == "max" else min(numbers)


def _one(text: str, field: TableField) -> Value:
    if text in field.missing:
        return None
    kind = field.spec.type
    if kind == "String":
        return text
    value = whole(text) if kind == "Integer" else number(text)
    if (isinstance(value, float) and not math.isfinite(value)) or not fits(kind, value):
        raise UnreadableError(text)
    return value
