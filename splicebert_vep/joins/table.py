"""Join a table that a file declares, such as CADD's or dbNSFP's."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from splicebert_vep_spec import (
    Allele,
    FieldSpec,
    GeneContext,
    JoinAdapter,
    JoinQuery,
    JoinRequest,
    OpenJoin,
    Refused,
    Value,
)
from splicebert_vep_spec.values import fits

from ..errors import SettingsError
from ..genome.ids import stable_id
from .match import (
    AlleleRows,
    Entry,
    Joined,
    Match,
    Outcome,
    Row,
    Said,
    UnreadableError,
    fields_with_status,
    number,
    outcome_of,
    values_by_field,
    whole,
)

GeneMatch = Literal["none", "gene_id", "symbol", "transcript"]
Pick = Literal["matched", "max", "min"]

_DOCS = "docs/joins.md shows how a table is declared"
_NAME = re.compile(r"[A-Z][A-Za-z0-9_]*\Z")
_MISSING = ("", ".", "NA", "-")


@dataclass(frozen=True, slots=True)
class TableField:
    """A field and where it comes from.

    Args:
        spec: id without the name of the join, type, description, direction.
        column: name of the column.
        separator: what stands between the elements of a list; empty where a cell is one value.
        pick: which element of a list counts: the matched gene's, where they all agree, or the largest or smallest of
            the gene's.
        missing: words that stand for no value.
    """

    spec: FieldSpec
    column: str
    separator: str
    pick: Pick | None
    missing: frozenset[str]


@dataclass(frozen=True, slots=True)
class Declaration:
    """A declared table.

    Args:
        path: of the declaration.
        files: the indexed files.
        version: what the user calls the data, for the provenance.
        columns: names of the columns of contig, position, REF and ALT.
        base: 1 or 0, of the first base of a contig.
        gene_match: what of the gene a row names.
        gene_column: where.
        gene_separator: what stands between several of them; empty where a row names one.
        fields: in their order.
    """

    path: str
    files: tuple[str, ...]
    version: str
    columns: tuple[str, str, str, str]
    base: int
    gene_match: GeneMatch
    gene_column: str
    gene_separator: str
    fields: tuple[TableField, ...]

    @property
    def specs(self) -> tuple[FieldSpec, ...]:
        """The fields as they are written."""
        return tuple(field.spec for field in self.fields)


def read_declaration(path: str) -> Declaration:
    """Read a declaration.

    Raises:
        SettingsError: it is not there, no TOML, or lacks or has what it should not; the message names the key.
    """
    try:
        with open(path, "rb") as handle:
            content = tomllib.load(handle)
    except OSError as error:
        raise SettingsError(
            "The declaration of a table cannot be opened.", found=error.strerror or str(error), where=path
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(
            "The declaration of a table is no TOML.", found=str(error), where=path, remedy=_DOCS
        ) from error
    return _Reading(path).declaration(content)


class _Reading:
    """Read one file; every error names it."""

    def __init__(self, path: str) -> None:
        self._path = path

    def declaration(self, content: Mapping[str, Any]) -> Declaration:
        self._keys(content, "", {"files", "columns", "fields"}, {"version", "missing", "gene"})
        columns = self._table(content, "columns", {"chrom", "pos", "ref", "alt"}, {"base"})
        gene = self._table(content, "gene", {"match"}, {"column", "separator"}) if "gene" in content else {}
        match = cast(GeneMatch, self._word(gene, "gene.match", ("none", "gene_id", "symbol", "transcript"), "none"))
        column = self._text(gene, "gene.column", "")
        separator = self._text(gene, "gene.separator", "")
        if (match == "none") != (not column) or (match == "none" and separator):
            needed = "gene.column, unless gene.match is none, and gene.separator only with it"
            raise self._unfit("gene", needed, str(gene))
        files = self._texts(content, "files", ())
        if not files:
            raise self._unfit("files", "at least one file", "none")
        missing = frozenset(self._texts(content, "missing", _MISSING))
        fields = self._mapping(content["fields"], "fields")
        if not fields:
            raise self._unfit("fields", "at least one field", "none")
        base = columns.get("base", 1)
        if base not in (0, 1) or isinstance(base, bool):
            raise self._unfit("columns.base", "1 or 0", repr(base))
        chrom, pos, ref, alt = (self._text(columns, f"columns.{name}") for name in ("chrom", "pos", "ref", "alt"))
        folder = Path(self._path).parent
        return Declaration(
            self._path, tuple(str(folder / file) for file in files), self._text(content, "version", ""),
            (chrom, pos, ref, alt), base, match, column, separator,
            tuple(self._field(name, fields[name], missing, separator) for name in fields),
        )  # fmt: skip

    def _field(self, name: str, given: Any, missing: frozenset[str], gene_separator: str) -> TableField:
        where = f"fields.{name}"
        content = self._mapping(given, where)
        self._keys(content, where, {"column", "type", "description"}, {"direction", "separator", "pick", "missing"})
        kind: Any = self._word(content, f"{where}.type", ("Float", "Integer", "String"))
        direction: Any = self._word(content, f"{where}.direction", ("higher", "negative", "none"), "none")
        separator = self._text(content, f"{where}.separator", "")
        pick = self._word(content, f"{where}.pick", ("matched", "max", "min")) if "pick" in content else None
        if bool(separator) != bool(pick):
            raise self._unfit(where, "separator and pick together: which element of a list counts", str(dict(content)))
        if pick == "matched" and not gene_separator:
            raise self._unfit(f"{where}.pick", "gene.separator, to match an element by", "pick = matched without it")
        if pick in ("max", "min") and kind == "String":
            raise self._unfit(f"{where}.pick", "a number for max and min", "type String")
        own = frozenset(self._texts(content, f"{where}.missing", ())) if "missing" in content else missing
        if not _NAME.match(name) or name == "STATUS":
            raise self._unfit(where, "a capital, then letters, digits and underscores, and not STATUS", name)
        return TableField(
            FieldSpec(name, "A", kind, self._text(content, f"{where}.description"), direction),
            self._text(content, f"{where}.column"), separator, cast(Pick | None, pick), own | {""},
        )  # fmt: skip

    def _table(self, content: Mapping[str, Any], key: str, needed: set[str], allowed: set[str]) -> Mapping[str, Any]:
        table = self._mapping(content[key], key)
        self._keys(table, key, needed, allowed)
        return table

    def _mapping(self, value: Any, key: str) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            raise self._unfit(key, f"a table [{key}]", repr(value))
        return value

    def _keys(self, content: Mapping[str, Any], where: str, needed: set[str], allowed: set[str]) -> None:
        lacking, odd = sorted(needed - set(content)), sorted(set(content) - needed - allowed)
        if lacking or odd:
            has = f"without {', '.join(lacking)}" if lacking else f"with {', '.join(odd)}"
            optional = f"; and, if wanted, {', '.join(sorted(allowed))}" if allowed else ""
            raise self._unfit(where or "the file", f"{', '.join(sorted(needed))}{optional}", has)

    def _text(self, content: Mapping[str, Any], key: str, default: str | None = None) -> str:
        value = content.get(key.rpartition(".")[2], default)
        if not isinstance(value, str) or "\n" in value or (not value and default is None):
            raise self._unfit(key, "text of one line", repr(value))
        return value

    def _texts(self, content: Mapping[str, Any], key: str, default: Sequence[str]) -> tuple[str, ...]:
        value = content.get(key.rpartition(".")[2], list(default))
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise self._unfit(key, "a list of texts", repr(value))
        return tuple(value)

    def _word(self, content: Mapping[str, Any], key: str, words: Sequence[str], default: str = "") -> str:
        value = content.get(key.rpartition(".")[2], default)
        if value not in words:
            raise self._unfit(key, f"one of {', '.join(words)}", repr(value))
        return str(value)

    def _unfit(self, key: str, needed: str, found: str) -> SettingsError:
        return SettingsError(
            "The declaration of a table cannot be used.", needed=needed, found=found, where=f"{self._path}, {key}",
            remedy=_DOCS,
        )  # fmt: skip


#: How many bases before an allele a row of a table may begin: its index knows the position only.
PADDING = 50


class TableJoin(JoinAdapter):
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


class OpenTable(OpenJoin):
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
        return frozenset((stable_id(name),)) if name else frozenset()

    def _said(self, row: Row, names: frozenset[str]) -> Said:
        """Return the entry of a row for a gene; a row of other genes gives theirs, without values."""
        genes: list[str] | None = None
        gene: str | None = None
        if self._gene is not None:
            separator = self._declared.gene_separator
            genes = row.cells[self._gene].split(separator) if separator else [row.cells[self._gene]]
            gene = next((one for one in genes if stable_id(one) in names), genes[0])
            if stable_id(gene) not in names:
                return [Entry(gene, (None,) * len(self._columns))]
        mine = (
            [i for i, one in enumerate(genes) if stable_id(one) in names]
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
