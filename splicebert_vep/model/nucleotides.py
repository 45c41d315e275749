"""A fine-tuned model of nucleotides, ready to be asked: the probability of each label by nucleotide."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray

from splicebert_vep.errors import BackendError, ModelError, SettingsError
from splicebert_vep.sequence.tokens import Tokens

from .classifier import load_classifier
from .devices import choose_device, full_precision
from .passes import one_line

Probabilities = NDArray[np.float64]


class NucleotideModel:
    """Run a model of one task; see ``open``.

    Attributes:
        task: which.
        labels: of the task, in the order of its probabilities.
        window: nucleotides that the model sees at once.
    """

    task: ClassVar[str]
    labels: ClassVar[tuple[str, ...]]

    def __init__(self, folder: Path, device: torch.device) -> None:
        loaded = load_classifier(folder, self.task)
        if loaded.about.labels != self.labels or loaded.about.pooled:
            raise ModelError(
                "The model has other labels than its task.", needed=", ".join(self.labels),
                found=", ".join(loaded.about.labels), where=str(folder),
            )  # fmt: skip
        self._model = loaded.model.to(device)
        self._device = device
        self.name = folder.name
        self.window = loaded.about.window
        self.base = loaded.about.base
        self.weights_sha256 = loaded.weights_sha256

    @classmethod
    def open(cls, folder: str | Path, device: str = "auto", threads: int | None = None) -> Self:
        """Load the model of a folder that ``finetune`` wrote.

        Args:
            device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
            threads: CPU threads; None leaves torch's.

        Raises:
            ModelError: the folder does not hold what it should.
            SettingsError: the device is not there.
        """
        if threads is not None:
            torch.set_num_threads(threads)
        return cls(Path(folder), choose_device(device))

    @torch.inference_mode()
    def probabilities(self, tokens: Tokens, positions: NDArray[np.int64] | None = None) -> Probabilities:
        """Return the probability of every label, (N, P, K) float64, of windows in transcript orientation.

        Args:
            tokens: (N, W + 2) uint8, ``[CLS] x1..xW [SEP]``.
            positions: (N, P) token indices to answer at; None for the W nucleotides in order.

        Raises:
            SettingsError: W is more than ``window``; what lies beyond was never trained.
            BackendError: the model failed, or answered with values that are not finite.
        """
        width = tokens.shape[1] - 2
        if width > self.window:
            raise SettingsError(
                "The window is longer than the model was fine-tuned for.", needed=f"at most {self.window} nt",
                found=f"{width} nt", remedy="cut the sequence in windows, and keep the middle of each",
            )  # fmt: skip
        if positions is None:
            positions = np.broadcast_to(np.arange(1, width + 1, dtype=np.int64), (len(tokens), width))
        try:
            with full_precision(self._device):
                at = torch.from_numpy(np.ascontiguousarray(positions)).to(self._device)
                logits = self._model(torch.from_numpy(tokens.astype(np.int64)).to(self._device), at)
        except RuntimeError as error:
            raise BackendError(one_line(error)) from error
        found: Probabilities = torch.softmax(logits.cpu().double(), dim=-1).numpy()
        if not np.isfinite(found).all():
            raise BackendError(f"the {self.task} model returned values that are not finite")
        return found
