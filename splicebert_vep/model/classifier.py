"""A fine-tuned network: the encoder with a classifier on it, and its folder.

The folder is that of transformers' ``BertForTokenClassification`` (keys ``bert.*`` and ``classifier.*``; labels in
``id2label``), with a section ``fine_tuned`` in its config: the task, the window, what it began as. A pooled one has the
same keys and is no model of transformers, whose ``BertForSequenceClassification`` reads [CLS] instead of the mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from splicebert_vep.errors import ModelError
from splicebert_vep.model.bert import BertConfig, Encoder
from splicebert_vep.model.checkpoint import Dialect, WeightTaker, find_weights, read_weights, sha256_of, write_model
from splicebert_vep.model.config import MULTIMOLECULE, official_config, read_config, read_json, vocabulary_rows

_CLASSIFIER = {"classifier.weight": "classifier.weight", "classifier.bias": "classifier.bias"}


class Classifier(Encoder):
    """The encoder with a linear layer on its last hidden states.

    Args:
        labels: how many numbers an answer has.
        pooled: one answer per window, from the mean over its nucleotides, instead of one per nucleotide.
    """

    def __init__(self, config: BertConfig, labels: int, *, pooled: bool = False) -> None:
        super().__init__(config)
        self.pooled = pooled
        self.classifier = nn.Linear(config.hidden_size, labels)

    def forward(self, tokens: Tensor, positions: Tensor | None = None, *, first_position: int = 0) -> Tensor:
        """Return logits (B, P, labels) at token positions (B, P), None for all; (B, labels) when pooled."""
        hidden = self.encode(tokens, positions, first_position=first_position).hidden  # (B, P, H)
        if self.pooled:
            hidden = hidden[:, 1:-1].mean(dim=1)  # (B, H), without [CLS] and [SEP]
        logits: Tensor = self.classifier(hidden)
        return logits


@dataclass(frozen=True, slots=True)
class FineTuned:
    """What a fine-tuned folder says of itself.

    Args:
        task: ``splice-sites``, ``branchpoints`` or ``sequence``.
        labels: names of the answer's numbers.
        window: nucleotides that it was trained to see at once.
        pooled: one answer per window.
        base: model it began as, or ``random``.
        base_sha256: of that model's weights, or ``none``.
    """

    task: str
    labels: tuple[str, ...]
    window: int
    pooled: bool
    base: str
    base_sha256: str


@dataclass(frozen=True, slots=True)
class LoadedClassifier:
    """A proven fine-tuned model: in eval mode, fp32, on the CPU; the digest is of its weights file, lower-case hex."""

    model: Classifier
    about: FineTuned
    weights_sha256: str


def save_classifier(model: Classifier, about: FineTuned, folder: Path) -> None:
    """Write a fine-tuned folder; the same weights give the same bytes.

    Raises:
        OutputError: the folder or a file cannot be written.
    """
    kind = "SpliceBertMeanClassifier" if about.pooled else "BertForTokenClassification"
    section: dict[str, Any] = {key: value for key, value in asdict(about).items() if key != "labels"}
    config = {
        **official_config(model.config),
        "architectures": [kind],
        "id2label": {str(number): label for number, label in enumerate(about.labels)},
        "label2id": {label: number for number, label in enumerate(about.labels)},
        "fine_tuned": section,
    }
    write_model(model, Dialect().names(model.config.num_hidden_layers) | _CLASSIFIER, config, folder)


def load_classifier(folder: Path, task: str | None = None) -> LoadedClassifier:
    """Load a folder that ``finetune`` wrote.

    Args:
        task: what it has to be for; None takes any.

    Raises:
        ModelError: a file is missing or unreadable, the model is not a fine-tuned one or of another task, or a weight
            is missing, unexpected, of another shape or type, or not finite.
    """
    file = folder / "config.json"
    described = read_config(file)
    about = _about(read_json(file), file)
    if task is not None and about.task != task:
        raise ModelError(
            "The model was fine-tuned for something else.", needed=f"a model of 'finetune {task}'", found=about.task,
            where=str(folder),
        )  # fmt: skip
    if described.layout == MULTIMOLECULE:
        raise _not_ours(file, f"the layout of {described.layout}")
    vocabulary_rows(folder / "vocab.txt", described)
    config, weights_file = described.config, find_weights(folder)
    taker = WeightTaker(read_weights(weights_file), weights_file)
    state = taker.take(config, Dialect(), described.file_vocab_size)
    shapes = {"weight": (len(about.labels), config.hidden_size), "bias": (len(about.labels),)}
    state |= {ours: taker.pop(key, shapes[key.split(".")[1]]) for ours, key in _CLASSIFIER.items()}
    taker.finish()
    with torch.device("meta"):
        model = Classifier(config, len(about.labels), pooled=about.pooled)
    model.to_empty(device="cpu").load_state_dict(state)
    return LoadedClassifier(model.eval(), about, sha256_of(weights_file))


def _about(raw: Mapping[str, Any], file: Path) -> FineTuned:
    try:
        names = raw["id2label"]
        labels = tuple(names[str(number)] for number in range(len(names)))
        about = FineTuned(labels=labels, **raw["fine_tuned"])
    except (KeyError, TypeError) as error:
        raise _not_ours(file, f"{type(error).__name__}: {error}") from error
    window, positions = about.window, raw["max_position_embeddings"]
    if not isinstance(window, int) or not 1 <= window <= positions - 2 or not labels:
        raise _not_ours(file, f"a window of {window!r} for {positions} positions and {len(labels)} labels")
    return about


def _not_ours(file: Path, found: str) -> ModelError:
    return ModelError(
        "The folder does not hold a fine-tuned model.",
        needed="a config.json with id2label and fine_tuned, as 'finetune' writes it",
        found=found,
        where=str(file),
        remedy="give the folder 'model' of a run of 'finetune'",
    )
