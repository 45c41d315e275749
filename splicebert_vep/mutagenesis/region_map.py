"""Every SNV of a region in one gene: position by base, 5' to 3' of the transcript."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from splicebert_vep.annotator import Annotator
from splicebert_vep.cohort.places import Places, Stretch, find_places
from splicebert_vep.errors import SettingsError
from splicebert_vep.genome.gene_index import Exon
from splicebert_vep.pipeline import skipped_outcome
from splicebert_vep.profile import is_named
from splicebert_vep.results import ScoredVariant
from splicebert_vep.sequence.windows import Index, Mask
from splicebert_vep.variants import Variant
from splicebert_vep_spec import FieldSpec, GeneContext, Interval, Skipped, Status

LONGEST = 5000  # nt of a region
BASES = "ACGT"
_TOGETHER = 16  # positions between two looks at the progress
_COMPLEMENT = str.maketrans("ACGTRYKMBVDH", "TGCAYRMKVBHD")  # IUPAC; N, S and W are their own
Floats = NDArray[np.float64]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, eq=False)
class RegionMap:
    """Scores of every SNV of a region of P nt in one gene; matrices run 5' to 3' of the transcript.

    Args:
        contig: the FASTA's name.
        start, end: of the region, 0-based half-open.
        gene: the gene and its reported transcript.
        results: one per SNV, by position and ALT, with the outcome in this gene only; a position whose base is not A,
            C, G or T has one for each of the four.
        fields: the fields of the run, in output order.
        position: (P,) genomic, 0-based.
        ref: P letters of the transcribed strand.
        exons: every distinct exon of the gene that touches the region, by genomic position.
        donor, acceptor: (P,) bases of a site that an SNV of the region is measured against.
    """

    contig: str
    start: int
    end: int
    gene: GeneContext
    results: tuple[ScoredVariant, ...]
    fields: tuple[FieldSpec, ...]
    position: Index
    ref: str
    exons: tuple[Exon, ...]
    donor: Mask
    acceptor: Mask

    def __len__(self) -> int:
        return self.end - self.start

    @property
    def minus(self) -> bool:
        """Whether the gene is on the reverse strand."""
        return self.gene.strand == "-"

    def cell(self, result: ScoredVariant) -> tuple[int, int]:
        """Return row, nt from the 5' end of the region, and column, the ALT as A, C, G, T of the transcribed strand."""
        at, base = result.variant.pos - 1 - self.start, BASES.index(result.variant.alt)
        return (len(self) - 1 - at, 3 - base) if self.minus else (at, base)

    def statuses(self) -> dict[str, int]:
        """Return how many SNVs have each status."""
        count = Counter(result.status for result in self.results)
        return {str(word): count[word] for word in Status if count[word]}

    def matrix(self, score: str) -> Floats:
        """Return a score of every SNV, (P, 4): ALT is A, C, G or T of the transcribed strand; NaN at REF, and missing.

        Raises:
            SettingsError: the run did not compute it.
        """
        check_scores([score], self.fields)
        found = np.full((len(self), 4), np.nan)
        for result in self.results:
            value = result[score]
            if value is not None:
                found[self.cell(result)] = value
        return found

    def expected(self) -> Floats | None:
        """Return p(base) at every position while it is masked, (P, 4), as LLR has it; None without LLR.

        LLR of an SNV is ln p(alt) - ln p(ref) at the masked position, so the three of a position tell all four p. NaN
        where one of them is missing.
        """
        if all(field.id != "LLR" for field in self.fields):
            return None
        ratio = np.exp(self.matrix("LLR"))
        for row, base in enumerate(self.ref):
            if base in BASES:
                ratio[row, BASES.index(base)] = 1.0
        p: Floats = ratio / ratio.sum(axis=1, keepdims=True)
        return p


def map_region(
    annotator: Annotator, region: str, gene: str | None = None, *, progress: Progress | None = None
) -> RegionMap:
    """Score every SNV of a region in one gene, as ``Annotator.score`` does.

    Args:
        annotator: whose scores they are; no other thread may use it meanwhile.
        region: ``chr17:43063840-43063990``, 1-based with both ends; at most 5,000 nt.
        gene: symbol or id; None is the only gene that the region touches, or the only protein-coding one.
        progress: called with what is being done, how much of it is done, and how much there is.

    Raises:
        SettingsError: the region is too long, not on the FASTA, in no gene, in several, or not in that gene.
        BuildError: as ``Annotator.score``.

    Example:
        >>> found = map_region(annotator, "chr17:43063840-43063990", "BRCA1")
        >>> found.matrix("KL_SS").shape
        (151, 4)
    """
    contig, start, end = stretch_of(region, annotator)
    context = _gene(annotator.genes.contexts(contig, start, end), gene, region)
    bases = annotator.reference.fetch(contig, start, end).decode("ascii")
    found: list[ScoredVariant] = []
    for low in range(0, len(bases), _TOGETHER):
        block = enumerate(bases[low : low + _TOGETHER], start + low + 1)
        snvs = [Variant(contig, pos, ref, alt) for pos, ref in block for alt in BASES if alt != ref]
        found += [_in_gene(result, context) for result in annotator.score(snvs)]
        if progress:
            progress("positions mutated", min(low + _TOGETHER, len(bases)), len(bases))
    position = np.arange(start, end, dtype=np.int64)
    minus = context.strand == "-"
    position = position[::-1] if minus else position
    contexts = [result.gene for result in found if result.gene]
    return RegionMap(
        contig=contig,
        start=start,
        end=end,
        gene=context,
        results=tuple(found),
        fields=annotator.plan.fields,
        position=position,
        ref=bases[::-1].translate(_COMPLEMENT) if minus else bases,
        exons=tuple(annotator.genes.exons(context.gene_id, contig, start, end)),
        donor=_within(position, {one.donor for one in contexts}),
        acceptor=_within(position, {one.acceptor for one in contexts}),
    )


def stretch_of(region: str, annotator: Annotator) -> Stretch:
    """Return where a region lies on the FASTA.

    Raises:
        SettingsError: it cannot be read, is not on the FASTA, or too long.
    """
    [found] = find_places(Places(regions=(region,)), annotator.reference, annotator.genes.table).stretches
    if found.end - found.start > LONGEST:
        raise SettingsError(
            "The region is too long for a map.",
            needed=f"at most {LONGEST:,} nt",
            found=f"{found.end - found.start:,} nt",
            where=region,
            remedy="give a smaller region; 'saturate' scores whole genes",
        )
    return found


def check_scores(names: Sequence[str], fields: Sequence[FieldSpec]) -> None:
    """See that scores are among the numbers of a run.

    Raises:
        SettingsError: one is not.
    """
    known = [field.id for field in fields if field.type != "String"]
    for name in names:
        if name not in known:
            raise SettingsError(
                f"{name} is not among the scores of this run.",
                needed=", ".join(known),
                found=name,
                remedy=f"add it to the scores that are computed (--scores {name},... or Settings(scores=...))",
            )


def _gene(contexts: Sequence[GeneContext], name: str | None, region: str) -> GeneContext:
    """Return the gene of that name, else the only one, else the only protein-coding one."""
    shown = ", ".join(f"{one.symbol or one.gene_id} ({one.gene_id}, {one.biotype})" for one in contexts)
    if not contexts:
        raise SettingsError(
            "The region lies in no gene of the annotation.",
            needed="a region that touches a gene",
            found="none",
            where=region,
            remedy="give another region, or an annotation (-A) that has the gene",
        )
    if name is not None:
        found = [one for one in contexts if is_named(one, name)]
        if len(found) != 1:
            raise SettingsError(
                f"The region touches {'several genes' if found else 'no gene'} of that name.",
                needed=shown,
                found=name,
                where=region,
            )
        return found[0]
    coding = [one for one in contexts if one.biotype == "protein_coding"]
    for found in (list(contexts), coding):
        if len(found) == 1:
            return found[0]
    raise SettingsError(
        "The region touches several genes, and a map is of one.",
        needed="the symbol or id of one of them",
        found=shown,
        where=region,
        remedy="give --gene",
    )


def _in_gene(result: ScoredVariant, gene: GeneContext) -> ScoredVariant:
    """Return a result with the outcome in one gene only; an SNV beside it has none of its own."""
    report = result.report
    [allele] = report.alleles
    kept = [one for one in allele.contexts if one.context is None or one.context.gene_id == gene.gene_id]
    if not kept:
        why = Skipped(Status.NO_GENE, f"outside {gene.symbol or gene.gene_id}")
        kept = [skipped_outcome(None, why)]
    return replace(result, report=replace(report, alleles=(replace(allele, contexts=tuple(kept)),)))


def _within(position: Index, sites: set[Interval | None]) -> Mask:
    found = np.zeros(len(position), dtype=np.bool_)
    for site in sites:
        if site is not None:
            found |= (position >= site.start) & (position < site.end)
    return found
