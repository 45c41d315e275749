"""Read and write the files of a cohort, in processes that know neither models nor genes.

A process tells the parent of the sites of a file, or asks it for the INFO items of sites that it has not met, and packs
what it writes. So the items of a site that many files share are made once, and a process starts without torch. Files
appear whole or not at all; a process whose parent is gone ends.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import traceback
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from types import FrameType, TracebackType
from typing import Any, Literal, NamedTuple

from ..errors import OutputError, SpliceBertError
from ..vcf.header import VcfHeader
from ..vcf.read import VcfReader, VcfRecord, carriers, chunked, open_vcf
from ..vcf.write import VcfWriter

_WORTH = 1 << 21  # bytes of input for which a process is started: it takes a quarter of a second
_KEPT = 1 << 27  # bytes of sites and their items that are at hand
_PATIENCE = 10.0  # seconds for a process to end when it is asked to
_PLAIN = b"ACGTNacgtn*,."

# Ctrl-C reaches the whole process group; the parent decides what becomes of the outputs.
_PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
sys.path[:] = sys.argv[2:]
from splicebert_vep.tools.processes import serve
serve(int(sys.argv[1]))
"""


class SiteText(NamedTuple):
    """The INFO items of a record.

    Args:
        items: ``KEY=value;KEY=value``.
        statuses: of its ALTs, in their order.
        failed: ALTs that FAILED in any gene.
        lasting: every record with the same CHROM, POS, ID, REF and ALT has these items.
    """

    items: bytes
    statuses: tuple[str, ...]
    failed: int
    lasting: bool


class Sites(dict[bytes, SiteText]):
    """Items of sites that are at hand, because the next file has many of them too; bounded in bytes."""

    _size = 0

    def keep(self, site: bytes, text: SiteText) -> None:
        """Keep the items of a site, unless they are of one record only."""
        if text.lasting:
            if self._size > _KEPT:
                self.clear()
                self._size = 0
            self[site] = text
            self._size += len(site) + len(text.items)


class Opened(NamedTuple):
    """A file that is about to be read."""

    kind: Literal["vcf", "bcf"]
    header: VcfHeader


class SiteChunk(NamedTuple):
    """Sites of a file, in its order.

    Args:
        lines: joined by line ends; of each record the first 5 columns, or 8 where an ALT is other than bases.
        carriers: of all ALTs, -1 where there are no genotypes.
    """

    lines: bytes
    carriers: array[int]


#: ``Opened`` and ``SiteChunk``: True has the file read on. A header: the INFO fields. First 8 columns of records: the
#: ``SiteText`` of each.
Question = Opened | SiteChunk | VcfHeader | list[bytes]
Ask = Callable[[Question], Any]


@dataclass(frozen=True, slots=True)
class FileTask:
    """A file to read, or to annotate where it has a target.

    Args:
        source, target: paths.
        held: records that complete a header for BCF.
    """

    source: str
    target: str | None = None
    held: int = 0


@dataclass(slots=True)
class FileDone:
    """Counts of a file that is annotated, and sentences for the user about input and output."""

    records: int = 0
    without_alt: int = 0
    failed: int = 0
    status: Counter[str] = field(default_factory=Counter)  # of ALTs
    read_warnings: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class FileWorker:
    """Read and annotate files, one after the other.

    Args:
        provenance: of the run.
        lengths: of the reference's contigs.
        chunk: records that are in memory at a time.
    """

    def __init__(self, provenance: Mapping[str, str], lengths: Mapping[str, int], chunk: int) -> None:
        self._provenance, self._lengths, self._chunk = provenance, lengths, chunk
        self._known = Sites()

    def run(self, task: FileTask, ask: Ask) -> FileDone:
        """Read or annotate a file.

        Args:
            ask: answers questions.

        Raises:
            VcfError: the input is damaged or cut off.
            OutputError: the output cannot be written whole; nothing is left under its final name.
        """
        with open_vcf(task.source) as reader:
            if task.target is not None:
                return self._annotate(reader, task.target, task.held, ask)
            going = ask(Opened(reader.kind, reader.header))
            chunks = chunked(reader, self._chunk)
            while going and (records := next(chunks, None)):
                going = ask(_sites(records))
        return FileDone()

    def _annotate(self, reader: VcfReader, target: str, held: int, ask: Ask) -> FileDone:
        done, tally = FileDone(), Counter[tuple[tuple[str, ...], int]]()
        header = reader.header.annotated(ask(reader.header), self._provenance)
        first = list(islice(reader, held))
        with VcfWriter(target, header, None, first, self._lengths) as writer:
            for records in chunked(chain(first, reader), self._chunk):
                for record, text in zip(records, self._texts(records, ask), strict=True):
                    writer.write(record, text.items)
                    tally[text.statuses, text.failed] += 1
        done.read_warnings, done.warnings = reader.warnings, writer.warnings
        for (statuses, failed), count in tally.items():
            done.records += count
            done.failed += failed * count
            done.without_alt += 0 if statuses else count
            for status in statuses:
                done.status[status] += count
        return done

    def _texts(self, records: Sequence[VcfRecord], ask: Ask) -> list[SiteText]:
        sites = [record.site for record in records]
        found = list(map(self._known.get, sites))
        missing = [i for i, text in enumerate(found) if text is None]
        if missing:
            asked = ask([b"\t".join(records[i].columns()[:8]) for i in missing])
            for i, text in zip(missing, asked, strict=True):
                found[i] = text
                self._known.keep(sites[i], text)
        return [text for text in found if text is not None]


def _sites(records: Sequence[VcfRecord]) -> SiteChunk:
    lines, counts = list[bytes](), array("q")
    for record in records:
        site = record.site
        if site[site.rindex(b"\t") :].strip(b"\t").translate(None, _PLAIN):  # INFO may tell a symbolic ALT's length
            site = b"\t".join(record.columns()[:8])
        lines.append(site)
        counts.extend([-1 if count is None else count for count in carriers(record)])
    return SiteChunk(b"\n".join(lines), counts)


def serve(descriptor: int) -> None:
    """Do the tasks of a parent until it is gone."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    with Connection(descriptor) as parent:

        def ask(question: Question) -> Any:
            parent.send(question)
            return parent.recv()

        try:
            provenance, lengths, chunk = parent.recv()
            worker = FileWorker(provenance, lengths, chunk)
            while True:
                task = parent.recv()
                try:
                    said: FileDone | Exception = worker.run(task, ask)
                except Exception as error:
                    if not isinstance(error, SpliceBertError):
                        error.add_note(traceback.format_exc())
                    said = error
                parent.send(said)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            pass  # the parent is gone, and the file that was not whole with it


def _end(number: int, frame: FrameType | None) -> None:
    """End as an exception does, so that temporary files go away."""
    raise SystemExit(128 + number)


class FileProcesses:
    """Processes that read and annotate files; a context manager, which ends them: what is not whole goes away.

    Args:
        count: of processes; with fewer than two this process does the tasks by itself.
    """

    def __init__(self, count: int) -> None:
        self._worker: FileWorker | None = None
        self._processes: dict[Connection, subprocess.Popen[bytes]] = {}
        try:
            for _ in range(count if count > 1 else 0):
                self._start()
        except BaseException:
            self._stop()
            raise

    def prepare(self, provenance: Mapping[str, str], lengths: Mapping[str, int], chunk: int) -> None:
        """Give the arguments of ``FileWorker``, before the first task."""
        about = dict(provenance), dict(lengths), chunk
        self._worker = FileWorker(*about)
        for connection in self._processes:
            self._send(connection, about)

    def __enter__(self) -> FileProcesses:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop()

    def run(
        self, tasks: Sequence[FileTask], answerer: Callable[[int], Ask]
    ) -> Iterator[tuple[int, FileDone | Exception]]:
        """Yield the number of each task with what came of it, as they are done.

        Args:
            answerer: makes what answers the questions about a task, by its number.

        Raises:
            OutputError: a process has died.
        """
        assert self._worker is not None
        if not self._processes:
            for number, task in enumerate(tasks):
                try:
                    said: FileDone | Exception = self._worker.run(task, answerer(number))
                except Exception as error:
                    said = error
                yield number, said
            return
        waiting = iter(range(len(tasks)))
        busy: dict[Connection, tuple[int, Ask]] = {}

        def begin(connection: Connection) -> None:
            if (number := next(waiting, None)) is not None:
                busy[connection] = number, answerer(number)
                self._send(connection, tasks[number], tasks[number])

        for connection in self._processes:
            begin(connection)
        while busy:
            for ready in wait(list(busy)):
                assert isinstance(ready, Connection)
                number, answer = busy[ready]
                try:
                    said = ready.recv()
                except (EOFError, ConnectionResetError) as error:
                    raise self._died(ready, tasks[number]) from error
                if isinstance(said, FileDone | Exception):
                    del busy[ready]
                    begin(ready)
                    yield number, said
                else:
                    self._send(ready, answer(said), tasks[number])

    def _start(self) -> None:
        ours, theirs = Pipe()
        with theirs:
            self._processes[ours] = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, str(theirs.fileno()), *sys.path],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
            )

    def _send(self, connection: Connection, what: object, task: FileTask | None = None) -> None:
        try:
            connection.send(what)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise self._died(connection, task) from error

    def _died(self, connection: Connection, task: FileTask | None) -> OutputError:
        code = self._processes[connection].wait()
        return OutputError(
            "A process that reads and writes the files of the cohort has died.",
            found=f"signal {-code}" if code < 0 else f"exit code {code}", where=task.source if task else "",
            remedy="see to memory; the same command goes on from there, with --threads 1 in one process",
        )  # fmt: skip

    def _stop(self) -> None:
        for connection, process in self._processes.items():
            process.terminate()
            connection.close()
        for process in self._processes.values():
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def start_processes(sizes: Sequence[int], threads: int | None) -> FileProcesses:
    """Start as many processes as files of these sizes in bytes are worth, and as keep cores busy; none for one core.

    A process waits for the disk a third of its time, so that three keep two cores busy.

    Args:
        threads: cores to use; None takes all that this process may use.
    """
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cores = threads or there
    return FileProcesses(min(cores + cores // 2, len(sizes), sum(sizes) // _WORTH))
