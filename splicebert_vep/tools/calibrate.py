"""Score random SNVs of every region class, and keep what they score in a calibration table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np

from splicebert_vep_spec import Allele, GeneContext, Status

from ..annotator import Annotator
from ..errors import CalibrationError, OutputError, SettingsError, suggestion
from ..files import check_place, destination
from ..genome.gene_index import GeneIndex
from ..genome.gene_table import GeneTable, Ints
from ..genome.reference import Reference
from ..scoring.percentiles import REGION_CLASSES, SIGNS, region_class, steps, write_table
from ..settings import LEAST

_BASES = "ACGT"
_BLOCK = 1 << 14
_MOST = 20_000_000  # draws; on a human genome some 3 million fill every class with 2,000

Place = tuple[str, int]
"""A contig under the FASTA's name, and a 0-based position."""


@dataclass(frozen=True, slots=True)
class RandomSnv:
    """A random SNV, the one gene that it is scored in, its class there, and its scores by name once it is scored."""

    allele: Allele
    context: GeneContext
    region_class: str
    scores: Mapping[str, float] = field(default_factory=dict, compare=False)

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
        self, genes: GeneIndex, reference: Reference, contigs: Sequence[str], seed: int,
        without: Collection[Place] = frozenset(),
    ) -> None:  # fmt: skip
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

    def take(self, wanted: Mapping[str, int]) -> list[RandomSnv]:
        """Return new SNVs, in the order drawn: so many of each class, or all that there are or that are affordable."""
        lacking = Counter({name: count for name, count in wanted.items() if count > 0})
        found: list[RandomSnv] = []
        for contig, position, other, context in islice(self._snvs, self._round if lacking else 0):
            name = region_class(context)
            drawn = self._drawn(contig, position, other, context, name) if name and lacking[name] else None
            if drawn is not None:
                found.append(drawn)
                lacking[drawn.region_class] -= 1
                if not any(lacking.values()):
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

    def _drawn(self, contig: str, position: int, other: int, context: GeneContext, name: str) -> RandomSnv | None:
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
        return RandomSnv(allele, context, name)


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
        remedy = "give the FASTA and annotation of one build, or other --contigs"
        problem = "No gene to draw SNVs from lies on these contigs."
        raise CalibrationError(problem, found=", ".join(contigs), where=str(reference.path), remedy=remedy)
    return np.array(rows, dtype=np.int64), contig_of


SCORES = tuple(SIGNS)
_CHUNK = 128

Progress = Callable[[str, int, int], None]


def calibrate_into(
    path: str | Path, annotator: Annotator, *, per_class: int = 2000, seed: int = 1, contigs: Sequence[str] = (),
    progress: Progress | None = None,
) -> dict[str, int]:  # fmt: skip
    """Write the calibration table of an annotator's scores; returns how many SNVs of each region class it has.

    Args:
        path: of the table, which appears whole or not at all.
        annotator: opened with the scores KL_CTX and LLR.
        per_class: SNVs of each region class; a class in which fewer are found gets these.
        seed: of the draw.
        contigs: to draw from, under any naming; all of the FASTA when none is given.
        progress: called with what is being done, how much of it is done, and how much there is.

    Raises:
        CalibrationError: a class has fewer than ``LEAST`` SNVs.
        SettingsError: an unknown contig, or fewer than ``LEAST`` asked for.
        BuildError: FASTA and annotation are of different builds.
        OutputError: the table cannot be written.
    """
    if per_class < LEAST:
        raise SettingsError("There would be too few SNVs.", needed=f"at least {LEAST} per class", found=str(per_class))
    if destination(path).final is None:
        raise OutputError("The table could not be written.", needed="the name of a file", found=str(path))
    check_place(path)
    annotator.check_targets([str(path)])
    names = contigs_of(annotator.reference, contigs)
    annotator.guard().check_stretches((name, 0, annotator.reference.lengths[name]) for name in names)
    sampler = Sampler(annotator.genes, annotator.reference, names, seed)
    scored = score_random(annotator, sampler, per_class, progress)
    counts = {name: _count(scored)[name] for name in REGION_CLASSES}
    few = [f"{name} {count}" for name, count in counts.items() if count < LEAST]
    if few:
        remedy = "give a FASTA with more genes, more --contigs, or an annotation that tells coding sequence"
        needed = f"at least {LEAST} with scores of every class"
        problem = f"There are too few SNVs of a region class on {', '.join(names)} of {annotator.reference.path}."
        raise CalibrationError(problem, needed=needed, found=", ".join(few), remedy=remedy)
    values: dict[str, dict[str, list[int]]] = {score: {name: [] for name in REGION_CLASSES} for score in SCORES}
    for one in scored:
        for score in SCORES:
            values[score][one.region_class].append(steps(score, one.scores[score]))
    provenance = annotator.run.provenance
    kept = ("Version", "Reference", "ReferenceSHA256", "Annotation", "AnnotationDigest", "Device")
    about = {"seed": seed, "per_class": per_class, "contigs": names, **{key: provenance[key] for key in kept}}
    write_table(path, values, provenance, about)
    return counts


def contigs_of(reference: Reference, asked: Sequence[str]) -> list[str]:
    """Return the FASTA's names of contigs, all where none is asked for."""
    unknown = [name for name in asked if reference.find(name) is None]
    if unknown:
        raise SettingsError(
            f"The FASTA {reference.path} has no such contig.", needed=f"some of {', '.join(reference.lengths)}",
            found=", ".join(unknown), remedy=suggestion(unknown, reference.lengths),
        )  # fmt: skip
    wanted = {reference.find(name) for name in asked}
    return [name for name in reference.lengths if not asked or name in wanted]


def score_random(
    annotator: Annotator, sampler: Sampler, per_class: int, progress: Progress | None = None
) -> list[RandomSnv]:
    """Draw and score SNVs until ``per_class`` of each class are OK; of a class that runs out, those there are."""
    scored: list[RandomSnv] = []
    wanted = dict.fromkeys(REGION_CLASSES, per_class)
    while wanted:
        drawn = sampler.take(wanted)
        in_order = sorted(drawn, key=lambda one: (one.place, one.allele.alt))  # neighbours share what is read
        for at in range(0, len(in_order), _CHUNK):
            scored += _scored(annotator, in_order[at : at + _CHUNK])
            if progress:
                left = max(0, len(in_order) - at - _CHUNK)
                progress("random SNVs scored", len(scored), len(scored) + left)
        found, done = _count(drawn), _count(scored)
        lacking = {name: per_class - done[name] for name in wanted if done[name] < per_class}
        wanted = {name: count for name, count in lacking.items() if found[name] == wanted[name]}
    return scored


def _count(snvs: Iterable[RandomSnv]) -> Counter[str]:
    return Counter(one.region_class for one in snvs)


def _scored(annotator: Annotator, chunk: Sequence[RandomSnv]) -> list[RandomSnv]:
    drawn_in = {one.place: one.context for one in chunk}
    genes = SimpleNamespace(contexts=lambda contig, start, *_: [drawn_in[contig, start]])
    scoring = replace(annotator.scoring, genes=cast(GeneIndex, genes))
    found = []
    for snv, [outcome] in zip(chunk, scoring.outcomes([one.allele for one in chunk]), strict=True):
        values = {name: outcome.values.get(name) for name in SCORES}
        scores = {name: value for name, value in values.items() if isinstance(value, float)}
        if outcome.status == Status.OK and len(scores) == len(SCORES):
            found.append(replace(snv, scores=scores))
    return found
