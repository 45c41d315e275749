"""How pictures are drawn whatever they show: fonts, text that is only text, and files whose bytes repeat."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from splicebert_vep.errors import SettingsError
from splicebert_vep.extras import require
from splicebert_vep.files import whole_or_not

SUFFIXES = (".png", ".svg", ".pdf")
_LONGEST = 48
_BASES = 16
_PATHS = re.compile(r'(?<= d=")[^"]+')
_LONG_NUMBER = re.compile(r"(\.\d\d)\d+")
_SETTINGS: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "sans-serif"],  # the first is matplotlib's own
    "font.monospace": ["DejaVu Sans Mono", "Menlo", "Consolas", "monospace"],  # the others are for who reads an SVG
    "font.size": 9,
    "text.parse_math": False,  # a symbol from a VCF may hold a dollar sign
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "splicebert-vep",  # ids that are the same in every run
    "svg.fonttype": "none",  # text stays text: it can be searched, edited and read aloud
}


@contextmanager
def drawing() -> Iterator[None]:
    """Draw with this program's settings, and leave the caller's as they were.

    Raises:
        SettingsError: matplotlib is not installed.
    """
    require("matplotlib", extra="report")
    from matplotlib import rc_context

    with rc_context(_SETTINGS):
        yield


def plain(text: str) -> str:
    """Return foreign text as a picture can show it: printable ASCII, not too long."""
    text = "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def cut(bases: str) -> str:
    """Return the bases of an allele; of a long one the first and how many there are."""
    return bases if len(bases) <= _BASES else f"{bases[: _BASES // 2]}...({len(bases)} nt)"


def plain_words(text: str) -> str:
    """Return a sentence with foreign words in it as a picture can show it."""
    return " ".join(map(plain, text.split(" ")))


def svg(figure: Any) -> str:
    """Return a figure as SVG; the same figure gives the same text."""
    buffer = io.StringIO()
    with drawing():
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    # A hundredth of a point is nothing to the eye, and half of the file. Outlines only: text holds scores.
    return _PATHS.sub(lambda path: _LONG_NUMBER.sub(r"\1", path[0]), buffer.getvalue())


def check_picture(path: str) -> None:
    """See that a file's name says which kind of picture it is.

    Raises:
        SettingsError: it does not.
    """
    if not path.lower().endswith(SUFFIXES):
        raise SettingsError("The picture's format is told by its suffix.", needed=", ".join(SUFFIXES), found=path)


def save(figure: Any, path: str | Path) -> None:
    """Write a figure as PNG, SVG or PDF, by the file's suffix.

    Raises:
        SettingsError: another suffix.
        OutputError: it cannot be written.
    """
    check_picture(str(path))
    kind = Path(path).suffix.lower()[1:]
    with drawing(), whole_or_not(path) as temporary:
        if kind == "svg":
            temporary.write_text(svg(figure), encoding="utf-8")
        else:
            metadata = {"CreationDate": None} if kind == "pdf" else {}
            figure.savefig(temporary, format=kind, dpi=160, metadata=metadata)
