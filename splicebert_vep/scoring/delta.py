"""Give the delta scorer its model where a run asks for delta scores: nothing is loaded for any other run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from splicebert_vep_spec import Allele, Bases, FieldSpec, GeneContext, Refused, Scorer, SequenceScorer, Skipped, Status

from ..errors import BackendError, ModelError
from ..model.engine import distinct
from ..model.registry import resolve_splice_model
from ..model.tuned import ACCEPTOR, DONOR, SpliceSiteModel
from ..model.tuned import SPLICE_LABELS as LABELS
from ..sequence import windows
from ..sequence.alleles import written_pos
from ..sequence.tokens import Tokens, with_special
from ..sequence.windows import Index, Mask, Windows, WindowShape
from ..settings import DELTA, FARTHEST, Settings
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
        index: (2D+1,) window index, 0..W-1, of REF, and of ALT where the base is not deleted.
        right: (2D+1,) REF is read from the shifted REF window.
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


def gains(places: Places, ref: Probabilities, ref_right: Probabilities, alt: Probabilities) -> Probabilities:
    """Return p in ALT minus p in REF of acceptor and donor at every position, (2D+1, 2).

    Args:
        ref, ref_right, alt: (W, 2) p(acceptor) and p(donor) along each window, transcript orientation.
    """
    before = np.where(places.right[:, None], ref_right[places.index], ref[places.index])
    after = np.where(places.deleted[:, None], 0.0, alt[places.index])
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

SiteBases = Callable[[str, str, int, int], Mapping[str, Set[int]]]
"""Annotated sites of a gene: gene id, contig, start and end of a span that it touches; see ``GeneIndex.site_bases``."""


@dataclass(frozen=True, slots=True)
class SpliceModelName:
    """A splice-site model, by its folder's name and the digest of its weights and settings."""

    name: str
    digest: str


def shape_of(window: int, distance: int) -> WindowShape:
    """Return how windows of a splice-site model are laid out: as those of other scores, and no smaller flank.

    An indel's POS is one before its span, so the farthest position is D + 1 from it.
    """
    return WindowShape(window, max(FARTHEST, distance + 1))


class DeltaScorer(SequenceScorer):
    """DS_AG, DS_AL, DS_DG, DS_DL, DS_MAX and where they are, DP_*: defined as SpliceAI's, see docs/scores.md.

    Args:
        distance: D, how far from POS the largest gain and loss are looked for, nt.
        masked: a gain at an annotated site, and a loss where none is annotated, count 0.
        about: which model it is of; None until a run asks for it.
        model: the splice-site model; None until a run asks for delta scores.
        sites: annotated sites; read where ``masked``.
        batch_tokens: upper bound of tokens in one forward call; None takes the number that suits the device.
    """

    name = DELTA

    def __init__(
        self,
        distance: int = 50,
        masked: bool = False,
        about: SpliceModelName | None = None,
        model: SpliceSiteModel | None = None,
        sites: SiteBases | None = None,
        batch_tokens: int | None = None,
    ) -> None:
        self._distance, self._masked = distance, masked
        self._model, self._sites, self._batch_tokens = model, sites, batch_tokens
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
        work = _Work(self._model, self._distance, self._sites if self._masked else None, self._batch_tokens)
        rows = work.rows(alleles, bases) if alleles else []
        return {
            field: [row.get(field) if isinstance(row, Mapping) else row for row in rows]
            for field in (one.id for one in self.fields)
            if field in fields
        }


Row = Mapping[str, float | int] | Skipped | None


class _Work:
    """Score some alleles: cut windows, run each distinct one once, compare."""

    def __init__(
        self, model: SpliceSiteModel, distance: int, sites: SiteBases | None, batch_tokens: int | None
    ) -> None:
        self._model, self._distance, self._sites = model, distance, sites
        self._shape = shape_of(model.window, distance)
        self._per_call = max(1, (batch_tokens or model.batch_tokens) // (model.window + 2))

    def rows(self, asked: Sequence[tuple[Allele, GeneContext]], bases: Bases) -> list[Row]:
        """Return the values of each allele x gene by field; None where no window fits."""
        rows: list[Row] = [None] * len(asked)
        cut, row_of = self._cut(dict.fromkeys(allele for allele, _ in asked), bases)
        there = [k for k, (allele, _) in enumerate(asked) if allele in row_of]
        if not there:
            return rows
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
            rows[k] = why or self._values(*asked[k], gains(places[i], *(answers[n] for n in own)), places[i])
        return rows

    def _cut(self, alleles: Iterable[Allele], bases: Bases) -> tuple[Windows, Mapping[Allele, int]]:
        """Return windows, and the row of every allele that has one without N near its span."""
        short = [allele for allele in alleles if windows.check_length(allele, self._shape) is None]
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
                if len(call) == 1:
                    failed[int(call[0])] = Skipped(Status.FAILED, f"delta scores: {error}")
                else:  # until the window that it fails on stands alone
                    waiting += np.array_split(call, 2)
            else:
                answers[call[:, None], read] = p[:, :, _COLUMNS]
        return answers, failed

    def _values(
        self, allele: Allele, gene: GeneContext, change: Probabilities, places: Places
    ) -> dict[str, float | int]:
        annotated = None
        if self._sites is not None:
            annotated = self._sites(gene.gene_id, allele.contig, allele.start, allele.end)
        found = extremes(places, change, annotated)
        scores = {f"DS_{event}": one.score for event, one in found.items()}
        offsets = {f"DP_{event}": one.offset for event, one in found.items()}
        return {**scores, MAXIMUM: max(scores.values()), **offsets}


def _reach(places: Sequence[Places]) -> Index:
    """Return the first and last window index that each allele x gene reads, (n, 2)."""
    every = [np.concatenate([one.index, one.inserted]) for one in places]
    return np.array([(index.min(), index.max()) for index in every], dtype=np.int64)


def _fields(distance: int, masked: bool, about: SpliceModelName | None) -> tuple[FieldSpec, ...]:
    """Return the fields; descriptions name model, distance and mask, so every header has them."""
    model = f"model {about.name}" if about else "a splice-site model"
    mask = "masked" if masked else "not masked"
    made = f"SpliceBERT fine-tuned on splice sites ({model}), within {distance} nt of POS, {mask}"
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
    return (*scores, FieldSpec(MAXIMUM, "A", "Float", largest, "higher", default=False), *places)


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


def open_delta(
    scorers: Sequence[AnyScorer],
    settings: Settings,
    *,
    sites: SiteBases | None = None,
) -> Delta:
    """Open the splice-site model where one of its scores is asked for.

    Args:
        sites: annotated sites; read for masked scores only.

    Raises:
        ModelError: the folder does not hold such a model, or one of narrow windows.
        SettingsError: the device is not there.
    """
    if not _is_asked(scorers, settings):
        return Delta(tuple(scorers), {})
    folder = resolve_splice_model(settings.splice_model)
    opened = SpliceSiteModel.open(folder, settings.device, settings.threads)
    shape = shape_of(opened.window, settings.delta_distance)
    if shape.longest_span < 1:
        raise ModelError(
            "The splice-site model sees too little for delta scores.",
            needed=f"windows of at least {2 * shape.flank + 1} nt",
            found=f"{opened.window} nt",
            where=str(folder),
        )
    about = SpliceModelName(opened.name, opened.digest)
    provenance = {
        NAME: about.name,
        SHA256: opened.weights_sha256,
        "SpliceModelArchitecture": opened.architecture,
        "SpliceModelQuality": opened.quality or "quality not measured",
        **settings.provenance("delta_distance"),
        "DeltaMasked": "yes" if settings.masked else "no",
    }
    scorer = DeltaScorer(settings.delta_distance, settings.masked, about, opened, sites, settings.batch_tokens)
    chosen = tuple(scorer if isinstance(one, DeltaScorer) else one for one in scorers)
    return Delta(chosen, provenance)


def _is_asked(scorers: Sequence[AnyScorer], settings: Settings) -> bool:
    asked = asked_scores(scorers, settings)
    return any(field.id in asked for scorer in scorers if isinstance(scorer, DeltaScorer) for field in scorer.fields)
