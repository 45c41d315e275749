"""The REF and ALT windows of a VCF's alleles: those that the scores are computed from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from splicebert_vep.adapters.rows import utf8
from splicebert_vep.chunks import GuardedChunks
from splicebert_vep.errors import SettingsError
from splicebert_vep.pipeline import Pipeline, Record, genes_of
from splicebert_vep.sequence import windows
from splicebert_vep.sequence.windows import Index
from splicebert_vep.vcf.reader import open_vcf
from splicebert_vep_spec import Allele, GeneContext, Skipped, Status

from .windows import Window

if TYPE_CHECKING:
    from splicebert_vep.annotator import Annotator

REF, ALT = "REF", "ALT"
_TOGETHER = 256  # sides whose windows are cut at once


@dataclass(frozen=True, slots=True)
class AlleleSide:
    """One side of an allele in one gene, or an ALT that has no windows.

    Args:
        chrom, pos, ref, alt: as the record has them; pos is 1-based.
        status: OK where there is a window.
        reason: why there is none; None for OK.
        context: the gene; None where none was looked for or found.
        side: ``REF`` or ``ALT``; None without a window.
        allele: normalised; None without a window.
        start: genomic start of the window, 0-based; None without a window.
        width: W; 0 without a window.
    """

    chrom: str
    pos: int
    ref: str
    alt: str
    status: Status
    reason: str | None = None
    context: GeneContext | None = None
    side: str | None = None
    allele: Allele | None = None
    start: int | None = None
    width: int = 0

    COLUMNS: ClassVar[Mapping[str, type]] = {
        "name": str, "chrom": str, "pos": int, "ref": str, "alt": str, "contig": str, "start": int, "end": int,
        "strand": str, "gene": str, "symbol": str, "transcript": str, "side": str, "span_start": int, "span_end": int,
        "status": str, "reason": str,
    }  # fmt: skip

    def __len__(self) -> int:
        return self.width

    @property
    def name(self) -> str:
        """The record's words, ``chr17-43047641-A-C``."""
        return f"{self.chrom}-{self.pos}-{self.ref}-{self.alt}"

    @property
    def contig(self) -> str | None:
        """Under the FASTA's name."""
        return self.allele.contig if self.allele else None

    @property
    def end(self) -> int | None:
        """Genomic end of the reference that the window stands for; a deletion's ALT reaches farther than its REF."""
        if self.allele is None or self.start is None:
            return None
        return self.start + self.width + (self.allele.shift if self.side == ALT else 0)

    @property
    def strand(self) -> str | None:
        """Of the gene; the window is in its direction."""
        return self.context.strand if self.context else None

    @property
    def gene(self) -> str | None:
        """Its id."""
        return self.context.gene_id if self.context else None

    @property
    def symbol(self) -> str | None:
        """The gene's symbol."""
        return self.context.symbol if self.context else None

    @property
    def transcript(self) -> str | None:
        """The reported transcript."""
        return self.context.transcript_id if self.context else None

    @property
    def span_start(self) -> int | None:
        """Where the span starts in the window, 0-based, 5' to 3'; it is empty on one side of an indel."""
        span = self._span
        if span is None:
            return None
        return span.start if self.strand == "+" else self.width - span.stop

    @property
    def span_end(self) -> int | None:
        """Where the span ends in the window, exclusive."""
        span = self._span
        if span is None:
            return None
        return span.stop if self.strand == "+" else self.width - span.start

    @property
    def _span(self) -> range | None:
        """Where the span lies in the window on the forward strand."""
        if self.allele is None or self.start is None:
            return None
        offset = self.allele.start - self.start
        return range(offset, offset + len(self.allele.ref if self.side == REF else self.allele.alt))

    @property
    def position(self) -> Index:
        """Genomic position of each of the W nucleotides, 5' to 3'; -1 for ALT bases of a length change."""
        if self.allele is None or self.start is None:
            return np.empty(0, dtype=np.int64)
        along = np.arange(self.start, self.start + self.width, dtype=np.int64)
        span = self._span
        if span is not None and self.side == ALT and self.allele.shift:
            along[span.stop :] += self.allele.shift
            along[span.start : span.stop] = -1
        return along if self.strand == "+" else along[::-1]


class AlleleWindows:
    """Read the alleles of a VCF, and give the windows of both sides of each in each of its genes.

    The windows are cut when they are asked for; until then an allele takes a row.

    Args:
        path: VCF or BCF; ``-`` is stdin.
        annotator: whose reference, genes and windows they are.
        warnings: gets the build guard's sentences.

    Raises:
        BuildError: VCF, FASTA and annotation are not of one build.
        VcfError: the VCF cannot be read.
        SettingsError: it has no ALT.
    """

    def __init__(self, path: str, annotator: Annotator, warnings: list[str]) -> None:
        self._scoring = annotator.scoring
        pipeline = Pipeline(annotator.reference, annotator.scoring)
        counts: Counter[Status] = Counter()
        self.targets: list[AlleleSide] = []
        with open_vcf(path) as reader:
            guard = annotator.files().guard(reader.header.contigs())
            chunks = GuardedChunks(reader, annotator.settings.chunk_records, guard)
            for chunk in chunks:
                self.targets += self._sides(chunk, pipeline, counts)
            warnings += chunks.finish()
        if not self.targets:
            raise SettingsError("There is nothing to embed.", needed="a VCF with ALTs", found=f"no ALT in {path}")
        self.statuses = {str(status): counts[status] for status in Status if counts[status]}

    def windows(self) -> Iterator[Window]:
        """Yield one window for each side, and none with any nucleotide for an ALT that has no windows."""
        every = iter(enumerate(self.targets))
        while part := list(islice(every, _TOGETHER)):
            there = [(side.allele, side.context) for _, side in part if side.allele and side.context]
            cut = self._scoring.cut([allele for allele, _ in there], [(context,) for _, context in there])
            pairs = windows.pair(cut.windows, range(len(there)), [context for _, context in there])
            row = 0
            for number, side in part:
                tokens = pairs.ref[:0].ravel()
                if side.width:
                    tokens = (pairs.ref if side.side == REF else pairs.alt)[row]
                    row += 1
                yield Window(number, 0, side.start or 0, tokens, slice(0, side.width), side.position)

    def _sides(self, chunk: Sequence[Record], pipeline: Pipeline, counts: Counter[Status]) -> Iterator[AlleleSide]:
        """VCF record -> alleles -> gene & strand -> windows, whose tokens are let go again."""
        scoring, width = self._scoring, self._scoring.shape.width
        found = [alt for record in chunk for alt in pipeline.alleles(record)]
        alleles = [allele for allele in found if isinstance(allele, Allele)]
        genes = [genes_of(allele, scoring.genes, scoring.shape) for allele in alleles]
        cut = scoring.cut(alleles, genes)
        starts = cut.windows.start.tolist()
        every, k = iter(found), -1
        for record in chunk:
            for text in record.alts:
                words = (_text(record.chrom), record.pos, _text(record.ref), _text(text))
                allele = next(every)
                if isinstance(allele, Skipped):
                    counts[allele.status] += 1
                    yield AlleleSide(*words, allele.status, allele.reason)
                    continue
                k += 1
                of = genes[k]
                why = of if isinstance(of, Skipped) else cut.skipped.get(k)
                counts[why.status if why else Status.OK] += 1
                for context in (None,) if isinstance(of, Skipped) else of:
                    if why:
                        yield AlleleSide(*words, why.status, why.reason, context)
                        continue
                    for side in (REF, ALT):
                        start = starts[cut.row_of[k]]
                        yield AlleleSide(*words, Status.OK, None, context, side, allele, start, width)


def _text(word: str) -> str:
    return str(utf8(word))
