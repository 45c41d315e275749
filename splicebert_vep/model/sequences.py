"""A model fine-tuned on whole sequences, ready to be asked: one answer per sequence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from splicebert_vep.errors import SettingsError
from splicebert_vep.sequence.tokens import Tokens, encode, with_special

from .tuned import TunedModel

TASK = "sequence"
VALUE = "value"
"""The only label of a model that answers with a number."""

_BATCH = 8192  # tokens in one call
_LETTERS = frozenset("ACGTNacgtn")


class SequenceModel(TunedModel):
    """Run a model of ``finetune sequence``: the probability of each class, or a value, of a sequence."""

    task = TASK

    def probabilities(self, sequences: Sequence[str]) -> NDArray[np.float64]:
        """Return the probability of every label, (n, K) float64.

        Args:
            sequences: letters A, C, G, T and N, 5' to 3' of the transcript, as long as the model takes them.

        Raises:
            SettingsError: a sequence cannot be read, or the model answers with values.
            BackendError: the model failed, or answered with what is not finite.
        """
        if self.labels == (VALUE,):
            raise SettingsError("The model has no classes.", needed="its values", found="probabilities asked for")
        found: NDArray[np.float64] = torch.softmax(self._answers(sequences), dim=-1).numpy()
        return found

    def values(self, sequences: Sequence[str]) -> NDArray[np.float64]:
        """Return the value of every sequence, (n,) float64; arguments and errors are those of ``probabilities``."""
        if self.labels != (VALUE,):
            raise SettingsError("The model has classes.", needed="its probabilities", found="values asked for")
        found: NDArray[np.float64] = self._answers(sequences)[:, 0].numpy()
        return found

    def _answers(self, sequences: Sequence[str]) -> torch.Tensor:
        tokens = []
        for number, text in enumerate(sequences):
            try:
                tokens.append(sequence_tokens(text, self.window))
            except ValueError as error:
                raise SettingsError(
                    "A sequence cannot be read.", found=str(error), where=f"sequence {number + 1}"
                ) from error
        found = torch.empty((len(tokens), len(self.labels)), dtype=torch.float64)
        for rows, windows in of_one_length(tokens, _BATCH):
            found[rows] = self._logits(windows)
        return found


def sequence_tokens(text: str, longest: int) -> Tokens:
    """Return the tokens (L,) of a sequence of A, C, G, T and N.

    Raises:
        ValueError: it is empty or too long, or holds another letter; the message says which.
    """
    if not text:
        raise ValueError("an empty sequence")
    for at, letter in enumerate(text):
        if letter not in _LETTERS:
            rna = "; write U as T" if letter in "Uu" else ""
            raise ValueError(f"the letter {letter!r} at position {at + 1}{rna}")
    if len(text) > longest:
        raise ValueError(f"{len(text):,} nt, where the model takes at most {longest:,}")
    return encode(text.encode("ascii"))


def of_one_length(sequences: Sequence[Tokens], batch_tokens: int) -> Iterator[tuple[NDArray[np.int64], Tokens]]:
    """Yield batches of sequences of one length: their numbers (N,), and them as windows (N, L + 2).

    Args:
        batch_tokens: of a batch at most, if that is a sequence or more.
    """
    lengths = np.array([len(one) for one in sequences], dtype=np.int64)
    for length in np.unique(lengths).tolist():
        rows = np.flatnonzero(lengths == length)
        count = max(1, batch_tokens // (length + 2))
        for at in range(0, len(rows), count):
            chosen = rows[at : at + count]
            yield chosen, with_special(np.stack([sequences[row] for row in chosen]))
