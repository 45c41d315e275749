"""Delta scores: the largest gain and loss of a splice site near an allele, by a splice-site model.

A model of ``finetune`` sees REF and ALT in windows; a plugin's model of convolutions sees whole stretches of a gene,
with N outside of it. Once p(acceptor) and p(donor) are there, the scores are computed by one code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from splicebert_vep_spec import (
    Allele,
    BackendOptions,
    Bases,
    Edit,
    FieldSpec,
    GeneContext,
    Refused,
    Scorer,
    SequenceScorer,
    Skipped,
    SpliceModel,
    Status,
)

from ..errors import BackendError, ModelError, OutOfMemory, SettingsError, model_failure
from ..genome.gene_index import GeneIndex
from ..model.engine import distinct
from ..model.registry import resolve_splice_model
from ..model.tuned import ACCEPTOR, DONOR, SpliceSiteModel
from ..model.tuned import SPLICE_LABELS as LABELS
from ..plugins import Plugins
from ..sequence import windows
from ..sequence.alleles import written_pos
from ..sequence.tokens import Tokens, encode, reverse_complement, with_special
from ..sequence.windows import Index, Mask, Windows, WindowShape
from ..settings import DELTA, FARTHEST_IN_WINDOW, Settings
from .plan import asked_scores

Probabilities = NDArray[np.float64]

#: The four events, and the kind of site that each is of.
EVENTS = {"AG": "acceptor", "AL": "acceptor", "DG": "donor", "DL": "donor"}
#: Columns of a comparison.
KINDS = ("acceptor", "donor")


@dataclass(frozen=True, slots=True)
class Places:
    """Where REF and ALT are read for the 2 D + 1 positions around POS, by genomic position.

    Args:
        position: (2D+1,) genomic, 0-based.
        index: (2D+1,) index of ALT where the base is not deleted; in windows also that of REF.
        right: (2D+1,) the base lies behind a change of length; in windows REF is read from the shifted REF window.
        deleted: (2D+1,) ALT has no such base.
        inserted: window indices of ALT's bases that have no place in REF; none for alleles of equal length.
        anchor: which of the positions is the base before the span, that the inserted bases are counted with.
    """

    position: Index
    index: Index
    right: Mask
    deleted: Mask
    inserted: Index
    anchor: int


@dataclass(frozen=True, slots=True)
class Extreme:
    """The largest gain or loss: its size, 0 where there is none, and nt from POS towards larger coordinates."""

    score: float
    offset: int


def places_of(allele: Allele, start: int, width: int, distance: int, *, minus: bool) -> Places:
    """Say where to read the positions POS - D to POS + D of an allele whose windows of W bases start at ``start``.

    Args:
        minus: the gene is on the reverse strand, and its windows are turned.
    """
    pos = written_pos(allele) - 1
    position = np.arange(pos - distance, pos + distance + 1, dtype=np.int64)
    changes_length = allele.shift != 0
    right = changes_length & (position >= allele.end)
    deleted = changes_length & (position >= allele.start) & (position < allele.end)
    index = position - start - np.where(right, allele.shift, 0)
    inserted = allele.start - start + np.arange(len(allele.alt) if changes_length else 0, dtype=np.int64)
    if minus:
        index, inserted = width - 1 - index, width - 1 - inserted
    return Places(position, index, right, deleted, inserted, allele.start - 1 - pos + distance)


def gains(places: Places, before: Probabilities, alt: Probabilities) -> Probabilities:
    """Return p in ALT minus p in REF of acceptor and donor at every position, (2D+1, 2).

    Args:
        before: (2D+1, 2) p(acceptor) and p(donor) of REF at the positions.
        alt: (W, 2) those along ALT.
    """
    after = np.where(places.deleted[:, None], 0.0, alt[np.where(places.deleted, 0, places.index)])
    if len(places.inserted):
        after[places.anchor] = np.maximum(after[places.anchor], alt[places.inserted].max(axis=0))
    found: Probabilities = after - before
    return found


def extremes(places: Places, change: Probabilities, annotated: Mapping[str, Set[int]] | None) -> dict[str, Extreme]:
    """Return the largest gain and loss of either kind of site, by event; of equal ones the smallest coordinate's.

    Args:
        change: of ``gains``.
        annotated: positions of annotated sites by kind. Where one is given, the largest gain counts 0 if it is at such
            a site, and the largest loss if it is not; None is unmasked.
    """
    middle = len(places.position) // 2
    found = {}
    for event, kind in EVENTS.items():
        gain = event.endswith("G")
        sizes = change[:, KINDS.index(kind)] * (1 if gain else -1)
        at = int(sizes.argmax())
        at_site = annotated is not None and int(places.position[at]) in annotated[kind]
        hidden = annotated is not None and at_site == gain
        found[event] = Extreme(0.0 if hidden else max(0.0, float(sizes[at])), at - middle)
    return found


#: Raised by one whenever the same model and settings can give another value.
VERSION = "1"
MAXIMUM = "DS_MAX"

_NAMES = {"AG": "acceptor gain", "AL": "acceptor loss", "DG": "donor gain", "DL": "donor loss"}
_COLUMNS = [LABELS.index(label) for label in (ACCEPTOR, DONOR)]

#: Longest stretch of POS that one REF pass serves, nt: it holds about 4 kB a nucleotide.
STRETCH = 2000

Genes = Callable[[], GeneIndex]
"""The annotation, which an Annotator opens after its scorers."""


@dataclass(frozen=True, slots=True)
class SpliceModelName:
    """A splice-site model: name, digest of all that changes an answer, and its words in descriptions of fields."""

    name: str
    digest: str
    made: str


def shape_of(window: int, distance: int) -> WindowShape:
    """Return how windows of a splice-site model are laid out: as those of other scores, and no smaller flank.

    An indel's POS is one before its span, so the farthest position is D + 1 from it.
    """
    return WindowShape(window, max(FARTHEST_IN_WINDOW, distance + 1))


class DeltaScorer(SequenceScorer):
    """DS_AG, DS_AL, DS_DG, DS_DL, DS_MAX and where they are, DP_*: defined as SpliceAI's, see docs/scores.md.

    Args:
        distance: D, how far from POS the largest gain and loss are looked for, nt.
        masked: a gain at an annotated site, and a loss where none is annotated, count 0.
        about: which model it is of; None until a run asks for it.
        model: the splice-site model; None until a run asks for delta scores.
        genes: annotated sites, which masked scores read, and ends of genes, beyond which a model of convolutions sees
            N; without it such a model sees the genome's own bases.
        batch_tokens: upper bound of tokens in one forward call; None takes the number that suits the device.
    """

    name = DELTA

    def __init__(
        self,
        distance: int = 50,
        masked: bool = False,
        about: SpliceModelName | None = None,
        model: SpliceSiteModel | SpliceModel | None = None,
        genes: Genes | None = None,
        batch_tokens: int | None = None,
    ) -> None:
        self._distance, self._masked = distance, masked
        self._model, self._genes, self._batch_tokens = model, genes, batch_tokens
        self.about = about
        of = f"+{about.digest[:12]}-D{distance}-M{int(masked)}" if about else ""
        self.version = VERSION + of
        self.fields = _fields(distance, masked, about)

    def score_alleles(
        self, alleles: Sequence[tuple[Allele, GeneContext]], bases: Bases, fields: frozenset[str]
    ) -> Mapping[str, Sequence[float | int | Skipped | None]]:
        """Return values by field; None where no window fits, FAILED where the model failed.

        Raises:
            Refused: no model was opened.
        """
        if self._model is None:
            raise Refused("Delta scores need a splice-site model: an Annotator opens one where they are asked for.")
        if isinstance(self._model, SpliceModel):
            genes = self._genes() if self._genes else None
            changes = _InStretches(self._model, self._distance, genes).changes(alleles, bases)
        else:
            changes = _InWindows(self._model, self._distance, self._batch_tokens).changes(alleles, bases)
        rows = [
            change if isinstance(change, Skipped) or change is None else self._values(allele, gene, *change)
            for (allele, gene), change in zip(alleles, changes, strict=True)
        ]
        return {
            field: [row.get(field) if isinstance(row, Mapping) else row for row in rows]
            for field in (one.id for one in self.fields)
            if field in fields
        }

    def _values(
        self, allele: Allele, gene: GeneContext, places: Places, change: Probabilities
    ) -> dict[str, float | int]:
        annotated = None
        if self._masked:
            if self._genes is None:
                raise Refused("Masked delta scores need a gene annotation.")
            annotated = self._genes().site_bases(gene, allele.contig, allele.start, allele.end)
        found = extremes(places, change, annotated)
        scores = {f"DS_{event}": one.score for event, one in found.items()}
        offsets = {f"DP_{event}": one.offset for event, one in found.items()}
        pos = written_pos(allele)
        positions = {f"POS_{event}": pos + one.offset for event, one in found.items()}
        return {**scores, MAXIMUM: max(scores.values()), **offsets, **positions}


Change = tuple[Places, Probabilities] | Skipped | None
"""Places of an allele and ``gains`` there; how the model failed; or None where no window fits."""


class _InWindows:
    """Compare REF and ALT in windows: cut them, run each distinct one once."""

    def __init__(self, model: SpliceSiteModel, distance: int, batch_tokens: int | None) -> None:
        self._model, self._distance = model, distance
        self._shape = shape_of(model.window, distance)
        self._per_call = max(1, (batch_tokens or model.batch_tokens) // (model.window + 2))

    def changes(self, asked: Sequence[tuple[Allele, GeneContext]], bases: Bases) -> list[Change]:
        """Return the change of each allele x gene; None where no window fits."""
        changes: list[Change] = [None] * len(asked)
        if not asked:
            return changes
        cut, row_of = self._cut(dict.fromkeys(allele for allele, _ in asked), bases)
        there = [k for k, (allele, _) in enumerate(asked) if allele in row_of]
        if not there:
            return changes
        pairs = windows.pair(cut, [row_of[asked[k][0]] for k in there], [asked[k][1] for k in there])
        start = (cut.start[row_of[asked[k][0]]] for k in there)
        places = [
            places_of(asked[k][0], int(at), self._shape.width, self._distance, minus=minus)
            for k, at, minus in zip(there, start, pairs.minus.tolist(), strict=True)
        ]
        every = np.concatenate([pairs.ref, pairs.ref_right, pairs.alt])
        ids, first = distinct(every)
        answers, failed = self._answers(every[first], ids, np.tile(_reach(places), (3, 1)))
        for i, k in enumerate(there):
            own = ids[i :: len(there)].tolist()  # of REF, shifted REF and ALT
            why = next((failed[n] for n in own if n in failed), None)
            ref, ref_right, alt = (answers[n] for n in own)
            at = places[i].index
            before = np.where(places[i].right[:, None], ref_right[at], ref[at])
            changes[k] = why or (places[i], gains(places[i], before, alt))
        return changes

    def _cut(self, alleles: Iterable[Allele], bases: Bases) -> tuple[Windows, Mapping[Allele, int]]:
        """Return windows, and the row of every allele that has one without N near its span."""
        short = [
            allele
            for allele in alleles
            if windows.check_length(max(len(allele.ref), len(allele.alt)), self._shape) is None
        ]
        placed, cut = windows.place_and_cut(short, bases.lengths, bases.fetch, self._shape)
        fitting = [short[i] for i in np.flatnonzero(placed.fits).tolist()]
        return cut, {allele: i for i, allele in enumerate(fitting) if cut.clean[i]}

    def _answers(self, tokens: Tokens, ids: Index, reach: Index) -> tuple[Probabilities, Mapping[int, Skipped]]:
        """Return p(acceptor) and p(donor) along each distinct window, (n, W, 2), and the numbers of those that failed.

        Args:
            tokens: (n, W) distinct windows.
            ids: (m,) which of them each of m windows is.
            reach: (m, 2) first and last window index that each of the m is read at; the rest is NaN.
        """
        low, high = np.full(len(tokens), self._shape.width), np.zeros(len(tokens), dtype=np.int64)
        np.minimum.at(low, ids, reach[:, 0])
        np.maximum.at(high, ids, reach[:, 1] + 1)
        answers = np.full((*tokens.shape, len(_COLUMNS)), np.nan)
        failed: dict[int, Skipped] = {}
        waiting = np.split(np.arange(len(tokens)), range(self._per_call, len(tokens), self._per_call))
        while waiting:
            call = waiting.pop()
            read = np.arange(low[call].min(), high[call].max())
            positions = np.tile(read + 1, (len(call), 1))  # past [CLS]
            try:
                p = self._model.probabilities(with_special(tokens[call]), positions)
            except BackendError as error:
                if len(call) == 1 and isinstance(error, OutOfMemory):
                    raise
                if len(call) == 1:
                    failed[int(call[0])] = Skipped(Status.FAILED, f"delta scores: {error}")
                else:  # until the window that it fails on stands alone
                    waiting += np.array_split(call, 2)
            else:
                answers[call[:, None], read] = p[:, :, _COLUMNS]
        return answers, failed


class _InStretches:
    """Compare REF and ALT along stretches of a gene; one REF pass serves all alleles of a stretch."""

    def __init__(self, model: SpliceModel, distance: int, genes: GeneIndex | None) -> None:
        self._model, self._distance, self._genes = model, distance, genes

    def changes(self, asked: Sequence[tuple[Allele, GeneContext]], bases: Bases) -> list[Change]:
        """Return the change of each allele x gene."""
        by_gene: dict[tuple[str, str, tuple[int, int]], list[int]] = {}
        for k, (allele, gene) in enumerate(asked):
            extent = (0, bases.lengths[allele.contig])
            if self._genes:
                extent = self._genes.extent(gene, allele.contig, allele.start, allele.end)
            by_gene.setdefault((gene.strand, allele.contig, extent), []).append(k)
        changes: list[Change] = [None] * len(asked)
        for (strand, contig, extent), numbers in by_gene.items():
            waiting = list(_stretches(numbers, [written_pos(asked[k][0]) for k in numbers]))
            while waiting:
                together = waiting.pop()
                alleles = [asked[k][0] for k in together]
                try:
                    found = self._along(alleles, contig, extent, bases, minus=strand == "-")
                except (RuntimeError, MemoryError, BackendError) as error:
                    failure = model_failure(error)
                    if len(together) == 1 and isinstance(failure, OutOfMemory):
                        raise failure from error
                    if len(together) == 1:
                        changes[together[0]] = Skipped(Status.FAILED, f"delta scores: {failure}")
                    else:  # until the allele that it fails on stands alone
                        waiting += [part.tolist() for part in np.array_split(together, 2)]
                else:
                    for k, change in zip(together, found, strict=True):
                        changes[k] = change
        return changes

    def _along(
        self, alleles: Sequence[Allele], contig: str, extent: tuple[int, int], bases: Bases, *, minus: bool
    ) -> list[Change]:
        """Return the changes of neighbouring alleles of one gene."""
        reach = self._model.reach
        at = [written_pos(allele) - 1 - self._distance for allele in alleles]  # the first position compared
        places = [
            places_of(allele, start, 0, self._distance, minus=False) for allele, start in zip(alleles, at, strict=True)
        ]
        first = min(at) - reach
        last = max(at) + 2 * self._distance + 1  # past the last position compared
        last = max(max(last, allele.end) + max(allele.shift, 0) for allele in alleles)
        tokens = _read(bases, contig, first, last + reach, extent)
        edits = [
            _edit(allele, start, one, first, len(tokens), minus=minus)
            for allele, start, one in zip(alleles, at, places, strict=True)
        ]
        ref, alts = self._model.alternatives(reverse_complement(tokens) if minus else tokens, edits)
        turned = slice(None, None, -1 if minus else 1)
        ref = ref[turned]
        return [
            (one, gains(one, ref[one.position - first - reach], alt[turned]))
            for one, alt in zip(places, alts, strict=True)
        ]


def _stretches(numbers: Sequence[int], positions: Sequence[int]) -> Iterator[list[int]]:
    """Yield the numbers of alleles whose positions lie within ``STRETCH`` of the first of them."""
    order = sorted(range(len(numbers)), key=lambda i: positions[i])
    while order:
        near = [i for i in order if positions[i] - positions[order[0]] <= STRETCH]
        yield [numbers[i] for i in near]
        order = order[len(near) :]


def _read(bases: Bases, contig: str, start: int, end: int, extent: tuple[int, int]) -> Tokens:
    """Return the tokens of [start, end) of the forward strand; N outside the gene and beyond the contig's ends."""
    low, high = max(start, extent[0], 0), min(end, extent[1], bases.lengths[contig])
    return encode(b"N" * (low - start) + bases.fetch(contig, low, high) + b"N" * (end - high))


def _edit(allele: Allele, start: int, places: Places, first: int, length: int, *, minus: bool) -> Edit:
    """Return an allele as an edit of a stretch.

    Args:
        start: genomic position of ALT's first nucleotide that is read.
        first, length: genomic position of the stretch's first token, and how many tokens it has.
    """
    alt = encode(allele.alt.encode())
    count = int(max([places.index[~places.deleted].max(), *places.inserted])) + 1
    if not minus:
        return Edit(allele.start - first, allele.end - first, tuple(alt.tolist()), start - first, count)
    return Edit(
        first + length - allele.end,
        first + length - allele.start,
        tuple(reverse_complement(alt).tolist()),
        length - allele.shift - (start - first) - count,
        count,
    )


def _reach(places: Sequence[Places]) -> Index:
    """Return the first and last window index that each allele x gene reads, (n, 2)."""
    every = [np.concatenate([one.index, one.inserted]) for one in places]
    return np.array([(index.min(), index.max()) for index in every], dtype=np.int64)


def _fields(distance: int, masked: bool, about: SpliceModelName | None) -> tuple[FieldSpec, ...]:
    """Return the fields; descriptions name model, distance and mask, so every header has them."""
    model = about.made if about else "SpliceBERT fine-tuned on splice sites (a splice-site model)"
    made = f"{model}, within {distance} nt of POS, {'masked' if masked else 'not masked'}"
    scores = [
        FieldSpec(f"DS_{event}", "A", "Float", f"Delta score, {_NAMES[event]}, 0 to 1: {made}", "higher", default=False)
        for event in EVENTS
    ]
    largest = f"Largest of the four delta scores, 0 to 1: {made}"
    places = [
        FieldSpec(
            f"DP_{event}", "A", "Integer",
            f"Where DS_{event} is, nt from the record's POS towards larger coordinates: {made}",
            default=False, from_pos=True,
        )
        for event in EVENTS
    ]  # fmt: skip
    positions = [
        FieldSpec(
            f"POS_{event}", "A", "Integer", f"Where DS_{event} is, 1-based on the contig whatever POS becomes: {made}",
            default=False,
        )
        for event in EVENTS
    ]  # fmt: skip
    return (*scores, FieldSpec(MAXIMUM, "A", "Float", largest, "higher", default=False), *places, *positions)


NAME, SHA256 = "SpliceModel", "SpliceModelSHA256"

AnyScorer = Scorer | SequenceScorer


@dataclass(frozen=True, slots=True)
class Delta:
    """The scorers of a run, the delta scorer with its model among them, and its provenance.

    Args:
        scorers: in their order.
        provenance: of delta scores; empty where none are asked for.
    """

    scorers: tuple[AnyScorer, ...]
    provenance: Mapping[str, str]

    @property
    def note(self) -> str:
        """Say which model the delta scores come from; empty where none are asked for."""
        if not self.provenance:
            return ""
        masked = ", masked" if self.provenance["DeltaMasked"] == "yes" else ""
        first, dot, rest = self.provenance["SpliceModelQuality"].partition(". ")
        quality = f"{first}; docs/models.md has the figures" if dot and rest else first
        within = f"within {self.provenance['DeltaDistance']} nt{masked}"
        return f"delta scores by {self.provenance[NAME]}, {within}; {quality}"


def open_delta(plugins: Plugins, settings: Settings, genes: Genes | None = None) -> Delta:
    """Open the splice-site model where one of its scores is asked for.

    Args:
        genes: see ``DeltaScorer``.

    Raises:
        ModelError: the folder does not hold such a model, or one of narrow windows.
        SettingsError: the device is not there, or a plugin's model refused.
    """
    scorers, name = plugins.scorers, settings.splice_model
    if not _is_asked(scorers, settings):
        return Delta(tuple(scorers), {})
    model: SpliceSiteModel | SpliceModel
    if name in plugins.splice_models:
        model = plugins.open_splice_model(name, BackendOptions(name, settings.device, settings.threads))
        info = model.info
        about = SpliceModelName(info.model, info.sha256, info.model)
        sha256, quality = info.sha256, info.quality
        origin = {"SpliceModelLicence": info.licence, "SpliceModelCitation": info.citation}
    else:
        model = _open_in_windows(settings)
        made = f"SpliceBERT fine-tuned on splice sites (model {model.name})"
        about = SpliceModelName(model.name, model.digest, made)
        sha256, quality = model.weights_sha256, model.quality
        origin = {"SpliceModelArchitecture": model.architecture}
    provenance = {
        NAME: about.name,
        SHA256: sha256,
        **origin,
        "SpliceModelQuality": quality or "quality not measured",
        **settings.provenance("delta_distance"),
        "DeltaMasked": "yes" if settings.masked else "no",
    }
    scorer = DeltaScorer(settings.delta_distance, settings.masked, about, model, genes, settings.batch_tokens)
    chosen = tuple(scorer if isinstance(one, DeltaScorer) else one for one in scorers)
    return Delta(chosen, provenance)


def _open_in_windows(settings: Settings) -> SpliceSiteModel:
    folder = resolve_splice_model(settings.splice_model)
    model = SpliceSiteModel.open(folder, settings.device, settings.threads)
    shape = shape_of(model.window, settings.delta_distance)
    if settings.delta_distance > FARTHEST_IN_WINDOW:
        raise SettingsError(
            f"Model {model.name} sees too little for --delta-distance {settings.delta_distance}: it takes 1 to "
            f"{FARTHEST_IN_WINDOW}. A model of convolutions sees more, e.g. --splice-model cispliceai."
        )
    if shape.longest_span < 1:
        raise ModelError(
            f"The splice-site model sees too little: delta scores need windows of {2 * shape.flank + 1} nt, not "
            f"{model.window}.",
            where=str(folder),
        )
    return model


def _is_asked(scorers: Sequence[AnyScorer], settings: Settings) -> bool:
    asked = asked_scores(scorers, settings)
    return any(field.id in asked for scorer in scorers if isinstance(scorer, DeltaScorer) for field in scorer.fields)
