"""Fine-tuned models, ready to answer: splice sites, branchpoints, classes or values of sequences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray

from splicebert_vep_spec import BackendOptions, Edit, OperatingPoint, SpliceModel, SpliceModelInfo

from ..errors import BackendError, ModelError, SettingsError, model_failure
from ..sequence.tokens import Tokens, encode, with_special
from .backend import Cores, choose_device, full_precision, suited_tokens
from .classifier import load_classifier
from .registry import DEFAULT_SPLICE_MODEL, quality_note, resolve_splice_model

Probabilities = NDArray[np.float64]


class TunedModel:
    """The model of a folder that ``finetune`` wrote; see ``open``.

    Attributes:
        task: name of the task.
        labels: names of its answers.
        window: nucleotides that it sees at once, at most.
        base: model that it began as.
        weights_sha256: of its weights file, lower-case hex.
        architecture: the other settings that change an answer.
        digest: SHA-256 (hex) of both.
        quality: measured quality in a sentence or two; empty when it was not measured.
        batch_tokens: tokens in one call that suit the device.
        device: where it runs.
    """

    task: ClassVar[str]

    def __init__(self, folder: Path, device: torch.device, cores: Cores | None = None) -> None:
        loaded = load_classifier(folder, self.task)
        self._cores = cores or Cores(device)
        self._model = loaded.model.to(device)
        self.device = device
        self.name = folder.name
        self.labels = loaded.about.labels
        self.window = loaded.about.window
        self.base = loaded.about.base
        self.weights_sha256, self.architecture = loaded.weights_sha256, loaded.architecture
        self.digest = loaded.digest
        self.quality = quality_note(folder) or ""
        self.batch_tokens = suited_tokens(device, self._cores.count)

    @classmethod
    def open(cls, folder: str | Path, device: str = "auto", threads: int | None = None) -> Self:
        """Load the model of a folder that ``finetune`` wrote.

        Args:
            device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
            threads: CPU threads; None leaves torch's.

        Raises:
            ModelError: the folder is not there, or is not that of a model of this task.
            SettingsError: the device is not there.
        """
        chosen = choose_device(device)
        return cls(Path(folder), chosen, Cores(chosen, threads))

    def _logits(self, tokens: Tokens, positions: NDArray[np.integer] | None = None) -> torch.Tensor:
        """Return the model's answers to windows (N, W + 2), as float64 on the CPU."""
        width = tokens.shape[1] - 2
        if width > self.window:
            problem = f"The window has {width} nt, the model was fine-tuned for {self.window}."
            raise SettingsError(problem, remedy="cut the sequence in windows")
        rows = np.array_split(np.arange(len(tokens)), max(1, min(self._cores.count, len(tokens))))
        try:
            with full_precision(self.device):
                logits = torch.cat(self._cores.map(lambda some: self._run(tokens, positions, some), rows))
        except (RuntimeError, MemoryError) as error:
            raise model_failure(error) from error
        if not torch.isfinite(logits).all():
            raise BackendError(f"the {self.task} model returned values that are not finite")
        return logits

    def _run(self, tokens: Tokens, positions: NDArray[np.integer] | None, rows: NDArray[np.integer]) -> torch.Tensor:
        at = None if positions is None else torch.from_numpy(positions[rows].astype(np.int64)).to(self.device)
        found = self._model(torch.from_numpy(tokens[rows].astype(np.int64)).to(self.device), at)
        return found.cpu().double()  # type: ignore[no-any-return]


class NucleotideModel(TunedModel):
    """A model that answers for every nucleotide of a window."""

    known_labels: ClassVar[tuple[str, ...]]

    def __init__(self, folder: Path, device: torch.device, cores: Cores | None = None) -> None:
        super().__init__(folder, device, cores)
        if self.labels != self.known_labels or self._model.pooled:
            needed, found = ", ".join(self.known_labels), ", ".join(self.labels)
            raise ModelError("The model has other labels than its task.", needed=needed, found=found, where=str(folder))

    def probabilities(self, tokens: Tokens, positions: NDArray[np.integer] | None = None) -> Probabilities:
        """Return the probability of every label, (N, P, K) float64, of windows in transcript orientation.

        Args:
            tokens: (N, W + 2) uint8, ``[CLS] x1..xW [SEP]``.
            positions: (N, P) token indices to answer at; None for the W nucleotides in order.

        Raises:
            SettingsError: W is more than ``window``; positions beyond were never trained.
            BackendError: the model failed, or its answer is not finite.
        """
        if positions is None:
            positions = np.tile(np.arange(1, tokens.shape[1] - 1, dtype=np.int64), (len(tokens), 1))
        found: Probabilities = torch.softmax(self._logits(tokens, positions), dim=-1).numpy()
        return found


#: Labels of the task, in the order of its probabilities. An acceptor is the first nucleotide of an exon, a donor the
#: last: the convention of SpliceAI (Jaganathan et al. 2019, 10.1016/j.cell.2018.12.015).
SPLICE_LABELS = NO_SITE, ACCEPTOR, DONOR = "neither", "acceptor", "donor"
SPLICE_SITES = "splice-sites"
_CONTEXT = 50  # nt that a splice site's answer needs on both sides of it, at least
_CITATION = "Chen et al. 2024, Briefings in Bioinformatics, 10.1093/bib/bbae163 (the base model's method)"


class SpliceSiteModel(NucleotideModel):
    """A model of ``finetune splice-sites``: p(neither), p(acceptor) and p(donor) of every nucleotide."""

    task = SPLICE_SITES
    known_labels = SPLICE_LABELS

    @classmethod
    def open(cls, folder: str | Path = DEFAULT_SPLICE_MODEL, device: str = "auto", threads: int | None = None) -> Self:
        """Load the bundled model by its name, or that of a folder; see ``TunedModel.open``."""
        return super().open(resolve_splice_model(folder), device, threads)


#: Of the bundled model, by ``evaluate`` with its default distance.
BUNDLED_POINTS = tuple(
    OperatingPoint(threshold, harmful / 76, harmless / 67, "143 variants with RNA evidence, 76 of them harmful")
    for threshold, harmful, harmless in ((0.2, 40, 5), (0.1, 52, 15), (0.5, 27, 0))
)


class WindowSpliceModel(SpliceModel):
    """A model of ``finetune splice-sites``, which sees windows of W nt, as a splice-site model.

    An edit lies in the middle of its windows. The answers behind a change of length are read, for the sequence as it
    was, from a window that is shifted by that length: a base and its counterpart stand at one place of their windows.
    """

    name, version = DEFAULT_SPLICE_MODEL, "1"
    farthest = 100

    def __init__(self, model: SpliceSiteModel, licence: str, operating_points: tuple[OperatingPoint, ...] = ()) -> None:
        self._model = model
        self.reach = model.window
        self.info = SpliceModelInfo(
            model.name, model.digest, licence, _CITATION, model.quality, model.device.type, operating_points
        )

    @classmethod
    def open(cls, options: BackendOptions) -> WindowSpliceModel:
        """Open the bundled model by its name, or that of a folder.

        Raises:
            ModelError: the folder is not there, or is not that of such a model, or its windows are narrow.
        """
        model = SpliceSiteModel.open(options.model, options.device, options.threads)
        least = 2 * (cls.farthest + _CONTEXT) + 1
        if model.window < least:
            problem = f"The splice-site model sees too little: delta scores need windows of {least} nt."
            raise ModelError(problem, found=f"{model.window} nt", where=options.model)
        if options.model == DEFAULT_SPLICE_MODEL:
            return cls(model, "BSD-3-Clause", BUNDLED_POINTS)
        return cls(model, "not stated")

    def takes(self, edit: Edit) -> bool:
        """Tell whether the edit and all that it asks for lie in one window, with ``_CONTEXT`` nt on both sides."""
        size = max(edit.end - edit.start, len(edit.bases))
        before = self._before(size)
        return edit.left + _CONTEXT <= before and edit.right + _CONTEXT <= self.reach - before - size

    def along(self, tokens: Tokens) -> Probabilities:
        """Return p(acceptor) and p(donor), (L - 2 W, 2), read in the middle half of windows; raises as the model."""
        width, step = self.reach, max(1, self.reach // 2)
        count = len(tokens) - 2 * width
        start = width - (width - step) // 2  # of the first window; it is read from `width` on
        cut = [tokens[at : at + width] for at in range(start, start + count, step)]
        at = np.tile(np.arange(width - start, width - start + step), (len(cut), 1))
        found = [self._answers(np.stack(cut[i : i + self._per_call]), at[i : i + self._per_call])
                 for i in range(0, len(cut), self._per_call)]  # fmt: skip
        return np.concatenate([np.zeros((0, 2)), *(answer.reshape(-1, 2) for answer in found)])[:count]

    def alternatives(self, tokens: Tokens, edits: Sequence[Edit]) -> list[tuple[Probabilities, Probabilities]]:
        """Return the answers around each edit, before and after it; each distinct window runs once.

        Raises:
            BackendError: the model failed, or its answer is not finite.
        """
        width = self.reach
        cut: list[Tokens] = []
        befores = []
        for edit in edits:
            size = len(edit.bases)
            before = self._before(max(edit.end - edit.start, size))
            first, behind = edit.start - before, edit.end - before - size
            alt = [tokens[first : edit.start], np.array(edit.bases, dtype=np.uint8), tokens[edit.end : behind + width]]
            cut += [tokens[first : first + width], np.concatenate(alt), tokens[behind : behind + width]]
            befores.append(before)
        if not edits:
            return []
        distinct, ids = np.unique(np.stack(cut), axis=0, return_inverse=True)
        low = min(before - edit.left for before, edit in zip(befores, edits, strict=True))
        high = max(
            before + max(edit.end - edit.start, len(edit.bases)) + edit.right
            for before, edit in zip(befores, edits, strict=True)
        )
        read = np.tile(np.arange(low, high), (len(distinct), 1))
        answers = np.concatenate(
            [
                self._answers(distinct[i : i + self._per_call], read[i : i + self._per_call])
                for i in range(0, len(distinct), self._per_call)
            ]
        )
        found = []
        for i, (before, edit) in enumerate(zip(befores, edits, strict=True)):
            left, alt, right = (answers[ids.ravel()[3 * i + k]] for k in range(3))
            start, size = before - low, len(edit.bases)
            ref = [left[start - edit.left : start + edit.end - edit.start], right[start + size :][: edit.right]]
            found.append((np.concatenate(ref), alt[start - edit.left : start + size + edit.right]))
        return found

    @property
    def _per_call(self) -> int:
        return max(1, self._model.batch_tokens // (self.reach + 2))

    def _before(self, size: int) -> int:
        return (self.reach - size) // 2

    def _answers(self, windows: Tokens, at: NDArray[np.integer]) -> Probabilities:
        """Return p(acceptor) and p(donor) of windows (N, W) at indices (N, P) of their nucleotides, (N, P, 2)."""
        found: Probabilities = self._model.probabilities(with_special(windows), at + 1)[:, :, 1:]  # past [CLS]
        return found


#: Labels of the task, in the order of its probabilities.
BRANCHPOINT_LABELS = NO_BRANCHPOINT, BRANCHPOINT = "neither", "branchpoint"
BRANCHPOINTS = "branchpoints"


class BranchpointModel(NucleotideModel):
    """A model of ``finetune branchpoints``: p(neither) and p(branchpoint) of every nucleotide."""

    task = BRANCHPOINTS
    known_labels = BRANCHPOINT_LABELS


SEQUENCES = "sequence"
VALUE = "value"
"""The only label of a model that answers with a number."""

_BATCH = 8192  # tokens in one call
_LETTERS = frozenset("ACGTNacgtn")


class SequenceModel(TunedModel):
    """A model of ``finetune sequence``: the probability of each class, or a value, of a sequence."""

    task = SEQUENCES

    def probabilities(self, sequences: Sequence[str]) -> Probabilities:
        """Return the probability of every label, (n, K) float64.

        Args:
            sequences: letters A, C, G, T and N, 5' to 3' of the transcript, as long as the model takes them.

        Raises:
            SettingsError: a sequence cannot be read, or the model answers with values.
            BackendError: the model failed, or its answer is not finite.
        """
        if self.labels == (VALUE,):
            raise SettingsError("The model has no classes.", remedy="ask for its values")
        found: Probabilities = torch.softmax(self._answers(sequences), dim=-1).numpy()
        return found

    def values(self, sequences: Sequence[str]) -> NDArray[np.float64]:
        """Return the value of every sequence, (n,) float64; arguments and errors are those of ``probabilities``."""
        if self.labels != (VALUE,):
            raise SettingsError("The model has classes.", remedy="ask for its probabilities")
        found: Probabilities = self._answers(sequences)[:, 0].numpy()
        return found

    def _answers(self, sequences: Sequence[str]) -> torch.Tensor:
        tokens = []
        for number, text in enumerate(sequences):
            try:
                tokens.append(sequence_tokens(text, self.window))
            except ValueError as error:
                where = f"sequence {number + 1}"
                raise SettingsError("A sequence cannot be read.", found=str(error), where=where) from error
        found = torch.empty((len(tokens), len(self.labels)), dtype=torch.float64)
        for rows, windows in of_one_length(tokens, _BATCH):
            found[rows] = self._logits(windows)
        return found


def sequence_tokens(text: str, longest: int) -> Tokens:
    """Return the tokens (L,) of a sequence of A, C, G, T and N.

    Raises:
        ValueError: it is empty or too long, or holds another letter.
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
    lengths = np.array([len(tokens) for tokens in sequences], dtype=np.int64)
    for length in np.unique(lengths).tolist():
        rows = np.flatnonzero(lengths == length)
        count = max(1, batch_tokens // (length + 2))
        for at in range(0, len(rows), count):
            chosen = rows[at : at + count]
            yield chosen, with_special(np.stack([sequences[row] for row in chosen]))
