"""A fine-tuned splice-site model, ready to be asked: the probability of an acceptor and of a donor by nucleotide."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from splicebert_vep.errors import BackendError
from splicebert_vep.sequence.tokens import Tokens

from .classifier import load_classifier
from .devices import choose_device, full_precision, suited_tokens
from .passes import one_line

#: Labels of the task, in the order of its probabilities. An acceptor is the first nucleotide of an exon, a donor the
#: last: the convention of SpliceAI (Jaganathan et al. 2019, 10.1016/j.cell.2018.12.015).
LABELS = NEITHER, ACCEPTOR, DONOR = "neither", "acceptor", "donor"
TASK = "splice-sites"

Probabilities = NDArray[np.float64]


class SpliceSiteModel:
    """Run a splice-site model; see ``open``."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        loaded = load_classifier(folder, TASK)
        self._model = loaded.model.to(device)
        self._device = device
        self.name = folder.name
        self.window = loaded.about.window
        self.base = loaded.about.base
        self.weights_sha256 = loaded.weights_sha256
        self.batch_tokens = suited_tokens(self._device)

    @classmethod
    def open(cls, folder: str | Path, device: str = "auto", threads: int | None = None) -> SpliceSiteModel:
        """Load the model of a folder that ``finetune splice-sites`` wrote.

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
        """Return p(neither), p(acceptor) and p(donor), (N, P, 3) float64, of windows in transcript orientation.

        Args:
            tokens: (N, W + 2) uint8, ``[CLS] x1..xW [SEP]``.
            positions: (N, P) token indices to answer at; None for the W nucleotides in order.

        Raises:
            BackendError: the model failed, or answered with values that are not finite.
        """
        if positions is None:
            width = tokens.shape[1] - 2
            positions = np.broadcast_to(np.arange(1, width + 1, dtype=np.int64), (len(tokens), width))
        try:
            with full_precision(self._device):
                at = torch.from_numpy(np.ascontiguousarray(positions)).to(self._device)
                logits = self._model(torch.from_numpy(tokens.astype(np.int64)).to(self._device), at)
        except RuntimeError as error:
            raise BackendError(one_line(error)) from error
        found: Probabilities = torch.softmax(logits.cpu().double(), dim=-1).numpy()
        if not np.isfinite(found).all():
            raise BackendError("the splice-site model returned values that are not finite")
        return found
