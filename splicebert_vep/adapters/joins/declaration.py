"""Read the file that declares a table: where its columns are, how a gene is matched, which fields it has."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from splicebert_vep.errors import SettingsError
from splicebert_vep_spec import FieldSpec

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
