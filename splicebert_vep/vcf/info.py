"""INFO column as bytes: print values, take our earlier keys out, put new ones in.

Every byte that is not ours leaves as it came.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from splicebert_vep_spec import InfoField, Value, escape_info, format_number

PREFIX = "SpliceBERT"
_PREFIX = PREFIX.encode()

_BREAKS_INFO = re.compile(r"[;\t\r\n]")

Annotation = Mapping[str, tuple[Value, ...]]
"""INFO key -> one value per ALT (Number=A) or any number of them (Number=.); None is missing."""


def is_ours(key: str) -> bool:
    """Tell whether an INFO key is one of this program's."""
    return key == PREFIX or key.startswith(PREFIX + "_")


def format_value(value: Value) -> str:
    """Print one value for an INFO field.

    A float has 4 decimals, or 6 significant digits below 0.001. Text is escaped as Ensembl VEP does.

    Raises:
        ValueError: NaN or infinity; a missing value is None.
        TypeError: not a float, int, str or None.
    """
    if value is None:
        return "."
    if isinstance(value, (float, np.floating)):
        return format_number(float(value))
    if isinstance(value, str):
        return escape_info(value) or "."
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    raise TypeError(f"needed float, int, str or None, found {type(value).__name__}")


class InfoEncoder:
    """Turn annotations into INFO items, by the definitions of their fields.

    A field whose description holds ``Format: A|B`` carries entries: their text comes with ``|`` between
    subfields and escaped within them, so it is checked and not escaped again.
    """

    def __init__(self, fields: Sequence[InfoField]) -> None:
        self._fields = {field.key: field for field in fields}
        self._keys = {field.key: field.key.encode() for field in fields}
        self._entries = {field.key for field in fields if "Format: " in field.description}

    def text(self, annotation: Annotation, alts: int) -> list[tuple[bytes, bytes]]:
        """Return (key, value) of each field that has a value; ``alts`` is the number of ALT alleles.

        Raises:
            ValueError: an undeclared key, not one value per ALT for Number=A, NaN, or text that breaks INFO.
        """
        items = []
        for key, values in self._present(annotation, alts):
            show = self._entry if key in self._entries else format_value
            items.append((self._keys[key], ",".join([show(value) for value in values]).encode()))
        return items

    def _present(self, annotation: Annotation, alts: int) -> list[tuple[str, tuple[Value, ...]]]:
        present = []
        for key, values in annotation.items():
            field = self._fields.get(key)
            if field is None:
                raise ValueError(f"INFO {key}: needed a key declared in the output header")
            if field.number == "A" and len(values) != alts:
                raise ValueError(f"INFO {key}: needed one value per ALT ({alts}), found {len(values)}")
            if values.count(None) < len(values):
                present.append((key, values))
        return present

    @staticmethod
    def _entry(value: Value) -> str:
        if not isinstance(value, str):
            return format_value(value)
        if _BREAKS_INFO.search(value):
            raise ValueError(f"entry {value!r}: needed text without ';', tab or line break")
        return value or "."


def splice_info(info: bytes, new: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Replace this program's items of an INFO column by new ones, at its end.

    A key of another program that is in ``new`` (a merged CSQ) is replaced where it stands.
    """
    foreign = {key: value for key, value in new if not key.startswith(_PREFIX)}
    if foreign or _PREFIX in info:
        kept, new = _without(info, new, foreign)
    else:
        kept = info
    if not new:
        return kept or (b"." if info else b"")
    added = b";".join([key + b"=" + value for key, value in new])
    kept = kept.rstrip(b";")
    return added if kept in (b"", b".") else kept + b";" + added


def _without(
    info: bytes, new: Sequence[tuple[bytes, bytes]], foreign: Mapping[bytes, bytes]
) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    kept = []
    replaced: set[bytes] = set()
    for item in info.split(b";"):
        key = item.partition(b"=")[0]
        if key == _PREFIX or key.startswith(_PREFIX + b"_"):
            continue
        if key in foreign:
            if key in replaced:
                continue
            replaced.add(key)
            item = key + b"=" + foreign[key]
        kept.append(item)
    return b";".join(kept), [(key, value) for key, value in new if key not in replaced]
