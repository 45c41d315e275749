"""Every error that splicebert-vep raises on purpose.

::

    SpliceBertError                 base of all; the message says what was needed, found, where and what to do
    ├── InputError                  the user's input cannot be used (exit code 3)
    │   ├── VcfError                not a VCF or BCF, truncated, or a malformed record
    │   ├── FastaError              reference missing, not indexable, or not BGZF-compressed
    │   ├── AnnotationError         gene annotation unreadable, empty, or of an unknown format
    │   ├── ModelError              checkpoint folder incomplete, of another layout, or with wrong weights
    │   ├── CorpusError             a training corpus is damaged, empty, or not the one a run began with
    │   ├── StoreError              a score store is damaged, not one, or holds another value for an allele
    │   ├── CohortError             a manifest, file or table of a cohort cannot be used
    │   ├── CalibrationError        a calibration table is damaged, of other scores, or cannot be made
    │   ├── LabelError              labelled variants or sequences are no such table, or a row cannot be read
    │   ├── SettingsError           an option value that cannot be honoured
    │   └── BuildError              VCF, FASTA and annotation are not of the same genome build (exit code 4)
    ├── OutputError                 an output could not be written whole (exit code 5)
    ├── DownloadError               ``models pull`` could not fetch or prove a file (exit code 6)
    ├── PluginError                 a plugin breaks the contract (exit code 7)
    └── BackendError                the model failed on a batch; becomes status FAILED, never ends a run
        └── OutOfMemory             not even one window fits into memory; ends the run (exit code 3)
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from importlib import import_module


class SpliceBertError(Exception):
    """Base error; renders as one short paragraph a user can act on.

    Args:
        problem: one sentence, what is wrong.
        needed: what would have been right.
        found: what arrived instead.
        where: file, line or record.
        remedy: what to do next.
    """

    exit_code = 1

    def __init__(self, problem: str, *, needed: str = "", found: str = "", where: str = "", remedy: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.needed = needed
        self.found = found
        self.where = where
        self.remedy = remedy

    def __str__(self) -> str:
        lines = [visible(self.problem)]
        for label, text in (
            ("needed", self.needed),
            ("found", self.found),
            ("where", self.where),
            ("remedy", self.remedy),
        ):
            if text:
                lines.append(f"  {label + ':':<8}{visible(text)}")
        return "\n".join(lines)


class InputError(SpliceBertError):
    exit_code = 3


class VcfError(InputError):
    pass


class FastaError(InputError):
    pass


class AnnotationError(InputError):
    pass


class ModelError(InputError):
    pass


class CorpusError(InputError):
    pass


class CalibrationError(InputError):
    pass


class LabelError(InputError):
    pass


class StoreError(InputError):
    pass


class CohortError(InputError):
    pass


class SettingsError(InputError):
    pass


class BuildError(InputError):
    exit_code = 4


class OutputError(SpliceBertError):
    exit_code = 5


class DownloadError(SpliceBertError):
    exit_code = 6


class PluginError(SpliceBertError):
    exit_code = 7


class BackendError(SpliceBertError):
    pass


class OutOfMemory(BackendError):
    exit_code = 3


_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "bad_alloc", "alloc_failed")


def model_failure(error: Exception) -> BackendError:
    """Return the error of a pass that ended with an exception; torch says in words only that memory is short."""
    if isinstance(error, BackendError):
        return error
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, MemoryError) or any(words in text.lower() for words in _NO_MEMORY):
        remedy = "free memory, choose a smaller --window or fewer --threads, or take another machine or --device"
        return OutOfMemory("The model does not fit into memory with one window.", found=text, remedy=remedy)
    return BackendError(text)


def suggestion(unknown: Iterable[str], known: Iterable[str]) -> str:
    """Return "did you mean ...?" for misspelled names, or nothing."""
    by_folded = {name.casefold(): name for name in known}
    found = [by_folded[guess] for word in unknown for guess in difflib.get_close_matches(word.casefold(), by_folded, 1)]
    return f"did you mean {', '.join(found)}?" if found else ""


def visible(text: str) -> str:
    r"""Return text of others with control characters but line ends spelled out (``\x1b``): a terminal obeys none."""
    return "".join(one if one.isprintable() or one == "\n" else one.encode("unicode_escape").decode() for one in text)


_LONGEST = 280  # characters of a list or of a foreign message: three lines of a terminal
_LISTED = 8  # so many items make a list that may lose its end; a shorter text loses its middle
_HEAD, _TAIL = 180, 90


def folded(text: str) -> str:
    """Return text on one line."""
    return " ".join(text.split())


def shortened(text: str) -> str:
    """Return text on one line and not longer than three lines of a terminal: a list cut at its end, or a cut middle."""
    text = folded(text)
    if len(text) <= _LONGEST:
        return text
    items = text.split(", ")
    if len(items) >= _LISTED:
        kept, used = 0, 0
        while used + len(items[kept]) + 2 <= _LONGEST - len(" and 99999 more"):
            used += len(items[kept]) + 2
            kept += 1
        if kept:
            return f"{', '.join(items[:kept])} and {len(items) - kept:,} more"
    return f"{text[:_HEAD]} ... {text[-_TAIL:]}"


def require(*modules: str, extra: str = "training") -> None:
    """See before hours of work that what its end needs is there.

    Args:
        extra: of this package, which brings the modules.

    Raises:
        SettingsError: one of the modules cannot be imported.
    """
    for module in modules:
        try:
            import_module(module)
        except ImportError as error:
            raise SettingsError(
                f"This needs {module}, which is not installed.",
                found=str(error),
                remedy=f"pip install 'splicebert-vep[{extra}]'",
            ) from error
