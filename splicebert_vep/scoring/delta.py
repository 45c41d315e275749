"""Delta scores: the largest gain and loss of a splice site near an allele, by a splice-site model.

The scores are those of SpliceAI (Jaganathan et al. 2019, 10.1016/j.cell.2018.12.015), but a change of an RNA has
one score on both strands: an insertion or deletion that can stand at several places of a repeat, and inserted bases
that could be counted with the base on either side of them, are judged in each of these ways, and the one that changes
least counts. Positions are compared from ``distance`` before all these places to ``distance`` behind them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

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
    consequence,
    sentence,
)
from ..errors import BackendError, OutOfMemory, SettingsError, model_failure
from ..genome.gene_index import GeneIndex, SiteBases, Transcript
from ..plugins import Plugins
from ..sequence.alleles import placements, written_pos
from ..sequence.tokens import Tokens, encode, reverse_complement
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
_TRANSCRIPTS_KEPT = 64

#: Longest stretch of alleles that one REF pass serves, nt: it holds about 4 kB a nucleotide of each network. A longer
#: one saves little more: a pass begins with twice the model's reach before it has the first answer.
STRETCH = 8000

Genes = Callable[[], GeneIndex]
"""The annotation, which an Annotator opens after its scorers."""


@dataclass(frozen=True, slots=True)
class Around:
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
        best, least = self.alt, (np.inf, np.inf)
        for first in range(self.left.start - self.start, self.right.start - self.start + 1):
            behind = first + gone
            after = np.concatenate([self.alt[:first], np.zeros((gone, 2)), self.alt[first + new :]])
            inserted = self.alt[first : first + new]
            for anchor in (first - 1, behind) if new else (first - 1,):
                found = after.copy()
                if new:
                    found[anchor] = np.maximum(found[anchor], inserted.max(axis=0))
                changes = np.abs(found - self.ref)
                cost = float(changes.max()), float(changes.sum())
                if cost < least:
                    best, least = found, cost
        return best


class Extreme(NamedTuple):
    """The largest gain or loss of a kind of site: its size, 0 where there is none, and its row among the answers."""

    score: float
    row: int


def extremes(around: Around, after: Probabilities, annotated: SiteBases | None, mask: str) -> dict[str, Extreme]:
    """Return the largest gain and loss of either kind of site, by event; of equal ones that of the smallest coordinate.

    Args:
        after: of ``Around.aligned``.
        annotated: positions of annotated sites by kind; needed unless ``mask`` is ``none``.
        mask: a gain at an annotated site and a loss elsewhere count 0: ``before`` the largest is taken, or, as
            SpliceAI does, ``after``.
    """
    change = after - around.ref
    found = {}
    for event, kind in EVENTS.items():
        gain = event.endswith("G")
        sizes = change[:, KINDS.index(kind)] * (1 if gain else -1)
        if mask != "none" and annotated is not None:
            rows = np.array([at - around.start for at in annotated[kind]], dtype=np.int64)
            at_site = np.zeros(len(sizes), dtype=bool)
            at_site[rows[(rows >= 0) & (rows < len(sizes))]] = True
            masked = np.where(at_site == gain, 0.0, sizes)
            if mask == "before":
                sizes = masked
        row = int(sizes.argmax())
        score = masked[row] if mask == "after" and annotated is not None else sizes[row]
        found[event] = Extreme(max(0.0, float(score)), row)
    return found


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
        self._spliced: dict[Transcript, SplicedTranscript] = {}

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
        whole_exons = genes is not None and not fields.isdisjoint(CONSEQUENCES)
        looked = look_around(
            self._model, alleles, bases, genes, self.distance, outside=self.outside, whole_exons=whole_exons
        )
        rows: list[Mapping[str, float | int | str] | Skipped | None] = []
        for (_, gene), one in zip(alleles, looked, strict=True):
            if isinstance(one, Around):
                values = self._values(one.near(self.distance), gene, genes)
                if genes and whole_exons:
                    values |= self._consequence(one, gene, genes, bases)
                rows.append(values)
            else:
                rows.append(one)
        return {
            field: [row.get(field) if isinstance(row, Mapping) else row for row in rows]
            for field in (one.id for one in self.fields)
            if field in fields
        }

    def _values(self, around: Around, gene: GeneContext, genes: GeneIndex | None) -> dict[str, float | int | str]:
        allele, after = around.left, around.aligned()
        place = (gene, allele.contig, allele.start, allele.end)
        annotated = genes.site_bases(*place) if genes else None
        found = extremes(around, after, annotated, self._mask)
        positions = {event: around.start + one.row for event, one in found.items()}
        values: dict[str, float | int | str] = {f"DS_{event}": one.score for event, one in found.items()}
        values[MAXIMUM] = max(one.score for one in found.values())
        values |= {f"DP_{event}": at + 1 - written_pos(allele) for event, at in positions.items()}
        values |= {f"POS_{event}": at + 1 for event, at in positions.items()}
        reported = genes.reported_transcript(*place).site_bases() if genes else None
        for change, events in (("LOSS", ("AL", "DL")), ("GAIN", ("AG", "DG"))):
            event = max(events, key=lambda one: found[one].score)
            if found[event].score <= 0:
                continue
            kind, row = EVENTS[event], found[event].row
            for side, p in (("REF", around.ref), ("ALT", after)):
                values[f"{change}_P_{side}"] = float(p[row, KINDS.index(kind)])
            if annotated is not None and reported is not None:
                at = positions[event]
                known = OTHER if at in annotated[kind] else NOVEL
                values[f"{change}_ANNOTATED"] = REPORTED if at in reported[kind] else known
        if reported is not None:
            values["LOSS_JUDGED"] = judged(around, reported, self.distance)
        return values

    def _consequence(
        self, around: Around, gene: GeneContext, genes: GeneIndex, bases: Bases
    ) -> dict[str, float | int | str]:
        allele = around.left
        place = (gene, allele.contig, allele.start, allele.end)
        transcript = genes.reported_transcript(*place)
        spliced = self._spliced.get(transcript)
        if spliced is None:
            if len(self._spliced) >= _TRANSCRIPTS_KEPT:
                self._spliced.clear()
            spliced = SplicedTranscript(transcript, genes.site_bases(*place), partial(bases.fetch, allele.contig))
            self._spliced[transcript] = spliced
        return consequence_values(consequence(spliced, allele, Answers(around.start, around.ref, around.alt)))


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


def judged(around: Around, reported: SiteBases, distance: int) -> str:
    """Tell whether the loss of a site of the reported transcript can be judged: of the nearest, the one an allele hits.

    Returns:
        NO_SITE where none lies within ``distance``, NOT_JUDGEABLE where p(REF) of the nearest is below ``FLOOR``.
    """
    near = []
    for column, kind in enumerate(KINDS):
        for at in reported[kind]:
            away = max(around.left.start - at, at - around.right.end + 1, 0)
            if away <= distance:
                near.append((away, float(around.ref[at - around.start, column])))
    if not near:
        return NO_SITE
    return JUDGED if min(near)[1] >= FLOOR else NOT_JUDGEABLE


def look_around(
    model: SpliceModel,
    asked: Sequence[tuple[Allele, GeneContext]],
    bases: Bases,
    genes: GeneIndex | None,
    distance: int,
    *,
    outside: bool,
    whole_exons: bool = False,
) -> list[Around | Skipped | None]:
    """Return the model's answers around each allele x gene; None where its window does not hold the allele.

    One REF pass serves all alleles of a stretch of a gene.

    Args:
        distance: nt on both sides of every place where the allele can stand; one more where its length changes.
        outside: whether the model sees the genome's own bases outside of the gene, or N.
        whole_exons: look as far as the ends of the reported transcript's exons that lie within ``distance``, where the
            model looks so far.

    Raises:
        OutOfMemory: a single allele does not fit.
    """
    lookout = _Lookout(model, bases, genes if whole_exons else None, distance)
    by_extent: dict[tuple[str, str, tuple[int, int]], list[int]] = {}
    for k, (allele, gene) in enumerate(asked):
        extent = (0, bases.lengths[allele.contig])
        if genes and not outside:
            extent = genes.extent(gene, allele.contig, allele.start, allele.end)
        by_extent.setdefault((gene.strand, allele.contig, extent), []).append(k)
    found: list[Around | Skipped | None] = [None] * len(asked)
    for (strand, contig, extent), numbers in by_extent.items():
        of_allele: dict[tuple[Allele, GeneContext], list[int]] = {}
        for k in numbers:
            of_allele.setdefault(asked[k], []).append(k)
        waiting = list(_stretches(list(of_allele), model.reach))
        while waiting:
            together = waiting.pop()
            try:
                answers = lookout.along(together, contig, extent, minus=strand == "-")
            except (RuntimeError, MemoryError, BackendError) as error:
                failure = model_failure(error)
                if len(together) > 1:  # until the allele that it fails on stands alone
                    half = len(together) // 2
                    waiting += [together[:half], together[half:]]
                    continue
                if isinstance(failure, OutOfMemory):
                    raise failure from error
                answers = [Skipped(Status.FAILED, f"delta scores: {failure}")]
            for one, answer in zip(together, answers, strict=True):
                for k in of_allele[one]:
                    found[k] = answer
    return found


def _around(left: Allele, right: Allele, distance: int) -> tuple[int, int]:
    """Return the stretch from ``distance`` before to ``distance`` behind every place of an allele."""
    margin = distance + (left.shift != 0)
    return left.start - margin, right.end + margin


@dataclass(frozen=True, slots=True)
class _Lookout:
    model: SpliceModel
    bases: Bases
    genes: GeneIndex | None  # whose exons are looked at whole
    distance: int

    def along(
        self, asked: Sequence[tuple[Allele, GeneContext]], contig: str, extent: tuple[int, int], *, minus: bool
    ) -> list[Around | Skipped | None]:
        """Return the answers around neighbouring alleles of one gene."""
        fetch = partial(self.bases.fetch, contig)
        placed = [placements(allele, fetch) for allele, _ in asked]
        narrow = [_around(*places, self.distance) for places in placed]
        wide = [
            self._whole(*one, *pair) if self.genes else one for one, pair in zip(narrow, asked, strict=True)
        ]  # fmt: skip
        first = min(low for low, _ in wide) - self.model.reach
        last = max(high for _, high in wide) + self.model.reach
        tokens = stretch_tokens(self.bases, contig, first, last, extent)
        found: list[Around | Skipped | None] = [None] * len(asked)
        taken: list[tuple[int, int, Edit]] = []
        for i, (left, right) in enumerate(placed):
            for low, high in dict.fromkeys((wide[i], narrow[i])):
                edit = _edit(left, right, low, high, first, len(tokens), minus=minus)
                if self.model.takes(edit):
                    taken.append((i, low, edit))
                    break
        pairs = self.model.alternatives(reverse_complement(tokens) if minus else tokens, [edit for *_, edit in taken])
        for (i, low, _), pair in zip(taken, pairs, strict=True):
            ref, alt = (answers[::-1] if minus else answers for answers in pair)
            found[i] = Around(low, *placed[i], ref, alt)
        return found

    def _whole(self, low: int, high: int, allele: Allele, gene: GeneContext) -> tuple[int, int]:
        """Return a stretch made so long that exons of the reported transcript which begin or end in it are in it."""
        assert self.genes is not None
        transcript = self.genes.reported_transcript(gene, allele.contig, allele.start, allele.end)
        exons = [exon for exon in transcript.exons if exon.start < high and exon.end > low]
        far = self.model.farthest
        starts = [exon.start - _BESIDE for exon in exons if exon.start - _BESIDE >= allele.start - far]
        ends = [exon.end + _BESIDE for exon in exons if exon.end + _BESIDE <= allele.end + far]
        return min([low, *starts]), max([high, *ends])


def _stretches(asked: Sequence[tuple[Allele, GeneContext]], apart: int) -> Iterator[list[tuple[Allele, GeneContext]]]:
    """Yield alleles of one contig that lie within ``STRETCH`` of the first of them, and ``apart`` of the one before."""
    near: list[tuple[Allele, GeneContext]] = []
    for one in sorted(asked, key=lambda one: one[0].start):
        start = one[0].start
        if near and (start - near[0][0].start > STRETCH or start - near[-1][0].start > apart):
            yield near
            near = []
        near.append(one)
    if near:
        yield near


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
        alt = reverse_complement(encode(left.alt.encode()))
        start = first + length - left.end
        return Edit(start, start + len(left.ref), tuple(alt.tolist()), high - left.end, left.start - low)
    alt = encode(right.alt.encode())
    return Edit(right.start - first, right.end - first, tuple(alt.tolist()), right.start - low, high - right.end)


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
