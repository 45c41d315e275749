"""Annotate one file: read, guard the build, report chunk by chunk, write every output."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from splicebert_vep_spec import RecordReport, RunInfo, Status

from . import __version__
from .chunks import GuardedChunks
from .errors import SettingsError
from .genome.gene_index import GeneIndex
from .genome.guard import BuildGuard
from .genome.reference import Reference
from .joining.beside import Beside
from .joining.joins import parse_joins
from .outputs import Outputs, check_emit, plan_outputs
from .pipeline import Record
from .plugins import Plugins
from .recurring import Recurring
from .summary import Summary
from .variants import MAX_POS, Region
from .vcf.header import VcfHeader
from .vcf.reader import open_vcf
from .vcf.writer import Kind

_EXPECTED = 0.1  # share of ALTs; the build guard stops at as many mismatches, but cannot tell where the FASTA holds N
_DOUBTS = {
    Status.REF_MISMATCH: "is it the right FASTA",
    Status.NO_CONTIG: "does the FASTA lack contigs of the VCF",
}

Report = Callable[[Sequence[Record]], Sequence[RecordReport]]
"""What turns a chunk of records into reports: a pipeline."""

_R = TypeVar("_R", bound=Record)


@dataclass(frozen=True, slots=True)
class FileAnnotator:
    """Annotate files against one reference and annotation.

    Args:
        reference: the FASTA.
        genes: the annotation.
        annotation: its name, for messages.
        plugins: whose adapters write, and who are told when a run starts and ends.
        run: fields and provenance.
        chunk_records: records that are worked on together.
    """

    reference: Reference
    genes: GeneIndex
    annotation: str
    plugins: Plugins
    run: RunInfo
    chunk_records: int

    def annotate(
        self,
        source: str,
        target: str,
        report: Report,
        *,
        emit: Sequence[str] = ("flat",),
        kind: Kind | None = None,
        region: str | None = None,
        join: Sequence[str] = (),
        evidence: Sequence[str] = (),
        recurring: Recurring | None = None,
        planned: bool = False,
        progress: Callable[[Summary, float | None], None] | None = None,
    ) -> Summary:
        """Annotate a VCF or BCF.

        Args:
            report: makes the reports.
            recurring: where ``report`` is its own; it remembers what was rendered of them.
            planned: whether the file, as it is, has passed the build guard before.

        The other arguments and errors are as for ``Annotator.annotate``.
        """
        words = parse_joins(join)
        plan = plan_outputs(
            emit,
            target,
            kind,
            self.plugins.adapters,
            self.plugins.origins("adapter"),
            source=source,
            reference=str(self.reference.path),
        )
        summary = Summary()
        where = None if region is None else self._region(region)
        began = time.monotonic()
        with (
            open_vcf(source) as reader,
            Beside(words, evidence, self.plugins, self.reference, reader.header.infos(), self.run) as beside,
        ):
            plan.spare(beside.files)
            run = beside.run
            contigs = reader.header.contigs()
            guard = None if planned else self.guard(contigs)
            if where and where.chrom not in contigs and self.reference.find(where.chrom) is None:
                raise SettingsError(
                    "The region lies on a contig that neither the VCF's header nor the FASTA knows.", found=where.chrom
                )
            chunks = GuardedChunks(self._in_region(reader, where), self.chunk_records, guard)
            self.plugins.run_started(run)
            held, lengths = chunks.held(), self.reference.lengths
            with Outputs(plan, run, reader.header, held, lengths, __version__, recurring) as outputs:
                for chunk in chunks:
                    reports = tuple(beside.add(chunk, report(chunk)))  # which nobody takes anything out of
                    summary.add(reports)
                    outputs.write(chunk, reports)
                    if progress:
                        progress(summary, reader.share_read())
                summary.warnings.extend(chunks.finish())
                summary.warnings.extend(beside.warnings())
        if where and not summary.records:
            summary.warnings.append(f"no record lies in the region {region}")
        for status, doubt in _DOUBTS.items():
            if summary.status[status] > summary.alleles * _EXPECTED:
                share = f"{summary.status[status]:,} of {summary.alleles:,} ALTs are {status}"
                summary.warnings.append(f"{share}: {doubt}?")
        summary.notes.extend(beside.notes)
        summary.provenance = run.provenance
        summary.seconds = time.monotonic() - began
        summary.warnings.extend(outputs.warnings)
        self.plugins.run_finished(run, summary.by_status())
        return summary

    def guard(self, header: Mapping[str, int | None]) -> BuildGuard:
        """Return the build guard for a file with these contigs in its header."""
        return BuildGuard(header, self.reference, self.genes, self.annotation)

    def check_emit(self, words: Sequence[str], header: VcfHeader) -> None:
        """Find out whether the outputs asked for take an input with this header; raises as ``annotate`` would."""
        check_emit(words, self.plugins.adapters, self.plugins.origins("adapter"), self.run, header)

    def _region(self, text: str) -> Region:
        """Read a region; a contig whose own name holds a colon (HLA-A*01:01) is known by the reference."""
        return Region(text, 1, MAX_POS) if self.reference.find(text) else Region.parse(text)

    def _in_region(self, records: Iterable[_R], region: Region | None) -> Iterator[_R]:
        if region is None:
            yield from records
            return
        contig = self.reference.find(region.chrom)
        for record in records:
            same = record.chrom == region.chrom or (contig is not None and self.reference.find(record.chrom) == contig)
            if same and record.pos <= region.last and record.pos + len(record.ref) - 1 >= region.first:
                yield record
