"""Pre-training: masked language modelling on windows of a corpus, from a recipe to a model folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from splicebert_vep.errors import SettingsError
from splicebert_vep.model.bert import SpliceBert
from splicebert_vep.model.checkpoint import save_checkpoint

from .corpus import Corpus
from .initial import initialise
from .loop import Loss, Optimisation, Processes, train
from .objective import correct, cross_entropy, held_out_batches, measure
from .recipe import Recipe
from .run_folder import RunFolder
from .sampling import IGNORED, MaskedBatch, WindowSampler, mask_windows, step_rng
from .stages import StagePlan, StepPlan

_VALIDATION_WIDTH = 510  # nt, or the longest that is trained


class MaskedLanguageModelling:
    """The task of pre-training: guess 15 % of the nucleotides of a window from the others.

    Args:
        corpus: held-out genes are for validation only.

    Raises:
        CorpusError: no gene, or no held-out gene, is as long as a window.
    """

    def __init__(self, recipe: Recipe, corpus: Corpus) -> None:
        self._recipe = recipe
        self._sampler = WindowSampler(corpus)
        self._sampler.draw(np.random.default_rng(0), 1, recipe.longest, 0.0)  # told now, not in the last stage
        held_out = WindowSampler(corpus, held_out=True)
        self._validation = held_out_batches(held_out, min(_VALIDATION_WIDTH, recipe.longest))
        self._plan = StagePlan(recipe.stages, batch_tokens=recipe.batch_tokens, parts=recipe.parts, seed=recipe.seed)

    @property
    def steps(self) -> int:
        """Steps of all stages."""
        return self._plan.steps

    @property
    def parts(self) -> int:
        """Micro-batches of a step."""
        return self._recipe.parts

    def plan(self, step: int) -> StepPlan:
        """Return what a step looks like, from the seed and its number alone."""
        return self._plan.step(step)

    def batch(self, step: int, part: int) -> MaskedBatch:
        """Draw a micro-batch, from the seed, ``step`` and ``part`` alone."""
        plan, recipe = self.plan(step), self._recipe
        rng = step_rng(recipe.seed, step, part)
        windows = self._sampler.draw(rng, plan.windows, plan.width, plan.stage.site_share)
        return mask_windows(rng, windows, selected=recipe.selected, unknown=recipe.unknown)

    def loss(self, model: nn.Module, step: int, part: int, device: torch.device) -> Loss:
        """Draw a micro-batch and run it."""
        return masked_loss(model, self.batch(step, part), device, self.plan(step).first_position)

    def describe(self, step: int) -> dict[str, float | int | str]:
        """Name the stage, from 1, and the window length."""
        return self._plan.describe(step)

    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Return loss (nats) and accuracy on held-out windows, anywhere in genes and around splice sites."""
        with torch.inference_mode():
            return measure(lambda batch: _logits(model, batch, device), self._validation)


def masked_loss(model: nn.Module, batch: MaskedBatch, device: torch.device, first_position: int = 0) -> Loss:
    """Run a batch and return its loss; ``first_position`` is where on the model's positions it is put."""
    logits = _logits(model, batch, device, first_position)
    targets = torch.from_numpy(batch.targets).to(device, non_blocking=True)
    count = int(np.count_nonzero(batch.targets != IGNORED))
    return Loss(cross_entropy(logits, targets), correct(logits, targets), count, batch.tokens.size)


def _logits(model: nn.Module, batch: MaskedBatch, device: torch.device, first_position: int = 0) -> Tensor:
    tokens = torch.from_numpy(batch.tokens.astype(np.int64)).to(device, non_blocking=True)
    positions = torch.from_numpy(batch.positions).to(device, non_blocking=True)
    logits: Tensor = model(tokens, positions, first_position=first_position).logits
    return logits


def pretrain(
    recipe: Recipe,
    corpus: Corpus,
    path: Path,
    *,
    device: torch.device,
    processes: Processes | None = None,
    half: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> Path:
    """Train a model as a recipe says, or go on with a training that was broken off; return the model's folder.

    Args:
        path: the run's folder, see ``run_folder.py``.
        half: run the network in bf16.
        say: told how it goes.

    Raises:
        SettingsError: the folder holds another run, another process trains in it, there are more processes than
            micro-batches, or the training diverged.
        CorpusError: the corpus is too small for the windows.
        OutputError: something cannot be written.
    """
    processes = processes or Processes()
    if processes.count > recipe.parts:
        raise SettingsError(
            "There are more processes than micro-batches in a step.",
            needed=f"at most {recipe.parts}, the recipe's parts",
            found=f"{processes.count} processes",
            remedy="start fewer, or raise parts in a recipe of your own (--print-recipe)",
        )
    task = MaskedLanguageModelling(recipe, corpus)
    model = SpliceBert(recipe.config())
    initialise(model, neighbour_layers=recipe.neighbour_layers, seed=recipe.seed)
    model.to(device).train()
    how = Optimisation(
        learning_rate=recipe.learning_rate,
        warmup_steps=recipe.warmup_steps,
        final_share=recipe.final_share,
        betas=recipe.betas,
        weight_decay=recipe.weight_decay,
        clip=recipe.clip,
        validate_every=recipe.validate_every,
        save_every=recipe.save_every,
    )
    with RunFolder(path, identity(recipe, corpus), writes=processes.first) as folder:
        train(model, task, how, folder, device=device, processes=processes, half=half, say=say)
        if processes.first:
            save_checkpoint(model, folder.model)
    return folder.model


def identity(recipe: Recipe, corpus: Corpus) -> str:
    """Return what determines a run, as the text of ``recipe.json``."""
    return json.dumps({"recipe": asdict(recipe), "corpus_sha256": corpus.digest}, indent=1) + "\n"
