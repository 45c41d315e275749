"""``saturate``: every small allele of genes and regions into a precomputed file; started again, it goes on."""

from __future__ import annotations

import hashlib
import heapq
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from splicebert_vep_spec import Allele, ScoredContext, Status

from .. import __version__
from ..annotator import Annotator
from ..cohort.plan import PLAN, SHARDS, UNIT, About, Plan, PlanWriter
from ..cohort.planning import assign_units
from ..cohort.run import Estimate, Planned, estimate, open_scheduler
from ..cohort.schedulers import Progress, work_all
from ..cohort.shards import outcomes_of, read_shard
from ..errors import CohortError, OutputError, SettingsError
from ..files import locked, remove_left_over, reporting
from ..genome.places import Places, Stretch, find_places
from ..opening import Opening
from ..precomputed import Layout
from ..scoring.cache import Columns
from ..sequence.alleles import LONGEST_DELETION, anchored, every_allele
from ..vcf.write import VcfWriter

KIND = "saturate"
_SUFFIXES = (".vcf.gz", ".vcf.bgz")
_INDEXES = (".tbi", ".csi")
_BLOCK = 4096  # nt that are looked at together
_ACGT = frozenset(b"ACGT")


@dataclass(frozen=True, slots=True)
class Saturation:
    """What is to be scored, and how.

    Args:
        places: where.
        opening: of the annotator, the same on every machine.
        indels: whether insertions of 1 nt and deletions of 1 to 4 nt are scored too.
    """

    places: Places
    opening: Opening
    indels: bool = False

    def about(self, annotator: Annotator, stretches: Sequence[Stretch], counts: Mapping[str, int]) -> About:
        """Return what a plan says of itself."""
        settings = {"indels": self.indels, "unit": UNIT}
        inputs = [hashlib.sha256(json.dumps(stretches).encode()).hexdigest()]
        return About(KIND, __version__, self.opening, annotator.space, settings, inputs, counts)


@dataclass(frozen=True, slots=True)
class Saturated:
    """What came of it.

    Args:
        records: in the file, one per allele and gene.
        status: how many of them have each status.
        counts: of the plan.
        warnings: sentences for the user.
    """

    records: int
    status: Mapping[str, int]
    counts: Mapping[str, int]
    warnings: Sequence[str]


def saturate(
    output: str,
    asked: Saturation,
    *,
    scheduler: str | None = None,
    progress: Progress | None = None,
    planned: Callable[[Planned], None] | None = None,
) -> Saturated:
    """Score every allele of some places into a precomputed file.

    Work in progress lies in ``OUTPUT.work``, which goes away at the end. A file that is there is replaced once the new
    one is whole.

    Args:
        output: path that ends in ``.vcf.gz``.
        asked: what is scored.
        scheduler: ``tcp://HOST:PORT`` or ``local:N``; None scores in this process.
        progress: called with what is being done, how much of it is done, and how much there is.
        planned: called once the plan is there.

    Raises:
        SpliceBertError: whatever ends the run; the same call goes on from there.
    """
    final = _final(output)
    work = final.with_name(f"{final.name}.work")
    with ExitStack() as stack:
        annotator = stack.enter_context(asked.opening.open())
        stretches, warnings = _stretches(asked, annotator)
        stack.enter_context(_work_folder(work))
        found = _planned(work, asked, annotator, stretches, progress)
        if planned:
            planned(found)
        annotator.plugins.run_started(annotator.run)
        with Plan(work) as plan:
            missing = plan.missing()
            if missing:
                work_all(plan, missing, open_scheduler(scheduler, plan, annotator, stack), progress)
            made = work / final.name
            status, notes = _write(plan, annotator, made, progress)
        _publish(made, final)
        shutil.rmtree(work, ignore_errors=True)
        annotator.plugins.run_finished(annotator.run, status)
        return Saturated(sum(status.values()), status, found.counts, [*warnings, *notes])


def dry_run(asked: Saturation, progress: Progress | None = None) -> tuple[Estimate, Sequence[str]]:
    """Plan in a folder of the system's, score a few alleles, and tell what all would cost; returns warnings too.

    Raises:
        SpliceBertError: as ``saturate``.
    """
    with tempfile.TemporaryDirectory(prefix="splicebert-vep-") as scratch, asked.opening.open() as annotator:
        stretches, warnings = _stretches(asked, annotator)
        _plan(Path(scratch), asked, annotator, stretches, progress)
        return estimate(Path(scratch), annotator), warnings


def _final(output: str) -> Path:
    if not output.lower().endswith(_SUFFIXES):
        raise SettingsError(
            "A precomputed file is a bgzip-compressed VCF.", needed="a name that ends in .vcf.gz", found=output
        )
    final = Path(os.path.realpath(output))
    if not final.parent.is_dir() or final.is_dir():
        raise OutputError(
            "The output cannot be written.",
            needed="a file in a folder that is there",
            found="a folder" if final.is_dir() else "no such folder",
            where=output,
        )
    return final


def _stretches(asked: Saturation, annotator: Annotator) -> tuple[tuple[Stretch, ...], list[str]]:
    """Return where to score; raises BuildError where annotation and FASTA are of different builds."""
    stretches, warnings = find_places(asked.places, annotator.reference, annotator.genes.table)
    return tuple(stretches), [*warnings, *annotator.files().guard({}).check_stretches(stretches)]


@contextmanager
def _work_folder(work: Path) -> Iterator[None]:
    """Keep the folder to this process; one that got no plan goes away again."""
    with locked(work, "saturating"):
        try:
            yield
        except BaseException:
            if not (work / PLAN).is_file():
                shutil.rmtree(work, ignore_errors=True)
            raise


def _planned(
    work: Path, asked: Saturation, annotator: Annotator, stretches: Sequence[Stretch], progress: Progress | None
) -> Planned:
    if (work / PLAN).is_file():
        with Plan(work) as plan:
            if plan.about.identity == asked.about(annotator, stretches, {}).identity:
                return Planned(plan.about.counts, True, annotator.note)
            if len(plan.missing()) < plan.units:
                raise CohortError(
                    "The output has been begun with other places or settings.",
                    needed="the command that began it, to go on",
                    found=f"{plan.units - len(plan.missing()):,} of {plan.units:,} units scored",
                    where=str(work),
                    remedy="give the same options, another output, or remove the folder to begin anew",
                )
    remove_left_over(work)
    shutil.rmtree(work / SHARDS, ignore_errors=True)
    return Planned(_plan(work, asked, annotator, stretches, progress), False, annotator.note)


def _plan(
    folder: Path, asked: Saturation, annotator: Annotator, stretches: Sequence[Stretch], progress: Progress | None
) -> Mapping[str, int]:
    reference, genes = annotator.reference, annotator.genes
    longest = min(LONGEST_DELETION, annotator.settings.window.longest_span)
    counts = Counter(positions=0, not_acgt=0, no_gene=0)
    total, contigs = sum(end - start for _, start, end in stretches), set[str]()
    with PlanWriter(folder, list(reference.lengths)) as writer:
        for contig, start, end in _blocks(stretches):
            fetch = partial(reference.fetch, contig)
            for at, base in enumerate(fetch(start, end), start):
                if base not in _ACGT:
                    counts["not_acgt"] += 1
                elif not genes.touches(contig, at, at + 1):
                    counts["no_gene"] += 1
            every = every_allele(contig, start, end, fetch, indels=asked.indels, longest=longest)
            found = [(allele, None) for allele in every if genes.touches(contig, allele.start, allele.end)]
            if found:
                contigs.add(contig)
                writer.add(0, found)
            counts["positions"] += end - start
            if progress:
                progress("positions planned", counts["positions"], total)
        if not contigs:
            raise SettingsError(
                "There is nothing to score in these places.",
                needed="A, C, G or T of the FASTA in a gene of the annotation",
                found=f"{counts['positions']:,} positions: {counts['not_acgt']:,} not A, C, G or T, "
                f"{counts['no_gene']:,} in no gene",
            )
        alleles, _, units = assign_units(writer, None)
        counts.update(distinct=alleles, new=alleles, units=units)
        about = asked.about(annotator, stretches, counts)
        writer.publish(about, {contig: reference.md5(contig) for contig in reference.lengths if contig in contigs})
    return counts


def _blocks(stretches: Iterable[Stretch]) -> Iterator[Stretch]:
    for contig, start, end in stretches:
        for at in range(start, end, _BLOCK):
            yield Stretch(contig, at, min(end, at + _BLOCK))


def _write(
    plan: Plan, annotator: Annotator, path: Path, progress: Progress | None
) -> tuple[Mapping[str, int], Sequence[str]]:
    """Write the file from the shards; return records by status, and warnings."""
    reference, space = annotator.reference, plan.about.space
    layout = Layout(space, annotator.run, annotator.choice_plan)
    contigs = {name: (reference.lengths[name], md5) for name, md5 in plan.md5.items() if md5}
    status: Counter[str] = Counter()
    with VcfWriter(str(path), layout.header(contigs), "vcf.gz") as writer:
        for one in _by_pos(_lines(plan, annotator, progress)):
            writer.write(*layout.record(one.allele, (one.pos, one.ref, one.alt), one.outcome, one.gene, one.genes))
            status[str(one.outcome.status)] += 1
    return {str(word): status[word] for word in Status if status[word]}, writer.warnings


class _Line(NamedTuple):
    """What becomes a record; the first five put it in order."""

    pos: int
    ref: str
    alt: str
    gene: str
    number: int
    allele: Allele
    outcome: ScoredContext
    genes: int


def _lines(plan: Plan, annotator: Annotator, progress: Progress | None) -> Iterator[_Line]:
    """Yield the records of all units, by contig and the allele's start."""
    columns = Columns(plan.about.space, annotator.plan)
    for unit in range(1, plan.units + 1):
        for allele, rows in read_shard(plan.shard(unit), plan.identity, plan.about.space):
            written = anchored(allele, partial(annotator.reference.fetch, allele.contig))
            contexts = annotator.genes.contexts(allele.contig, allele.start, allele.end)
            outcomes = outcomes_of(contexts, rows, columns)
            for number, (key, outcome) in enumerate(outcomes):
                shown = annotator.percentiles.added(allele, outcome)
                yield _Line(*written, key, number, allele, shown, len(outcomes))
        if progress:
            progress("units written", unit, plan.units)


def _by_pos(lines: Iterable[_Line]) -> Iterator[_Line]:
    """Put lines in order of POS, REF, ALT and gene; they come by start, and POS of an indel is one before its start."""
    for _, of_contig in groupby(lines, key=lambda line: line.allele.contig):
        waiting: list[_Line] = []
        for line in of_contig:
            while waiting and waiting[0].pos < line.allele.start:
                yield heapq.heappop(waiting)
            heapq.heappush(waiting, line)
        while waiting:
            yield heapq.heappop(waiting)


def _publish(made: Path, final: Path) -> None:
    """Put file and index in place; an earlier index must never stand beside the new file."""
    with reporting(final):
        for suffix in _INDEXES:
            Path(f"{final}{suffix}").unlink(missing_ok=True)
        os.replace(made, final)
        for suffix in _INDEXES:
            if os.path.exists(f"{made}{suffix}"):
                os.replace(f"{made}{suffix}", f"{final}{suffix}")
