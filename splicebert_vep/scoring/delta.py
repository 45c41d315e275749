"""Delta scores: the largest gain and loss of a splice site near an allele, by a splice-site model.

The scores are those of SpliceAI (Jaganathan et al. 2019, 10.1016/j.cell.2018.12.015), but a change of an RNA has
one score on both strands: an insertion or deletion that can stand at several places of a repeat, and inserted bases
that could be counted with the base on either side of them, are judged in each of these ways, and the one that changes
least counts. Positions are compared from ``distance`` before all these places to ``distance`` behind them.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from splicebert_vep_spec import (
    Allele,
    BackendOptions,
    Bases,
    Edit,
    FieldSpec,
    FieldType,
    GeneContext,
    Refused,
    Scorer,
    SequenceScorer,
    Skipped,
    SpliceModel,
    SpliceModelInfo,
    Status,
)

from ..consequence.outcomes import (
    KINDS,
    THRESHOLD,
    Answers,
    Consequence,
    Effect,
    Frame,
    SplicedTranscript,
    consequences,
    sentence,
)
from ..errors import BackendError, OutOfMemory, SettingsError, model_failure
from ..genome.gene_index import AnnotatedGene, GeneIndex, SiteBases
from ..plugins import Plugins
from ..sequence.alleles import placements, written_pos
from ..sequence.tokens import Tokens, encode, ids, other_strand, reverse_complement
from ..settings import DELTA, DISTURBED, MASKS, Settings
from .plan import asked_scores

Probabilities = NDArray[np.float64]

#: The four events, and the kind of site that each is of.
EVENTS = {"AG": "acceptor", "AL": "acceptor", "DG": "donor", "DL": "donor"}
#: An annotated site with a smaller p(REF) is one that the model does not see: its loss cannot be judged.
FLOOR = THRESHOLD

#: Words of LOSS_ANNOTATED and GAIN_ANNOTATED, and of LOSS_JUDGED.
REPORTED, OTHER, NOVEL = "reported", "other_transcript", "novel"
JUDGED, NOT_JUDGEABLE, NO_SITE = "JUDGED", "NOT_JUDGEABLE", "NO_SITE"

#: Raised by one whenever the same model and settings can give another value.
VERSION = "2"
MAXIMUM = "DS_MAX"

#: Fields of the consequence for the reported transcript, see ``consequence.outcomes``.
CONSEQUENCES = (
    "EFFECT", "EFFECT_SUPPORT", "EFFECT_SIZE", "EFFECT_FRAME", "EFFECT_NMD", "EFFECT_SITES", "HGVSR", "EFFECT_PROTEIN",
    "EFFECT_TEXT",
)  # fmt: skip
_BESIDE = 2  # nt beyond an exon's end
_GENES_KEPT = 64
#: Rows of answers, of REF and ALT together, and alleles, that are in memory at a time beside those of one stretch.
_ROWS, _ALLELES = 1 << 20, 1024

#: Longest stretch of alleles that one REF pass serves, nt: it holds about 4 kB a nucleotide of each network. A longer
#: one saves little more: a pass begins with twice the model's reach before it has the first answer.
STRETCH = 8000
#: nt: where a model's reach is less, neighbours this far apart share a pass all the same; a call costs more.
APART = 500

Genes = Callable[[], GeneIndex]
"""The annotation, which an Annotator opens after its scorers."""

Columns = dict[str, list[Any]]
"""One value per allele x gene for every asked field; None is missing."""


class Around(NamedTuple):
    """Answers of a splice-site model around an allele, along the forward strand.

    Args:
        start: genomic position, 0-based, of the first answer of both.
        left, right: the leftmost and the rightmost place of the allele.
        ref: (n, 2) p(acceptor) and p(donor) of the reference.
        alt: (n - left.shift, 2) those of the changed sequence.
    """

    start: int
    left: Allele
    right: Allele
    ref: Probabilities
    alt: Probabilities

    def near(self, distance: int) -> Around:
        """Return the answers from ``distance`` before to ``distance`` behind every place of the allele."""
        low, high = _around(self.left, self.right, distance)
        first, behind = low - self.start, self.start + len(self.ref) - high
        if not first and not behind:
            return self
        return Around(
            low,
            self.left,
            self.right,
            self.ref[first : len(self.ref) - behind],
            self.alt[first : len(self.alt) - behind],
        )

    def aligned(self) -> Probabilities:
        """Return ALT's answers at the positions of REF, (n, 2): of all ways to align them the one that changes least.

        A deleted base has 0; inserted bases count with a base beside them, if theirs is the larger. Of two ways with
        the same largest change the one with the smaller sum of changes counts.
        """
        gone, new = len(self.left.ref), len(self.left.alt)
        if gone == new:
            return self.alt
        first = range(self.left.start - self.start, self.right.start - self.start + 1)
        best, least = self.alt, (np.inf, np.inf)
        for some in (first[i : i + _PLACES] for i in range(0, len(first), _PLACES)):
            ways = self._ways(some)
            if len(first) == 1 and not new:
                return ways[0]  # type: ignore[no-any-return]
            changes = np.abs(ways - self.ref).reshape(len(ways), -1)
            costs = list(zip(changes.max(axis=1).tolist(), changes.sum(axis=1).tolist(), strict=True))
            cheapest = min(range(len(costs)), key=costs.__getitem__)
            if costs[cheapest] < least:
                best, least = ways[cheapest], costs[cheapest]
        return best

    def _ways(self, places: range) -> Probabilities:
        """Return ALT's answers at the positions of REF, (C, n, 2), with the allele's first base at each of these rows.

        Where bases are inserted there are two for each place: counted with the base before them and with that behind.
        """
        gone, new = len(self.left.ref), len(self.left.alt)
        ways = np.empty((len(places), 2 if new else 1, *self.ref.shape))
        for way, at in zip(ways, places, strict=True):
            way[:, :at] = self.alt[:at]
            way[:, at : at + gone] = 0
            way[:, at + gone :] = self.alt[at + new :]
            if new:
                inserted = self.alt[at : at + new].max(axis=0)
                for one, anchor in zip(way, (at - 1, at + gone), strict=True):
                    np.maximum(one[anchor], inserted, out=one[anchor])
        return ways.reshape(-1, *self.ref.shape)


_PLACES = 128  # of an allele in a repeat that are compared at a time


class _Layout:
    """Sites and exons of a gene, in the order of positions.

    Args:
        gene: the gene.
        contig: the FASTA's name.
    """

    def __init__(self, gene: AnnotatedGene, contig: str, bases: Bases) -> None:
        self.gene, self.known = gene, gene.sites
        self._fetch = partial(bases.fetch, contig)

    @cached_property
    def reported(self) -> SiteBases:
        return self.gene.transcript.site_bases()

    @cached_property
    def _in_order(self) -> dict[str, list[int]]:
        return {kind: sorted(self.reported[kind]) for kind in KINDS}

    @cached_property
    def spliced(self) -> SplicedTranscript:
        return SplicedTranscript(self.gene.transcript, self.known, self._fetch)

    @cached_property
    def _exons(self) -> tuple[list[int], list[int]]:
        exons = sorted((exon.start, exon.end) for exon in self.gene.transcript.exons)
        return [start for start, _ in exons], [end for _, end in exons]

    def whole(self, low: int, high: int, allele: Allele, far: int) -> tuple[int, int]:
        """Return a stretch made so long that exons of the reported transcript which begin or end in it are in it.

        Args:
            far: nt from the allele that the stretch reaches at most.
        """
        starts, ends = self._exons
        first, last = low, high
        for i in range(bisect_right(ends, low), bisect_left(starts, high)):
            if starts[i] - _BESIDE >= allele.start - far:
                first = min(first, starts[i] - _BESIDE)
            if ends[i] + _BESIDE <= allele.end + far:
                last = max(last, ends[i] + _BESIDE)
        return first, last

    def known_as(self, kind: str, position: int) -> str:
        """Return the word for an annotated site of one kind, or for none."""
        if position in self.reported[kind]:
            return REPORTED
        return OTHER if position in self.known[kind] else NOVEL

    def judged(self, around: Around, distance: int) -> str:
        """Tell whether the loss of a reported site can be judged: of the nearest, the one that an allele hits.

        Returns:
            NO_SITE where none lies within ``distance``, NOT_JUDGEABLE where p(REF) of the nearest is below ``FLOOR``.
        """
        start, end = around.left.start, around.right.end
        near = []
        for column, kind in enumerate(KINDS):
            sites = self._in_order[kind]
            for at in sites[bisect_left(sites, start - distance) : bisect_right(sites, end - 1 + distance)]:
                near.append((max(start - at, at - end + 1, 0), float(around.ref[at - around.start, column])))
        if not near:
            return NO_SITE
        return JUDGED if min(near)[1] >= FLOOR else NOT_JUDGEABLE


class DeltaScorer(SequenceScorer):
    """DS_MAX, DS_AG, DS_AL, DS_DG, DS_DL, their places DP_*, and what the largest gain and loss are of.

    Args:
        settings: distance, mask, and whether the model sees bases outside of the gene; see ``Settings``.
        model: the splice-site model; None until a run asks for delta scores.
        genes: annotated sites and ends of genes; without it fields about annotated sites are missing.
    """

    name = DELTA

    def __init__(
        self, settings: Settings | None = None, model: SpliceModel | None = None, genes: Genes | None = None
    ) -> None:
        asked = settings or Settings()
        self._model, self._genes, self._mask = model, genes, asked.mask
        self.distance = asked.delta_distance or (model.distance if model else 0)
        self.outside = asked.outside or not (model and model.sees_gene_only)
        of = f"D{self.distance}-M{MASKS.index(self._mask)}-O{int(self.outside)}"
        self.version = f"{VERSION}+{model.info.sha256[:12]}-{of}" if model else VERSION
        self.fields = _fields(self.distance, self._mask, model.info if model else None)
        self._layouts: dict[tuple[int, str], _Layout] = {}

    def score_alleles(
        self, alleles: Sequence[tuple[Allele, GeneContext]], bases: Bases, fields: frozenset[str]
    ) -> Mapping[str, Sequence[float | int | str | Skipped | None]]:
        """Return values by field; None where the model's window does not hold the allele, FAILED where it failed.

        Raises:
            Refused: no model was opened, or masked scores were asked for without an annotation.
        """
        if self._model is None:
            raise Refused("Delta scores need a splice-site model: an Annotator opens one where they are asked for.")
        if self._mask != "none" and self._genes is None:
            raise Refused("Masked delta scores need a gene annotation.")
        genes = self._genes() if self._genes else None
        consequences = genes is not None and not fields.isdisjoint(CONSEQUENCES)
        layouts = [self._layout(genes, one, bases) for one in alleles]
        columns: Columns = {one.id: [None] * len(alleles) for one in self.fields if one.id in fields}
        looked = _looked(
            self._model, alleles, layouts, bases, self.distance, outside=self.outside, whole_exons=consequences
        )
        for batch in _batches(looked):
            there = []
            for k, found in batch:
                if isinstance(found, Around):
                    there.append(_Answered(k, found, found.near(self.distance), layouts[k]))
                elif found:
                    for column in columns.values():
                        column[k] = found
            for alike in _alike(there):
                self._scores(alike, columns)
            if consequences:
                _consequences(there, columns)
        return columns

    def _layout(self, genes: GeneIndex | None, one: tuple[Allele, GeneContext], bases: Bases) -> _Layout | None:
        if genes is None:
            return None
        allele, context = one
        gene = genes.gene(context, allele.contig, allele.start, allele.end)
        key = id(gene), allele.contig  # of an object that the layout keeps alive
        layout = self._layouts.get(key)
        if layout is None:
            if len(self._layouts) >= _GENES_KEPT:
                self._layouts.clear()
            layout = self._layouts[key] = _Layout(gene, allele.contig, bases)
        return layout

    def _scores(self, alike: Sequence[_Answered], columns: Columns) -> None:
        """Fill in the scores of alleles, and what their sites are.

        Arrays are (2, B, n): acceptors and donors, alleles, positions from the first one near each allele; an allele
        with fewer than the longest ends with zeros.
        """
        numbers = [one.number for one in alike]
        nears = [one.near for one in alike]
        counts = np.array([len(near.ref) for near in nears])
        ref, after = np.zeros((2, 2, len(alike), counts.max()))
        for i, near in enumerate(nears):
            ref[:, i, : len(near.ref)] = near.ref.T
            after[:, i, : len(near.ref)] = near.aligned().T
        starts = np.array([near.start for near in nears])
        from_pos = starts + 1 - np.array([written_pos(near.left) for near in nears])
        layouts, each = [one.layout for one in alike], np.arange(len(alike))

        def put(field: str, values: Iterable[object]) -> None:
            if field in columns:
                column = columns[field]
                for k, value in zip(numbers, values, strict=True):
                    column[k] = value

        found: dict[str, tuple[NDArray[np.float64], NDArray[np.int64]]] = {}
        for event, sizes, masked in self._changes(after - ref, counts, alike):
            rows = (masked if self._mask == "before" else sizes).argmax(axis=1)
            scores = np.maximum((sizes if self._mask == "none" else masked)[each, rows], 0.0) + 0.0  # no -0
            found[event] = scores, rows
            put(f"DS_{event}", scores.tolist())
            put(f"DP_{event}", (from_pos + rows).tolist())
            put(f"POS_{event}", (starts + rows + 1).tolist())
        put(MAXIMUM, np.max([scores for scores, _ in found.values()], axis=0).tolist())
        for change, (acceptor, donor) in (("LOSS", ("AL", "DL")), ("GAIN", ("AG", "DG"))):
            column = (found[donor][0] > found[acceptor][0]).astype(np.int64)
            score, rows = (np.where(column, *pair) for pair in zip(found[donor], found[acceptor], strict=True))
            there = (score > 0).tolist()
            for side, p in (("REF", ref), ("ALT", after)):
                values = p[column, each, rows].tolist()
                put(f"{change}_P_{side}", (p if yes else None for p, yes in zip(values, there, strict=True)))
            kinds, positions = [KINDS[i] for i in column.tolist()], (starts + rows).tolist()
            put(
                f"{change}_ANNOTATED",
                (
                    layout.known_as(kind, at) if yes and layout else None
                    for layout, yes, kind, at in zip(layouts, there, kinds, positions, strict=True)
                ),
            )
        judged = (
            layout.judged(near, self.distance) if layout else None for near, layout in zip(nears, layouts, strict=True)
        )
        put("LOSS_JUDGED", judged)

    def _changes(
        self, change: Probabilities, counts: NDArray[np.int64], alike: Sequence[_Answered]
    ) -> Iterator[tuple[str, Probabilities, Probabilities]]:
        """Yield every event with its size at each position, (B, n), and the size that counts once masked.

        A gain at an annotated site and a loss elsewhere count 0: ``before`` the largest is taken, or, as SpliceAI does,
        ``after``. Of equal ones that of the smallest coordinate is the largest. Behind an allele's last position no
        event is the largest.
        """
        at_site = np.zeros(change.shape, dtype=bool)
        for i, (_, _, near, layout) in enumerate(alike):
            if self._mask == "none" or layout is None:
                break
            for column, kind in enumerate(KINDS):
                rows = [at - near.start for at in layout.known[kind] if 0 <= at - near.start < len(near.ref)]
                at_site[column, i, rows] = True
        beyond = np.arange(change.shape[2]) >= counts[:, None]
        for event, kind in EVENTS.items():
            gain, column = event.endswith("G"), KINDS.index(kind)
            sizes = np.where(beyond, -np.inf, change[column] if gain else -change[column])
            hidden = (at_site[column] == gain) & ~beyond
            yield event, sizes, sizes if self._mask == "none" else np.where(hidden, 0.0, sizes)


class _Answered(NamedTuple):
    """An allele x gene with the answers around it, and those near it."""

    number: int
    around: Around
    near: Around
    layout: _Layout | None


def _alike(there: Sequence[_Answered]) -> Iterator[list[_Answered]]:
    """Yield alleles together of which the longest has at most a quarter more answers near it than the shortest."""
    alike: list[_Answered] = []
    for one in sorted(there, key=lambda one: len(one.near.ref)):
        count = len(one.near.ref)
        if alike and (4 * count > 5 * len(alike[0].near.ref) or (len(alike) + 1) * count > _ROWS // 32):
            yield alike
            alike = []
        alike.append(one)
    if alike:
        yield alike


def _consequences(there: Sequence[_Answered], columns: Columns) -> None:
    """Fill in the fields of what alleles do to the reported transcript."""
    cases = [
        (layout.spliced, around.left, Answers(around.start, around.ref, around.alt))
        for _, around, _, layout in there
        if layout
    ]
    for (k, *_), found in zip(there, consequences(cases), strict=True):
        for field, value in consequence_values(found).items():
            if field in columns:
                columns[field][k] = value


#: Words of ``consequence.outcomes`` for where a site is annotated, in the words of LOSS_ANNOTATED.
_KNOWN = {"reported": REPORTED, "other": OTHER, "new": NOVEL}


def consequence_values(found: Consequence) -> dict[str, float | int | str]:
    """Return a consequence as values by field; those that have none, as the size of NO_EFFECT, are left out."""
    values: dict[str, float | int | str] = {"EFFECT": str(found.effect)}
    if found.effect is not Effect.NO_EFFECT:
        values["EFFECT_TEXT"] = sentence(found)
    if found.outcomes:
        first = found.outcomes[0]
        values["EFFECT_SUPPORT"] = first.support
        values["EFFECT_SITES"] = "&".join(
            f"{site.kind}:{'inserted' if site.position is None else site.position + 1}:{_KNOWN[site.known]}:"
            f"{site.before:.2f}>{site.after:.2f}"
            for site in first.sites
        )
        if first.size:
            values["EFFECT_SIZE"] = first.size
        if first.hgvs:
            values["HGVSR"] = first.hgvs
        if first.protein:
            values["EFFECT_FRAME"] = str(first.protein.frame)
            if first.protein.name:
                values["EFFECT_PROTEIN"] = first.protein.name
            if first.protein.decays is not None:
                values["EFFECT_NMD"] = "yes" if first.protein.decays else "no"
    return values


def look_around(
    model: SpliceModel,
    asked: Sequence[tuple[Allele, GeneContext]],
    bases: Bases,
    genes: GeneIndex | None,
    distance: int,
    *,
    outside: bool,
) -> list[Around | Skipped | None]:
    """Return the model's answers around each allele x gene; None where its window does not hold the allele.

    One REF pass serves all alleles of a stretch of a gene.

    Args:
        distance: nt on both sides of every place where the allele can stand; one more where its length changes.
        outside: whether the model sees the genome's own bases outside of the gene, or N.

    Raises:
        OutOfMemory: a single allele does not fit.
    """
    layouts = [
        _Layout(genes.gene(gene, one.contig, one.start, one.end), one.contig, bases) if genes else None
        for one, gene in asked
    ]
    found: list[Around | Skipped | None] = [None] * len(asked)
    for k, one in _looked(model, asked, layouts, bases, distance, outside=outside):
        found[k] = one
    return found


def _around(left: Allele, right: Allele, distance: int) -> tuple[int, int]:
    """Return the stretch from ``distance`` before to ``distance`` behind every place of an allele."""
    margin = distance + (left.shift != 0)
    return left.start - margin, right.end + margin


class _Wanted(NamedTuple):
    """An allele whose answers are wanted: its number, its places, and the stretches that will do, the best first."""

    number: int
    left: Allele
    right: Allele
    stretches: tuple[tuple[int, int], ...]


def _looked(
    model: SpliceModel,
    asked: Sequence[tuple[Allele, GeneContext]],
    layouts: Sequence[_Layout | None],
    bases: Bases,
    distance: int,
    *,
    outside: bool,
    whole_exons: bool = False,
) -> Iterator[tuple[int, Around | Skipped | None]]:
    """Yield the number and the answers of each allele x gene, stretch by stretch; see ``look_around``.

    Args:
        whole_exons: look as far as the ends of the reported transcript's exons that lie within ``distance``, where the
            model looks so far.
    """
    by_extent: dict[tuple[str, str, tuple[int, int]], list[_Wanted]] = {}
    for k, ((allele, gene), layout) in enumerate(zip(asked, layouts, strict=True)):
        contig, extent = allele.contig, (0, bases.lengths[allele.contig])
        if layout and not outside:
            extent = layout.gene.start, layout.gene.end
        left, right = placements(allele, partial(bases.fetch, contig))
        stretches = [_around(left, right, distance)]
        if layout and whole_exons and (whole := layout.whole(*stretches[0], allele, model.farthest)) != stretches[0]:
            stretches.insert(0, whole)
        by_extent.setdefault((gene.strand, contig, extent), []).append(_Wanted(k, left, right, tuple(stretches)))
    tasks = [
        _Task(together, contig, extent, strand == "-")
        for (strand, contig, extent), wanted in by_extent.items()
        for together in _stretches(wanted, max(model.reach, APART))
    ]
    for at in range(0, len(tasks), model.at_once):
        yield from _answered(model, tasks[at : at + model.at_once], bases)


class _Task(NamedTuple):
    """Neighbouring alleles of one strand of a contig, whose answers one pass over REF serves."""

    wanted: Sequence[_Wanted]
    contig: str
    extent: tuple[int, int]
    minus: bool


def _answered(
    model: SpliceModel, tasks: Sequence[_Task], bases: Bases
) -> Iterator[tuple[int, Around | Skipped | None]]:
    """Yield the number and the answers of each allele; where the model fails, until that allele stands alone."""
    found: Sequence[Sequence[Around | Skipped | None]] | None = None
    try:
        found = _along(model, tasks, bases)
    except (RuntimeError, MemoryError, BackendError) as error:
        failure = model_failure(error)
        if sum(len(task.wanted) for task in tasks) == 1:
            if isinstance(failure, OutOfMemory):
                raise failure from error
            found = [[Skipped(Status.FAILED, f"delta scores: {failure}")]]
    if found is not None:
        for task, answers in zip(tasks, found, strict=True):
            yield from zip((one.number for one in task.wanted), answers, strict=True)
        return
    if len(tasks) == 1:
        half = len(tasks[0].wanted) // 2
        tasks = [tasks[0]._replace(wanted=part) for part in (tasks[0].wanted[:half], tasks[0].wanted[half:])]
    for task in tasks:
        yield from _answered(model, [task], bases)


def _along(model: SpliceModel, tasks: Sequence[_Task], bases: Bases) -> list[list[Around | Skipped | None]]:
    """Return the answers around the alleles of each task."""
    sequences: list[tuple[Tokens, list[Edit]]] = []
    taken: list[list[tuple[int, int]]] = []  # the number of an allele in its task, and where its answers begin
    for task in tasks:
        first = min(one.stretches[0][0] for one in task.wanted) - model.reach
        last = max(one.stretches[0][1] for one in task.wanted) + model.reach
        tokens = stretch_tokens(bases, task.contig, first, last, task.extent)
        edits, of_task = [], []
        for i, (_, left, right, stretches) in enumerate(task.wanted):
            for low, high in stretches:
                edit = _edit(left, right, low, high, first, len(tokens), minus=task.minus)
                if model.takes(edit):
                    edits.append(edit)
                    of_task.append((i, low))
                    break
        sequences.append((reverse_complement(tokens) if task.minus else tokens, edits))
        taken.append(of_task)
    found: list[list[Around | Skipped | None]] = []
    for task, of_task, pairs in zip(tasks, taken, model.each(sequences), strict=True):
        answers: list[Around | Skipped | None] = [None] * len(task.wanted)
        for (i, low), (ref, alt) in zip(of_task, pairs, strict=True):
            one = task.wanted[i]
            if task.minus:
                ref, alt = ref[::-1], alt[::-1]
            answers[i] = Around(low, one.left, one.right, ref, alt)
        found.append(answers)
    return found


def _stretches(wanted: Sequence[_Wanted], apart: int) -> Iterator[list[_Wanted]]:
    """Yield alleles of one contig that lie within ``STRETCH`` of the first of them, and ``apart`` of the one before."""
    near: list[_Wanted] = []
    for one in sorted(wanted, key=lambda one: one.left.start):
        start = one.left.start
        if near and (start - near[0].left.start > STRETCH or start - near[-1].left.start > apart):
            yield near
            near = []
        near.append(one)
    if near:
        yield near


def _batches(
    looked: Iterable[tuple[int, Around | Skipped | None]],
) -> Iterator[list[tuple[int, Around | Skipped | None]]]:
    """Yield answers together, of as many alleles as memory should hold."""
    batch, rows = [], 0
    for one in looked:
        batch.append(one)
        rows += len(one[1].ref) + len(one[1].alt) if isinstance(one[1], Around) else 0
        if rows >= _ROWS or len(batch) >= _ALLELES:
            yield batch
            batch, rows = [], 0
    if batch:
        yield batch


def stretch_tokens(bases: Bases, contig: str, start: int, end: int, extent: tuple[int, int]) -> Tokens:
    """Return the tokens of [start, end) of the forward strand; N outside of the extent and beyond the contig's ends."""
    low, high = max(start, extent[0], 0), min(end, extent[1], bases.lengths[contig])
    return encode(b"N" * (low - start) + bases.fetch(contig, low, high) + b"N" * (end - high))


def _edit(left: Allele, right: Allele, low: int, high: int, first: int, length: int, *, minus: bool) -> Edit:
    """Return an allele as an edit of a stretch, at its last place in the transcript.

    Args:
        left, right: the leftmost and the rightmost place of the allele on the forward strand.
        low, high: genomic stretch that is asked for.
        first, length: genomic position of the stretch's first token, and how many tokens it has.
    """
    if minus:
        start = first + length - left.end
        return Edit(start, start + len(left.ref), ids(other_strand(left.alt)), high - left.end, left.start - low)
    return Edit(right.start - first, right.end - first, ids(right.alt), right.start - low, high - right.end)


_NAMES = {"AG": "acceptor gain", "AL": "acceptor loss", "DG": "donor gain", "DL": "donor loss"}


def _fields(distance: int, mask: str, info: SpliceModelInfo | None) -> tuple[FieldSpec, ...]:
    """Return the fields; descriptions name model, distance and mask, so every header has them."""
    model = info.model if info else "a splice-site model"
    reach = f"within {distance} nt" if distance else "within --delta-distance"
    made = f"{model}, {reach}, {'not masked' if mask == 'none' else f'masked {mask} the maximum'}"
    floor = f"p(REF) of the nearest site of the reported transcript is below {FLOOR:g}"
    kinds = f"{REPORTED} (a site of the reported transcript), {OTHER} or {NOVEL}"
    largest = FieldSpec(
        MAXIMUM, "A", "Float", f"Largest of the four delta scores, 0 to 1; sort by it: {made}", "higher"
    )  # fmt: skip
    scores = [
        FieldSpec(f"DS_{event}", "A", "Float", f"Delta score, {words}, 0 to 1: {made}", "higher")
        for event, words in _NAMES.items()
    ]
    offsets = [
        FieldSpec(
            f"DP_{event}", "A", "Integer",
            f"Where DS_{event} is, nt from the record's POS towards larger coordinates: {made}", from_pos=True,
        )
        for event in EVENTS
    ]  # fmt: skip
    sides = []
    for change in ("loss", "gain"):
        name, site = change.upper(), f"the site of the largest {change}"
        sides += [
            FieldSpec(f"{name}_P_REF", "A", "Float", f"p(REF) of {site}: {made}"),
            FieldSpec(f"{name}_P_ALT", "A", "Float", f"p(ALT) of {site}: {made}"),
            FieldSpec(f"{name}_ANNOTATED", "A", "String", f"Annotation of {site}: {kinds}"),
        ]
    judgement = FieldSpec(
        "LOSS_JUDGED", "A", "String",
        f"Can the loss of the nearest site be seen: {JUDGED}; {NOT_JUDGEABLE} where {floor}; {NO_SITE} {reach}",
    )  # fmt: skip
    positions = [
        FieldSpec(
            f"POS_{event}", "A", "Integer", f"Where DS_{event} is, 1-based on the contig whatever POS becomes: {made}",
            default=False,
        )
        for event in EVENTS
    ]  # fmt: skip
    return (largest, *scores, *offsets, *sides, judgement, *_consequence_fields(), *positions)


def _consequence_fields() -> Iterator[FieldSpec]:
    effects = ", ".join(map(str, Effect))
    frames = ", ".join(map(str, Frame))
    words: dict[str, tuple[FieldType, str]] = {
        "EFFECT": ("String", f"What happens to the reported transcript, best supported first: {effects}"),
        "EFFECT_SUPPORT": ("Float", "Weakest premise of EFFECT, 0 to 1; no share of transcripts"),
        "EFFECT_SIZE": ("Integer", "Nt that the mRNA gains by EFFECT, negative where it loses them"),
        "EFFECT_FRAME": ("String", f"Reading frame after EFFECT: {frames}"),
        "EFFECT_NMD": (
            "String",
            "yes where the premature stop of EFFECT leads to decay by the 50-nt rule, else no",
        ),
        "EFFECT_SITES": ("String", "Sites that EFFECT rests on, joined by &: kind:POS:annotation:p(REF)>p(ALT)"),
        "HGVSR": ("String", "HGVS r. name of EFFECT on the reported transcript, predicted"),
        "EFFECT_PROTEIN": ("String", "HGVS p. name of EFFECT, predicted"),
        "EFFECT_TEXT": ("String", "EFFECT in a sentence; missing where there is none"),
    }
    for name in CONSEQUENCES:
        yield FieldSpec(name, "A", *words[name])


NAME, SHA256 = "SpliceModel", "SpliceModelSHA256"

AnyScorer = Scorer | SequenceScorer


@dataclass(frozen=True, slots=True)
class Delta:
    """The scorers of a run, the delta scorer with its model among them, and its provenance.

    Args:
        scorers: in their order.
        provenance: of delta scores; empty where none are asked for.
        model: the splice-site model; None where no delta scores are asked for.
    """

    scorers: tuple[AnyScorer, ...]
    provenance: Mapping[str, str]
    model: SpliceModel | None = None

    @property
    def note(self) -> str:
        """Say which model the delta scores come from; empty where none are asked for."""
        if not self.provenance:
            return ""
        mask = self.provenance["DeltaMask"]
        masked = "" if mask == "none" else f", masked {mask} the maximum"
        first, dot, rest = self.provenance["SpliceModelQuality"].partition(". ")
        quality = f"{first}; docs/models.md has the figures" if dot and rest else first
        within = f"within {self.provenance['DeltaDistance']} nt{masked}"
        return f"delta scores by {self.provenance[NAME]}, {within}; {quality}"

    @property
    def threshold(self) -> float:
        """DS_MAX from which an allele counts as disturbing: of the first operating point, else ``DISTURBED``."""
        points = self.model.info.operating_points if self.model else ()
        return points[0].threshold if points else DISTURBED

    def outcome(self, disturbed: int, judged: int) -> str:
        """Say by which column to sort, how many alleles reach the threshold, and how often labelled ones do."""
        if self.model is None:
            return ""
        measured = f"{self.model.info.model} was measured at no threshold"
        if points := self.model.info.operating_points:
            one = points[0]
            measured = f"of {one.labelled}: {one.harmful:.0%} of the harmful, {one.harmless:.0%} of the harmless"
        return f"sort by {MAXIMUM}: {disturbed:,} of {judged:,} ALTs at or above {self.threshold:g} ({measured})"


def open_delta(plugins: Plugins, settings: Settings, genes: Genes | None = None) -> Delta:
    """Open the splice-site model where one of its scores is asked for.

    Args:
        genes: see ``DeltaScorer``.

    Raises:
        ModelError: the folder does not hold such a model, or one of narrow windows.
        SettingsError: the device is not there, the model refused, or it does not look so far.
    """
    scorers = plugins.scorers
    if not _is_asked(scorers, settings):
        return Delta(tuple(scorers), {})
    model = open_splice_model(plugins, settings)
    if (settings.delta_distance or 0) > model.farthest:
        raise SettingsError(
            f"Model {model.info.model} sees too little for --delta-distance {settings.delta_distance}: it takes 1 to "
            f"{model.farthest}. A model of convolutions sees more, e.g. --splice-model cispliceai."
        )
    scorer, info = DeltaScorer(settings, model, genes), model.info
    provenance = {
        NAME: info.model,
        SHA256: info.sha256,
        "SpliceModelLicence": info.licence,
        "SpliceModelCitation": info.citation,
        "SpliceModelQuality": info.quality or "quality not measured",
        "DeltaDistance": str(scorer.distance),
        "DeltaMask": settings.mask,
        "DeltaOutside": "N" if model.sees_gene_only and not settings.outside else "genome",
    }
    chosen = tuple(scorer if isinstance(one, DeltaScorer) else one for one in scorers)
    return Delta(chosen, provenance, model)


def open_splice_model(plugins: Plugins, settings: Settings) -> SpliceModel:
    """Open the splice-site model of a run; with the null backend ``auto`` is the null model, which costs nothing."""
    name = "null" if (settings.splice_model, settings.backend) == ("auto", "null") else settings.splice_model
    return plugins.open_splice_model(name, BackendOptions(name, settings.device, settings.threads))


def _is_asked(scorers: Sequence[AnyScorer], settings: Settings) -> bool:
    asked = asked_scores(scorers, settings)
    return any(field.id in asked for scorer in scorers if isinstance(scorer, DeltaScorer) for field in scorer.fields)
