"""A fine-tuned model of nucleotides, ready to be asked: the probability of each label by nucleotide."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from splicebert_vep.errors import ModelError
from splicebert_vep.sequence.tokens import Tokens

from .tuned import TunedModel

Probabilities = NDArray[np.float64]


class NucleotideModel(TunedModel):
    """Run a model that answers for every nucleotide of a window."""

    known_labels: ClassVar[tuple[str, ...]]

    def __init__(self, folder: Path, device: torch.device) -> None:
        super().__init__(folder, device)
        if self.labels != self.known_labels or self._model.pooled:
            raise ModelError(
                "The model has other labels than its task.", needed=", ".join(self.known_labels),
                found=", ".join(self.labels), where=str(folder),
            )  # fmt: skip

    def probabilities(self, tokens: Tokens, positions: NDArray[np.integer] | None = None) -> Probabilities:
        """Return the probability of every label, (N, P, K) float64, of windows in transcript orientation.

        Args:
            tokens: (N, W + 2) uint8, ``[CLS] x1..xW [SEP]``.
            positions: (N, P) token indices to answer at; None for the W nucleotides in order.

        Raises:
            SettingsError: W is more than ``window``; what lies beyond was never trained.
            BackendError: the model failed, or answered with values that are not finite.
        """
        if positions is None:
            width = tokens.shape[1] - 2
            positions = np.tile(np.arange(1, width + 1, dtype=np.int64), (len(tokens), 1))
        found: Probabilities = torch.softmax(self._logits(tokens, positions), dim=-1).numpy()
        return found
