"""The windows that an annotator gives to alleles, for benchmarks that run a network on them themselves."""

from __future__ import annotations

from collections.abc import Sequence

from splicebert_vep import Annotator
from splicebert_vep.sequence import windows
from splicebert_vep_spec import Allele, GeneContext


def window_pairs(
    annotator: Annotator, alleles: Sequence[Allele], contexts: Sequence[GeneContext]
) -> windows.WindowPairs:
    """Return the windows of alleles that have been scored before, each in one gene."""
    shape, reference = annotator.settings.shape, annotator.reference
    placed = windows.place(alleles, [reference.lengths[allele.contig] for allele in alleles], shape)
    bases = [
        reference.fetch(allele.contig, *windows.region(allele, start, shape.width))
        for allele, start in zip(alleles, placed.start.tolist(), strict=True)
    ]
    return windows.pair(windows.cut(alleles, placed.start, bases, shape), range(len(alleles)), contexts)
