"""``cohort run``: many files, each distinct allele scored once.

The files are read for their distinct alleles, the alleles that the score store lacks are scored and committed batch
by batch, then every file and the cohort's table are written from the store. The store is the checkpoint: a run that
was killed goes on when the same command is given again.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import pyarrow as pa

from splicebert_vep_spec import Allele, AlleleReport, RecordReport, Skipped, Status

from ..annotator import HELD, Annotator
from ..errors import CohortError, InputError, OutputError, SettingsError
from ..files import locked, remove_left_over, reporting, whole_or_not
from ..outputs.tables import RowsWriter, rows, schema_of
from ..outputs.write import InfoTexts, OutputPlan, plan_outputs
from ..results import Summary
from ..scoring.pipeline import Pipeline, Span
from ..sequence.alleles import anchored
from ..vcf.header import VcfHeader
from ..vcf.read import VcfRecord
from ..version import __version__
from .diff import COUNTS, TABLE
from .manifest import CohortFile, signature_of
from .processes import Ask, FileDone, FileProcesses, FileTask, Opened, Question, SiteChunk, Sites, SiteText
from .workers import DaskWorkers, Progress, score_missing

ANNOTATED, FINISHED, SUMMARY = "annotated", "finished.txt", "cohort.json"
_BLOCK = 512  # alleles
_KEPT = 1 << 17  # records whose alleles are kept at hand, because the next file has many of them too
_LETTERS = 200  # of a record's alleles; those of longer ones are not kept
_BAD_SHOWN = 5


class ReadFile(NamedTuple):
    """A file that was read, for the time when it is annotated.

    Args:
        suffix: of its output.
        held: records that were read before its build was certain; they complete a header for BCF.
        warnings: of the build guard.
    """

    suffix: str
    held: int
    warnings: list[str]


AltKey = tuple[int, bytes, int, bytes, bytes, int, int]
"""Key that counts an ALT: contig, CHROM, start, REF, ALT, and the bases that it changes."""
AltAbout = tuple[str, bytes]  # status and reason; empty where there is a normalised allele
AltCount = tuple[AltAbout, int | None]  # and its carriers


class CohortAlleles:
    """Count the files and carriers of each distinct allele, in a temporary file that SQLite removes by itself."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline, self._names = pipeline, list(pipeline.reference.lengths)
        self._contigs = {name: number for number, name in enumerate(self._names)}
        self._waiting: dict[AltKey, tuple[AltAbout, int, int | None]] = {}
        with self._guarding():
            self._db = sqlite3.connect("", isolation_level=None)
            self._db.executescript(f"PRAGMA journal_mode = OFF; CREATE TABLE alleles {_COLUMNS}; BEGIN")

    def keys(self, record: VcfRecord) -> list[tuple[AltKey, AltAbout]]:
        """Return what each ALT of a record is counted by, and its status and reason.

        An ALT without a normalised allele counts as it was written, after all contigs; bytes need not be UTF-8. The
        bases that it changes belong to it, -1 where they are not certain: <DEL> of one POS may have several END.
        """
        found: list[tuple[AltKey, AltAbout]] = []
        for number, (alt, allele) in enumerate(zip(record.alts, self._pipeline.alleles(record), strict=True)):
            if isinstance(allele, Allele):
                place = self._contigs[allele.contig], b"", allele.start, allele.ref.encode(), allele.alt.encode()
                found.append(((*place, -1, -1), ("", b"")))
            else:
                written = len(self._names), _bytes(record.chrom), record.pos, _bytes(record.ref), _bytes(alt)
                span = self._pipeline.span_of_skipped(record, number, allele)
                first, until = (span.start, span.end) if span else (-1, -1)
                found.append(((*written, first, until), (str(allele.status), _bytes(allele.reason))))
        return found

    def add(self, counts: Mapping[AltKey, AltCount]) -> None:
        """Count the ALTs of a file."""
        for key, (about, count) in counts.items():
            if (known := self._waiting.get(key)) is None:
                self._waiting[key] = about, 1, count
            else:
                _, files, before = known
                both = count if before is None else before if count is None else before + count
                self._waiting[key] = about, files + 1, both
        if len(self._waiting) >= _KEPT:
            self._flush()

    def add_part(self, file: int, counts: Mapping[AltKey, AltCount]) -> None:
        """Count some ALTs of a file that has too many to be counted in memory; ``end_parts`` follows."""
        with self._guarding():
            self._db.execute(f"CREATE TABLE IF NOT EXISTS file_{file} {_COLUMNS}")
            rows = [(*key, *about, 1, count) for key, (about, count) in counts.items()]
            self._db.executemany(f"INSERT INTO file_{file} VALUES ({_MARKS}) {_LARGER}", rows)

    def end_parts(self, file: int) -> None:
        """Count the ALTs of a file that came in parts."""
        with self._guarding():
            self._db.execute(f"INSERT INTO alleles SELECT * FROM file_{file} WHERE true {_SUM}")
            self._db.execute(f"DROP TABLE file_{file}")

    def _flush(self) -> None:
        rows = [(*key, *about, files, count) for key, (about, files, count) in self._waiting.items()]
        self._waiting.clear()
        with self._guarding():
            self._db.executemany(f"INSERT INTO alleles VALUES ({_MARKS}) {_SUM}", rows)

    def __len__(self) -> int:
        self._flush()
        with self._guarding():
            return int(self._db.execute("SELECT count(*) FROM alleles WHERE status = ''").fetchone()[0])

    def blocks(self) -> Iterator[list[Allele]]:
        """Yield the normalised alleles in blocks, sorted by position."""
        for block in self.counted():
            yield [allele for allele, *_ in block]

    def counted(self) -> Iterator[list[tuple[Allele, int, int | None]]]:
        """Yield the normalised alleles with their files, and carriers where any file has genotypes."""
        names = self._names
        for block in self._select("status = ''"):
            yield [
                (Allele(names[contig], start, ref.decode(), alt.decode()), files, count)
                for contig, _, start, ref, alt, *_, files, count in block
            ]

    def skipped(self) -> Iterator[tuple[RecordReport, int, int | None]]:
        """Yield the ALTs without a normalised allele, each with its files and carriers."""
        for block in self._select("status <> ''"):
            for _, chrom, pos, ref, alt, first, until, status, reason, files, count in block:
                chrom, ref, alt, reason = (
                    text.decode("utf-8", "surrogateescape") for text in (chrom, ref, alt, reason)
                )
                contig = self._pipeline.reference.find(chrom)
                span = Span(contig, first, until) if contig and first >= 0 else None
                outcomes = self._pipeline.skipped_outcomes(Skipped(Status(status), reason), span, pos, ref, alt)
                report = AlleleReport(alt, None, outcomes)
                yield RecordReport(chrom, pos, ".", ref, (report,)), files, count

    def _select(self, condition: str) -> Iterator[list[tuple[Any, ...]]]:
        self._flush()
        with self._guarding():
            cursor = self._db.execute(
                f"SELECT * FROM alleles WHERE {condition} ORDER BY contig, chrom, start, ref, alt, first, until"
            )
            while block := cursor.fetchmany(_BLOCK):
                yield block

    @contextmanager
    def _guarding(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            problem = "The cohort's alleles could not be kept in a temporary file: set TMPDIR to a folder with room."
            raise OutputError(problem, found=str(error)) from error


_COLUMNS = """(
    contig INTEGER, chrom BLOB, start INTEGER, ref BLOB, alt BLOB, first INTEGER, until INTEGER, status TEXT,
    reason BLOB, files INTEGER, carriers INTEGER, PRIMARY KEY (contig, chrom, start, ref, alt, first, until)
) WITHOUT ROWID"""
_MARKS = ", ".join("?" * 11)
_SUM = """ON CONFLICT DO UPDATE SET files = files + excluded.files, carriers = CASE
    WHEN carriers IS NULL THEN excluded.carriers ELSE carriers + coalesce(excluded.carriers, 0) END"""
# A file that has an allele twice (padded, or in two records) counts once, with the larger number of carriers.
_LARGER = """ON CONFLICT DO UPDATE SET carriers = CASE
    WHEN carriers IS NULL THEN excluded.carriers ELSE max(carriers, coalesce(excluded.carriers, 0)) END"""


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


class _Site(NamedTuple):
    """CHROM, POS and REF of a record, and key, status and reason of each ALT."""

    place: tuple[str, int, str]  # CHROM, POS, REF
    alts: list[tuple[AltKey, AltAbout]]


class FileReading:
    """Take in the sites of a file, as a process tells them.

    Args:
        number: of the file.
        annotator: whose build guard sees the records.
        emit: outputs that the header has to suit.
        alleles: count the ALTs.
        known: sites that files share.
    """

    def __init__(
        self, number: int, annotator: Annotator, emit: Sequence[str], alleles: CohortAlleles, known: dict[bytes, _Site]
    ) -> None:
        self._number, self._annotator, self._emit = number, annotator, emit
        self._alleles, self._known = alleles, known
        self._counts: dict[AltKey, AltCount] = {}
        self._chunks = self._held = 0
        self._in_parts = False
        self._suffix = ""
        self.records = self.alts = 0
        self.error: InputError | None = None

    def __call__(self, said: Question) -> bool:
        """Take in what a process tells; return whether the file can be used."""
        try:
            if isinstance(said, Opened):
                self._suffix = "bcf" if said.kind == "bcf" else "vcf.gz"
                self._annotator.check_emit(self._emit, said.header)
                self._guard = self._annotator.guard(said.header.contigs())
            elif isinstance(said, SiteChunk):
                self._take(said)
        except InputError as error:
            self.error = error
        return self.error is None

    def finish(self) -> ReadFile:
        """Count the file.

        Raises:
            BuildError: no contig of its records is in the FASTA.
        """
        warnings = self._guard.finish()
        if self._in_parts:
            self._alleles.add_part(self._number, self._counts)
            self._alleles.end_parts(self._number)
        else:
            self._alleles.add(self._counts)
        return ReadFile(self._suffix, self._held, warnings)

    def _take(self, chunk: SiteChunk) -> None:
        sites = list(map(self._site, chunk.lines.split(b"\n")))
        held = self._chunks < HELD and not self._guard.decided
        self._guard.observe(site.place for site in sites)
        self._chunks += 1
        self._held += len(sites) if held else 0
        self.records += len(sites)
        counts, carriers = self._counts, iter(chunk.carriers)
        for _, alts in sites:
            for (key, about), count in zip(alts, carriers, strict=False):
                carried = None if count < 0 else count
                if (before := counts.get(key)) is not None and before[1] is not None:
                    carried = max(before[1], carried or 0)
                counts[key] = about, carried
        self.alts += len(chunk.carriers)
        if len(counts) >= _KEPT:
            self._in_parts = True
            self._alleles.add_part(self._number, counts)
            counts.clear()

    def _site(self, line: bytes) -> _Site:
        site = self._known.get(line)
        if site is None:
            record = VcfRecord(line + b"\t.\t.\t." if line.count(b"\t") == 4 else line, 0)
            site = _Site((record.chrom, record.pos, record.ref), self._alleles.keys(record))
            if len(line) <= _LETTERS:
                if len(self._known) >= _KEPT:
                    self._known.clear()
                self._known[line] = site
        return site


def read_alleles(
    files: Sequence[CohortFile], annotator: Annotator, emit: Sequence[str], processes: FileProcesses,
    progress: Progress | None = None,
) -> tuple[CohortAlleles, Counter[str], list[ReadFile]]:  # fmt: skip
    """Read every file; return the alleles, counts of files, records and ALTs, and what is to know of each file.

    Args:
        emit: outputs that every file's header has to suit.
        processes: read the files.

    Raises:
        InputError: files that cannot be used; where there are several, all are named.
    """
    counts: Counter[str] = Counter(files=len(files), records=0, alts=0)
    pipeline = Pipeline(annotator.reference, annotator.scoring, annotator.genes, annotator.scoring.shape)
    found = CohortAlleles(pipeline)
    known: dict[bytes, _Site] = {}
    reading: dict[int, FileReading] = {}
    read: dict[int, ReadFile] = {}
    bad: dict[int, InputError] = {}

    def begin(number: int) -> Ask:
        reading[number] = FileReading(number, annotator, emit, found, known)
        return reading[number]

    for number, said in processes.run([FileTask(one.path) for one in files], begin):
        one = reading.pop(number)
        try:
            if problem := one.error or (said if isinstance(said, Exception) else None):
                raise problem
            read[number] = one.finish()
        except InputError as error:
            bad[number] = error
        counts["records"] += one.records
        counts["alts"] += one.alts
        if progress:
            progress("files read", len(read) + len(bad), len(files))
    if bad:
        raise _bad_files([(files[number], bad[number]) for number in sorted(bad)], len(files))
    counts["distinct"] = len(found)
    return found, counts, [read[number] for number in range(len(files))]


def _bad_files(bad: Sequence[tuple[CohortFile, InputError]], of: int) -> InputError:
    if len(bad) == 1:
        one, error = bad[0]
        if one.path not in error.where:
            error.where = f"{one.path}, {error.where}".rstrip(", ")
        return error
    shown = [f"{one.path}: {error.problem}" for one, error in bad[:_BAD_SHOWN]]
    more = [f"and {len(bad) - _BAD_SHOWN:,} more"] if len(bad) > _BAD_SHOWN else []
    problem = f"{len(bad):,} of {of:,} files cannot be used: mend them or take them out; nothing was scored."
    return CohortError(problem, found="; ".join(shown + more))


def run_cohort(
    folder: Path, files: Sequence[CohortFile], annotator: Annotator, *, emit: Sequence[str] = ("flat",),
    workers: DaskWorkers | None = None, processes: FileProcesses | None = None, progress: Progress | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Score the new alleles of a cohort, annotate its files, and write its table; return what ``cohort.json`` holds.

    Args:
        folder: of the outputs.
        annotator: opened with a store.
        emit: outputs into the annotated files.
        workers: score instead of this process.
        processes: read and write files instead of this process.
        progress: called with the task, how much of it is done, and how much there is.

    Raises:
        SpliceBertError: the same call goes on from there.
    """
    stored = annotator.stored_scoring
    if stored is None:
        raise SettingsError("A cohort needs an Annotator with a store.")
    outputs = folder / ANNOTATED
    for one in files:
        if os.path.dirname(os.path.realpath(one.path)) == os.path.realpath(outputs):
            raise CohortError("An output of the run would replace an input: give another -O.", found=one.path)
    with locked(folder, "running a cohort"):
        for place in (folder, outputs):
            remove_left_over(place)
        digest = _digest(annotator, emit)
        finished = _read_finished(folder / FINISHED)
        kept = {one.name: finished[one.name] for one in files if _is_finished(folder, one, finished, digest)}
        plan = _plan(annotator, emit, outputs / f"{files[0].name}.vcf.gz", files[0].path)
        processes = processes or FileProcesses(0)
        processes.prepare(annotator.run.provenance, annotator.reference.lengths, annotator.settings.chunk_records)
        alleles, counts, read = read_alleles(files, annotator, emit, processes, progress)
        with reporting(outputs):
            outputs.mkdir(exist_ok=True)
        score_missing(annotator, alleles.blocks(), counts["distinct"], workers, progress)
        counts["new"] = stored.scored
        began = time.monotonic()
        annotated = _annotate_files(folder, files, read, annotator, plan, processes, kept, digest, progress)
        seconds = time.monotonic() - began
        distinct = _write_table(folder / TABLE, alleles, annotator)
        content = _summary(folder, counts, files, kept, annotator, distinct)
        with whole_or_not(folder / SUMMARY) as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        warnings = [
            f"{one.path}: {warning}" for one, about in zip(files, read, strict=True) for warning in about.warnings
        ]
        warnings += [f"{one['name']}: {warning}" for one in content["files"] for warning in one["warnings"]]
        expected = {os.path.basename(one["output"]) for one in content["files"]}
        there = sorted(path.name for path in outputs.iterdir() if path.name.endswith((".vcf.gz", ".bcf")))
        if stale := [name for name in there if name not in expected]:
            warnings.append(f"{ANNOTATED}/ also holds files that are not of this cohort: {', '.join(stale)}")
        return {**content, "notes": warnings, "annotated": annotated, "seconds": seconds}


def _digest(annotator: Annotator, emit: Sequence[str]) -> str:
    """Return a digest of all that decides, beside a file, what its output is."""
    about = [__version__, dict(annotator.run.provenance), [field.id for field in annotator.run.fields], list(emit)]
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


class SiteTexts:
    """Answer the questions of who writes a cohort's files.

    Args:
        annotator: scores records, and its plugins hear of every file.
        plan: of the outputs into the files.
        known: sites that files share.
    """

    def __init__(self, annotator: Annotator, plan: OutputPlan, known: Sites) -> None:
        self._annotator, self._plan, self._known = annotator, plan, known
        self._texts: InfoTexts | None = None

    def __call__(self, question: Question) -> Any:
        """Return the INFO fields of a file with this header, or the ``SiteText`` of each of its records."""
        if not isinstance(question, list):
            assert isinstance(question, VcfHeader)
            self._annotator.plugins.run_started(self._annotator.run)
            self._texts = InfoTexts(self._plan, self._annotator.run, question)
            return self._texts.fields
        records = [VcfRecord(line, number) for number, line in enumerate(question, start=1)]
        found = [self._known.get(record.site) for record in records]
        missing = [record for record, text in zip(records, found, strict=True) if text is None]
        made = iter(self._made(missing))
        return [next(made) if text is None else text for text in found]

    def _made(self, records: Sequence[VcfRecord]) -> list[SiteText]:
        assert self._texts is not None
        reports = self._annotator.report(records) if records else []
        made = []
        for record, report, items in zip(records, reports, self._texts.texts(records, reports), strict=True):
            statuses = tuple(str(allele.contexts[0].status) for allele in report.alleles)
            failed = sum(any(one.status == Status.FAILED for one in allele.contexts) for allele in report.alleles)
            # The length of a symbolic allele is in INFO.
            lasting = not self._texts.merging and Status.SYMBOLIC not in statuses and len(record.site) <= _LETTERS
            made.append(SiteText(items, statuses, failed, lasting))
            self._known.keep(record.site, made[-1])
        return made


def _annotate_files(
    folder: Path, files: Sequence[CohortFile], read: Sequence[ReadFile], annotator: Annotator, plan: OutputPlan,
    processes: FileProcesses, kept: dict[str, dict[str, Any]], digest: str, progress: Progress | None,
) -> int:  # fmt: skip
    """Annotate every file that is not kept, and keep what is known of it; return the records of this call."""
    path = folder / FINISHED
    with whole_or_not(path) as temporary:
        temporary.write_text("".join(map(_sealed, kept.values())), encoding="utf-8")
    waiting = [(one, about) for one, about in zip(files, read, strict=True) if one.name not in kept]
    targets = [folder / ANNOTATED / f"{one.name}.{about.suffix}" for one, about in waiting]
    for target in targets:
        annotator.check_targets([str(target)])
    tasks = [
        FileTask(one.path, str(target), about.held if about.suffix == "bcf" else 0)
        for (one, about), target in zip(waiting, targets, strict=True)
    ]
    known = Sites()
    records = 0
    with reporting(path), path.open("a", encoding="utf-8") as log:

        def begin(number: int) -> Ask:
            return SiteTexts(annotator, plan, known)

        for count, (number, done) in enumerate(processes.run(tasks, begin), start=len(kept) + 1):
            if isinstance(done, Exception):
                raise done
            one, about = waiting[number]
            kept[one.name] = entry = _entry(one, about, targets[number], done, annotator, digest)
            log.write(_sealed(entry))
            log.flush()
            records += entry["records"]
            if progress:
                progress("files annotated", count, len(files))
    return records


def _plan(annotator: Annotator, emit: Sequence[str], output: Path, source: str) -> OutputPlan:
    """Return the plan of the outputs into a file, which serves for all."""
    adapters, origins = annotator.plugins.adapters, annotator.plugins.origins("adapter")
    reference = str(annotator.reference.path)
    plan = plan_outputs(emit, str(output), None, adapters, origins, source=source, reference=reference)
    if plan.tables:
        found = ", ".join(adapter.name for adapter, _ in plan.tables)
        problem = f"A cohort has one table, {TABLE}: --emit goes into the annotated files."
        raise SettingsError(problem, found=found, remedy=f"leave {found} out")
    return plan


def _entry(
    one: CohortFile, about: ReadFile, output: Path, done: FileDone, annotator: Annotator, digest: str
) -> dict[str, Any]:
    """Return what is to know of a file that is annotated."""
    status = Counter({Status(word): count for word, count in done.status.items()})
    summary = Summary(records=done.records, alleles=status.total(), failed=done.failed, status=status)
    status[Status.NO_ALT] += done.without_alt
    summary.warnings = [*about.warnings, *done.read_warnings, *summary.doubts(), *done.warnings]
    annotator.plugins.run_finished(annotator.run, summary.by_status())
    if signature_of(one.path, one.path) != one.signature:
        raise CohortError("A file of the cohort changed while the run read it: run it again.", where=one.path)
    there = output.stat()
    return {
        "name": one.name,
        "input": list(one.signature),
        "output": [output.name, there.st_size, there.st_mtime_ns],
        "indexed": _is_indexed(output),
        "digest": digest,
        "records": summary.records,
        "alleles": summary.alleles,
        "status": summary.by_status(),
        "failed": summary.failed,
        "warnings": summary.warnings,
    }


def _sealed(entry: Mapping[str, Any]) -> str:
    text = json.dumps(entry)
    return f"{crc32(text.encode()):08x} {text}\n"


def _read_finished(path: Path) -> dict[str, dict[str, Any]]:
    """Return what an earlier run says of its outputs, by name; a line that is not as written is no line."""
    found = {}
    with reporting(path):
        for line in path.read_text(encoding="ascii", errors="replace").splitlines() if path.exists() else ():
            seal, _, text = line.partition(" ")
            if seal == f"{crc32(text.encode()):08x}":
                entry = json.loads(text)
                found[entry["name"]] = entry
    return found


def _is_finished(folder: Path, one: CohortFile, finished: Mapping[str, Mapping[str, Any]], digest: str) -> bool:
    """Tell whether a file's output is what this run would make of it; FAILED alleles are scored again."""
    entry = finished.get(one.name)
    if entry is None or entry["failed"] or (entry["input"], entry["digest"]) != (list(one.signature), digest):
        return False
    name, size, modified = entry["output"]
    output = folder / ANNOTATED / name
    try:
        there = output.stat()
    except OSError:
        return False
    return (there.st_size, there.st_mtime_ns) == (size, modified) and _is_indexed(output) == entry["indexed"]


def _is_indexed(output: Path) -> bool:
    return any(Path(f"{output}{end}").is_file() for end in (".tbi", ".csi"))


def _summary(
    folder: Path, counts: Mapping[str, int], files: Sequence[CohortFile], finished: Mapping[str, Mapping[str, Any]],
    annotator: Annotator, distinct: Summary,
) -> dict[str, Any]:  # fmt: skip
    entries = [finished[one.name] for one in files]
    status: Counter[str] = Counter()
    for entry in entries:
        status.update(entry["status"])
    kept = ("name", "records", "alleles", "status", "warnings")
    return {
        "counts": dict(counts),
        "status": {str(word): status[str(word)] for word in Status if status[str(word)]},
        "failed": sum(entry["failed"] for entry in entries),
        "ds_max": distinct.ds_max(),
        "provenance": dict(annotator.run.provenance),
        "files": [
            {"output": f"{ANNOTATED}/{entry['output'][0]}", **{key: entry[key] for key in kept}} for entry in entries
        ],
    }


def _write_table(path: Path, alleles: CohortAlleles, annotator: Annotator) -> Summary:
    """Write one row per distinct allele x gene, by position, then the ALTs that have no normalised allele; count them.

    CHROM, POS, REF and ALT are of the normalised allele under the FASTA's name of the contig; of an ALT without one, as
    written. FILES is the number of files that have it, CARRIERS of samples with it in their genotype, missing where no
    file has genotypes; a sample that is in several files counts in each.
    """
    assert annotator.stored_scoring is not None
    run, reference = annotator.run, annotator.reference
    scoring = annotator.percentiles.over(annotator.stored_scoring)
    pipeline = Pipeline(reference, scoring, annotator.genes, annotator.settings.shape)
    schema, summary = schema_of(run), Summary(annotator.delta.threshold)
    for name in COUNTS:
        schema = schema.append(pa.field(name, pa.int64()))

    def reports() -> Iterator[tuple[RecordReport, int, int | None]]:
        for block in alleles.counted():
            outcomes = pipeline.outcomes([allele for allele, *_ in block])
            for (allele, files, count), outcome in zip(block, outcomes, strict=True):
                pos, ref, alt = anchored(allele, partial(reference.fetch, allele.contig))
                report = AlleleReport(alt, allele, outcome)
                yield RecordReport(allele.contig, pos, ".", ref, (report,)), files, count
        yield from alleles.skipped()

    with whole_or_not(path) as temporary, closing(RowsWriter(str(temporary), schema)) as writer:
        for report, files, count in reports():
            summary.add([report])
            writer.append((*row, files, count) for row in rows(report, run))
    return summary
