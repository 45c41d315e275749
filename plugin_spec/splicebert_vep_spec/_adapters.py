"""What an adapter offers: outcomes in; INFO fields, lines of text or a table file out.

The host owns every file: it opens, names, flushes and publishes it whole, or removes it. An adapter says what is in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from ._fields import FieldSpec
from ._types import RecordReport, Value


@dataclass(frozen=True, slots=True)
class InfoField:
    """One INFO header line of an adapter.

    Args:
        key: full VCF key. ``SpliceBERT`` and keys that begin with ``SpliceBERT_`` are replaced when a file is
            annotated again; another key replaces that key where it stands.
        number: VCF ``Number``: ``A`` (one value per ALT) or ``.``.
        type: VCF ``Type``: ``Float``, ``Integer`` or ``String``.
        description: one line. One that holds ``Format: A|B`` announces entries, whose ``|`` is kept.
        entries: whether values are such entries although the description does not say so (SnpEff's ANN).
    """

    key: str
    number: str
    type: str
    description: str
    entries: bool = False


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What adapters may know of a run.

    Args:
        fields: the score fields that this run computes, in output order.
        provenance: program, model, settings, reference and annotation by name; enough to reproduce every digit.
    """

    fields: Sequence[FieldSpec]
    provenance: Mapping[str, str]


@runtime_checkable
class InfoAdapter(Protocol):
    """Render a record's outcome as INFO fields (``--emit NAME``)."""

    name: str
    version: str

    def header(self, run: RunInfo) -> Sequence[InfoField]:
        """Return the INFO lines that this adapter writes.

        Raises:
            Refused: the run lacks what this adapter needs, e.g. a score.
        """

    def render(self, report: RecordReport, run: RunInfo) -> Mapping[str, tuple[Value, ...]]:
        """Return values by INFO key: one per ALT for Number=A, any number for Number=. ; None is missing."""


@runtime_checkable
class MergingAdapter(Protocol):
    """Render a record's outcome into an INFO field that another program wrote (``--emit NAME``), e.g. VEP's CSQ."""

    name: str
    version: str

    def merge(self, run: RunInfo, info: Mapping[str, InfoField]) -> Merger:
        """Return what merges outcomes into records of an input with these INFO definitions, by key.

        Raises:
            Refused: the run or the input lacks what this adapter needs, e.g. a CSQ.
        """


@runtime_checkable
class Merger(Protocol):
    """Write INFO fields of an input anew."""

    @property
    def fields(self) -> Sequence[InfoField]:
        """The INFO lines as they are from now on; one of a key that the input declares takes its place."""

    def render(self, report: RecordReport, info: Mapping[str, str]) -> Mapping[str, tuple[Value, ...]]:
        """Return values by INFO key, as ``InfoAdapter.render`` does.

        Args:
            info: the record's INFO by key, as text; a flag is the empty string.
        """


@runtime_checkable
class TextAdapter(Protocol):
    """Render outcomes as lines of text (``--emit NAME[=FILE]``)."""

    name: str
    version: str

    def head(self, run: RunInfo) -> Iterable[str]:
        """Return the first lines, without line ends.

        Raises:
            Refused: the run lacks what this adapter needs, e.g. a score.
        """

    def lines(self, report: RecordReport, run: RunInfo) -> Iterable[str]:
        """Return the lines of one record, without line ends."""


@runtime_checkable
class TableAdapter(Protocol):
    """Write outcomes to a file of a binary format (``--emit NAME=FILE``)."""

    name: str
    version: str

    def open(self, path: str, run: RunInfo) -> TableWriter:
        """Return a writer to ``path``, a temporary name that the host renames when the run has ended well.

        Raises:
            Refused: the run lacks what this adapter needs, e.g. a score.
        """


@runtime_checkable
class TableWriter(Protocol):
    """Take reports chunk by chunk. OSError is reported as a failed output."""

    def write(self, reports: Iterable[RecordReport]) -> None:
        """Append the outcomes of a chunk of records."""

    def close(self) -> None:
        """Write the last bytes and let go of the file; also called when the run has failed."""


Adapter = InfoAdapter | MergingAdapter | TextAdapter | TableAdapter
