"""Draw random SNVs of each region class from the genes of a reference."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np

from splicebert_vep.errors import CalibrationError
from splicebert_vep.genome.gene_index import GeneIndex
from splicebert_vep.genome.gene_table import GeneTable, Ints
from splicebert_vep.genome.reference import Reference
from splicebert_vep_spec import Allele, GeneContext

from .classes import region_class

_BASES = "ACGT"
_BLOCK = 1 << 14
_MOST = 20_000_000  # draws; on a human genome some 3 million fill every class with 2,000

Place = tuple[str, int]
"""A contig under the FASTA's name, and a 0-based position."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A random SNV, the one gene that it is scored in, and its class there."""

    allele: Allele
    context: GeneContext
    region_class: str

    @property
    def place(self) -> Place:
        """Where it lies."""
        return self.allele.contig, self.allele.start


class Sampler:
    """Draw SNVs of which no two are the same.

    Every draw takes a position of a protein-coding gene with equal chance, and one of the three other bases; so within
    each class all positions have equal chance. Where genes overlap, a position counts once in each, and the first that
    was drawn keeps it. Where the annotation knows no protein-coding genes, all genes are taken. The same seed, FASTA
    and annotation give the same SNVs.

    Args:
        genes: the annotation; each gene stands for its reported transcript.
        reference: the FASTA; positions that are not A, C, G or T are passed over.
        contigs: under the FASTA's names.
        seed: of the random numbers.
        without: places that are not to be drawn.

    Raises:
        CalibrationError: no gene lies on the contigs.
    """

    def __init__(
        self,
        genes: GeneIndex,
        reference: Reference,
        contigs: Sequence[str],
        seed: int,
        without: Collection[Place] = frozenset(),
    ) -> None:
        self._genes, self._reference, self._without = genes, reference, without
        self._rows, self._contig_of = _genes_on(genes.table, reference, contigs)
        self._ends = genes.table.gene_end[self._rows]
        self._reach = np.cumsum(self._ends - genes.table.gene_start[self._rows])
        snvs = 3 * int(self._reach[-1])
        self._round = min(snvs, _MOST)
        numbers = _numbers(snvs, np.random.Generator(np.random.PCG64(seed)))
        self._snvs = chain.from_iterable(map(self._block, numbers))
        self._taken: set[Allele] = set()
        self._gene_at: dict[Place, str] = {}

    def take(self, wanted: Mapping[str, int]) -> list[Drawn]:
        """Draw on until there are so many new ones of each class, or every SNV or as many as are affordable came up.

        Returns:
            Them, in the order in which they were drawn.
        """
        lacking = {name: count for name, count in wanted.items() if count > 0}
        found: list[Drawn] = []
        for contig, position, other, context in islice(self._snvs, self._round if lacking else 0):
            name = region_class(context)
            if name is None or name not in lacking:
                continue
            drawn = self._drawn(contig, position, other, context, name)
            if drawn is None:
                continue
            found.append(drawn)
            lacking[name] -= 1
            if not lacking[name]:
                del lacking[name]
            if not lacking:
                break
        return found

    def _block(self, numbers: Ints) -> Iterator[tuple[str, int, int, GeneContext]]:
        """Yield contig, position, number of the other base (0 to 2) and gene of SNVs, in their order."""
        at, other = numbers // 3, (numbers % 3).tolist()
        gene = np.searchsorted(self._reach, at, side="right")
        position = self._ends[gene] - (self._reach[gene] - at)
        rows, positions = self._rows[gene].tolist(), position.tolist()
        found: dict[int, tuple[str, int, int, GeneContext]] = {}
        for i in np.lexsort((position, gene)).tolist():  # neighbours share what the index remembers
            contig, gene_id, start = self._contig_of[rows[i]], self._genes.table.gene_ids[rows[i]], positions[i]
            contexts = self._genes.contexts(contig, start, start + 1)
            found[i] = contig, start, other[i], next(one for one in contexts if one.gene_id == gene_id)
        yield from (found[i] for i in range(len(numbers)))

    def _drawn(self, contig: str, position: int, other: int, context: GeneContext, name: str) -> Drawn | None:
        place = contig, position
        ref = self._reference.fetch(contig, position, position + 1).decode("ascii")
        if ref not in _BASES or place in self._without:
            return None
        if self._gene_at.setdefault(place, context.gene_id) != context.gene_id:
            return None
        allele = Allele(contig, position, ref, _BASES.replace(ref, "")[other])
        if allele in self._taken:
            return None
        self._taken.add(allele)
        return Drawn(allele, context, name)


def _numbers(count: int, rng: np.random.Generator) -> Iterator[Ints]:
    """Yield numbers below ``count`` without end, in blocks: in rounds of one random order in which each comes once, or
    where they are too many for that, as chance has it.
    """
    if count > _MOST:
        while True:
            yield rng.integers(count, size=_BLOCK)
    order = rng.permutation(count)
    while True:
        yield from (order[at : at + _BLOCK] for at in range(0, count, _BLOCK))


def _genes_on(table: GeneTable, reference: Reference, contigs: Sequence[str]) -> tuple[Ints, dict[int, str]]:
    """Return the rows of the genes to draw from, and the FASTA's name of the contig of each."""
    names = [reference.find(name) for name in table.contigs]
    rows, contig_of = [], {}
    coding = np.array([biotype == "protein_coding" for biotype in table.biotypes])
    for row in np.flatnonzero(coding if coding.any() else np.ones(len(table), bool)).tolist():
        name = names[table.gene_contig[row]]
        start, end = int(table.gene_start[row]), int(table.gene_end[row])
        if name not in contigs or end > reference.lengths[name]:
            continue
        if set(reference.fetch(name, start, end)) - {ord("N")}:  # a FASTA that was cut may hold N in place of a gene
            rows.append(row)
            contig_of[row] = name
    if not rows:
        raise CalibrationError(
            "No gene to draw SNVs from lies on these contigs.",
            needed="contigs of the FASTA with protein-coding genes of the annotation",
            found=", ".join(contigs),
            where=str(reference.path),
            remedy="give the FASTA and annotation of one build, or other --contigs",
        )
    return np.array(rows, dtype=np.int64), contig_of
