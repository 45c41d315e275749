"""A fine-tuned network: the encoder with a classifier on it, and its folder.

With a linear head the folder is that of transformers' ``BertForTokenClassification`` (keys ``bert.*`` and
``classifier.*``; labels in ``id2label``); a convolution head adds ``head.*``. One of whole sequences is no model of
transformers, whose ``BertForSequenceClassification`` reads [CLS] where ours takes the mean. A section ``fine_tuned`` of
the config names the task, the window, and the model that it began as.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ModelError
from ..files import sha256_of
from .bert import MULTIMOLECULE, BertConfig, Encoder, official_config, pick, read_config, read_json, vocabulary_rows
from .checkpoint import Dialect, find_weights, load_weights, write_model


class Convolutions(nn.Module):
    """Residual convolutions over the nucleotides of a window; each nucleotide sees 100 nt on either side.

    The encoder has absolute positions, so it has to learn a motif anew for every place; a convolution does not.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.inlet = nn.Linear(size, CHANNELS)
        self.first = nn.ModuleList(_convolution(dilation) for dilation in _DILATIONS)
        self.second = nn.ModuleList(_convolution(dilation) for dilation in _DILATIONS)

    def forward(self, hidden: Tensor) -> Tensor:
        """Turn hidden states of nucleotides, (B, W, H), into (B, W, CHANNELS)."""
        x = self.inlet(hidden).transpose(1, 2)  # (B, C, W)
        for first, second in zip(self.first, self.second, strict=True):
            x = x + second(F.gelu(first(F.gelu(x))))
        found: Tensor = x.transpose(1, 2)
        return found


CHANNELS = 64
_KERNEL, _DILATIONS = 11, (1, 1, 4, 4)


def _convolution(dilation: int) -> nn.Conv1d:
    return nn.Conv1d(CHANNELS, CHANNELS, _KERNEL, padding=_KERNEL // 2 * dilation, dilation=dilation)


LINEAR, CONVOLUTION = HEADS = ("linear", "convolution")


class Classifier(Encoder):
    """The encoder with a head on its last hidden states.

    Args:
        labels: how many numbers an answer has.
        head: ``linear``, or ``convolution`` before the linear layer.
        pooled: one answer per window, from the mean over its nucleotides, instead of one per nucleotide.
    """

    def __init__(self, config: BertConfig, labels: int, *, head: str = LINEAR, pooled: bool = False) -> None:
        super().__init__(config)
        self.pooled = pooled
        self.head = Convolutions(config.hidden_size) if head == CONVOLUTION else None
        self.classifier = nn.Linear(config.hidden_size if self.head is None else CHANNELS, labels)

    def forward(self, tokens: Tensor, positions: Tensor | None = None, *, first_position: int = 0) -> Tensor:
        """Return logits (B, P, labels) at token positions (B, P), None for the W nucleotides; (B, labels) when pooled.

        Args:
            tokens: (B, W + 2) int64, ``[CLS] x1..xW [SEP]``.
            first_position: position of token 0; other than 0 in training only.
        """
        if self.head is None and positions is not None and not self.pooled:
            return self._classified(self.encode(tokens, positions, first_position=first_position).hidden)
        hidden = self.encode(tokens, first_position=first_position).hidden[:, 1:-1]  # (B, W, H)
        if self.head is not None:
            hidden = self.head(hidden)
        if self.pooled:
            return self._classified(hidden.mean(dim=1))
        return pick(self._classified(hidden), None if positions is None else positions - 1)

    def _classified(self, hidden: Tensor) -> Tensor:
        logits: Tensor = self.classifier(hidden)
        return logits


@dataclass(frozen=True, slots=True)
class FineTuned:
    """The description of a fine-tuned model in its ``config.json``.

    Args:
        task: ``splice-sites``, ``branchpoints`` or ``sequence``.
        labels: names of the answer's numbers.
        window: nucleotides that it was trained to see at once.
        pooled: one answer per window.
        base: model it began as, or ``random``.
        base_sha256: of that model's weights, or ``none``.
        head: ``linear`` or ``convolution``.
    """

    task: str
    labels: tuple[str, ...]
    window: int
    pooled: bool
    base: str
    base_sha256: str
    head: str = LINEAR


@dataclass(frozen=True, slots=True)
class LoadedClassifier:
    """A proven fine-tuned model, in eval mode, fp32, on the CPU, with the SHA-256 of its weights file."""

    model: Classifier
    about: FineTuned
    weights_sha256: str

    @property
    def architecture(self) -> str:
        """The settings that change an answer and that the weights' digest does not cover."""
        about = self.about
        kind = f"head={about.head} window={about.window} pooled={about.pooled} labels={','.join(about.labels)}"
        return f"{self.model.config.architecture} {kind}"

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of all that changes an answer: weights and architecture."""
        return hashlib.sha256(f"{self.weights_sha256}\n{self.architecture}\n".encode()).hexdigest()


def save_classifier(model: Classifier, about: FineTuned, folder: Path) -> None:
    """Write a fine-tuned folder; the same weights give the same bytes.

    Raises:
        OutputError: the folder or a file cannot be written.
    """
    kind = "BertModel" if about.pooled or about.head != LINEAR else "BertForTokenClassification"
    section: dict[str, Any] = {key: value for key, value in asdict(about).items() if key != "labels"}
    config = {
        **official_config(model.config),
        "architectures": [kind],
        "id2label": {str(number): label for number, label in enumerate(about.labels)},
        "label2id": {label: number for number, label in enumerate(about.labels)},
        "fine_tuned": section,
    }
    write_model(model, config, folder)


def load_classifier(folder: Path, task: str | None = None) -> LoadedClassifier:
    """Load a folder that ``finetune`` wrote.

    Args:
        task: the required task; None accepts any.

    Raises:
        ModelError: a file is missing or unreadable, the model is not a fine-tuned one or of another task, or a weight
            is missing, unexpected, of another shape or type, or not finite.
    """
    file = folder / "config.json"
    described = read_config(file)
    about = _about(read_json(file), file)
    if task is not None and about.task != task:
        needed = f"a model of 'finetune {task}'"
        raise ModelError(f"The model was fine-tuned for {about.task}.", needed=needed, where=str(folder))
    if described.layout == MULTIMOLECULE:
        raise _not_ours(file, f"the layout of {described.layout}")
    vocabulary_rows(folder / "vocab.txt", described)
    weights = find_weights(folder)

    def build() -> Classifier:
        return Classifier(described.config, len(about.labels), head=about.head, pooled=about.pooled)

    model = load_weights(weights, described.config, build, Dialect(), described.file_vocab_size)
    return LoadedClassifier(model, about, sha256_of(weights))


def _about(raw: Mapping[str, Any], file: Path) -> FineTuned:
    try:
        names = raw["id2label"]
        labels = tuple(names[str(number)] for number in range(len(names)))
        about = FineTuned(labels=labels, **raw["fine_tuned"])
        msgspec.convert(asdict(about), FineTuned)  # checks the types
    except (KeyError, TypeError, msgspec.ValidationError) as error:
        raise _not_ours(file, f"{type(error).__name__}: {error}") from error
    window, positions = about.window, raw["max_position_embeddings"]
    if about.head not in HEADS:
        raise _not_ours(file, f"a head of kind {about.head!r}")
    if not 1 <= window <= positions - 2 or not labels:
        raise _not_ours(file, f"a window of {window!r} for {positions} positions and {len(labels)} labels")
    return about


def _not_ours(file: Path, found: str) -> ModelError:
    needed = "the folder 'model' of a run of 'finetune'"
    return ModelError("The folder does not hold a fine-tuned model.", needed=needed, found=found, where=str(file))
