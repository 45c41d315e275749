"""A fine-tuned model, ready to be asked: what the models of all tasks have in common."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray

from splicebert_vep.errors import BackendError, SettingsError
from splicebert_vep.sequence.tokens import Tokens

from .classifier import load_classifier
from .devices import choose_device, full_precision, suited_tokens
from .passes import one_line
from .registry import quality_note


class TunedModel:
    """Run the model of a folder that ``finetune`` wrote; see ``open``.

    Attributes:
        task: which.
        labels: names of what it answers.
        window: nucleotides that it sees at once, at most.
        base: model that it began as.
        weights_sha256: of its weights file, lower-case hex.
        quality: how good it was measured to be, in a sentence or two; empty when nothing is known.
        batch_tokens: tokens in one call that suit the device.
    """

    task: ClassVar[str]

    def __init__(self, folder: Path, device: torch.device) -> None:
        loaded = load_classifier(folder, self.task)
        self._model = loaded.model.to(device)
        self._device = device
        self.name = folder.name
        self.labels = loaded.about.labels
        self.window = loaded.about.window
        self.base = loaded.about.base
        self.weights_sha256 = loaded.weights_sha256
        self.quality = quality_note(folder) or ""
        self.batch_tokens = suited_tokens(device)

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
    def _logits(self, tokens: Tokens, positions: NDArray[np.integer] | None = None) -> torch.Tensor:
        """Return the model's answers to windows (N, W + 2), as float64 on the CPU."""
        width = tokens.shape[1] - 2
        if width > self.window:
            raise SettingsError(
                "The window is longer than the model was fine-tuned for.", needed=f"at most {self.window} nt",
                found=f"{width} nt", remedy="cut the sequence in windows",
            )  # fmt: skip
        try:
            with full_precision(self._device):
                at = None if positions is None else torch.from_numpy(positions.astype(np.int64)).to(self._device)
                logits = self._model(torch.from_numpy(tokens.astype(np.int64)).to(self._device), at).cpu().double()
        except RuntimeError as error:
            raise BackendError(one_line(error)) from error
        if not torch.isfinite(logits).all():
            raise BackendError(f"the {self.task} model returned values that are not finite")
        return logits  # type: ignore[no-any-return]
