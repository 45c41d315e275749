"""How numbers are printed, everywhere the same."""

from __future__ import annotations

import math
import re

from ._types import Value

_ESCAPES = str.maketrans({",": "&", "|": "&", ";": "%3B", "=": "%3D"})
_SPECIAL = re.compile(r"[,|;=\s]")
_SPACE = re.compile(r"\s")


def escape_info(text: str) -> str:
    """Return text that can stand inside an INFO value: ``,`` and ``|`` become ``&``, as in VEP; ``;`` becomes ``%3B``,
    ``=`` ``%3D`` and white space ``_``.
    """
    return _SPACE.sub("_", text.translate(_ESCAPES)) if _SPECIAL.search(text) else text


def format_number(value: float) -> str:
    """Return 4 decimals, or 6 significant digits below 0.001.

    Raises:
        ValueError: NaN or infinite; a missing value is None.
    """
    size = abs(value)
    if 0.001 <= size < math.inf:  # first, because it is what nearly all scores are
        return f"{value:.4f}"
    if size < 0.001:
        return f"{value:.6g}" if size else "0"
    raise ValueError(f"{value} is no score; a missing value is None")


def format_value(value: Value, missing: str = "") -> str:
    """Return any value as text: ``missing`` for None, numbers by ``format_number``, strings as they are."""
    if value is None:
        return missing
    if isinstance(value, float):
        return format_number(value)
    return str(value)
