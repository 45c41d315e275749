"""Join a table that a file declares, such as CADD's or dbNSFP's."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast, get_args

import msgspec

from splicebert_vep_spec import FieldSpec, GeneContext, JoinAdapter, JoinQuery, JoinRequest, Refused, Value
from splicebert_vep_spec.values import Direction, FieldType, fits

from ..errors import SettingsError, visible
from ..files import open_regular
from ..genome.ids import stable_id
from .match import (
    AlleleRows,
    Entries,
    Entry,
    FileJoin,
    Joined,
    Match,
    Row,
    UnreadableError,
    fields_with_status,
    number,
    position,
)

_DOCS = "docs/joins.md shows how a table is declared"
_S = TypeVar("_S")
#: How many bases before an allele a row of a table may begin: its index knows the position only.
PADDING = 50

GeneMatch = Literal["none", "gene_id", "symbol", "transcript"]
Pick = Literal["matched", "max", "min"]
Name = Annotated[str, msgspec.Meta(min_length=1)]


def _check_word(key: str, word: object, words: Any) -> None:
    if word not in get_args(words):
        raise ValueError(f"{key} is {word!r}; needed one of {', '.join(map(str, get_args(words)))}")


class Columns(msgspec.Struct, forbid_unknown_fields=True):
    """Names of the columns of an allele; ``base`` is the first position of a contig, 1 or 0."""

    chrom: Name
    pos: Name
    ref: Name
    alt: Name
    base: int = 1

    def __post_init__(self) -> None:
        _check_word("base", self.base, Literal[1, 0])


class GeneColumn(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A column that names genes; ``match`` is the kind of name, ``separator`` stands between several of a row."""

    match: str = "none"
    column: str = ""
    separator: str = ""

    def __post_init__(self) -> None:
        _check_word("gene.match", self.match, GeneMatch)
        if (self.match == "none") != (not self.column) or (self.match == "none" and self.separator):
            raise ValueError("needed gene.column, unless gene.match is none, and gene.separator only with it")


class TableField(msgspec.Struct, forbid_unknown_fields=True):
    """A field as it is declared.

    Args:
        column: name of the column.
        separator: stands between the elements of a list; empty where a cell is one value.
        pick: the element of a list that counts: ``matched``, the gene's, where they all agree, or the largest or
            smallest of the gene's.
        missing: words that stand for no value; None takes those of the table.
    """

    column: Name
    type: str
    description: Name
    direction: str = "none"
    separator: str = ""
    pick: str | None = None
    missing: list[str] | None = None

    def __post_init__(self) -> None:
        if not self.description.isprintable():
            raise ValueError("description needs printable characters of one line")
        _check_word("type", self.type, FieldType)
        _check_word("direction", self.direction, Direction)
        if self.pick is not None:
            _check_word("pick", self.pick, Pick)
        if bool(self.separator) != bool(self.pick):
            raise ValueError("needed separator and pick together: which element of a list counts")
        if self.pick in ("max", "min") and self.type == "String":
            raise ValueError(f"pick {self.pick} needs a number, not type String")


class Declaration(msgspec.Struct, forbid_unknown_fields=True):
    """A declared table: its files, the user's name of the data's version, columns, genes, and fields by name."""

    files: Annotated[list[str], msgspec.Meta(min_length=1)]
    columns: Columns
    fields: Annotated[dict[str, Any], msgspec.Meta(min_length=1)]
    version: str = ""
    missing: tuple[str, ...] = (".", "NA", "-")
    gene: GeneColumn = GeneColumn()

    def __post_init__(self) -> None:
        if any("\0" in file for file in self.files):
            raise ValueError("a name in files has a null character")


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A field and the index of its column; ``missing`` are the words for no value."""

    spec: FieldSpec
    index: int
    separator: str
    pick: str | None
    missing: frozenset[str]

    def value(self, cell: str, own: Sequence[int] | None, genes: int) -> Value:
        """Return the field's value of a cell.

        Args:
            own: which elements of a list are of the gene; None is all.
            genes: how many elements the list of genes has.

        Raises:
            UnreadableError: a number is none, or the list is not parallel to that of the genes.
            DisagreeError: elements of the gene differ.
        """
        if not self.separator:
            return self._one(cell)
        if cell in self.missing:
            return None
        elements = cell.split(self.separator)
        if own is not None:
            if len(elements) != genes:
                raise UnreadableError(cell)
            elements = [elements[i] for i in own]
        values = [value for element in elements if (value := self._one(element)) is not None]
        if not values:
            return None
        if self.pick == "matched":
            if len(set(values)) > 1:
                raise DisagreeError(cell)
            return values[0]
        numbers = cast(list[float], values)  # a String has no max
        return max(numbers) if self.pick == "max" else min(numbers)

    def _one(self, text: str) -> Value:
        if text in self.missing:
            return None
        if self.spec.type == "String":
            return text
        value = number(text, int) if self.spec.type == "Integer" else number(text, float)
        if not math.isfinite(value) or not fits(self.spec.type, value):
            raise UnreadableError(text)
        return value


class DisagreeError(ValueError):
    """Elements of one gene differ."""


def read_declaration(path: str) -> Declaration:
    """Read a declaration; its fields are ``TableField``, its files lie beside it.

    Raises:
        SettingsError: it is not there, no TOML, or a key is missing, unknown or wrong; the message names the key.
    """
    try:
        with open_regular(path) as handle:
            content = tomllib.load(handle)
    except OSError as error:
        raise SettingsError(f"{path} cannot be opened: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:  # beside TOML's own: no UTF-8, too many digits, too deeply nested
        raise SettingsError(f"{path} is no TOML that a table is declared in: {error}", remedy=_DOCS) from error
    found = _converted(path, content, Declaration)
    for name, given in found.fields.items():
        found.fields[name] = field = _converted(f"{path}, fields.{name}", given, TableField)
        if field.pick == "matched" and not found.gene.separator:
            raise _unfit(f"{path}, fields.{name}", "pick matched needs gene.separator, to match an element by")
    found.files = [str(Path(path).parent / file) for file in found.files]
    return found


def _converted(where: str, content: Any, kind: type[_S]) -> _S:
    try:
        return msgspec.convert(content, kind)
    except msgspec.ValidationError as error:
        raise _unfit(where, str(error)) from error


def _unfit(where: str, problem: str) -> SettingsError:
    return SettingsError(f"The declaration of a table cannot be used: {problem}", where=where, remedy=_DOCS)


class TableJoin(JoinAdapter):
    """Join tables that are declared (``--join NAME=FILE.toml``)."""

    name = "table"
    version = "1"

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
        return OpenTable(request.files[0], request)


class OpenTable(FileJoin):
    """A declared table, open.

    Args:
        path: of the declaration.
        request: opens files and normalises alleles.
    """

    def __init__(self, path: str, request: JoinRequest) -> None:
        self._path = path
        self._declared = declared = read_declaration(path)
        tables = [request.open_table(file) for file in declared.files]
        headers = [_header(table.head, file) for table, file in zip(tables, declared.files, strict=True)]
        if any(header != headers[0] for header in headers):
            raise SettingsError(
                f"The files of one table differ in their columns: {' and '.join(declared.files)}",
                where=path,
                remedy="declare them as two tables, each under a NAME of its own",
            )
        self._header = headers[0]
        columns = declared.columns
        self._pos, self._ref, self._alt = (self._index(name) for name in (columns.pos, columns.ref, columns.alt))
        self._index(columns.chrom)  # the index of the file reads it
        self._gene = self._index(declared.gene.column) if declared.gene.column else None
        self._columns = [self._column(name, field) for name, field in declared.fields.items()]
        self.about = visible(" ".join(declared.version.split()))
        fields = fields_with_status(request.name, [column.spec for column in self._columns], request.name)
        super().__init__(fields, AlleleRows(tables, request, self._row, PADDING))

    def names(self, context: GeneContext) -> frozenset[str]:
        """Return the gene's name of the declared kind."""
        known = {"gene_id": context.gene_id, "symbol": context.symbol, "transcript": context.transcript_id}
        name = known.get(self._declared.gene.match)
        return frozenset((stable_id(name),)) if name else frozenset()

    def entries(self, match: Match, query: JoinQuery) -> Entries:
        """Return the entry of a row for a gene; a row of other genes gives theirs, without values."""
        names, cells = self.names(query.context), match.row.cells
        gene, own, count = None, None, 0
        if self._gene is not None:
            separator = self._declared.gene.separator
            genes = cells[self._gene].split(separator) if separator else [cells[self._gene]]
            mine = [i for i, one in enumerate(genes) if stable_id(one) in names]
            if not mine:
                return [Entry(genes[0], (None,) * len(self._columns))]
            gene, own, count = genes[mine[0]], mine if separator else None, len(genes)
        try:
            return [Entry(gene, tuple(column.value(cells[column.index], own, count) for column in self._columns))]
        except UnreadableError:
            return Joined.UNREADABLE
        except DisagreeError:
            return Joined.AMBIGUOUS

    def _column(self, name: str, field: TableField) -> TableColumn:
        kind, direction = cast(FieldType, field.type), cast(Direction, field.direction)
        try:
            if name == "STATUS":
                raise ValueError("a field cannot be called STATUS, which the join adds")
            spec = FieldSpec(name, "A", kind, field.description, direction)
        except ValueError as error:
            raise _unfit(f"{self._path}, fields.{name}", str(error)) from error
        missing = frozenset(("", *(self._declared.missing if field.missing is None else field.missing)))
        return TableColumn(spec, self._index(field.column), field.separator, field.pick, missing)

    def _index(self, name: str) -> int:
        if self._header.count(name) == 1:
            return self._header.index(name)
        raise SettingsError(
            f"Column {name} is not in the table's header, or twice",
            found=", ".join(self._header),
            where=f"{self._path} for {self._declared.files[0]}",
        )

    def _row(self, line: str) -> Row:
        cells = line.split("\t")
        if len(cells) != len(self._header) or (pos := position(cells[self._pos])) is None:
            raise SettingsError(
                f"A row of a joined table cannot be read: needed {len(self._header)} columns as in its header, and a "
                f"position, found {len(cells)}: {line[:60]}",
                where=" or ".join(self._declared.files),
            )
        return Row(
            pos + 1 - self._declared.columns.base,
            cells[self._ref].upper(),
            tuple(cells[self._alt].upper().split(",")),
            cells,
        )


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
