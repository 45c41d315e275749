"""What a backend offers: the network, run on tokens.

Tensors are typed ``Any`` because this distribution depends on pluggy alone; in practice they are torch tensors on the
backend's device. N is the number of windows in a call, W the window, P the number of positions asked, V the vocabulary
(10), H the hidden size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

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
        batch_tokens: tokens in one ``forward`` that suit the backend; taken where the user does not say.
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


@dataclass(frozen=True, slots=True)
class BackendOptions:
    """What the user asked of a backend."""

    model: str
    device: str = "auto"
    threads: int | None = None
    precision: str = "auto"


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
            RuntimeError: the pass failed, e.g. out of memory; the alleles that it fails on alone become FAILED.
        """


@runtime_checkable
class LocalBackend(Backend, Protocol):
    """Run the network, and a part of it again where a window changes in a few tokens (``--mode local``)."""

    def remember(self, tokens: Any, positions: Any) -> tuple[BackendOutput, Any]:
        """Do as ``forward``, and also return what ``update`` needs of these N windows."""

    def update(self, memory: Any, rows: Any, index: Any, tokens: Any, positions: Any) -> BackendOutput:
        """Return outputs (M, P, ...) of M windows, each like a remembered one but for some tokens.

        Args:
            memory: from ``remember``.
            rows: (M,) integer numpy array, the remembered window that each is like.
            index: (M, L) ascending token indices that are computed again; all tokens that differ are among them.
            tokens: (M, L) the tokens there.
            positions: (M, P) places on the L axis to answer at; may repeat.

        Raises:
            RuntimeError: as ``forward``.
        """


@runtime_checkable
class LayeredBackend(Backend, Protocol):
    """Run the network, and show the hidden states of every layer (``embed --layers``)."""

    @property
    def layers(self) -> int:
        """Number of layers above the embeddings."""

    def hidden_states(self, tokens: Any, positions: Any, layers: Any) -> Any:
        """Return hidden states (layers, N, P, H), float32, of some layers.

        Args:
            tokens, positions: as for ``forward``.
            layers: sequence of numbers, 0 (the embeddings, what enters the first layer) to ``layers`` (the last).

        Raises:
            RuntimeError: as ``forward``.
        """


@runtime_checkable
class AttentiveBackend(LayeredBackend, Protocol):
    """Run the network, and show the attention weights of every layer (``embed --attention``)."""

    @property
    def heads(self) -> int:
        """Number of attention heads in a layer."""

    def attention(self, tokens: Any, positions: Any, layers: Any) -> Any:
        """Return attention weights (layers, N, heads, P, W + 2), float32; the last axis sums to 1.

        Args:
            tokens: as for ``forward``.
            positions: (N, P) token indices of those that attend; what they attend to is every token.
            layers: sequence of numbers, 1 (the first layer) to ``layers`` (the last).

        Raises:
            RuntimeError: as ``forward``.
        """


@runtime_checkable
class BackendFactory(Protocol):
    """Open a backend by name (``--backend NAME``)."""

    name: str
    version: str

    def open(self, options: BackendOptions) -> Backend:
        """Return a ready backend.

        Raises:
            Refused: there is no such model or device.
        """
