"""The null backend and splice-site model: without weights, for tests of plumbing, plugins and speed.

Their outputs depend on a token and its two neighbours only, so a score from them is meaningless; the header says so.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from splicebert_vep_spec import (
    Backend,
    BackendInfo,
    BackendOptions,
    BackendOutput,
    Edit,
    SpliceModel,
    SpliceModelInfo,
)

from ..sequence.tokens import Tokens, encode

_VOCABULARY = 10
_HIDDEN = 8
_MAX_WINDOW = 100_000


class NullBackend(Backend):
    """Answer from a fixed table of (previous, own, next) tokens (``--backend null``)."""

    name = "null"
    version = "1"
    info = BackendInfo(
        model="null",
        weights_sha256="none",
        max_window=_MAX_WINDOW,
        fixed_window=None,
        hidden_size=_HIDDEN,
        architecture="none",
        precision="fp32",
        device="cpu",
        quality="no model: the numbers are placeholders, not scores",
        batch_tokens=1 << 17,
    )

    def __init__(self) -> None:
        # Irrational steps give distinct, repeatable values without a random generator.
        cells = torch.arange(3 * _VOCABULARY * _HIDDEN, dtype=torch.float32).reshape(3, _VOCABULARY, _HIDDEN)
        before, own, after = torch.sin(cells * 1.6180339887)
        head = torch.cos(torch.arange(_HIDDEN * _VOCABULARY, dtype=torch.float32) * 0.7548776662)
        hidden = (before[:, None, None] + own[None, :, None] + after[None, None, :]).flatten(0, 2)
        self._hidden = hidden  # (1000, 8), by 100 before + 10 own + after
        self._logits = hidden @ head.reshape(_HIDDEN, _VOCABULARY)

    @classmethod
    def open(cls, options: BackendOptions) -> NullBackend:
        """Return the null backend; on one thread unless the options say otherwise.

        Its tensors are small: on a busy machine threads that wait for each other cost more than all the work.
        """
        torch.set_num_threads(options.threads or 1)
        return cls()

    def forward(self, tokens: NDArray[np.uint8], positions: NDArray[np.int64]) -> BackendOutput:
        """Return logits (N, P, 10) and hidden (N, P, 8) at token positions (N, P)."""
        framed = np.pad(tokens, ((0, 0), (1, 1)), mode="edge").astype(np.int64)  # the first token is its own neighbour
        code = 100 * framed[:, :-2] + 10 * framed[:, 1:-1] + framed[:, 2:]
        at = torch.from_numpy(np.take_along_axis(code, positions, 1))
        return BackendOutput(self._logits[at], self._hidden[at])


class NullSpliceModel(SpliceModel):
    """Answer from a fixed table of (previous, own, next) tokens (``--splice-model null``).

    As with a network there are few sites: p is below .01 but for the G of GGT, an acceptor, and that of AGG, a donor,
    as at the ends of many an exon.
    """

    name, version, reach = "null", "2", 1
    info = SpliceModelInfo(
        "null", "none-2", "none", "none", "no model: the numbers are placeholders, not scores", "cpu"
    )

    def __init__(self) -> None:
        cells = np.arange(2 * 1000, dtype=np.float64).reshape(1000, 2)
        self._p = (1 + np.sin(cells * 1.6180339887)) / 200  # (1000, 2), by 100 before + 10 own + after
        self._p[_codes(encode(b"GGT")), 0] = self._p[_codes(encode(b"AGG")), 1] = 0.9

    def along(self, tokens: Tokens) -> NDArray[np.float64]:
        """Return p(acceptor) and p(donor), (L - 2, 2)."""
        found: NDArray[np.float64] = self._p[_codes(tokens)]
        return found

    def alternatives(
        self, tokens: Tokens, edits: Sequence[Edit]
    ) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Return the answers around each edit, before and after it; they differ up to the base beside it."""
        ref = self.along(tokens)
        beside = [(min(edit.left, 1), min(edit.right, 1)) for edit in edits]
        changed = [np.zeros(0, dtype=np.uint8)]
        for edit, (left, right) in zip(edits, beside, strict=True):
            bases = np.array(edit.bases, dtype=np.uint8)
            changed += [tokens[edit.start - left - 1 : edit.start], bases, tokens[edit.end : edit.end + right + 1]]
        new = self.along(np.concatenate(changed))  # of all one after the other
        found, at = [], 0
        for edit, (left, right) in zip(edits, beside, strict=True):
            first, last = edit.start - edit.left - 1, edit.end + edit.right - 1  # among the answers of REF
            end = at + left + len(edit.bases) + right
            own = new[at:end]
            alt = np.concatenate([ref[first : edit.start - left - 1], own, ref[edit.end + right - 1 : last]])
            found.append((ref[first:last], alt))
            at = end + 2
        return found


def _codes(tokens: Tokens) -> NDArray[np.int64]:
    """Return rows of the table along a sequence (L,), (L - 2,)."""
    wide = tokens.astype(np.int64)
    return 100 * wide[:-2] + 10 * wide[1:-1] + wide[2:]
