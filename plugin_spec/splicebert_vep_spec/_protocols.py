"""What a backend, a scorer and an adapter have to offer.

Tensors are typed ``Any`` because this distribution depends on pluggy alone; in practice they are torch tensors
on the backend's device. B is the number of alleles x genes in a batch, P the number of aligned columns,
V the vocabulary (10), H the hidden size, F the flank.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from ._fields import FieldSpec
from ._types import RecordReport, Value

#: Token ids of the SpliceBERT vocabulary.
PAD, UNK, CLS, SEP, MASK, N, A, C, G, T = range(10)
#: Slice of the vocabulary axis that holds A, C, G, T.
NUCLEOTIDES = slice(A, T + 1)

#: What a scorer can ask for. Nothing that no scorer asks for is computed.
NEEDS_PAIRS = "pairs"
NEEDS_HIDDEN = "hidden"
NEEDS_MASKED = "masked"


@dataclass(frozen=True, slots=True)
class BackendOutput:
    """Outputs of one forward pass at the asked positions.

    Args:
        logits: (N, P, V) float32.
        hidden: (N, P, H) last hidden states, float32 or the backend's precision.
    """

    logits: Any
    hidden: Any


@dataclass(frozen=True, slots=True)
class BackendInfo:
    """Who computes: everything about the model that provenance has to name.

    Args:
        model: model name, e.g. ``splicebert-mini``.
        weights_sha256: digest of the weights file, or ``none``.
        max_window: longest window in nucleotides that the model was trained for.
        fixed_window: the only window length the model takes, or None.
        hidden_size: H.
        architecture: the settings that weights alone do not tell, e.g. number of heads and layer-norm eps.
        precision: ``fp32``, ``bf16``, ``fp16``.
        device: device kind, e.g. ``cpu``.
        quality: one sentence on how good the model was measured to be; empty when nothing is known.
    """

    model: str
    weights_sha256: str
    max_window: int
    fixed_window: int | None
    hidden_size: int
    architecture: str
    precision: str
    device: str
    quality: str = ""


@dataclass(frozen=True, slots=True)
class BackendOptions:
    """What the user asked of a backend."""

    model: str
    device: str = "auto"
    threads: int | None = None


@runtime_checkable
class Backend(Protocol):
    """Run the network."""

    @property
    def info(self) -> BackendInfo:
        """Model, weights, window limits, precision and device."""

    def forward(self, tokens: Any, positions: Any) -> BackendOutput:
        """Return outputs at the asked token positions.

        Args:
            tokens: (N, W + 2) integer numpy array, ``[CLS] x1..xW [SEP]``, all rows of equal length.
            positions: (N, P) integer numpy array of indices into the token axis; may repeat.

        Raises:
            splicebert_vep.errors.BackendError or RuntimeError: the pass failed; the run marks the alleles FAILED.
        """


@runtime_checkable
class BackendFactory(Protocol):
    """Open a backend by name (``--backend NAME``)."""

    name: str
    version: str

    def open(self, options: BackendOptions) -> Backend:
        """Return a ready backend."""


@dataclass(frozen=True, slots=True)
class Side:
    """One side (REF or ALT) of the aligned columns.

    Args:
        tokens: (B, P) token ids.
        logits: (B, P, V) float32.
        hidden: (B, P, H), or None when no scorer asked for hidden states.
    """

    tokens: Any
    logits: Any
    hidden: Any


@dataclass(frozen=True, slots=True)
class MaskedSite:
    """Output of the REF window with every differing position masked (equal-length alleles only).

    Args:
        ref: (B, M) REF token at each differing position.
        alt: (B, M) ALT token.
        logits: (B, M, V) float32.
        valid: (B, M) bool; False is padding. A row without any True is an allele that changes length.
    """

    ref: Any
    alt: Any
    logits: Any
    valid: Any


@dataclass(frozen=True, slots=True)
class AlignedBatch:
    """REF and ALT outputs, aligned base by base, in transcript orientation.

    The first ``2 * flank`` columns are the flanks: column ``d - 1`` is the base ``d`` nt 5' of the span and column
    ``flank + d - 1`` the base ``d`` nt 3' of it. Then come four splice-site columns and the span's columns.

    Args:
        flank: F.
        ref, alt: outputs by column; None when no scorer asked for pairs.
        paired: (B, P) bool: REF and ALT hold the same genomic base's counterpart there.
        donor, acceptor: (B, P) bool: paired nucleotides of that site of the nearest exon.
        in_ref, in_alt: (B, P) bool: the column holds a base of the flanks or span of that sequence (what a
            likelihood of the sequence sums over); site columns are not counted twice.
        snv: (B,) bool.
        masked: output of the masked REF window; None when no scorer asked for it.
    """

    flank: int
    ref: Side | None
    alt: Side | None
    paired: Any
    donor: Any
    acceptor: Any
    in_ref: Any
    in_alt: Any
    snv: Any
    masked: MaskedSite | None


@runtime_checkable
class Scorer(Protocol):
    """Turn aligned outputs into one value per allele x gene and field."""

    name: str
    version: str

    @property
    def fields(self) -> Sequence[FieldSpec]:
        """Every field this scorer can compute."""

    def needs(self, fields: frozenset[str]) -> frozenset[str]:
        """Return which of NEEDS_PAIRS, NEEDS_HIDDEN, NEEDS_MASKED these fields take."""

    def score(self, batch: AlignedBatch, fields: frozenset[str]) -> Mapping[str, Any]:
        """Return one tensor (B,) per asked field id; NaN is missing."""


@dataclass(frozen=True, slots=True)
class InfoField:
    """One INFO header line of an adapter: full VCF key and its definition."""

    key: str
    number: str
    type: str
    description: str


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What adapters may know of a run: the score fields asked for, and its provenance."""

    fields: Sequence[FieldSpec]
    provenance: Mapping[str, str]


@runtime_checkable
class InfoAdapter(Protocol):
    """Render a record's outcome as INFO fields."""

    name: str
    version: str

    def header(self, run: RunInfo) -> Sequence[InfoField]:
        """Return the INFO lines that this adapter writes."""

    def render(self, report: RecordReport, run: RunInfo) -> Mapping[str, tuple[Value, ...]]:
        """Return values by INFO key: one per ALT for Number=A, any number for Number=. ."""


@runtime_checkable
class TableAdapter(Protocol):
    """Write outcomes to a table file, one row per allele x gene."""

    name: str
    version: str
    suffix: str

    def open(self, path: str, run: RunInfo) -> TableWriter:
        """Return a writer; ``-`` is stdout where the format allows it."""


@runtime_checkable
class TableWriter(Protocol):
    """Take reports chunk by chunk; a file appears whole under its final name, or not at all."""

    def write(self, reports: Iterable[RecordReport]) -> None:
        """Append rows."""

    def finish(self) -> None:
        """Write the last bytes, so that nothing but a rename is left to do."""

    def publish(self) -> None:
        """Put the whole file under its final name; every output of the run has been finished by then."""

    def abort(self) -> None:
        """Remove what is not published."""


Adapter = InfoAdapter | TableAdapter
