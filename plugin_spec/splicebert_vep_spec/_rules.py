"""What names, INFO fields and INFO values have to be; held at run time and by the conformance tests alike."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from ._adapters import InfoField

#: What an Integer of a VCF can be: 32 bits without the lowest eight values (VCF 4.3, section 1.3).
INTEGER_MIN, INTEGER_MAX = -(2**31) + 8, 2**31 - 1
#: The largest Float of BCF, which has 32 bits.
FLOAT_MAX = 3.4028234663852886e38

_NAME = re.compile(r"[a-z][a-z0-9_-]*\Z")
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*\Z")  # VCF 4.3, section 1.6.1
_SURROGATE = re.compile("[\\ud800-\\udc7f\\udd00-\\udfff]")  # but those that stand for bytes which are no UTF-8

NAME_NEEDED = "lower-case letters, digits, '-' and '_'"
INFO_FIELD_NEEDED = "InfoField with a VCF key, number A or '.', type Float, Integer or String"


def is_name(name: object) -> bool:
    """Tell whether an object may have this name."""
    return isinstance(name, str) and bool(_NAME.match(name))


def is_info_field(field: object) -> bool:
    """Tell whether an adapter may declare this."""
    return (
        isinstance(field, InfoField)
        and bool(_KEY.match(field.key))
        and field.type in _FITS
        and field.number in ("A", ".")
    )


def info_problem(field: InfoField | None, values: object, alts: int) -> str:
    """Return what would have been right of a key's values, or nothing when it is; None is an undeclared key."""
    if field is None:
        return "keys that its header declares"
    if not isinstance(values, tuple) or (field.number == "A" and len(values) != alts):
        return f"a tuple of {alts} values, one per ALT" if field.number == "A" else "a tuple of values"
    fits = _FITS[field.type]
    if not all(value is None or fits(value) for value in values):
        return f"finite values of type {field.type}, None where missing"
    return ""


def _is_float(value: object) -> bool:
    return isinstance(value, int | float) and abs(value) <= FLOAT_MAX  # false for NaN


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and INTEGER_MIN <= value <= INTEGER_MAX


def is_text(value: object) -> bool:
    """Tell whether a value is text that a VCF can hold."""
    return isinstance(value, str) and "\0" not in value and (value.isascii() or not _SURROGATE.search(value))


def fits(kind: str, value: object) -> bool:
    """Tell whether a value is of a VCF type and one that a VCF can hold."""
    return _FITS[kind](value)


_FITS: Mapping[str, Callable[[object], bool]] = {"Float": _is_float, "Integer": _is_integer, "String": is_text}
