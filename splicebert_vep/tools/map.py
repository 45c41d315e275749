"""In-silico mutagenesis: scores of every SNV of a region, and each SNV's divergence at every base of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from splicebert_vep_spec import FieldSpec, GeneContext, Interval, RunInfo, Skipped, Status, Value

from ..annotator import Annotator
from ..errors import SettingsError
from ..genome.gene_index import Exon
from ..genome.places import Stretch, region_stretches
from ..genome.reference import Reference
from ..outputs.tables import rows, schema_of
from ..results import ScoredVariant
from ..scoring.pipeline import skipped_outcome
from ..sequence.tokens import other_strand
from ..sequence.windows import Index, Mask
from ..variants import Variant
from .plot import is_named, profile
from .tables import write_table

LONGEST = 5000  # nt of a region
BASES = "ACGT"
_TOGETHER = 16  # positions between two looks at the progress
Floats = NDArray[np.float64]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, eq=False)
class RegionMap:
    """Scores of every SNV of a region of P nt in one gene; matrices run 5' to 3' of the transcript."""

    contig: str  # the FASTA's name
    start: int  # of the region, 0-based half-open
    end: int
    gene: GeneContext  # the gene and its reported transcript
    # one per SNV, by position and ALT, with the outcome in this gene only; a position whose base is not A, C, G or
    # T has one for each of the four.
    results: tuple[ScoredVariant, ...]
    fields: tuple[FieldSpec, ...]  # the fields of the run, in output order
    position: Index  # (P,) genomic, 0-based
    ref: str  # P letters of the transcribed strand
    exons: tuple[Exon, ...]  # every distinct exon of the gene that touches the region, by genomic position
    donor: Mask  # (P,) bases of a site that an SNV of the region is measured against
    acceptor: Mask

    def __len__(self) -> int:
        return self.end - self.start

    @property
    def minus(self) -> bool:
        """True for a gene on the reverse strand."""
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
    contig, start, end = stretch_of(region, annotator.reference)
    context = gene_of(annotator.genes.contexts(contig, start, end), gene, region)
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
    exons = tuple(annotator.genes.exons(context.gene_id, contig, start, end))
    return RegionMap(
        contig, start, end, context, tuple(found), annotator.plan.fields, position,
        other_strand(bases) if minus else bases, exons, donor=_within(position, {one.donor for one in contexts}),
        acceptor=_within(position, {one.acceptor for one in contexts}),
    )  # fmt: skip


def stretch_of(region: str, reference: Reference, longest: int = LONGEST) -> Stretch:
    """Return where a region lies on the FASTA; SettingsError where it is too long or not on it."""
    [found] = region_stretches([region], reference)
    check_length(found.end - found.start, longest)
    return found


def check_length(length: int, longest: int) -> None:
    """Raise SettingsError where a region is longer than ``longest`` nt."""
    if length > longest:
        problem = f"The region is too long for a {'map' if longest == LONGEST else 'dependency map'}: {length:,} nt."
        raise SettingsError(problem, needed=f"at most {longest:,} nt", remedy="'saturate' scores whole genes")


def check_scores(names: Sequence[str], fields: Sequence[FieldSpec]) -> None:
    """Raise SettingsError where a score is not among the numbers of a run."""
    known = [field.id for field in fields if field.type != "String"]
    for name in names:
        if name not in known:
            remedy = f"add it to the scores that are computed (--scores {name},... or Annotator(..., scores=...))"
            raise SettingsError(f"{name} is not among the scores of this run.", needed=", ".join(known), remedy=remedy)


def gene_of(contexts: Sequence[GeneContext], name: str | None, region: str) -> GeneContext:
    """Return the gene of that name, else the only one, else the only protein-coding one.

    Raises:
        SettingsError: there is none, or none of that name, or the choice is not clear.
    """
    shown = ", ".join(f"{one.symbol or one.gene_id} ({one.gene_id}, {one.biotype})" for one in contexts)
    if not contexts:
        remedy = "give another region, or an annotation (-A) that has the gene"
        raise SettingsError("The region lies in no gene of the annotation.", where=region, remedy=remedy)
    if name is not None:
        found = [one for one in contexts if is_named(one, name)]
        if len(found) == 1:
            return found[0]
        problem = f"The region touches {'several genes' if found else 'no gene'} of that name."
        raise SettingsError(problem, needed=shown, found=name, where=region)
    coding = [one for one in contexts if one.biotype == "protein_coding"]
    for found in (list(contexts), coding):
        if len(found) == 1:
            return found[0]
    problem = "The region touches several genes, and one is needed."
    raise SettingsError(problem, found=shown, where=region, remedy="give --gene")


def _in_gene(result: ScoredVariant, gene: GeneContext) -> ScoredVariant:
    """Return a result with the outcome in one gene only; an SNV beside it has none of its own."""
    [allele] = result.report.alleles
    kept = [one for one in allele.contexts if one.context is None or one.context.gene_id == gene.gene_id]
    if not kept:
        kept = [skipped_outcome(None, Skipped(Status.NO_GENE, f"outside {gene.symbol or gene.gene_id}"))]
    return replace(result, report=replace(result.report, alleles=(replace(allele, contexts=tuple(kept)),)))


def _within(position: Index, sites: set[Interval | None]) -> Mask:
    found = np.zeros(len(position), dtype=np.bool_)
    for site in sites:
        if site is not None:
            found |= (position >= site.start) & (position < site.end)
    return found


LONGEST_DEPENDENCY = 1000  # nt: of a region of P nt there are 4 P x P numbers


@dataclass(frozen=True, slots=True, eq=False)
class Dependency:
    """KL divergence at every position of a region for every SNV of it; all axes 5' to 3' of the transcript.

    Args:
        kl: (P, 4, P) nats: mutated position, ALT as A, C, G, T of the transcribed strand, position that is read. NaN
            at REF, for an SNV without scores, and where the read position lies outside the SNV's window. The position
            that is itself mutated has a value too; it says how much the model sees of the base that stands there.
    """

    kl: Floats

    def mean(self) -> Floats:
        """Return the mean over the ALTs that were scored, (P, P): the effect of an SNV at the first on the second."""
        count = self.alts()
        total = np.nansum(self.kl, axis=1)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)

    def largest(self) -> Floats:
        """Return the largest over the ALTs, (P, P), as published dependency maps have it."""
        largest: Floats = np.fmax.reduce(self.kl, axis=1)
        return largest

    def alts(self) -> Floats:
        """Return how many ALTs a pair of positions has a value of, (P, P)."""
        count: Floats = (~np.isnan(self.kl)).sum(axis=1)
        return count


def dependency_of(annotator: Annotator, found: RegionMap, *, progress: Progress | None = None) -> Dependency:
    """Return how every SNV of a map changes what the model expects of every base of its region.

    The numbers are those of ``profile``: whole windows that are placed for each SNV as for its scores.

    Args:
        annotator: the one that made the map.
        found: of at most 1,000 nt.
        progress: as for ``map_region``.

    Raises:
        SettingsError: the region is too long.
        BackendError: the model failed.
    """
    check_length(len(found), LONGEST_DEPENDENCY)
    kl = np.full((len(found), 4, len(found)), np.nan)
    for done, result in enumerate(found.results, start=1):
        if result.status == Status.OK:
            around = profile(annotator, result)
            there = around.in_ref & (around.position >= found.start) & (around.position < found.end)
            at = around.position[there] - found.start
            column = len(found) - 1 - at if found.minus else at
            kl[(*found.cell(result), column)] = around.kl[there]
        if progress:
            progress("SNVs followed to every base", done, len(found.results))
    return Dependency(kl)


_DEPENDENCY = (
    ("CHROM", pa.string()), ("MUTATED_POS", pa.int64()), ("MUTATED_OFFSET", pa.int64()), ("MUTATED_REF", pa.string()),
    ("READ_POS", pa.int64()), ("READ_OFFSET", pa.int64()), ("READ_REF", pa.string()),
    ("N_ALTS", pa.int64()), ("KL_MEAN", pa.float64()), ("KL_MAX", pa.float64()),
)  # fmt: skip


def write_map(found: RegionMap, path: str | Path, run: RunInfo) -> None:
    """Write one row per SNV, by position and ALT: the columns of ``--emit tsv``, then OFFSET, TX_REF and TX_ALT.

    OFFSET counts nt from the 5' end of the region, 0 the first; TX_REF and TX_ALT are on the transcribed strand.
    Raises SettingsError for another suffix, OutputError where it cannot be written.
    """
    schema = schema_of(run)
    for name, kind in (("OFFSET", pa.int64()), ("TX_REF", pa.string()), ("TX_ALT", pa.string())):
        schema = schema.append(pa.field(name, kind))
    placed = ((result, *found.cell(result)) for result in found.results)
    lines = ((*row, at, found.ref[at], BASES[base]) for one, at, base in placed for row in rows(one.report, run))
    write_table(path, schema, lines)


def write_dependency(found: RegionMap, dependency: Dependency, path: str | Path, run: RunInfo) -> None:
    """Write one row per mutated and read position, both 5' to 3' of the transcript.

    MUTATED_REF and READ_REF are on the transcribed strand. KL_MEAN and KL_MAX are over the N_ALTS that have a value.
    Raises SettingsError for another suffix, OutputError where it cannot be written.
    """
    mean, largest, alts = dependency.mean(), dependency.largest(), dependency.alts()
    position = (found.position + 1).tolist()

    def pairs() -> Iterator[tuple[Value, ...]]:
        for i, mutated in enumerate(position):
            for j, read in enumerate(position):
                count = int(alts[i, j])
                values = (float(mean[i, j]), float(largest[i, j])) if count else (None, None)
                yield (found.contig, mutated, i, found.ref[i], read, j, found.ref[j], count, *values)

    write_table(path, pa.schema(_DEPENDENCY, metadata=dict(run.provenance)), pairs())
