"""INFO column as bytes: print values, take our earlier keys out, put new ones in.

Every byte that is not ours leaves as it came.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from splicebert_vep_spec import InfoField, Value, escape_info, format_number
from splicebert_vep_spec.values import FLOAT_MAX, INTEGER_MAX, INTEGER_MIN, info_problem, is_text

PREFIX = "SpliceBERT"
_PREFIX = PREFIX.encode()

_BREAKS_INFO = re.compile(r"[;\t\r\n]")

Annotation = Mapping[str, tuple[Value, ...]]
"""INFO key -> one value per ALT (Number=A) or any number of them (Number=.); None is missing."""


def is_ours(key: str) -> bool:
    """Tell whether an INFO key is one of this program's."""
    return key == PREFIX or key.startswith(PREFIX + "_")


def foreign_keys(fields: Sequence[InfoField]) -> frozenset[bytes]:
    """Return the keys of fields that are another program's."""
    return frozenset(field.key.encode() for field in fields if not is_ours(field.key))


def info_items(info: bytes) -> dict[str, str]:
    """Return the items of an INFO column by key, as text; a flag is empty; duplicate keys: first wins."""
    found: dict[str, str] = {}
    for item in info.decode("utf-8", "surrogateescape").split(";"):
        key, _, value = item.partition("=")
        if key not in ("", "."):
            found.setdefault(key, value)
    return found


class UnfitError(ValueError):
    """An annotation has values that its declared fields cannot hold."""

    def __init__(self, needed: str, found: str) -> None:
        super().__init__(f"needed {needed}, found {found}")
        self.needed, self.found = needed, found


class InfoEncoder:
    """Print annotations as INFO items, by the definitions of their fields.

    A field whose description holds ``Format: A|B`` carries entries: their text comes with ``|`` between
    subfields and escaped within them, so it is checked and not escaped again. A field without any value has no item:
    vcfanno reads ``KEY=.`` of a number as 0. A float has 4 decimals, or 6 significant digits below 0.001; other text
    is escaped as Ensembl VEP does.
    """

    def __init__(self, fields: Sequence[InfoField]) -> None:
        self._fields = {field.key: field for field in fields}
        # per field: begin of the item, printer of a value, whether it has one value per ALT
        self._plans = {field.key: (f"{field.key}=", _printer(field), field.number == "A") for field in fields}

    def text(self, annotation: Annotation, alts: int) -> bytes:
        """Return ``KEY=value;KEY=value`` of the fields that have a value; ``alts`` is the number of ALT alleles.

        Raises UnfitError for an undeclared key, not one value per ALT for Number=A, a value that is not of the declared
        type or that no VCF can hold (NaN is not missing, None is), or an entry that breaks INFO.
        """
        items = []
        key: str = ""
        values: tuple[Value, ...] = ()
        plans = self._plans
        try:
            for key, values in annotation.items():
                begin, show, per_alt = plans[key]
                count = len(values)
                if not isinstance(values, tuple) or (count != alts and per_alt):
                    raise ValueError(f"{values!r} is no tuple of the right length")
                if count == 1:  # nearly every record has one ALT
                    [value] = values
                    if value is not None:
                        items.append(begin + show(value))
                elif values.count(None) < count:
                    items.append(begin + ",".join(["." if value is None else show(value) for value in values]))
        except (KeyError, TypeError, ValueError) as error:
            problem = info_problem(self._fields.get(key), values, alts) or "entries without ';', tab or line break"
            raise UnfitError(problem, f"{key} with {values!r}") from error
        return ";".join(items).encode("utf-8", "surrogateescape")

    def texts(self, columns: Mapping[str, Sequence[Value]], alts: Sequence[int]) -> list[bytes]:
        """Return what ``text`` does for many records, printed column by column.

        Args:
            columns: of fields with Number=A, one value for each ALT of all records.
            alts: number of ALT alleles of each record.

        Raises:
            UnfitError: as ``text``.
        """
        ends = list(accumulate(alts))
        total = ends[-1] if ends else 0
        try:
            if not all(self._plans[key][2] for key in columns):
                raise ValueError("a field that has not one value per ALT")
            cells = [_cells(*self._plans[key][:2], column) for key, column in columns.items()]
            rows = [";".join(filter(None, row)) for row in zip(*cells, strict=True)] if cells else [""] * total
        except (KeyError, TypeError, ValueError):
            rows = None  # every record is printed by itself, and the first that is unfit says why
        found = []
        for end, count in zip(ends, alts, strict=True):
            if rows is not None and count == 1:
                found.append(rows[end - 1].encode("utf-8", "surrogateescape"))
            else:
                one = {key: tuple(column[end - count : end]) for key, column in columns.items()} if count else {}
                found.append(self.text(one, count))
        return found


_SMALL = 0.001  # below it a number is printed with 6 significant digits
_UNIT = 10_000  # of the fourth decimal
_BETWEEN = "\x01"  # texts that are escaped together; it is no white space
_MANY = 8  # values for each distinct one


def _cells(begin: str, show: Callable[[Value], str], column: Sequence[Value]) -> Sequence[str]:
    """Return the items of a field, one for each value; empty where it is missing."""
    kinds = set(map(type, column))
    if show is _float:
        if kinds <= {float, type(None)}:
            return _float_cells(begin, column)
    elif len(column) >= _MANY * len(distinct := set(column)) and len(kinds - {type(None)}) == 1:
        texts = {value: "" if value is None else begin + show(value) for value in distinct}
        return [texts[value] for value in column]
    elif show is _text:
        return _text_cells(begin, column)
    return ["" if value is None else begin + show(value) for value in column]


@lru_cache(maxsize=64)
def _decimals(begin: str) -> NDArray[np.object_]:
    """Return the items of 0 to 1 in steps of the fourth decimal."""
    return np.array([f"{begin}{i / _UNIT:.4f}" for i in range(_UNIT + 1)], dtype=object)


def _float_cells(begin: str, column: Sequence[Value]) -> list[str]:
    """Return items of floats and None as ``format_number`` prints them, all that have the same format at a time."""
    values = np.array(column, dtype=np.float64)  # None becomes NaN
    sizes = np.abs(values)
    if np.isnan(sizes).sum() != column.count(None) or (sizes > FLOAT_MAX).any():
        raise ValueError("a value that no VCF can hold")
    cells = np.full(len(column), "", dtype=object)
    cells[sizes == 0] = f"{begin}0"
    decimals, small = sizes >= _SMALL, (sizes < _SMALL) & (sizes > 0)
    if len(column) >= _MANY:
        units = values * _UNIT
        known = decimals & (values > 0) & (values <= 1)
        known &= np.abs(units - np.floor(units) - 0.5) > 1e-6  # there the last bits tell whether it is rounded up
        cells[known] = _decimals(begin)[np.rint(units[known]).astype(np.int64)]
        decimals &= ~known
    for form, chosen in ((".4f", decimals), (".6g", small)):
        at = np.flatnonzero(chosen)
        if len(at):
            printed = f"{begin}%{form};" * len(at) % tuple(values[at].tolist())
            cells[at] = printed.split(";")[:-1]
    found: list[str] = cells.tolist()
    return found


def _text_cells(begin: str, column: Sequence[Value]) -> list[str]:
    """Return items of texts and None as ``_text`` prints them."""
    texts = [value for value in column if value is not None]
    joined = _BETWEEN.join(map(str.__str__, texts))  # TypeError where one is no text
    if joined.count(_BETWEEN) != len(texts) - 1:
        return ["" if value is None else begin + _text(value) for value in column]
    escaped = iter(escape_info(_checked(joined)).split(_BETWEEN))
    return ["" if value is None else begin + (next(escaped) or ".") for value in column]


def _printer(field: InfoField) -> Callable[[Value], str]:
    """Return a function that prints a value, not None; it raises ValueError where the field cannot hold the value."""
    if field.type == "String":
        return _entry if field.entries or "Format: " in field.description else _text
    return _integer if field.type == "Integer" else _float


def _float(value: Value) -> str:
    if isinstance(value, float):
        if abs(value) <= FLOAT_MAX:  # false for NaN
            return format_number(value)
    elif isinstance(value, int) and abs(value) <= FLOAT_MAX:
        return str(int(value))  # a bool is 0 or 1
    raise ValueError(f"{value!r} is no Float")


def _integer(value: Value) -> str:
    if isinstance(value, int) and INTEGER_MIN <= value <= INTEGER_MAX:
        return str(int(value))
    raise ValueError(f"{value!r} is no Integer")


@lru_cache(maxsize=4096)  # names of genes and transcripts come again with every allele
def _text(value: Value) -> str:
    return escape_info(_checked(value)) or "."


def _entry(value: Value) -> str:
    if _BREAKS_INFO.search(_checked(value)):
        raise ValueError(f"entry {value!r}: needed text without ';', tab or line break")
    return str(value) or "."


def _checked(value: Value) -> str:
    if isinstance(value, str) and is_text(value):
        return value
    raise ValueError(f"{value!r} is no String")


def splice_info(info: bytes, new: bytes, foreign: Collection[bytes] = ()) -> bytes:
    """Replace this program's items of an INFO column by ``new`` ones, at its end.

    ``foreign`` are keys of other programs that may be in ``new`` (a merged CSQ); the first item of each is replaced
    where it stands.
    """
    kept, new = _without(info, new, foreign) if foreign or _PREFIX in info else (info, new)
    if not new:
        return kept or (b"." if info else b"")
    before = kept.rstrip(b";")
    return new if before in (b"", b".") else before + b";" + new + kept[len(before) :]


def _without(info: bytes, new: bytes, foreign: Collection[bytes]) -> tuple[bytes, bytes]:
    """Take our items out and put the foreign ones in; return the rest of the new items too."""
    added = {item.partition(b"=")[0]: item for item in new.split(b";") if item}
    replacing = {key: added[key] for key in foreign if key in added}
    kept = []
    for item in info.split(b";"):
        key = item.partition(b"=")[0]
        if key == _PREFIX or key.startswith(_PREFIX + b"_"):
            continue
        if key in replacing and key in added:  # duplicate keys: the first is replaced, the second stays
            item = added.pop(key)
        kept.append(item)
    return b";".join(kept), b";".join(added.values())
