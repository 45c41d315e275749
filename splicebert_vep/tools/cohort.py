"""``cohort run``: many files, each distinct allele scored once.

The files are read for their distinct alleles, the alleles that the score store lacks are scored and committed batch
by batch, then every file and the cohort's table are written from the store. The store is the checkpoint: a run that
was killed goes on when the same command is given again.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from zlib import crc32

import pyarrow as pa

from splicebert_vep_spec import Allele, AlleleReport, RecordReport, Skipped, Status

from ..annotator import Annotator, GuardedChunks
from ..errors import CohortError, InputError, OutputError, SettingsError
from ..files import locked, remove_left_over, reporting, whole_or_not
from ..outputs.tables import RowsWriter, rows, schema_of
from ..results import Summary
from ..scoring.pipeline import Pipeline, Span
from ..sequence.alleles import anchored
from ..vcf.read import VcfRecord, carriers, open_vcf
from ..version import __version__
from .diff import COUNTS, TABLE
from .workers import DaskWorkers, Progress, score_missing

STORE, ANNOTATED, FINISHED, SUMMARY = "scores.sqlite", "annotated", "finished.txt", "cohort.json"
_SUFFIXES = (".vcf.gz", ".vcf.bgz", ".vcf", ".bcf")
_HEADS = (b"\x1f\x8b", b"BCF\x02", b"##fileformat=VCF")
_COLUMN_NAMES = ("path", "file", "vcf")
_BLOCK = 512  # alleles
_KEPT = 1 << 17  # records whose alleles are kept at hand, because the next file has many of them too
_LETTERS = 200  # of a record's alleles; those of longer ones are not kept
_BAD_SHOWN = 5


@dataclass(frozen=True, slots=True)
class CohortFile:
    """One VCF or BCF of a cohort."""

    path: str  # absolute
    name: str  # of its outputs
    signature: tuple[int, int, int]  # bytes, times of the last change of content and of inode in ns


def read_manifest(manifest: str) -> list[CohortFile]:
    """Return the files of a cohort in their order.

    Args:
        manifest: a table of paths, one a line, with an optional second tab-separated column of names, relative to its
            own folder, ``#`` starts a comment; or a pattern such as ``'vcfs/*.vcf.gz'``; or a VCF or BCF itself.

    Raises:
        CohortError: no file, a file that is not there, or two of one name.
    """
    try:
        if any(sign in manifest for sign in "*?[") and not os.path.exists(manifest):
            found = [(path, "") for path in sorted(glob.glob(manifest, recursive=True)) if not os.path.isdir(path)]
        elif _is_vcf(manifest):
            found = [(manifest, "")]
        else:
            found = list(_table_lines(Path(manifest)))
    except (OSError, UnicodeDecodeError) as error:
        raise CohortError("The manifest cannot be read.", found=str(error), where=manifest) from error
    if not found:
        raise CohortError("The cohort has no files.", needed="paths of VCF or BCF files", where=manifest)
    files: dict[str, CohortFile] = {}
    for path, name in found:
        one = _cohort_file(path, name, manifest)
        if one.name in files:
            problem = f"Two files of the cohort are named {one.name}: name them in the manifest's second column."
            raise CohortError(problem, found=f"{files[one.name].path} and {one.path}", where=manifest)
        files[one.name] = one
    return list(files.values())


def _is_vcf(path: str) -> bool:
    with open(path, "rb") as handle:
        return handle.read(16).startswith(_HEADS)


def _table_lines(manifest: Path) -> Iterator[tuple[str, str]]:
    first = True
    for number, line in enumerate(manifest.read_text(encoding="utf-8-sig").splitlines(), start=1):
        cells = [cell.strip() for cell in line.split("\t")]
        if not cells[0] or cells[0].startswith("#") or (first and cells[0].lower() in _COLUMN_NAMES):
            continue
        if len(cells) > 2:
            problem = "A line of the manifest has more columns than a path and a name."
            raise CohortError(problem, found=f"{len(cells)} columns", where=f"{manifest}:{number}")
        first = False
        yield os.path.join(manifest.parent, cells[0]), cells[1] if len(cells) == 2 else ""


def _cohort_file(path: str, name: str, manifest: str) -> CohortFile:
    if not name:
        name = os.path.basename(path)
        name = next((name[: -len(end)] for end in _SUFFIXES if name.lower().endswith(end)), name)
    if "/" in name or name.startswith("."):
        raise CohortError("A name of the manifest cannot be a file's name.", found=name, where=manifest)
    return CohortFile(os.path.abspath(path), name, _signature(path, f"{path}, named by {manifest}"))


def _signature(path: str, where: str) -> tuple[int, int, int]:
    try:
        about = os.stat(path)
    except (OSError, ValueError) as error:  # ValueError: a null character
        raise CohortError("A file of the cohort is not there.", found=str(error), where=where) from error
    return about.st_size, about.st_mtime_ns, about.st_ctime_ns


class CohortAlleles:
    """Count the files and carriers of each distinct allele, in a temporary file that SQLite removes by itself."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline, self._names = pipeline, list(pipeline.reference.lengths)
        self._contigs = {name: number for number, name in enumerate(self._names)}
        with self._guarding():
            self._db = sqlite3.connect("", isolation_level=None)
            # An ALT without a normalised allele is written as it came, after all contigs; bytes need not be UTF-8. The
            # bases that it changes belong to it, -1 where they are not certain: <DEL> of one POS may have several END.
            self._db.executescript(
                "PRAGMA journal_mode = OFF; CREATE TABLE alleles (contig INTEGER, chrom BLOB, start INTEGER, ref BLOB, "
                "alt BLOB, first INTEGER, until INTEGER, status TEXT, reason BLOB, files INTEGER, carriers INTEGER, "
                "last INTEGER, of_last INTEGER, PRIMARY KEY (contig, chrom, start, ref, alt, first, until)) "
                "WITHOUT ROWID; BEGIN"
            )

    def add(self, file: int, found: Iterable[tuple[VcfRecord, Sequence[Allele | Skipped]]]) -> None:
        """Count the alleles of records of a file, given by its number."""
        lines: list[tuple[object, ...]] = []
        for record, alleles in found:
            for number, (alt, allele, count) in enumerate(zip(record.alts, alleles, carriers(record), strict=True)):
                line: tuple[object, ...]
                if isinstance(allele, Allele):
                    line = (self._contigs[allele.contig], b"", allele.start, allele.ref.encode(), allele.alt.encode())
                    line += (-1, -1, "", b"")
                else:
                    line = (len(self._names), _bytes(record.chrom), record.pos, _bytes(record.ref), _bytes(alt))
                    span = self._pipeline.span_of_skipped(record, number, allele)
                    line += (*((span.start, span.end) if span else (-1, -1)), str(allele.status), _bytes(allele.reason))
                lines.append((*line, count, file, count))
        with self._guarding():
            self._db.executemany(_COUNT, lines)

    def __len__(self) -> int:
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
        columns = "contig, chrom, start, ref, alt, first, until, status, reason, files, carriers"
        with self._guarding():
            cursor = self._db.execute(
                f"SELECT {columns} FROM alleles WHERE {condition} ORDER BY contig, chrom, start, ref, alt, first, until"
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


# A file that has an allele twice (padded, or in two records) counts once, with the larger number of carriers.
_COUNT = """
INSERT INTO alleles VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?) ON CONFLICT DO UPDATE SET
    files = files + (last <> excluded.last),
    carriers = CASE
        WHEN carriers IS NULL THEN excluded.carriers
        WHEN excluded.carriers IS NULL THEN carriers
        WHEN last <> excluded.last THEN carriers + excluded.carriers
        ELSE carriers + max(0, excluded.carriers - coalesce(of_last, 0)) END,
    of_last = CASE WHEN last = excluded.last THEN max(coalesce(of_last, 0), coalesce(excluded.of_last, 0))
        ELSE excluded.of_last END,
    last = excluded.last
"""


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def read_alleles(
    files: Sequence[CohortFile], annotator: Annotator, emit: Sequence[str], progress: Progress | None = None
) -> tuple[CohortAlleles, Counter[str], list[str]]:
    """Read every file; return its alleles, counts of files, records and ALTs, and warnings.

    Args:
        emit: outputs that every file's header has to suit.

    Raises:
        InputError: files that cannot be used; where there are several, all are named.
    """
    counts: Counter[str] = Counter(files=len(files), records=0, alts=0)
    warnings: list[str] = []
    bad: list[tuple[CohortFile, InputError]] = []
    pipeline = Pipeline(annotator.reference, annotator.scoring, annotator.genes, annotator.scoring.shape)
    found = CohortAlleles(pipeline)
    known: dict[tuple[str, int, str, tuple[str, ...]], Sequence[Allele | Skipped]] = {}

    def alleles_of(record: VcfRecord) -> Sequence[Allele | Skipped]:
        key = (record.chrom, record.pos, record.ref, record.alts)
        alleles = known.get(key)
        if alleles is None:
            alleles = pipeline.alleles(record)
            if len(record.ref) + sum(map(len, record.alts)) <= _LETTERS:
                if len(known) >= _KEPT:
                    known.clear()
                known[key] = alleles
        return alleles

    for number, one in enumerate(files):
        try:
            with open_vcf(one.path) as reader:
                annotator.check_emit(emit, reader.header)
                guard = annotator.guard(reader.header.contigs())
                chunks = GuardedChunks(reader, annotator.settings.chunk_records, guard)
                for chunk in chunks:
                    found.add(number, [(record, alleles_of(record)) for record in chunk])
                    counts["records"] += len(chunk)
                    counts["alts"] += sum(len(record.alts) for record in chunk)
                warnings += [f"{one.path}: {warning}" for warning in chunks.finish()]
        except InputError as error:
            bad.append((one, error))
        if progress:
            progress("files read", number + 1, len(files))
    if bad:
        raise _bad_files(bad, len(files))
    counts["distinct"] = len(found)
    return found, counts, warnings


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
    workers: DaskWorkers | None = None, progress: Progress | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Score the new alleles of a cohort, annotate its files, and write its table; return what ``cohort.json`` holds.

    Args:
        folder: of the outputs.
        annotator: opened with a store.
        emit: outputs into the annotated files.
        workers: score instead of this process.
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
        alleles, counts, warnings = read_alleles(files, annotator, emit, progress)
        with reporting(outputs):
            outputs.mkdir(exist_ok=True)
        score_missing(annotator, alleles.blocks(), counts["distinct"], workers, progress)
        counts["new"] = stored.scored
        began = time.monotonic()
        finished, annotated = _annotate_files(folder, files, annotator, emit, progress)
        seconds = time.monotonic() - began
        distinct = _write_table(folder / TABLE, alleles, annotator)
        content = _summary(folder, counts, finished, annotator, distinct)
        with whole_or_not(folder / SUMMARY) as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        warnings += [f"{one['name']}: {warning}" for one in content["files"] for warning in one["warnings"]]
        expected = {os.path.basename(one["output"]) for one in content["files"]}
        there = sorted(path.name for path in outputs.iterdir() if path.name.endswith((".vcf.gz", ".bcf")))
        if stale := [name for name in there if name not in expected]:
            warnings.append(f"{ANNOTATED}/ also holds files that are not of this cohort: {', '.join(stale)}")
        return {**content, "notes": warnings, "annotated": annotated, "seconds": seconds}


def _annotate_files(
    folder: Path, files: Sequence[CohortFile], annotator: Annotator, emit: Sequence[str], progress: Progress | None
) -> tuple[dict[str, dict[str, Any]], int]:
    """Annotate every file whose output is not finished; return what is known of all, and the records of this call."""
    about = [__version__, dict(annotator.run.provenance), [field.id for field in annotator.run.fields], list(emit)]
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
    path = folder / FINISHED
    finished = _read_finished(path)
    kept = {one.name: finished[one.name] for one in files if _is_finished(folder, one, finished, digest)}
    with whole_or_not(path) as temporary:
        temporary.write_text("".join(map(_sealed, kept.values())), encoding="utf-8")
    records = 0
    with reporting(path), path.open("a", encoding="utf-8") as log:
        for number, one in enumerate(files, start=1):
            if one.name not in kept:
                kept[one.name] = entry = _annotate(folder, one, annotator, emit, digest)
                log.write(_sealed(entry))
                log.flush()
                records += entry["records"]
            if progress:
                progress("files annotated", number, len(files))
    return {one.name: kept[one.name] for one in files}, records


def _annotate(folder: Path, one: CohortFile, annotator: Annotator, emit: Sequence[str], digest: str) -> dict[str, Any]:
    with open_vcf(one.path) as reader:
        suffix = "bcf" if reader.kind == "bcf" else "vcf.gz"
    output = folder / ANNOTATED / f"{one.name}.{suffix}"
    summary = annotator.annotate(one.path, output, emit=emit)
    if _signature(one.path, one.path) != one.signature:
        raise CohortError("A file of the cohort changed while the run read it: run it again.", where=one.path)
    written = output.stat()
    return {
        "name": one.name,
        "input": list(one.signature),
        "output": [output.name, written.st_size, written.st_mtime_ns],
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
    folder: Path, counts: Mapping[str, int], finished: Mapping[str, Mapping[str, Any]], annotator: Annotator,
    distinct: Summary,
) -> dict[str, Any]:  # fmt: skip
    status: Counter[str] = Counter()
    for entry in finished.values():
        status.update(entry["status"])
    kept = ("name", "records", "alleles", "status", "warnings")
    return {
        "counts": dict(counts),
        "status": {str(word): status[str(word)] for word in Status if status[str(word)]},
        "failed": sum(entry["failed"] for entry in finished.values()),
        "ds_max": distinct.ds_max(),
        "provenance": dict(annotator.run.provenance),
        "files": [
            {"output": f"{ANNOTATED}/{entry['output'][0]}", **{key: entry[key] for key in kept}}
            for entry in finished.values()
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
