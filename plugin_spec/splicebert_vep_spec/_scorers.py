"""What a scorer offers: aligned outputs of the model, or the reference, in; one value per allele x gene out.

Tensors are typed ``Any`` because this distribution depends on pluggy alone; in practice they are torch tensors on the
backend's device. B is the number of alleles x genes in a batch, P the number of aligned columns, M the most
differing positions of an allele, V the vocabulary (10), H the hidden size, F the flank.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from ._bases import Bases
from ._fields import FieldSpec
from ._types import Allele, GeneContext, Skipped

#: What a scorer can ask for. Nothing that no scorer asks for is computed.
NEEDS_PAIRS = "pairs"
NEEDS_HIDDEN = "hidden"
NEEDS_MASKED = "masked"
NEEDS = frozenset((NEEDS_PAIRS, NEEDS_HIDDEN, NEEDS_MASKED))


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


@runtime_checkable
class SequenceScorer(Protocol):
    """Turn alleles and the reference into one value per allele x gene and field, without the model.

    It is registered as a ``Scorer`` is, and its values are kept in the score store under its name and version: a
    version names everything that changes a value. A field whose ``default`` is False is computed when it is asked for.
    """

    name: str
    version: str

    @property
    def fields(self) -> Sequence[FieldSpec]:
        """Every field this scorer can compute."""

    def score_alleles(
        self, alleles: Sequence[tuple[Allele, GeneContext]], bases: Bases, fields: frozenset[str]
    ) -> Mapping[str, Sequence[float | int | Skipped | None]]:
        """Return one value per allele x gene for every asked field id, in their order; None is missing.

        ``Skipped`` of status FAILED stands where the computation itself failed: the allele then has that status in that
        gene, its reason goes to stderr, and nothing of it is stored.

        A value depends on its own allele and gene only, never on the others or their order, nor on the contig's name:
        the store knows a contig by its sequence.

        Raises:
            Refused: what it needs is not there, e.g. an installation or a setting.
        """
