"""The delta scorer: window pairs through a splice-site model, and the largest gains and losses between them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from splicebert_vep.errors import BackendError
from splicebert_vep.model.passes import distinct
from splicebert_vep.model.splice_sites import ACCEPTOR, DONOR, LABELS
from splicebert_vep.sequence import windows
from splicebert_vep.sequence.tokens import Tokens, with_special
from splicebert_vep.sequence.windows import Index, Windows, WindowShape
from splicebert_vep.settings import DELTA, FARTHEST, DeltaSettings
from splicebert_vep_spec import Allele, Bases, FieldSpec, GeneContext, Refused, Skipped, Status

from .compare import EVENTS, Places, Probabilities, extremes, gains, places_of

#: Raised by one whenever the same model and settings can give another value.
VERSION = "1"
MAXIMUM = "DS_MAX"

_DEFAULT = DeltaSettings()

_NAMES = {"AG": "acceptor gain", "AL": "acceptor loss", "DG": "donor gain", "DL": "donor loss"}
_COLUMNS = [LABELS.index(label) for label in (ACCEPTOR, DONOR)]

SiteBases = Callable[[str, str, int, int], Mapping[str, Set[int]]]
"""Annotated sites of a gene: gene id, contig, start and end of a span that it touches; see ``GeneIndex.site_bases``."""


class SpliceSites(Protocol):
    """What the scorer asks of a splice-site model; see ``SpliceSiteModel``."""

    @property
    def window(self) -> int: ...
    @property
    def batch_tokens(self) -> int: ...
    def probabilities(self, tokens: Tokens, positions: NDArray[np.int64] | None = None) -> Probabilities: ...


@dataclass(frozen=True, slots=True)
class SpliceModelName:
    """A splice-site model, by its folder's name and the SHA-256 of its weights."""

    name: str
    weights_sha256: str


def shape_of(window: int, settings: DeltaSettings) -> WindowShape:
    """Return how windows of a splice-site model are laid out: as those of other scores, and no smaller flank.

    An indel's POS is one before its span, so the farthest position is D + 1 from it.
    """
    return WindowShape(window, max(FARTHEST, settings.distance + 1))


class DeltaScorer:
    """DS_AG, DS_AL, DS_DG, DS_DL, DS_MAX and where they are, DP_*: defined as SpliceAI's, see docs/delta.md.

    Args:
        settings: distance and mask.
        about: which model it is of; None until a run asks for it.
        model: what is asked; None where values are only recalled.
        sites: annotated sites; read where ``settings.masked``.
        batch_tokens: upper bound of tokens in one forward call; None is what suits the model's device.
    """

    name = DELTA

    def __init__(
        self,
        settings: DeltaSettings = _DEFAULT,
        about: SpliceModelName | None = None,
        model: SpliceSites | None = None,
        sites: SiteBases | None = None,
        batch_tokens: int | None = None,
    ) -> None:
        self._settings, self._model, self._sites, self._batch_tokens = settings, model, sites, batch_tokens
        self.about = about
        of = f"+{about.weights_sha256[:12]}-D{settings.distance}-M{int(settings.masked)}" if about else ""
        self.version = VERSION + of
        self.fields = _fields(settings, about)

    def score_alleles(
        self, alleles: Sequence[tuple[Allele, GeneContext]], bases: Bases, fields: frozenset[str]
    ) -> Mapping[str, Sequence[float | int | Skipped | None]]:
        """Return values by field; None where no window fits, FAILED where the model failed.

        Raises:
            Refused: no model was opened.
        """
        if self._model is None:
            raise Refused("Delta scores need a splice-site model: an Annotator opens one where they are asked for.")
        work = _Work(self._model, self._settings, self._sites, self._batch_tokens)
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
        self, model: SpliceSites, settings: DeltaSettings, sites: SiteBases | None, batch_tokens: int | None
    ) -> None:
        self._model, self._settings, self._sites = model, settings, sites
        self._shape = shape_of(model.window, settings)
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
            places_of(asked[k][0], int(at), self._shape.width, self._settings.distance, minus=minus)
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
            reach: (m, 2) first and last window index that each of the m is read at; what nobody reads is NaN.
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
        if self._settings.masked:
            assert self._sites is not None
            annotated = self._sites(gene.gene_id, allele.contig, allele.start, allele.end)
        found = extremes(places, change, annotated)
        scores = {f"DS_{event}": one.score for event, one in found.items()}
        offsets = {f"DP_{event}": one.offset for event, one in found.items()}
        return {**scores, MAXIMUM: max(scores.values()), **offsets}


def _reach(places: Sequence[Places]) -> Index:
    """Return the first and last window index that each allele x gene reads, (n, 2)."""
    every = [np.concatenate([one.index, one.inserted]) for one in places]
    return np.array([(index.min(), index.max()) for index in every], dtype=np.int64)


def _fields(settings: DeltaSettings, about: SpliceModelName | None) -> tuple[FieldSpec, ...]:
    """Return the fields; what made them goes into every header."""
    model = f"model {about.name}" if about else "a splice-site model"
    mask = "masked" if settings.masked else "not masked"
    made = f"SpliceBERT fine-tuned on splice sites ({model}), within {settings.distance} nt of POS, {mask}"
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
