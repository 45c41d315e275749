"""Every output of a run, opened together and committed together."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from types import TracebackType

from splicebert_vep_spec import (
    Adapter,
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
from ..files import ByteOutput, Output, check_outputs, reporting
from ..plugins import Origin, remedy
from ..scoring.cache import Recurring
from ..vcf.header import VcfHeader
from ..vcf.info import InfoEncoder, UnfitError
from ..vcf.read import VcfRecord
from ..vcf.write import Kind, VcfWriter, kind_of

_PACKED = (".gz", ".bgz", ".zst", ".bz2", ".xz")
_MERGED = re.compile(r"\|\s*SpliceBERT_pred_")  # a subfield of another program's entries that is ours


class TextFile(ByteOutput):
    """Write the lines of a text adapter; bytes that are no UTF-8 leave as they came.

    Raises:
        SettingsError: the name promises a compressed file, or the adapter refused the run.
        OutputError: it cannot be opened.
        PluginError: the adapter failed.
    """

    def __init__(self, adapter: TextAdapter, origin: Origin, path: str, run: RunInfo) -> None:
        if path.endswith(_PACKED):
            problem = f"{adapter.name} is written as plain text."
            raise SettingsError(problem, needed="a name without a compressor's suffix", found=path)
        self._adapter, self._origin, self._run = adapter, origin, run
        with origin.guarding("head"):
            head = self._joined("head", adapter.head(run))
        super().__init__(path)
        self.write_bytes(head)

    def write(self, reports: Sequence[RecordReport]) -> None:
        """Append the lines of a chunk."""
        with self._origin.guarding("lines"):
            text = b"".join(self._joined("lines", self._adapter.lines(report, self._run)) for report in reports)
        self.write_bytes(text)

    def _joined(self, method: str, lines: Iterable[str]) -> bytes:
        parts = [lines] if isinstance(lines, str) else list(lines)
        for line in parts:
            if line is lines or not isinstance(line, str) or "\n" in line or "\r" in line:
                raise self._origin.broken(method, needed="a list of lines without line ends", found=repr(line))
        return "".join(f"{line}\n" for line in parts).encode("utf-8", "surrogateescape")


class TableFile(Output):
    """Let a table adapter write its file.

    Raises:
        SettingsError: stdout was asked for, or the adapter refused the run.
        OutputError: it cannot be opened.
        PluginError: the adapter failed.
    """

    def __init__(self, adapter: TableAdapter, origin: Origin, path: str, run: RunInfo) -> None:
        super().__init__(path)
        self._origin = origin
        if self.to.temporary is None:
            place = "stdout" if self.to.path is None else "a pipe or device"
            problem = f"{adapter.name} cannot be written to {place}."
            raise SettingsError(problem, needed="a file", remedy=f"--emit {adapter.name}=FILE")
        try:
            with origin.guarding("open"), reporting(self.name):
                self._writer = adapter.open(str(self.to.temporary), run)
        except BaseException:
            super().abort()
            raise

    def write(self, reports: Sequence[RecordReport]) -> None:
        """Append the outcomes of a chunk."""
        with self._origin.guarding("write"), reporting(self.name):
            self._writer.write(reports)

    def finish(self) -> None:
        """Write the last bytes; the file is whole then, under its temporary name.

        Raises:
            PluginError: the adapter wrote no file.
        """
        with self._origin.guarding("close"), reporting(self.name):
            self._writer.close()
        if self.to.temporary is None or not self.to.temporary.is_file():
            raise self._origin.broken("close", needed="a file at the path given to open", found="none")
        super().finish()

    def abort(self) -> None:
        """Remove what is not published."""
        with contextlib.suppress(Exception):  # of a plugin; the first failure is on its way to the user
            self._writer.close()
        super().abort()


@dataclass(frozen=True, slots=True)
class OutputPlan:
    """Adapters and the places that they write to.

    Args:
        path: the run's output, ``-`` is stdout.
        kind: VCF, bgzipped VCF or BCF.
        info: INFO and merging adapters; when there are none, no VCF is written.
        tables: text and table adapters with their paths.
        origins: where the adapters come from, by their names.
    """

    path: str
    kind: Kind
    info: tuple[InfoAdapter | MergingAdapter, ...]
    tables: tuple[tuple[TextAdapter | TableAdapter, str], ...]
    origins: Mapping[str, Origin]

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

    Raises:
        SettingsError: an unknown adapter, a file where none can be, two outputs for one path, or an output that
            nothing is written to or that would replace an input. Only the VCF may replace the input VCF, which has
            been read to its end by then.
    """
    info: list[InfoAdapter | MergingAdapter] = []
    tables: list[tuple[TextAdapter | TableAdapter, str]] = []
    for word in dict.fromkeys(words):
        name, _, own = word.partition("=")
        adapter = adapters.get(name)
        if isinstance(adapter, TextAdapter | TableAdapter):
            tables.append((adapter, own or path))
        elif adapter is None:
            needed = f"some of {', '.join(adapters)}"
            hint = suggestion([name], adapters)
            raise SettingsError("An unknown output was asked for.", needed=needed, found=name, remedy=hint)
        elif own:
            raise SettingsError(f"Output {name} goes into the VCF and takes no file.", found=word)
        elif isinstance(adapter, InfoAdapter | MergingAdapter):
            info.append(adapter)
    plan = OutputPlan(path, kind or kind_of(path), tuple(info), tuple(tables), origins)
    check_outputs(plan.targets, [reference])
    check_outputs([path for _, path in tables], [source])
    if path != "-" and path not in plan.targets:
        needed = "an output without a file of its own, such as flat or vep, or no -O"
        found = f"{path}, and --emit {','.join(words)}"
        raise SettingsError("Nothing would be written to the output.", needed=needed, found=found)
    return plan


class Outputs:
    """Write records and reports to every output of a plan; leave none behind when the block fails.

    Args:
        plan: adapters and paths.
        run: fields and provenance.
        header: of the input.
        first: the first records, which complete a header for BCF.
        contig_lengths: of the reference by its own names, for the same purpose.
        version: of this program.
        recurring: what remembers the INFO items of its reports.
    """

    def __init__(
        self,
        plan: OutputPlan,
        run: RunInfo,
        header: VcfHeader,
        first: Sequence[VcfRecord],
        contig_lengths: Mapping[str, int],
        version: str,
        recurring: Recurring | None = None,
    ) -> None:
        self._recurring = recurring
        self._plan = plan
        self._run = run
        self._tables: list[TextFile | TableFile] = []
        self._vcf: VcfWriter | None = None
        self._own, self._merged, declared = _writers(plan.info, plan.origins, run, header)
        with contextlib.ExitStack() as undo:
            if plan.info:
                annotated = header.annotated(declared, run.provenance, version=version)
                self._vcf = VcfWriter(plan.path, annotated, plan.kind, first, contig_lengths)
                undo.callback(self._vcf.abort)
            for adapter, path in plan.tables:
                origin = plan.origins[adapter.name]
                table: TextFile | TableFile
                if isinstance(adapter, TextAdapter):
                    table = TextFile(adapter, origin, path, run)
                else:
                    table = TableFile(adapter, origin, path, run)
                undo.callback(table.abort)
                self._tables.append(table)
            undo.pop_all()

    @property
    def warnings(self) -> Sequence[str]:
        """Sentences for the user, complete after the end."""
        return self._vcf.warnings if self._vcf else ()

    def write(self, records: Sequence[VcfRecord], reports: Sequence[RecordReport]) -> None:
        """Write a chunk.

        Raises:
            OutputError: the disk is full and the like.
            BrokenPipeError: the reader of a pipe has gone.
        """
        if self._vcf is not None:
            items = self._recurring.info(reports, self._info) if self._recurring else self._info(reports)
            for record, info in zip(records, self._with_merged(items, records, reports), strict=True):
                self._vcf.write(record, info)
        for table in self._tables:
            table.write(reports)

    def _info(self, reports: Sequence[RecordReport]) -> list[bytes]:
        """Return the new INFO items of each record that follow from its report, those of all adapters in a row."""
        items = _joined(len(reports), [writer.texts(reports, repeat(self._run)) for writer in self._own])
        return [info if report.alleles else b"" for info, report in zip(items, reports, strict=True)]

    def _with_merged(
        self, items: list[bytes], records: Sequence[VcfRecord], reports: Sequence[RecordReport]
    ) -> list[bytes]:
        """Add the items that follow from the records' own INFO too."""
        if not self._merged:
            return items
        there = [record.info() for record in records]
        return _joined(len(items), [items, *(writer.texts(reports, there) for writer in self._merged)])

    def __enter__(self) -> Outputs:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._commit()
        else:
            self._abort()

    def _commit(self) -> None:
        """Finish every output, then publish them all, so that one that fails leaves none behind."""
        try:
            for output in self._all():
                output.finish()
            for output in self._all():
                output.publish()
        except BaseException:
            self._abort()
            raise

    def _abort(self) -> None:
        with contextlib.ExitStack() as stack:
            for output in self._all():
                stack.callback(output.abort)

    def _all(self) -> list[VcfWriter | TextFile | TableFile]:
        return [*([] if self._vcf is None else [self._vcf]), *self._tables]


@dataclass(frozen=True, slots=True)
class _InfoWriter:
    """What renders INFO fields, and what prints them."""

    adapter: InfoAdapter | Merger
    origin: Origin
    encoder: InfoEncoder

    def texts(
        self, reports: Sequence[RecordReport], beside: Iterable[RunInfo] | Iterable[Mapping[str, str]]
    ) -> list[bytes]:
        """Return the INFO items of each record.

        Args:
            beside: what the adapter gets with each report: the run, or the record's own INFO.

        Raises:
            PluginError: the adapter failed, or gave what its declared fields cannot hold.
        """
        render: Callable[..., Mapping[str, tuple[Value, ...]]] = self.adapter.render
        try:
            with self.origin.guarding("render", passing=(UnfitError,)):
                return [
                    self.encoder.text(dict(render(report, other)), len(report.alleles))
                    for report, other in zip(reports, beside, strict=False)
                ]
        except UnfitError as unfit:
            raise self.origin.broken("render", needed=unfit.needed, found=unfit.found) from unfit


def _joined(count: int, by_writer: Sequence[list[bytes]]) -> list[bytes]:
    """Return for each record the items of all writers in a row."""
    if len(by_writer) == 1:
        return by_writer[0]
    return [b";".join(filter(None, items)) for items in zip(*by_writer, strict=True)] if by_writer else [b""] * count


def check_emit(
    words: Sequence[str],
    adapters: Mapping[str, Adapter],
    origins: Mapping[str, Origin],
    run: RunInfo,
    header: VcfHeader,
) -> None:
    """Find out before anything is scored whether INFO and merging adapters take an input; raises as they do."""
    asked = [adapters.get(word.partition("=")[0]) for word in words]
    info = [adapter for adapter in asked if isinstance(adapter, InfoAdapter | MergingAdapter)]
    _writers(info, origins, run, header)


def _writers(
    adapters: Sequence[InfoAdapter | MergingAdapter], origins: Mapping[str, Origin], run: RunInfo, header: VcfHeader
) -> tuple[list[_InfoWriter], list[_InfoWriter], list[InfoField]]:
    """Return what writes fields of its own, what merges into the input's, and every field they declare.

    Raises:
        SettingsError: an adapter refused, the definition of a field to merge into is in doubt, or scores of an earlier
            run would stay among those of another program.
        PluginError: a header is none, or two adapters write one key.
    """
    own: list[_InfoWriter] = []
    merging: list[_InfoWriter] = []
    declared: list[InfoField] = []
    owners: dict[str, str] = {}
    known = header.infos()
    for adapter in adapters:
        origin = origins[adapter.name]
        if isinstance(adapter, MergingAdapter):
            with origin.guarding("merge"):
                merger = adapter.merge(run, known)
                fields = list(merger.fields)
            _check_definitions(fields, header)
            merging.append(_InfoWriter(merger, origin, InfoEncoder(_checked(fields, "merge", origin, owners))))
        else:
            with origin.guarding("header"):
                fields = list(adapter.header(run))
            own.append(_InfoWriter(adapter, origin, InfoEncoder(_checked(fields, "header", origin, owners))))
        declared += fields
    stale = [key for key, field in known.items() if key not in owners and _MERGED.search(field.description)]
    if adapters and stale:
        raise SettingsError(
            "The input holds scores of an earlier run in a field that this run would leave as it is.",
            needed=f"an output that writes {', '.join(stale)} again, so that all scores of a file are of one run",
            found=", ".join(adapter.name for adapter in adapters),
            remedy="add csq to --emit, e.g. --emit flat,csq, or start from the file without these scores",
        )
    return own, merging, declared


def _check_definitions(fields: Sequence[InfoField], header: VcfHeader) -> None:
    """See that it is certain what the subfields are of what is merged into; else no entry could be read, or kept."""
    doubts = header.infos_in_doubt()
    for field in fields:
        if field.key in doubts:
            raise SettingsError(
                "The definition of a field to merge into is in doubt.",
                needed="one line that says what its subfields are",
                found=f"{field.key}: {doubts[field.key]}",
                remedy="mend the header (bcftools reheader), or take the field out and annotate again "
                f"(bcftools annotate -x INFO/{field.key}); --emit vep needs none",
            )


def _checked(fields: list[InfoField], method: str, origin: Origin, owners: dict[str, str]) -> list[InfoField]:
    """Return the fields; ``owners`` learns whose their keys are."""
    for field in fields:
        if not is_info_field(field):
            raise origin.broken(method, needed=INFO_FIELD_NEEDED, found=repr(field))
        if field.key in owners:
            raise PluginError(
                "Two outputs write the same INFO key.",
                needed="one output of these at a time",
                found=f"{field.key} of {owners[field.key]} and of {origin}",
                where=f"hook {origin.hook}, --emit",
                remedy=remedy(origin.plugin),
            )
        owners[field.key] = str(origin)
    return fields
