"""What holds for every object of a plugin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._fields import FieldSpec
from .._rules import NAME_NEEDED, is_name


def subject(test: object, attribute: str, example: str) -> Any:
    """Return what the test class names, or say how to name it."""
    found = getattr(test, attribute, None)
    assert found is not None, f"{type(test).__name__} needs a class attribute: {attribute} = {example}"
    return found


def check_named(item: Any) -> None:
    """Check name and version."""
    assert not isinstance(item, type), f"give an object, {item.__name__}(), not the class"
    assert is_name(item.name), f"name is {item.name!r}; needed {NAME_NEEDED}"
    assert isinstance(item.version, str) and item.version, f"version is {item.version!r}; needed a non-empty string"


def check_fields(fields: Sequence[FieldSpec]) -> None:
    """Check the fields of a scorer."""
    assert fields, "fields is empty; needed at least one FieldSpec"
    for field in fields:
        assert isinstance(field, FieldSpec), f"{field!r} in fields; needed FieldSpec objects"
        assert field.number == "A", f"{field.id} has number {field.number!r}; a score is one value per ALT: 'A'"
        assert field.type in ("Float", "Integer"), f"{field.id} has type {field.type}; needed Float or Integer"
    ids = [field.id for field in fields]
    assert len(set(ids)) == len(ids), f"a field id occurs twice: {ids}"
