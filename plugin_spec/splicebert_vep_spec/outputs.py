"""Adapters turn outcomes into INFO fields, lines of text or a table file.

The host owns every file: it opens, names, flushes and publishes it whole, or removes it. An adapter fills it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .values import FieldSpec, InfoField, Named, RecordReport, Value


@dataclass(frozen=True, slots=True)
class RunInfo:
    """A run, as adapters and the hooks of its life see it.

    Args:
        fields: the score fields that this run computes, in output order.
        provenance: program, model, settings, reference and annotation by name; enough to reproduce every digit.
    """

    fields: Sequence[FieldSpec]
    provenance: Mapping[str, str]


class Adapter(Named):
    """Render outcomes (``--emit NAME[=FILE]``); subclass one of the four kinds below.

    The first method that the host calls, ``header``, ``merge``, ``head`` or ``open``, may raise Refused where the run
    or the input lacks a requirement, e.g. a score.
    """


class InfoAdapter(Adapter):
    """Render a record's outcome as INFO fields."""

    @abstractmethod
    def header(self, run: RunInfo) -> Sequence[InfoField]:
        """Return the INFO lines that this adapter writes."""

    @abstractmethod
    def render(self, report: RecordReport, run: RunInfo) -> Mapping[str, tuple[Value, ...]]:
        """Return values by INFO key: one per ALT for Number=A, any number for Number=. ; None is missing."""


class ColumnAdapter(InfoAdapter):
    """Render the outcomes of many records at a time as INFO fields with one value per ALT (Number=A): fast."""

    @abstractmethod
    def columns(self, reports: Sequence[RecordReport], run: RunInfo) -> Mapping[str, Sequence[Value]]:
        """Return values by INFO key, one for each ALT of all records, in their order; None is missing."""

    def render(self, report: RecordReport, run: RunInfo) -> Mapping[str, tuple[Value, ...]]:
        """Return the values of one record."""
        return {key: tuple(column) for key, column in self.columns([report], run).items()} if report.alleles else {}


class MergingAdapter(Adapter):
    """Render a record's outcome into an INFO field that another program wrote, e.g. VEP's CSQ."""

    @abstractmethod
    def merge(self, run: RunInfo, info: Mapping[str, InfoField]) -> Merger:
        """Return an object that merges outcomes into records of an input with these INFO definitions, by key."""


class Merger(ABC):
    """Write INFO fields of an input anew.

    Attributes:
        fields: the INFO lines as they are from now on; one of a key that the input declares takes its place.
    """

    fields: Sequence[InfoField]

    @abstractmethod
    def render(self, report: RecordReport, info: Mapping[str, str]) -> Mapping[str, tuple[Value, ...]]:
        """Return values by INFO key, as ``InfoAdapter.render`` does.

        Args:
            info: the record's INFO by key, as text; a flag is the empty string.
        """


class TextAdapter(Adapter):
    """Render outcomes as lines of text."""

    def head(self, run: RunInfo) -> Iterable[str]:
        """Return the first lines, without line ends; none unless overridden."""
        return ()

    @abstractmethod
    def lines(self, report: RecordReport, run: RunInfo) -> Iterable[str]:
        """Return the lines of one record, without line ends."""


class TableAdapter(Adapter):
    """Write outcomes to a file of a binary format (``--emit NAME=FILE``)."""

    @abstractmethod
    def open(self, path: str, run: RunInfo) -> TableWriter:
        """Return a writer to ``path``, a temporary name that the host renames when the run has ended well."""


class TableWriter(ABC):
    """Take reports chunk by chunk. OSError is reported as a failed output."""

    @abstractmethod
    def write(self, reports: Iterable[RecordReport]) -> None:
        """Append the outcomes of a chunk of records."""

    @abstractmethod
    def close(self) -> None:
        """Write the last bytes and let go of the file; also called when the run has failed."""
