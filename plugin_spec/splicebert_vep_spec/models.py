"""Backends run the network on tokens; scorers turn its outputs, or the reference, into values.

Tensors are typed ``Any`` because this distribution depends on pluggy alone; in practice they are torch tensors on the
backend's device. Shapes: N windows in a call, W nucleotides in a window, P positions or columns, B alleles x genes in
a batch, M the most differing positions of an allele, V the vocabulary (10), H the hidden size, F the flank.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .values import Allele, Bases, FieldSpec, GeneContext, Named, Skipped

#: Token ids of the SpliceBERT vocabulary.
PAD, UNK, CLS, SEP, MASK, N, A, C, G, T = range(10)
#: Slice of the vocabulary axis that holds A, C, G, T.
NUCLEOTIDES = slice(A, T + 1)


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
    """Everything about the model that provenance has to name.

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
        batch_tokens: tokens in one ``forward`` that suit the backend; taken where the user does not say.
        worth: what the model's scores were measured to be worth, in words by field id; descriptions of fields end so.
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
    batch_tokens: int = 16384
    worth: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class BackendOptions:
    """The user's choice of model and machine, for ``Backend.open``."""

    model: str
    device: str = "auto"
    threads: int | None = None
    precision: str = "auto"


class Backend(Named):
    """Run the network (``--backend NAME``). A plugin registers the class; ``open`` makes an object of it.

    Attributes:
        info: model, weights, window limits, precision and device.
        layers: number of layers above the embeddings; None without ``hidden_states``.
        heads: number of attention heads in a layer; None without ``attention``.
    """

    info: BackendInfo
    layers: int | None = None
    heads: int | None = None

    @classmethod
    def open(cls, options: BackendOptions) -> Backend:
        """Return a ready backend; ``cls()`` unless overridden.

        Raises:
            Refused: there is no such model or device.
        """
        return cls()

    @abstractmethod
    def forward(self, tokens: Any, positions: Any) -> BackendOutput:
        """Return outputs at the asked token positions.

        Args:
            tokens: (N, W + 2) integer numpy array, ``[CLS] x1..xW [SEP]``, all rows of equal length.
            positions: (N, P) integer numpy array of indices into the token axis; may repeat.

        Raises:
            RuntimeError, MemoryError: the pass failed; alleles that it fails on alone become FAILED. Where memory is
                short, calls become smaller, and the run ends when one window does not fit.
        """

    def hidden_states(self, tokens: Any, positions: Any, layers: Sequence[int]) -> Any:
        """Return hidden states (layers, N, P, H), float32, of some layers (``embed --layers``); raises as ``forward``.

        Args:
            tokens, positions: as for ``forward``.
            layers: numbers from 0 (the embeddings, which enter the first layer) to ``self.layers`` (the last layer).
        """
        raise NotImplementedError("this backend shows the last layer only")

    def attention(self, tokens: Any, positions: Any, layers: Sequence[int]) -> Any:
        """Return attention weights (layers, N, heads, P, W + 2), float32 (``embed --attention``).

        Raises as ``forward``.

        Args:
            tokens: as for ``forward``.
            positions: (N, P) token indices that attend; they attend to every token, so the last axis sums to 1.
            layers: numbers from 1 (the first layer) to ``self.layers`` (the last).
        """
        raise NotImplementedError("this backend shows no attention weights")


#: Outputs that a scorer can ask for. Those that no scorer asks for are not computed.
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


class Scorer(Named):
    """Turn aligned outputs of the model into one value per allele x gene and field (``--scores FIELD``).

    Attributes:
        fields: every field that this scorer can compute.
    """

    fields: Sequence[FieldSpec]

    def needs(self, fields: frozenset[str]) -> frozenset[str]:
        """Return which of NEEDS_PAIRS, NEEDS_HIDDEN, NEEDS_MASKED these fields take; pairs unless overridden."""
        return frozenset((NEEDS_PAIRS,))

    @abstractmethod
    def score(self, batch: AlignedBatch, fields: frozenset[str]) -> Mapping[str, Any]:
        """Return one tensor (B,) per asked field id; NaN is missing."""


class SequenceScorer(Named):
    """Turn alleles and the reference into one value per allele x gene and field, without the model.

    It is registered as a ``Scorer`` is, and its values are kept in the score store under its name and version: a
    version names everything that changes a value. A field whose ``default`` is False is computed when it is asked for.

    Attributes:
        fields: every field that this scorer can compute.
    """

    fields: Sequence[FieldSpec]

    @abstractmethod
    def score_alleles(
        self, alleles: Sequence[tuple[Allele, GeneContext]], bases: Bases, fields: frozenset[str]
    ) -> Mapping[str, Sequence[float | int | str | Skipped | None]]:
        """Return one value per allele x gene for every asked field id, in their order; None is missing.

        ``Skipped`` of status FAILED stands where the computation itself failed: the allele then has that status in that
        gene, its reason goes to stderr, and nothing of it is stored.

        A value depends on its own allele and gene only, never on the others or their order, nor on the contig's name:
        the store knows a contig by its sequence.

        Raises:
            Refused: a requirement is missing, e.g. an installation or a setting.
        """


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """Shares of labelled alleles at or above a threshold of DS_MAX, as measured with the model's own settings.

    Args:
        threshold: of DS_MAX.
        harmful, harmless: shares, 0 to 1, of the alleles that affect splicing and of those that do not.
        labelled: the set with its counts, e.g. ``143 variants with RNA evidence, 76 of them harmful``.
    """

    threshold: float
    harmful: float
    harmless: float
    labelled: str


@dataclass(frozen=True, slots=True)
class SpliceModelInfo:
    """Everything about a splice-site model that provenance and a report have to name.

    Args:
        model: name and version, e.g. ``CI-SpliceAI 1.2.2``.
        sha256: digest of everything that changes an answer: weights, architecture, constants.
        licence: of the weights, e.g. ``CC BY 4.0``.
        citation: of the paper, with its DOI.
        quality: one sentence on how good the model was measured to be; empty when nothing is known.
        device: device kind, e.g. ``cpu``.
        operating_points: where it was measured; the first is the one that a summary names.
    """

    model: str
    sha256: str
    licence: str
    citation: str
    quality: str
    device: str
    operating_points: tuple[OperatingPoint, ...] = ()


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of a sequence, and how far around it answers are wanted.

    Args:
        start, end: index of the first token that gives way, and of the first that stays; equal for an insertion.
        bases: tokens in their place, A, C, G, T, or MASK where a base is hidden; none for a deletion.
        left, right: nucleotides before the change and behind it.
    """

    start: int
    end: int
    bases: tuple[int, ...]
    left: int
    right: int

    @property
    def counts(self) -> tuple[int, int]:
        """Number of answers wanted, of the sequence as it was and of the changed one."""
        around = self.left + self.right
        return around + self.end - self.start, around + len(self.bases)


class SpliceModel(Named):
    """Tell p(acceptor), an exon's first base, and p(donor), its last, of nucleotides (``--splice-model NAME``).

    A plugin registers the class; ``open`` makes an object of it.

    Attributes:
        info: names, licence and digest.
        reach: nt on each side of a nucleotide that its answer may depend on.
        farthest: nt from a change that delta scores can look, at most (``--delta-distance``).
        distance: nt from a change that delta scores look by default.
        sees_gene_only: the model was made for sequences that are N outside of the gene.
        at_once: sequences that suit a call of ``each``.
    """

    info: SpliceModelInfo
    reach: int
    farthest: int = 5000
    distance: int = 50
    sees_gene_only: bool = False
    at_once: int = 1

    @classmethod
    def open(cls, options: BackendOptions) -> SpliceModel:
        """Return a ready model; ``cls()`` unless overridden. ``options.model`` is the word of ``--splice-model``.

        Raises:
            Refused: the model or the device is not there.
        """
        return cls()

    def takes(self, edit: Edit) -> bool:
        """Tell whether the model can answer for an edit; unless overridden, within twice ``farthest``.

        An edit that can stand at many places asks for answers around all of them.
        """
        return max(edit.left, edit.right) <= 2 * self.farthest

    @abstractmethod
    def along(self, tokens: Any) -> Any:
        """Return p(acceptor) and p(donor) along a sequence, (L - 2 reach, 2) float64.

        Answers are of every nucleotide with ``reach`` others on both sides. Raises as ``alternatives``.

        Args:
            tokens: (L,) uint8 numpy array in transcript orientation; N stands for a base that nobody knows.
        """

    @abstractmethod
    def alternatives(self, tokens: Any, edits: Sequence[Edit]) -> Sequence[tuple[Any, Any]]:
        """Return p(acceptor) and p(donor) around each edit, of the sequence as it is and as the edit changes it.

        Args:
            tokens: as for ``along``.
            edits: each alone is applied to ``tokens``; none asks for a nucleotide within ``reach`` of an end, and the
                model ``takes`` each.

        Returns:
            Two float64 numpy arrays for each edit, (left + end - start + right, 2) and (left + bases + right, 2).

        Raises:
            RuntimeError, MemoryError: the pass failed; alleles that it fails on alone become FAILED. Where memory is
                short, calls become smaller, and the run ends when one window does not fit.
        """

    def each(self, sequences: Sequence[tuple[Any, Sequence[Edit]]]) -> Sequence[Sequence[tuple[Any, Any]]]:
        """Return the answers of ``alternatives`` for several sequences with edits, in turn unless overridden.

        Raises as ``alternatives``; the caller then asks for each sequence alone.
        """
        return [self.alternatives(tokens, edits) for tokens, edits in sequences]
