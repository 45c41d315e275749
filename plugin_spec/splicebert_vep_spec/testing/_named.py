"""What holds for every object of a plugin."""

from __future__ import annotations

import re
from typing import Any

_NAME = re.compile(r"[a-z][a-z0-9_-]*\Z")


def subject(test: object, attribute: str, example: str) -> Any:
    """Return what the test class names, or say how to name it."""
    found = getattr(test, attribute, None)
    assert found is not None, f"{type(test).__name__} needs a class attribute: {attribute} = {example}"
    return found


def check_named(item: Any) -> None:
    """Check name and version."""
    assert not isinstance(item, type), f"give an object, {item.__name__}(), not the class"
    assert isinstance(item.name, str) and _NAME.match(item.name), (
        f"name is {item.name!r}; needed lower-case letters, digits, '-' and '_', as in --emit NAME"
    )
    assert isinstance(item.version, str) and item.version, f"version is {item.version!r}; needed a non-empty string"
