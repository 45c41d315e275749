"""``saturate``: every SNV, and short indels, of genes and regions in one VCF with a record for each allele."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby, islice
from typing import NamedTuple

from splicebert_vep_spec import (
    Allele,
    AlleleReport,
    InfoAdapter,
    InfoField,
    RecordReport,
    RunInfo,
    ScoredContext,
    Value,
)

from ..annotator import Annotator
from ..errors import SettingsError
from ..genome.places import Places, find_places
from ..outputs.flat import PREFIX
from ..outputs.write import Outputs, plan_outputs
from ..results import Summary
from ..scoring.pipeline import Pipeline
from ..sequence.alleles import LONGEST_DELETION, anchored, every_allele
from ..vcf.header import VcfHeader
from ..vcf.read import VcfRecord
from .workers import DaskWorkers, Progress, score_missing

_SUFFIXES = (".vcf.gz", ".vcf.bgz")
_BLOCK = 256  # nt whose alleles are scored together
_ACGT = frozenset(b"ACGT")
_REASON = InfoField(f"{PREFIX}REASON", "A", "String", "Why the status is not OK")


class Saturation:
    """The alleles of some places.

    Args:
        places: where.
        annotator: whose reference and genes decide; of its genes' alleles only are there.
        indels: whether insertions of 1 nt and deletions of 1 to 4 nt are there too.

    Raises:
        SettingsError: the places are not there.
        BuildError: annotation and FASTA are of different builds.
    """

    def __init__(self, places: Places, annotator: Annotator, *, indels: bool = False) -> None:
        self._annotator, self._indels = annotator, indels
        self.stretches, warnings = find_places(places, annotator.reference, annotator.genes.table)
        self.positions = sum(end - start for _, start, end in self.stretches)
        self.warnings = [*warnings, *annotator.guard().check_stretches(self.stretches)]

    def blocks(self, counts: Counter[str] | None = None) -> Iterator[list[Allele]]:
        """Yield the alleles in blocks, sorted by position; count positions, those without alleles, and alleles."""
        reference, genes = self._annotator.reference, self._annotator.genes
        longest = min(LONGEST_DELETION, self._annotator.settings.shape.longest_span)
        counts = Counter() if counts is None else counts
        for contig, first, last in self.stretches:
            fetch = partial(reference.fetch, contig)
            for start in range(first, last, _BLOCK):
                end = min(last, start + _BLOCK)
                for at, base in enumerate(fetch(start, end), start):
                    if base not in _ACGT:
                        counts["not_acgt"] += 1
                    elif not genes.touches(contig, at, at + 1):
                        counts["no_gene"] += 1
                every = every_allele(contig, start, end, fetch, indels=self._indels, longest=longest)
                found = [allele for allele in every if genes.touches(contig, allele.start, allele.end)]
                counts["positions"] += end - start
                counts["alleles"] += len(found)
                yield found


def saturate(
    output: str, asked: Saturation, annotator: Annotator, *, emit: Sequence[str] = ("flat",),
    workers: DaskWorkers | None = None, progress: Progress | None = None,
) -> tuple[Counter[str], Summary]:  # fmt: skip
    """Score every allele of some places into a VCF; return counts of positions and alleles, and those of records.

    A record is an allele, and a missing value has no key. Flat values are of one gene, chosen as ``annotate`` chooses
    it. With a store in the annotator, a run that was killed goes on when it is run again.

    Args:
        output: path that ends in ``.vcf.gz``; it appears whole or not at all.
        emit: outputs as of ``annotate``; ``vep`` and tables (``parquet=FILE``) have every gene.
        workers: score instead of this process, into the annotator's store.
        progress: called with the task, how much of it is done, and how much there is.

    Raises:
        SpliceBertError: the output is no such path, nothing is to be scored, and what ends any run.
    """
    if not output.lower().endswith(_SUFFIXES):
        raise SettingsError("The output is a bgzip-compressed VCF: give a name that ends in .vcf.gz.", found=output)
    plugins, run, reference = annotator.plugins, annotator.run, annotator.reference
    origins = plugins.origins("adapter")
    plan = plan_outputs(emit, output, "vcf.gz", plugins.adapters, origins, source="-", reference=str(reference.path))
    annotator.check_targets(plan.targets)
    reasons = Reasons()
    plan = replace(plan, info=(*plan.info, reasons), origins={**origins, reasons.name: origins["flat"]})
    if workers:
        if annotator.stored_scoring is None:
            raise SettingsError("Dask workers score into a store: give --store FILE.")
        total = sum(map(len, asked.blocks()))
        score_missing(annotator, asked.blocks(), total, workers, progress)
    counts, summary = Counter(positions=0, not_acgt=0, no_gene=0, alleles=0), Summary(annotator.delta.threshold)
    contigs = {contig: None for contig, *_ in asked.stretches}
    lines = ["##fileformat=VCFv4.3"]
    lines += [f"##contig=<ID={c},length={reference.lengths[c]},md5={reference.md5(c)}>" for c in contigs]
    lines.append("#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO")
    bare = VcfHeader(tuple(f"{line}\n".encode("utf-8", "surrogateescape") for line in lines))
    plugins.run_started(run)
    with Outputs(plan, run, bare, (), reference.lengths) as outputs:
        lines_by_pos = _by_pos(_lines(asked, annotator, counts, progress))
        while chunk := list(islice(lines_by_pos, _BLOCK)):
            texts = (f"{one.allele.contig}\t{one.pos}\t.\t{one.ref}\t{one.alt}\t.\t.\t.\n" for one in chunk)
            records = [VcfRecord(text.encode("utf-8", "surrogateescape"), i) for i, text in enumerate(texts, start=1)]
            alleles = [AlleleReport(one.alt, one.allele, one.outcomes) for one in chunk]
            reports = [
                RecordReport(one.allele.contig, one.pos, ".", one.ref, (allele,))
                for one, allele in zip(chunk, alleles, strict=True)
            ]
            outputs.write(records, reports)
            summary.add(reports)
        if not summary.alleles:
            raise SettingsError(
                "There is nothing to score in these places.",
                needed="A, C, G or T of the FASTA in a gene of the annotation",
                found=f"{counts['positions']:,} positions: {counts['not_acgt']:,} not A, C, G or T, "
                f"{counts['no_gene']:,} in no gene",
            )
    plugins.run_finished(run, summary.by_status())
    asked.warnings.extend(outputs.warnings)
    return counts, summary


class Reasons(InfoAdapter):
    """Write the reason beside a status that is not OK."""

    name, version = "reasons", "1"

    def header(self, run: RunInfo) -> Sequence[InfoField]:
        """Return the line of the one field."""
        return (_REASON,)

    def render(self, report: RecordReport, run: RunInfo) -> Mapping[str, tuple[Value, ...]]:
        """Return the reason of the gene that flat output reports."""
        return {_REASON.key: tuple(allele.contexts[0].reason or None for allele in report.alleles)}


class _Line(NamedTuple):
    """One record of the VCF; the first three fields put records in order."""

    pos: int
    ref: str
    alt: str
    allele: Allele
    outcomes: tuple[ScoredContext, ...]


def _lines(asked: Saturation, annotator: Annotator, counts: Counter[str], progress: Progress | None) -> Iterator[_Line]:
    """Yield the records by contig and the allele's start."""
    scoring = annotator.percentiles.over(annotator.stored_scoring or annotator.scoring)
    pipeline = Pipeline(annotator.reference, scoring, annotator.genes, annotator.settings.shape)
    for block in asked.blocks(counts):
        for allele, outcomes in zip(block, pipeline.outcomes(block), strict=True):
            yield _Line(*anchored(allele, partial(annotator.reference.fetch, allele.contig)), allele, tuple(outcomes))
        if progress:
            progress("positions", counts["positions"], asked.positions)


def _by_pos(lines: Iterable[_Line]) -> Iterator[_Line]:
    """Put lines in order of POS, REF and ALT; they come by start, and POS of an indel is one before its start."""
    for _, of_contig in groupby(lines, key=lambda line: line.allele.contig):
        waiting: list[_Line] = []
        for line in of_contig:
            while waiting and waiting[0].pos < line.allele.start:
                yield heapq.heappop(waiting)
            heapq.heappush(waiting, line)
        while waiting:
            yield heapq.heappop(waiting)
