"""How numbers are printed, everywhere the same."""

from __future__ import annotations

import math

from ._types import Value


def format_number(value: float) -> str:
    """Return 4 decimals, or 6 significant digits below 0.001.

    Raises:
        ValueError: NaN or infinite; a missing value is None.
    """
    if not math.isfinite(value):
        raise ValueError(f"{value} is no score; a missing value is None")
    if value == 0:
        return "0"
    if abs(value) < 0.001:
        return f"{value:.6g}"
    return f"{value:.4f}"


def round_number(value: float) -> float:
    """Return the number that ``format_number`` prints, so that text and binary outputs agree."""
    return float(format_number(value))


def format_value(value: Value, missing: str = "") -> str:
    """Return any value as text: ``missing`` for None, numbers by ``format_number``, strings as they are."""
    if value is None:
        return missing
    if isinstance(value, float):
        return format_number(value)
    return str(value)
