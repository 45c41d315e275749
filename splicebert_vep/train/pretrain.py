"""Pre-training: masked language modelling on windows of a corpus, from a recipe to a model folder."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import msgspec
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from splicebert_vep_spec import MASK, A, N, T

from ..errors import SettingsError, require
from ..files import whole_or_not
from ..model.bert import Layer, SpliceBert
from ..model.checkpoint import save_checkpoint
from ..sequence.tokens import Tokens, with_special
from .corpus import Corpus, Ints, WindowSampler
from .loop import IGNORED, STEPS, VALIDATIONS, Loss, Machine, RunFolder, Task, read_log, step_rng, train
from .recipe import Recipe, StagePlan

_WEIGHT = 0.02  # standard deviation of BERT's weights (Devlin et al. 2019)
_EMBEDDING = 0.05  # of position and of token embeddings; the layer norm after them sees only their ratio
_FASTEST, _SLOWEST = 2.5, 0.003  # radians per nucleotide; from neighbours to 2,000 nt can be distinguished
_SHARPNESS = 2.0  # of a head's view: in heads of 16 units the next neighbour gets about exp(-SHARPNESS * 2.4)
_VALUE, _OUT = 0.09, 0.06  # larger than BERT's, so that such a head counts in the sum from the start


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
    layer.value.weight[:, : 2 * len(frequencies)] = 0.0  # the neighbour's base, not its place
    nn.init.normal_(layer.attention_out.weight, 0.0, _OUT, generator=generator)


@dataclass(frozen=True, eq=False)
class MaskedBatch:
    """The input of one forward and backward pass: B windows, P selected nucleotides in each.

    Args:
        tokens: (B, W + 2) uint8, ``[CLS] x1..xW [SEP]`` with selected nucleotides hidden, changed or kept.
        positions: (B, P) int64, token indices of the selected nucleotides, ascending.
        targets: (B, P) int64, the true tokens; -100 where the window had too few nucleotides to select.
    """

    tokens: Tokens
    positions: Ints
    targets: Ints


def mask_windows(
    rng: np.random.Generator, windows: Tokens, *, selected: float = 0.15, unknown: float = 0.005
) -> MaskedBatch:
    """Select nucleotides and hide them as BERT does: of the selected, 80 % become [MASK], 10 % a random nucleotide
    (which may be the same), 10 % stay (Devlin et al. 2019, 10.18653/v1/N19-1423, 3.1).

    The number selected is the same in every window of a batch, W x ``selected`` rounded up or down by chance so that
    it is right on average. N is never selected.

    Args:
        windows: (B, W) uint8.
        selected: share of nucleotides selected.
        unknown: share of the nucleotides that are not selected turned to N, so that N's embedding is trained.
    """
    width = windows.shape[1]
    places = max(1, int(np.floor(width * selected + rng.random())))
    order = rng.random(windows.shape, dtype=np.float32)
    order[windows == N] = 2.0  # after every nucleotide
    positions = np.sort(np.argpartition(order, places - 1, axis=1)[:, :places], axis=1).astype(np.int64)
    truth = np.take_along_axis(windows, positions, axis=1)

    shown = np.where(rng.random(windows.shape, dtype=np.float32) < unknown, np.uint8(N), windows)
    chance = rng.random(truth.shape, dtype=np.float32)
    random = rng.integers(A, T + 1, size=truth.shape, dtype=np.uint8)
    hidden = np.where(chance < 0.8, np.uint8(MASK), np.where(chance < 0.9, random, truth))
    np.put_along_axis(shown, positions, np.where(truth == N, np.uint8(N), hidden), axis=1)
    targets = np.where(truth == N, IGNORED, truth.astype(np.int64))
    return MaskedBatch(with_special(shown), positions + 1, targets)  # [CLS] stands before the first nucleotide


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the sum of -ln p(truth), nats, with p over the whole vocabulary, from (B, P, V) and (B, P)."""
    return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED, reduction="sum")


def held_out_batches(
    corpus: Corpus, width: int, windows: int = 64, batch: int = 16
) -> Mapping[str, Sequence[MaskedBatch]]:
    """Draw windows ``anywhere`` in held-out genes and around ``sites``, the same ones at every call, without N put in;
    CorpusError if no held-out gene, or none with a site, is as long as a window."""
    sampler, found = corpus.windows(held_out=True), {}
    for name, share in (("anywhere", 0.0), ("sites", 1.0)):
        rng = np.random.default_rng(0)
        drawn = corpus.bases[sampler.draw(rng, windows, width, share)]
        found[name] = [mask_windows(rng, drawn[at : at + batch], unknown=0.0) for at in range(0, windows, batch)]
    return found


def measure(answer: Callable[[MaskedBatch], Tensor], batches: Mapping[str, Sequence[MaskedBatch]]) -> dict[str, float]:
    """Return loss (nats) and accuracy of a model on batches, by their name.

    Args:
        answer: runs the model on a batch and returns its logits at the selected nucleotides, (B, P, V).
    """
    measured = {}
    for name, drawn in batches.items():
        cost = right = count = 0.0
        for batch in drawn:
            logits = answer(batch)
            targets = torch.from_numpy(batch.targets).to(logits.device)
            cost += float(cross_entropy(logits, targets))
            right += float((logits.argmax(dim=-1) == targets).sum())
            count += np.count_nonzero(batch.targets != IGNORED)
        measured[f"{name}_loss"], measured[f"{name}_accuracy"] = round(cost / count, 6), round(right / count, 6)
    return measured


class MaskedLanguageModelling(Task):
    """The task of pre-training: guess 15 % of the nucleotides of a window from the others; held-out genes are for
    validation only. CorpusError if no gene, or no held-out gene, is as long as a window."""

    def __init__(self, recipe: Recipe, corpus: Corpus) -> None:
        self._recipe, self._bases = recipe, corpus.bases
        self._sampler: WindowSampler = corpus.windows()
        self._sampler.draw(np.random.default_rng(0), 1, recipe.longest, 0.0)  # fails now, not in the last stage
        self._validation = held_out_batches(corpus, min(510, recipe.longest))
        self._plan = StagePlan(recipe)
        self.steps, self.parts = self._plan.steps, recipe.parts

    def batch(self, step: int, part: int) -> MaskedBatch:
        """Draw a micro-batch, from the seed, ``step`` and ``part`` alone."""
        plan, recipe = self._plan.step(step), self._recipe
        rng = step_rng(recipe.seed, step, part)
        windows = self._bases[self._sampler.draw(rng, plan.windows, plan.width, plan.stage.site_share)]
        return mask_windows(rng, windows, selected=recipe.selected, unknown=recipe.unknown)

    def loss(self, model: nn.Module, step: int, part: int, device: torch.device) -> Loss:
        """Draw a micro-batch and run it."""
        return masked_loss(model, self.batch(step, part), device, self._plan.step(step).first_position)

    def describe(self, step: int) -> dict[str, float | int | str]:
        """Return the number of the stage, from 1, and the window length."""
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
    return Loss(cross_entropy(logits, targets), (logits.argmax(dim=-1) == targets).sum(), count, batch.tokens.size)


def _logits(model: nn.Module, batch: MaskedBatch, device: torch.device, first_position: int = 0) -> Tensor:
    tokens = torch.from_numpy(batch.tokens.astype(np.int64)).to(device, non_blocking=True)
    positions = torch.from_numpy(batch.positions).to(device, non_blocking=True)
    logits: Tensor = model(tokens, positions, first_position=first_position).logits
    return logits


def pretrain(recipe: Recipe, corpus: Corpus, path: Path, machine: Machine | None = None) -> Path:
    """Train a model as a recipe says, or continue a run that was killed; return the model's folder.

    Args:
        path: the run's folder, see ``RunFolder``.

    Raises:
        SettingsError: the folder holds another run, another process trains in it, there are more processes than
            micro-batches, or the training diverged.
        CorpusError: the corpus is too small for the windows.
        OutputError: something cannot be written.
    """
    machine = machine or Machine()
    processes = machine.processes
    if processes.count > recipe.parts:
        remedy = "start fewer, or raise parts in a recipe of your own (--print-recipe)"
        problem = f"There are more processes than micro-batches: {processes.count} for the recipe's {recipe.parts}."
        raise SettingsError(problem, remedy=remedy)
    task = MaskedLanguageModelling(recipe, corpus)
    model = SpliceBert(recipe.config())
    initialise(model, neighbour_layers=recipe.neighbour_layers, seed=recipe.seed)
    model.to(machine.device).train()
    identity = {"recipe": msgspec.to_builtins(recipe), "corpus_sha256": corpus.digest}
    with RunFolder(path, identity, writes=processes.first) as folder:
        train(model, task, recipe.optimisation(), folder, machine)
        if processes.first:
            save_checkpoint(model, folder.model)
    return folder.model


_SMOOTHED = 50  # steps


def draw_curve(path: Path) -> None:
    """Draw ``curve.png`` of a run's folder from its logs.

    Raises:
        SettingsError: matplotlib is not installed, or there is nothing to draw yet.
        OutputError: it cannot be written.
    """
    require("matplotlib")
    from matplotlib.figure import Figure

    steps, validations = read_log(path / STEPS), read_log(path / VALIDATIONS)
    if not steps:
        raise SettingsError("The run has no log yet.", needed=STEPS, where=str(path))
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    tokens = [int(row["tokens"]) / 1e6 for row in steps]
    losses = [float(row["loss"]) for row in steps]
    smooth = [sum(part := losses[max(0, i - _SMOOTHED + 1) : i + 1]) / len(part) for i in range(len(losses))]
    axes.plot(tokens, smooth, linewidth=0.8, label=f"training, mean of {_SMOOTHED} steps")
    validated = [int(row["tokens"]) / 1e6 for row in validations]
    for key, label in (("anywhere_loss", "held-out genes, anywhere"), ("sites_loss", "held-out genes, around sites")):
        axes.plot(validated, [float(row[key]) for row in validations], "o-", ms=3, label=label)
    for at in range(1, len(steps)):
        if steps[at]["stage"] != steps[at - 1]["stage"]:
            axes.axvline(tokens[at], color="grey", linewidth=0.6, linestyle=":")
    axes.set(xlabel="tokens, millions", ylabel="loss, nats per masked nucleotide", ylim=(min(smooth) - 0.02, 1.42))
    axes.legend()
    axes.grid(alpha=0.3)
    with whole_or_not(path / "curve.png") as temporary:
        figure.savefig(temporary, format="png", dpi=150)
