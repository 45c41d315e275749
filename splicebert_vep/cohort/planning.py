"""Find the distinct alleles of a cohort's files, and cut those that the store does not know into units."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from splicebert_vep_spec import Allele, Skipped

from .. import __version__
from ..annotator import Annotator, FileAnnotator, GuardedChunks
from ..errors import CohortError, InputError, SettingsError
from ..opening import Opening
from ..scoring.cache import Remembered
from ..scoring.pipeline import Pipeline
from ..vcf.read import VcfRecord, carriers, open_vcf
from .inputs import Input
from .plan import UNIT, About, PlanWriter

_REMEMBERED = 1 << 17  # records whose alleles are kept at hand, because the next file has many of them too
_LETTERS = 200  # of a record's alleles; longer ones are worked out again
_BAD_SHOWN = 5

Found = Sequence[Allele | Skipped]


@dataclass(frozen=True, slots=True)
class Cohort:
    """What a plan is made for.

    Args:
        inputs: the files.
        opening: of the annotator, the same on every machine.
        store: path of the score store.
        emit: INFO adapters that write into the annotated files.
    """

    inputs: Sequence[Input]
    opening: Opening
    store: str
    emit: tuple[str, ...]

    def about(self, annotator: Annotator, counts: dict[str, int]) -> About:
        """Return what a plan says of itself."""
        settings: dict[str, Any] = {"store": self.store, "emit": list(self.emit), "unit": UNIT}
        inputs = [[*one.signature, one.name] for one in self.inputs]
        return About("cohort", __version__, self.opening, annotator.space, settings, inputs, counts)


def plan_cohort(
    folder: Path, cohort: Cohort, annotator: Annotator, progress: Callable[[str, int, int], None] | None = None
) -> tuple[dict[str, int], list[str]]:
    """Read every file and write the plan; returns its counts, and sentences for the user.

    Args:
        folder: of the run.
        annotator: opened with the store.
        progress: called with what is being done, how much of it is done, and how much there is.

    Raises:
        InputError: files that cannot be used; where there are several, all are named.
        OutputError: the plan cannot be written.
    """
    assert annotator.remembered is not None
    counts = {"files": len(cohort.inputs), "records": 0, "alts": 0}
    with PlanWriter(folder, list(annotator.reference.lengths)) as writer:
        gathering = _Gathering(annotator, writer, cohort.emit)
        bad: list[tuple[Input, InputError]] = []
        for number, one in enumerate(cohort.inputs):
            try:
                gathering.read(number, one)
            except InputError as error:
                bad.append((one, error))
            if progress:
                progress("files read", number + 1, len(cohort.inputs))
        if bad:
            raise _bad_files(bad, len(cohort.inputs))
        distinct, new, units = assign_units(writer, annotator.remembered)
        counts.update(records=gathering.records, alts=gathering.alts, distinct=distinct, new=new, units=units)
        md5 = {name: annotator.reference.md5(name) for name in sorted(gathering.contigs)}
        writer.publish(cohort.about(annotator, counts), md5)
    return counts, gathering.warnings


def assign_units(writer: PlanWriter, remembered: Remembered | None) -> tuple[int, int, int]:
    """Put what the store does not know into units; returns how many alleles, new ones, and units there are."""
    alleles = new = units = 0
    for _, blocks in groupby(writer.alleles(), key=lambda block: block[0].contig):
        waiting: list[Allele] = []
        for block in blocks:
            alleles += len(block)
            if remembered is None:
                waiting += block
            else:
                known = remembered.recall(block)
                waiting += [allele for allele, outcome in zip(block, known, strict=True) if outcome is None]
            while len(waiting) >= UNIT:
                units += 1
                writer.assign(units, waiting[:UNIT])
                new += UNIT
                waiting = waiting[UNIT:]
        if waiting:
            units += 1
            new += len(waiting)
            writer.assign(units, waiting)
    return alleles, new, units


class _Gathering:
    """Read files into a plan."""

    def __init__(self, annotator: Annotator, writer: PlanWriter, emit: Sequence[str]) -> None:
        self._emit = emit
        self._files: FileAnnotator = annotator.files()
        self._pipeline = Pipeline(annotator.reference, annotator.scoring)
        self._writer = writer
        self._known: dict[tuple[str, int, str, tuple[str, ...]], Found] = {}
        self.records = self.alts = 0
        self.contigs: set[str] = set()
        self.warnings: list[str] = []

    def read(self, number: int, one: Input) -> None:
        with open_vcf(one.path) as reader:
            try:
                self._files.check_emit(self._emit, reader.header)
            except SettingsError as error:
                raise CohortError(error.problem, needed=error.needed, where=one.path, remedy=error.remedy) from error
            guard = self._files.guard(reader.header.contigs())
            chunks = GuardedChunks(reader, self._files.chunk_records, guard)
            for chunk in chunks:
                self._writer.add(number, self._alleles(chunk))
                self._writer.turn(number, self._turned(chunk))
                self.records += len(chunk)
                self.alts += sum(len(record.alts) for record in chunk)
            self.warnings += [f"{one.path}: {warning}" for warning in chunks.finish()]

    def _alleles(self, chunk: Iterable[VcfRecord]) -> Iterator[tuple[Allele, int | None]]:
        for record in chunk:
            found = self._of(record)
            if found:
                for allele, count in zip(found, carriers(record), strict=True):
                    if isinstance(allele, Allele):
                        self.contigs.add(allele.contig)
                        yield allele, count

    def _turned(self, chunk: Iterable[VcfRecord]) -> Iterator[tuple[str, int, str, str, str, str, int | None]]:
        for record in chunk:
            found = self._of(record)
            if any(isinstance(allele, Skipped) for allele in found):
                for alt, allele, count in zip(record.alts, found, carriers(record), strict=True):
                    if isinstance(allele, Skipped):
                        yield record.chrom, record.pos, record.ref, alt, allele.status, allele.reason, count

    def _of(self, record: VcfRecord) -> Found:
        key = (record.chrom, record.pos, record.ref, record.alts)
        found = self._known.get(key)
        if found is None:
            found = self._pipeline.alleles(record)
            if len(record.ref) + sum(map(len, record.alts)) <= _LETTERS:
                if len(self._known) >= _REMEMBERED:
                    self._known.clear()
                self._known[key] = found
        return found


def _bad_files(bad: Sequence[tuple[Input, InputError]], of: int) -> InputError:
    if len(bad) == 1:
        return bad[0][1]
    shown = [f"{one.path}: {error.problem}" for one, error in bad[:_BAD_SHOWN]]
    more = [f"and {len(bad) - _BAD_SHOWN:,} more"] if len(bad) > _BAD_SHOWN else []
    return CohortError(
        f"{len(bad):,} of {of:,} files cannot be used.",
        needed="whole VCF or BCF files of the reference's build",
        found="; ".join(shown + more),
        remedy="mend them or take them out of the manifest; nothing has been scored yet",
    )
