"""Every output of a run, opened together and committed together."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from types import TracebackType

from splicebert_vep_spec import (
    Adapter,
    ColumnAdapter,
    InfoAdapter,
    InfoField,
    Merger,
    MergingAdapter,
    RecordReport,
    RunInfo,
    TableAdapter,
    TextAdapter,
    Value,
)
from splicebert_vep_spec.values import INFO_FIELD_NEEDED, is_info_field

from ..errors import PluginError, SettingsError, suggestion
from ..files import ByteOutput, Output, check_outputs, publish_all, reporting
from ..plugins import Origin, remedy
from ..vcf.header import VcfHeader
from ..vcf.info import InfoEncoder, UnfitError
from ..vcf.read import VcfRecord
from ..vcf.write import Kind, VcfWriter, kind_of

_BUFFER = 1 << 20  # bytes of lines that are written together
_PACKED = (".gz", ".bgz", ".zst", ".bz2", ".xz")
_MERGED = re.compile(r"\|\s*SpliceBERT_pred_")  # a subfield of another program's entries that is ours


class TextFile(ByteOutput):
    """Write the lines of a text adapter; bytes that are no UTF-8 leave as they came."""

    def __init__(self, adapter: TextAdapter, origin: Origin, path: str, run: RunInfo) -> None:
        if path.endswith(_PACKED):
            raise SettingsError(f"{adapter.name} is written as plain text.", found=path, remedy="leave the suffix out")
        self._adapter, self._origin, self._run = adapter, origin, run
        with origin.guarding("head"):
            head = list(self._checked("head", adapter.head(run)))
        super().__init__(path)
        self.write_bytes(b"".join(head))

    def write(self, reports: Sequence[RecordReport]) -> None:
        """Append the lines of a chunk, as they come: each of a record's ALTs repeats its REF."""
        waiting, size = list[bytes](), 0
        with self._origin.guarding("lines", passing=(BrokenPipeError,)):
            for report in reports:
                for line in self._checked("lines", self._adapter.lines(report, self._run)):
                    waiting.append(line)
                    size += len(line)
                    if size > _BUFFER:
                        self.write_bytes(b"".join(waiting))
                        waiting, size = [], 0
        self.write_bytes(b"".join(waiting))

    def _checked(self, method: str, lines: Iterable[str]) -> Iterator[bytes]:
        for line in [lines] if isinstance(lines, str) else lines:
            if line is lines or not isinstance(line, str) or "\n" in line or "\r" in line:
                raise self._origin.broken(method, needed="a list of lines without line ends", found=repr(line))
            yield f"{line}\n".encode("utf-8", "surrogateescape")


class TableFile(Output):
    """Let a table adapter write its file."""

    def __init__(self, adapter: TableAdapter, origin: Origin, path: str, run: RunInfo) -> None:
        super().__init__(path)
        self._origin = origin
        if self.to.temporary is None:
            problem = f"{adapter.name} cannot be written to stdout, a pipe or a device."
            raise SettingsError(problem, remedy=f"--emit {adapter.name}=FILE")
        try:
            with origin.guarding("open"), reporting(self.name):
                temporary = self.to.claim()
                temporary.touch()  # says why, where it cannot be made
                os.utime(temporary, (0, 0))  # so that ``finish`` sees whether the adapter wrote
                self._writer = adapter.open(str(temporary), run)
        except BaseException:
            super().abort()
            raise

    def write(self, reports: Sequence[RecordReport]) -> None:
        """Append the outcomes of a chunk."""
        with self._origin.guarding("write"), reporting(self.name):
            self._writer.write(reports)

    def finish(self) -> None:
        """Write the last bytes; the file is whole then, under its temporary name; PluginError if there is none."""
        with self._origin.guarding("close"), reporting(self.name):
            self._writer.close()
        written = self.to.temporary
        if written is None or not written.is_file() or not written.stat().st_mtime_ns:
            raise self._origin.broken("close", needed="a file at the path given to open", found="none")
        super().finish()

    def abort(self) -> None:
        """Remove what is not published."""
        with contextlib.suppress(Exception):  # of a plugin; the first failure is on its way to the user
            self._writer.close()
        super().abort()


@dataclass(frozen=True, slots=True)
class OutputPlan:
    """Adapters and the places that they write to."""

    path: str  # "-" is stdout
    kind: Kind
    info: tuple[InfoAdapter | MergingAdapter, ...]  # when there are none, no VCF is written
    tables: tuple[tuple[TextAdapter | TableAdapter, str], ...]
    origins: Mapping[str, Origin]  # by the adapters' names

    @property
    def targets(self) -> list[str]:
        """Every path that is written."""
        return [*(path for _, path in self.tables), *([self.path] if self.info else [])]


def plan_outputs(
    words: Sequence[str],
    path: str,
    kind: Kind | None,
    adapters: Mapping[str, Adapter],
    origins: Mapping[str, Origin],
    *,
    source: str,
    reference: str,
) -> OutputPlan:
    """Match ``--emit`` words (``flat``, ``tsv=FILE``) with adapters.

    A table without a file takes the run's output when no VCF does.

    Raises SettingsError for an unknown adapter, a file where none can be, two outputs for one path, or an output that
    nothing is written to or that would replace an input. Only the VCF may replace the input VCF, which has been read to
    its end by then.
    """
    info: list[InfoAdapter | MergingAdapter] = []
    tables: list[tuple[TextAdapter | TableAdapter, str]] = []
    for word in dict.fromkeys(words):
        name, _, own = word.partition("=")
        adapter = adapters.get(name)
        if isinstance(adapter, TextAdapter | TableAdapter):
            tables.append((adapter, own or path))
        elif adapter is None:
            hint = f"{suggestion([name], adapters)} There are {', '.join(adapters)}."
            raise SettingsError("An unknown output was asked for.", found=name, remedy=hint.strip())
        elif own:
            raise SettingsError(f"Output {name} goes into the VCF and takes no file.", found=word)
        elif isinstance(adapter, InfoAdapter | MergingAdapter):
            info.append(adapter)
        else:  # a subclass of Adapter alone: nothing here could call it
            needed = "an InfoAdapter, MergingAdapter, TextAdapter or TableAdapter"
            raise origins[name].broken("itself", needed=needed, found=type(adapter).__qualname__)
    plan = OutputPlan(path, kind or kind_of(path), tuple(info), tuple(tables), origins)
    check_outputs(plan.targets, [reference])
    check_outputs([path for _, path in tables], [source])
    if path != "-" and path not in plan.targets:
        asked = ",".join(words)
        remedy = f"--emit flat,{asked} writes a VCF there too; without -O {path} there is none"
        raise SettingsError(f"Nothing would be written to {path} by --emit {asked}.", remedy=remedy)
    return plan


class InfoTexts:
    """Print the INFO items of records, for files of one header.

    Args:
        plan: whose INFO adapters print them.
        run: fields and provenance.
        header: of the input.

    Attributes:
        fields: INFO fields that the adapters declare.
        merging: whether the items of a record depend on its own INFO; else they depend on its report alone.

    Raises:
        SettingsError, PluginError: as ``check_emit``.
    """

    def __init__(self, plan: OutputPlan, run: RunInfo, header: VcfHeader) -> None:
        self._run = run
        self._renderers = _renderers(plan.info, plan.origins, run, header)
        self.fields = [field for renderer in self._renderers for field in renderer.fields]
        self.merging = any(one.merging for one in self._renderers)

    def texts(self, records: Sequence[VcfRecord], reports: Sequence[RecordReport]) -> list[bytes]:
        """Return the items of each record, those of all adapters in a row."""
        own = self._own_items(reports)
        infos = [record.info() for record in records] if self.merging else []
        merged = [one.items(reports, infos) for one in self._renderers if one.merging]
        return [b";".join(filter(None, items)) for items in zip(own, *merged, strict=True)]

    def _own_items(self, reports: Sequence[RecordReport]) -> list[bytes]:
        """Return the INFO items of each record that depend on its report alone, those of all adapters in a row."""
        own = [one.items(reports, repeat(self._run)) for one in self._renderers if not one.merging]
        rows = zip(*own, strict=True) if own else repeat((), len(reports))
        return [
            b";".join(filter(None, row)) if report.alleles else b"" for row, report in zip(rows, reports, strict=True)
        ]


class Outputs:
    """Write records and reports to every output of a plan; leave none behind when the block fails.

    The first records, and the contig lengths of the reference by its own names, complete a header for BCF.
    """

    def __init__(
        self,
        plan: OutputPlan,
        run: RunInfo,
        header: VcfHeader,
        first: Sequence[VcfRecord],
        contig_lengths: Mapping[str, int],
    ) -> None:
        self._vcf: VcfWriter | None = None
        self._tables: list[TextFile | TableFile] = []
        self._info = InfoTexts(plan, run, header)
        try:
            if plan.info:
                annotated = header.annotated(self._info.fields, run.provenance)
                self._vcf = VcfWriter(plan.path, annotated, plan.kind, first, contig_lengths)
            for adapter, path in plan.tables:
                if isinstance(adapter, TextAdapter):
                    self._tables.append(TextFile(adapter, plan.origins[adapter.name], path, run))
                else:
                    self._tables.append(TableFile(adapter, plan.origins[adapter.name], path, run))
        except BaseException:
            self._abort()
            raise

    @property
    def warnings(self) -> Sequence[str]:
        """Sentences for the user, complete after the end."""
        return self._vcf.warnings if self._vcf else ()

    def write(self, records: Sequence[VcfRecord], reports: Sequence[RecordReport]) -> None:
        """Write a chunk."""
        if self._vcf is not None:
            for record, text in zip(records, self._info.texts(records, reports), strict=True):
                self._vcf.write(record, text)
        for table in self._tables:
            table.write(reports)

    def __enter__(self) -> Outputs:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._abort()
            return
        try:
            for output in self._all():
                output.finish()
            publish_all(self._all())
        except BaseException:
            self._abort()
            raise

    def _abort(self) -> None:
        with contextlib.ExitStack() as stack:
            for output in self._all():
                stack.callback(output.abort)

    def _all(self) -> list[VcfWriter | TextFile | TableFile]:
        return [*([self._vcf] if self._vcf else []), *self._tables]


class _Renderer:
    """Render the fields that an INFO adapter declared, or a merger of a merging adapter."""

    def __init__(
        self,
        adapter: InfoAdapter | Merger,
        origin: Origin,
        run: RunInfo,
        fields: Sequence[InfoField],
        *,
        merging: bool,
    ) -> None:
        self.merging = merging
        self.fields = fields
        self._origin = origin
        self._run = run
        self._encoder = InfoEncoder(fields)
        self._adapter = adapter

    def items(self, reports: Sequence[RecordReport], given: Iterable[RunInfo | Mapping[str, str]]) -> list[bytes]:
        """Return the INFO items of each record; an adapter is given the run too, a merger the record's own INFO."""
        counts = [len(report.alleles) for report in reports]
        adapter = self._adapter
        try:
            if isinstance(adapter, ColumnAdapter):
                with self._origin.guarding("columns"):
                    columns = dict(adapter.columns(reports, self._run))
                    found = {len(column) for column in columns.values()}
                if found - {sum(counts)}:
                    needed = f"{sum(counts)} values of each key, one for each ALT"
                    raise self._origin.broken("columns", needed=needed, found=f"columns of {sorted(found)} values")
                return self._encoder.texts(columns, counts)
            render: Callable[..., Mapping[str, tuple[Value, ...]]] = adapter.render
            with self._origin.guarding("render", passing=(UnfitError,)):
                return [
                    self._encoder.text(dict(render(report, other)), count)
                    for report, other, count in zip(reports, given, counts, strict=False)
                ]
        except UnfitError as unfit:
            method = "columns" if isinstance(adapter, ColumnAdapter) else "render"
            raise self._origin.broken(method, needed=unfit.needed, found=unfit.found) from unfit


def check_emit(
    words: Sequence[str],
    adapters: Mapping[str, Adapter],
    origins: Mapping[str, Origin],
    run: RunInfo,
    header: VcfHeader,
) -> None:
    """See before anything is scored that INFO and merging adapters take an input; raises as ``Outputs`` does."""
    asked = [adapters.get(word.partition("=")[0]) for word in words]
    _renderers([one for one in asked if isinstance(one, InfoAdapter | MergingAdapter)], origins, run, header)


def _renderers(
    adapters: Sequence[InfoAdapter | MergingAdapter],
    origins: Mapping[str, Origin],
    run: RunInfo,
    header: VcfHeader,
) -> list[_Renderer]:
    """Open the adapters for an input.

    SettingsError: an adapter refused, the definition of a field to merge into is in doubt, or scores of an earlier run
    would stay among those of another program. PluginError: a declared field is none, or two adapters write one key.
    """
    renderers: list[_Renderer] = []
    owners: dict[str, Origin] = {}
    known = header.infos()
    for adapter in adapters:
        origin = origins[adapter.name]
        renderer: InfoAdapter | Merger
        if isinstance(adapter, MergingAdapter):
            method = "merge"
            with origin.guarding(method):
                renderer = adapter.merge(run, known)
                fields = list(renderer.fields)
            _check_definitions(fields, header)
        else:
            method, renderer = "header", adapter
            with origin.guarding(method):
                fields = list(adapter.header(run))
        for field in fields:
            if not is_info_field(field):
                raise origin.broken(method, needed=INFO_FIELD_NEEDED, found=repr(field))
            if field.key in owners:
                problem = f"Two outputs write INFO key {field.key}: {owners[field.key]} and {origin}."
                one = f"use one of them at a time; {remedy(origin.plugin)}"
                raise PluginError(problem, where=f"hook {origin.hook}, --emit", remedy=one)
            owners[field.key] = origin
        renderers.append(_Renderer(renderer, origin, run, fields, merging=isinstance(adapter, MergingAdapter)))
    stale = [key for key, field in known.items() if key not in owners and _MERGED.search(field.description)]
    if adapters and stale:
        raise SettingsError(
            f"The input holds scores of an earlier run in {', '.join(stale)}, which this run would leave as they are.",
            remedy="add csq to --emit, e.g. --emit flat,csq, or start from the file without these scores",
        )
    return renderers


def _check_definitions(fields: Sequence[InfoField], header: VcfHeader) -> None:
    """See that the subfields of each field to merge into are certain; else no entry could be read, or kept."""
    doubts = header.infos_in_doubt()
    for key in [field.key for field in fields if field.key in doubts]:
        remedy = "mend the header (bcftools reheader), or take the field out and annotate again (bcftools annotate -x "
        remedy += f"INFO/{key}); --emit vep needs none"
        raise SettingsError(f"The definition of INFO {key}, to merge into, is in doubt: {doubts[key]}.", remedy=remedy)
