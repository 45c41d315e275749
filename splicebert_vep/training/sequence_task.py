"""Fine-tune a model on labelled sequences, one answer per sequence, and test it on those set apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from splicebert_vep.extras import require
from splicebert_vep.files import whole_or_not
from splicebert_vep.model.classifier import Classifier, FineTuned
from splicebert_vep.model.registry import DEFAULT_MODEL
from splicebert_vep.model.sequences import TASK, VALUE, SequenceModel, of_one_length

from .finetune import calibrated, softmax
from .gene_tasks import Rows, write_figures
from .heads import begin, config_of, train_head
from .labelled import Labels
from .loop import Loss
from .recipe import SequenceRecipe
from .sampling import step_rng
from .sequence_metrics import Floats, class_figures, value_figures
from .sequences import LabelledSequences, read_sequences

PREDICTIONS = "predictions.tsv"
_BATCH = 8192  # tokens in one call that trains nothing


class AnswerSequences:
    """The task: tell the class, or the value, of a sequence.

    Classes weigh the same in the loss, however many sequences they have. Values are learned as distances from the mean,
    in standard deviations of the training sequences.
    """

    def __init__(self, recipe: SequenceRecipe, training: LabelledSequences, validation: LabelledSequences) -> None:
        self._recipe, self._training, self._validation = recipe, training, validation
        self._epoch = recipe.epoch(len(training))
        self.mean, self.scale = 0.0, 1.0
        self._weights = torch.ones(1)
        if training.classes:
            counts = [training.count(number) for number in range(len(training.labels))]
            self._weights = torch.tensor([len(training) / (len(counts) * count) for count in counts])
        else:
            self.mean, self.scale = float(training.targets.mean()), float(training.targets.std())

    @property
    def watch(self) -> str:
        """What of a validation is to grow."""
        return "auprc" if self._training.classes else "spearman"

    @property
    def steps(self) -> int:
        """Steps of all epochs."""
        return self._recipe.epochs * self._epoch

    @property
    def parts(self) -> int:
        """Micro-batches of a step."""
        return 1

    def loss(self, model: nn.Module, step: int, part: int, device: torch.device) -> Loss:
        """Draw sequences, from the seed and ``step`` alone, and run those of one length at a time."""
        rng = step_rng(self._recipe.seed, step, part)
        chosen = self._training.take(rng.integers(len(self._training), size=self._recipe.batch).tolist())
        targets = torch.from_numpy((chosen.targets - self.mean) / self.scale).to(device)
        total, right = torch.zeros((), device=device), torch.zeros((), device=device)
        tokens = 0
        for rows, windows in of_one_length(chosen.tokens, _BATCH):
            tokens += windows.size
            logits: Tensor = model(torch.from_numpy(windows.astype(np.int64)).to(device)).float()  # (N, K)
            wanted = targets[torch.from_numpy(rows).to(device)]
            if chosen.classes:
                weights = self._weights.to(device)
                total = total + F.cross_entropy(logits, wanted.long(), weight=weights, reduction="sum")
                right = right + (logits.detach().argmax(dim=1) == wanted).sum()
            else:
                total = total + F.mse_loss(logits[:, 0], wanted.float(), reduction="sum")
        return Loss(total, right, len(chosen), tokens, len(chosen) if chosen.classes else 0)

    def describe(self, step: int) -> dict[str, float | int | str]:
        """Name the epoch, from 1."""
        return {"epoch": step // self._epoch + 1}

    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Return AUPRC by class and their mean, ``auprc``; of values ``spearman`` and ``r2``."""
        truth = self._validation.targets
        found = answers_of(model, self._validation, device)
        if self._validation.classes:
            figures = class_figures(softmax(found), truth, self._validation.labels)
            measured = {f"auprc_{figure.label}": round(figure.auprc, 6) for figure in figures}
            return {**measured, "auprc": round(sum(measured.values()) / len(measured), 6)}
        figure = value_figures(found[:, 0] * self.scale + self.mean, truth)
        assert figure.spearman is not None and figure.r2 is not None  # two different values or more
        return {"spearman": round(figure.spearman, 6), "r2": round(figure.r2, 6)}

    def finish(self, model: Classifier, device: torch.device) -> None:
        """Set the probabilities right, or give values the unit of the file."""
        if self._validation.classes:
            found = answers_of(model, self._validation, device)
            truth: Labels = self._validation.targets.astype(np.uint8)
            model.classifier.bias.add_(torch.from_numpy(calibrated(found, truth)).to(model.classifier.bias))
        else:
            model.classifier.weight.mul_(self.scale)
            model.classifier.bias.mul_(self.scale).add_(self.mean)


def answers_of(model: nn.Module, sequences: LabelledSequences, device: torch.device) -> Floats:
    """Return a classifier's logits, (n, K) float32."""
    found = np.empty((len(sequences), 1 if not sequences.classes else len(sequences.labels)), dtype=np.float32)
    with torch.inference_mode():
        for rows, windows in of_one_length(sequences.tokens, _BATCH):
            found[rows] = model(torch.from_numpy(windows.astype(np.int64)).to(device)).float().cpu().numpy()
    return found


def finetune_sequences(
    file: Path,
    path: Path,
    *,
    base: str = DEFAULT_MODEL,
    recipe: SequenceRecipe | None = None,
    validation_share: float = 0.1,
    test_share: float = 0.1,
    device: torch.device | None = None,
    half: bool = False,
    say: Callable[[str], None] = lambda line: None,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[Path, Rows]:
    """Train and test; return the model's folder, and a row of figures per class, or one for the values.

    Args:
        file: TSV with the columns ``sequence``, either ``label`` (classes) or ``value`` (numbers), and optionally
            ``split`` (train, validation or test).
        path: the run's folder; a run that is there is gone on with, and tested again. ``figures.json`` has the rows,
            ``predictions.tsv`` what the model says of every sequence of the test part.
        base: model to begin as, or ``random``.
        recipe: how it is trained; None for the default.
        validation_share, test_share: of the different sequences, where the file has no column ``split``.
        device: None for the CPU.
        half: train in bf16.
        say, progress: told how it goes.

    Raises:
        LabelError: the file is no such table, a line cannot be read, or a part has nothing to learn from.
        SettingsError: scikit-learn is not installed, the folder holds another run, another process trains in it, or the
            training diverged.
        ModelError: the model to begin as cannot be loaded.
        OutputError: something cannot be written.
    """
    require("sklearn")
    recipe, device = recipe or SequenceRecipe(), device or torch.device("cpu")
    longest = config_of(base).longest_window
    split = read_sequences(file, longest, validation_share=validation_share, test_share=test_share)
    for name, part in (("training", split.training), ("validation", split.validation), ("test", split.test)):
        classes = [f"{part.count(number):,} {label}" for number, label in enumerate(part.labels) if part.classes]
        say(f"{name}: {len(part):,} sequences{', ' if classes else ''}{', '.join(classes)}")
    if split.leaked:
        say(f"{split.leaked:,} sequences of validation or test are among those for training too: figures flatter")
    if not len(split.test):
        say("no sequence is set apart for the test: there will be no figures")
    for number, label in enumerate(split.test.labels):
        if split.test.classes and len(split.test) and not split.test.count(number):
            say(f"test has no {label}, so there will be no figure of it")
    learned = AnswerSequences(recipe, split.training, split.validation)
    labels = split.training.labels
    model, base_sha256 = begin(base, len(labels), head=recipe.head, seed=recipe.seed, pooled=True)
    about = FineTuned(TASK, labels, split.longest, True, base, base_sha256, recipe.head)
    folder = train_head(
        model, learned, recipe.optimisation(len(split.training), learned.watch), about, path,
        recipe=recipe, digests=(split.training.digest, split.validation.digest),
        finish=lambda best: learned.finish(best, device), device=device, half=half, say=say, progress=progress,
    )  # fmt: skip
    rows = _tested(SequenceModel(folder, device), split.test, path) if len(split.test) else []
    write_figures(path, rows)
    return folder, rows


def _tested(model: SequenceModel, test: LabelledSequences, path: Path) -> Rows:
    """Write what the model says of the sequences, and return the figures."""
    if test.classes:
        found = model.probabilities(test.texts)
        header = ["line", "sequence", "label", "predicted", *(f"p_{label}" for label in test.labels)]
        names = [test.labels[number] for number in found.argmax(axis=1)]
        truth = [test.labels[number] for number in test.targets.astype(int)]
        said = [[name, *(f"{p:.6f}" for p in row)] for name, row in zip(names, found, strict=True)]
        rows = [asdict(figure) for figure in class_figures(found, test.targets, test.labels)]
    else:
        values = model.values(test.texts)
        header = ["line", "sequence", VALUE, "predicted"]
        truth = [repr(value) for value in test.targets.tolist()]
        said = [[f"{value:.6g}"] for value in values.tolist()]
        rows = [asdict(value_figures(values, test.targets))]
    with whole_or_not(path / PREDICTIONS) as temporary, temporary.open("w", encoding="utf-8", newline="") as handle:
        handle.write("\t".join(header) + "\n")
        for line, text, known, more in zip(test.lines, test.texts, truth, said, strict=True):
            handle.write("\t".join([str(line), text, known, *more]) + "\n")
    return rows
