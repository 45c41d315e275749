"""Pre-training: masked language modelling on windows of a corpus, from a recipe to a model folder."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import SettingsError
from ..model.bert import Layer, SpliceBert
from ..model.checkpoint import save_checkpoint
from .corpus import Corpus
from .loop import (
    IGNORED,
    Loss,
    MaskedBatch,
    Optimisation,
    Processes,
    RunFolder,
    WindowSampler,
    correct,
    cross_entropy,
    held_out_batches,
    mask_windows,
    measure,
    step_rng,
    train,
)
from .recipe import Recipe, StagePlan, StepPlan

_WEIGHT = 0.02  # standard deviation of BERT's weights (Devlin et al. 2019)
_EMBEDDING = 0.05  # of position and of token embeddings; the layer norm after them sees only their ratio
_FASTEST, _SLOWEST = 2.5, 0.003  # radians per nucleotide; one tells neighbours apart, the other 2,000 nt
_SHARPNESS = 2.0  # of a head's view: in heads of 16 units the next neighbour gets about exp(-SHARPNESS * 2.4)
_VALUE, _OUT = 0.09, 0.06  # larger than BERT's, so that what such a head sees weighs in the sum from the start


def initialise(model: SpliceBert, *, neighbour_layers: int, seed: int) -> None:
    """Set every weight in place; the same seed gives the same weights.

    Args:
        neighbour_layers: first layers whose heads begin as views of near neighbours. The heads of layer n see the
            offsets -1, 1, -2, 2, ..., beginning with the first that layer n - 1 does not see.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() == 2:
                weight.normal_(0.0, _WEIGHT, generator=generator)
            else:
                weight.fill_(1.0 if "norm.weight" in name else 0.0)
        frequencies = _set_embeddings(model, generator)
        for number, layer in enumerate(cast(list[Layer], list(model.layers))[:neighbour_layers]):
            _set_views(layer, _offsets(layer.heads, number), frequencies, generator)


def _set_embeddings(model: SpliceBert, generator: torch.Generator) -> list[float]:
    """Set the embeddings and return the frequencies, radians per nucleotide, of units 2k (cosine) and 2k + 1 (sine)."""
    positions, size = model.position_embeddings.weight.shape
    count = size // 4
    ratio = (_SLOWEST / _FASTEST) ** (1 / max(1, count - 1))
    frequencies = [_FASTEST * ratio**k for k in range(count)]
    angle = torch.arange(positions, dtype=torch.float64)[:, None] * torch.tensor(frequencies, dtype=torch.float64)
    waves = torch.stack([angle.cos(), angle.sin()], dim=2).flatten(1)  # (positions, size / 2)
    model.position_embeddings.weight.zero_()
    model.position_embeddings.weight[:, : 2 * count] = (waves * math.sqrt(2) * _EMBEDDING).float()
    token = model.token_embeddings.weight
    token.normal_(0.0, _EMBEDDING, generator=generator)
    token[:, : 2 * count] *= 0.04  # not 0: the decoder is tied, and its gradient would vanish there
    model.type_embeddings.weight.zero_()
    return frequencies


def _offsets(heads: int, layer: int) -> list[int]:
    """Return the neighbours that the heads of a layer see: -1, 1, -2, 2, ..."""
    return [(1 + rank // 2) * (-1 if rank % 2 == 0 else 1) for rank in range(layer * heads, (layer + 1) * heads)]


def _set_views(layer: Layer, offsets: list[int], frequencies: list[float], generator: torch.Generator) -> None:
    """Let head h attend to position i + offsets[h].

    With query q(i) = (cos wi, sin wi) and key k(j) the same turned back by w offset, q k = cos w(i + offset - j).
    """
    size = layer.query.weight.shape[1]
    width = size // layer.heads  # units of a head
    pairs = width // 2
    chosen = [k * len(frequencies) // pairs for k in range(pairs)]
    scale = math.sqrt(_SHARPNESS * math.sqrt(width) / 2)  # a unit has variance 1 here, so a wave has amplitude sqrt 2
    for head, offset in enumerate(offsets):
        rows = slice(head * width, (head + 1) * width)
        query, key = layer.query.weight[rows], layer.key.weight[rows]
        query.zero_()
        key.zero_()
        for pair, k in enumerate(chosen):
            turn = frequencies[k] * offset
            cosine, sine = 2 * k, 2 * k + 1
            query[2 * pair, cosine] = query[2 * pair + 1, sine] = scale
            key[2 * pair, cosine] = key[2 * pair + 1, sine] = scale * math.cos(turn)
            key[2 * pair, sine] = scale * math.sin(turn)
            key[2 * pair + 1, cosine] = -scale * math.sin(turn)
    nn.init.normal_(layer.value.weight, 0.0, _VALUE * math.sqrt(2), generator=generator)
    layer.value.weight[:, : 2 * len(frequencies)] = 0.0  # what a neighbour is, not where
    nn.init.normal_(layer.attention_out.weight, 0.0, _OUT, generator=generator)


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
