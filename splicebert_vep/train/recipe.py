"""Recipes: all settings that, with a corpus, determine a trained model; frozen, and kept in the run's folder."""

from __future__ import annotations

import json
import math
import sys
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from ..errors import SettingsError
from ..model.bert import VOCABULARY, BertConfig
from .loop import Optimisation, step_rng

Count = Annotated[int, Meta(gt=0)]
Rate = Annotated[float, Meta(ge=0, lt=1)]
Share = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[float, Meta(gt=0, le=sys.float_info.max)]
Seed = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Patience = Annotated[int, Meta(ge=0)]
Head = Literal["linear", "convolution"]


class Checked(Struct, frozen=True, forbid_unknown_fields=True):
    """Settings whose values are checked against their types, also when they are made in Python."""

    def __post_init__(self) -> None:
        """Raise a SettingsError that names every value that breaks a rule."""
        wrong = []
        for field in msgspec.structs.fields(self):
            try:
                msgspec.convert(getattr(self, field.name), field.type)
            except msgspec.ValidationError as error:
                wrong.append(f"{field.name} is {getattr(self, field.name)!r}: {error}")
        wrong = wrong or list(self._contradictions())
        if wrong:
            raise SettingsError("The recipe cannot be followed.", found="; ".join(wrong))

    def _contradictions(self) -> Iterator[str]:
        """Yield contradictions between values that are valid one by one."""
        yield from ()


class Stage(Checked, frozen=True):
    """One part of a training: its windows and its length.

    Args:
        shortest, longest: window length W, nt; every step draws one length between them, for all of its windows.
        tokens: to train on, [CLS] and [SEP] included.
        site_share: of the windows, those drawn around a splice site, 0 to 1.
        anywhere: put each step's windows at a random first position instead of 0, so that short windows train every
            position that the longest windows of the recipe have.
    """

    shortest: Count
    longest: Count
    tokens: Count
    site_share: Share
    anywhere: bool = False

    def _contradictions(self) -> Iterator[str]:
        if self.shortest > self.longest:
            yield f"shortest is {self.shortest}, longest {self.longest}"


Stages = Annotated[tuple[Stage, ...], Meta(min_length=1)]


def _too_large(stages: Sequence[Stage], batch_tokens: int, parts: int) -> Iterator[str]:
    for stage in stages:
        if batch_tokens < parts * (stage.longest + 2):
            yield f"batch_tokens is {batch_tokens}, less than {parts} (parts) windows of {stage.longest} nt"


class Recipe(Checked, frozen=True):
    """The settings of a pre-training.

    Args:
        batch_tokens: of one step, over all processes and micro-batches.
        parts: micro-batches of a step; a step's windows and loss do not depend on the number of processes.
        learning_rate: at its peak; it rises linearly for ``warmup_steps`` and falls as a cosine to ``final_share`` of
            the peak at the end of the last stage.
        clip: largest norm of the gradient.
        neighbour_layers: first layers whose heads begin as views of near neighbours; see ``pretrain.initialise``.
        validate_every, save_every: steps.
    """

    name: str
    hidden_size: Count
    layers: Count
    heads: Count
    intermediate_size: Count
    layer_norm_eps: Rate
    stages: Stages
    batch_tokens: Count
    parts: Count
    learning_rate: Rate
    warmup_steps: Count
    final_share: Rate = 0.02
    betas: tuple[Rate, Rate] = (0.9, 0.98)
    weight_decay: Rate = 0.01
    clip: Positive = 1.0
    selected: Rate = 0.15
    unknown: Rate = 0.005
    neighbour_layers: Annotated[int, Meta(ge=0)] = 2
    seed: Seed = 1
    validate_every: Count = 250
    save_every: Count = 250

    def _contradictions(self) -> Iterator[str]:
        if self.neighbour_layers > self.layers:
            yield f"neighbour_layers is {self.neighbour_layers}, layers {self.layers}"
        if self.hidden_size % self.heads:
            yield f"hidden_size is {self.hidden_size}, which {self.heads} heads do not divide"
        yield from _too_large(self.stages, self.batch_tokens, self.parts)

    @property
    def longest(self) -> int:
        """Longest window of any stage, nt: ``max_trained_length`` of the model."""
        return max(stage.longest for stage in self.stages)

    @property
    def tokens(self) -> int:
        """Tokens of all stages."""
        return sum(stage.tokens for stage in self.stages)

    def config(self) -> BertConfig:
        """Return the sizes of the network."""
        return BertConfig(
            len(VOCABULARY), self.hidden_size, self.layers, self.heads, self.intermediate_size, self.longest + 2, 2,
            self.layer_norm_eps, self.longest,
        )  # fmt: skip

    def optimisation(self) -> Optimisation:
        """Return the settings of the loop."""
        return Optimisation(
            self.learning_rate, self.warmup_steps, self.final_share, self.betas, self.weight_decay, self.clip,
            self.validate_every, self.save_every,
        )  # fmt: skip

    def to_json(self) -> str:
        """Return the recipe as text that ``load_recipe`` reads."""
        return json.dumps(msgspec.to_builtins(self), indent=1) + "\n"


MINI = Recipe(
    name="mini", hidden_size=128, layers=6, heads=8, intermediate_size=512, layer_norm_eps=1e-5,
    stages=(  # short windows first: in them a splice site is frequent, and its neighbours' pattern is learned
        Stage(30, 62, 12_000_000, site_share=1.0, anywhere=True),
        Stage(62, 254, 12_000_000, site_share=1.0, anywhere=True),
        Stage(510, 510, 10_000_000, site_share=0.8),
        Stage(64, 1024, 2_000_000, site_share=0.8),
    ),
    batch_tokens=3_072, parts=1, learning_rate=1.5e-3, warmup_steps=200, validate_every=500, save_every=500,
)  # fmt: skip

BASE = Recipe(
    name="base", hidden_size=512, layers=6, heads=16, intermediate_size=2048, layer_norm_eps=1e-12,
    stages=(
        Stage(126, 126, 300_000_000, site_share=0.8, anywhere=True),
        Stage(510, 510, 1_000_000_000, site_share=0.5),
        Stage(64, 1024, 300_000_000, site_share=0.5),
    ),
    batch_tokens=131_072, parts=8, learning_rate=6e-4, warmup_steps=500,
)  # fmt: skip

PRESETS: Mapping[str, Recipe] = MappingProxyType({recipe.name: recipe for recipe in (MINI, BASE)})


def load_recipe(name_or_path: str) -> Recipe:
    """Return a preset, or the recipe of a JSON file.

    Raises:
        SettingsError: neither, or a recipe that cannot be followed.
    """
    if name_or_path in PRESETS:
        return PRESETS[name_or_path]
    example = "as 'pretrain --print-recipe' shows"
    try:
        return msgspec.json.decode(Path(name_or_path).read_bytes(), type=Recipe)
    except OSError as error:
        problem = f"No preset is called {name_or_path!r}, and no recipe file can be read there."
        needed = f"one of {', '.join(PRESETS)}, or a JSON file {example}"
        raise SettingsError(problem, needed=needed, found=str(error)) from error
    except msgspec.DecodeError as error:
        needed, where = f"JSON with the keys {example}", name_or_path
        raise SettingsError("The recipe cannot be read.", needed=needed, found=str(error), where=where) from error


class FineTuneRecipe(Checked, frozen=True):
    """The settings of a fine-tuning on labels of nucleotides.

    Args:
        stages: see ``Stage``; a window drawn around a site has it at any place. The last stage's longest window is the
            model's.
        batch_tokens: of one step.
        site_weight: of a site's loss against that of another nucleotide; probabilities are set right at the end.
        hidden_share: of the windows, those in which a stretch of 15 to 30 nt is masked, so that the model learns to
            answer for oligos that hide a stretch.
        head: ``convolution``, or ``linear`` for transformers' layout.
        frozen: train the head only, and leave the encoder as it was.
        learning_rate: at its peak; see ``Recipe``.
        validate_every: steps between validations; a checkpoint is saved at each.
        patience: validations without a better mean AUPRC after which the training stops; 0 never stops it.
    """

    stages: Stages = (
        Stage(62, 254, 4_000_000, site_share=0.8, anywhere=True),
        Stage(510, 510, 8_000_000, site_share=0.5),
    )
    batch_tokens: Count = 4_096
    parts: Count = 1
    site_weight: Positive = 4.0
    hidden_share: Share = 0.1
    head: Head = "convolution"
    frozen: bool = False
    learning_rate: Rate = 1e-3
    warmup_steps: Count = 200
    final_share: Rate = 0.02
    weight_decay: Rate = 0.01
    clip: Positive = 1.0
    seed: Seed = 1
    validate_every: Count = 400
    patience: Patience = 10

    def _contradictions(self) -> Iterator[str]:
        longest = max(stage.longest for stage in self.stages)
        if self.window != longest:
            yield f"the last stage has windows of {self.window} nt at most, another one of {longest}"
        yield from _too_large(self.stages, self.batch_tokens, self.parts)

    @property
    def window(self) -> int:
        """Nucleotides that the model sees at once."""
        return self.stages[-1].longest

    @property
    def tokens(self) -> int:
        """Tokens of all stages."""
        return sum(stage.tokens for stage in self.stages)

    def optimisation(self) -> Optimisation:
        """Return the settings of the loop."""
        return Optimisation(
            self.learning_rate, self.warmup_steps, self.final_share, (0.9, 0.98), self.weight_decay, self.clip,
            self.validate_every, self.validate_every, "auprc", self.patience,
        )  # fmt: skip


class SequenceRecipe(Checked, frozen=True):
    """The settings of a fine-tuning on whole sequences.

    Args:
        epochs: passes over all sequences at most, on average.
        batch: sequences of one step.
        head, frozen, learning_rate: see ``FineTuneRecipe``.
        warmup_share: of the steps, those in which the learning rate rises.
        patience: epochs without a better figure after which the training stops; 0 never stops it.
    """

    epochs: Count = 20
    batch: Count = 32
    head: Head = "linear"
    frozen: bool = False
    learning_rate: Rate = 3e-4
    warmup_share: Rate = 0.1
    final_share: Rate = 0.02
    weight_decay: Rate = 0.01
    clip: Positive = 1.0
    seed: Seed = 1
    patience: Patience = 5

    def epoch(self, sequences: int) -> int:
        """Return the steps of an epoch; there is a validation after each."""
        return max(1, math.ceil(sequences / self.batch))

    def optimisation(self, sequences: int, watch: str) -> Optimisation:
        """Return the settings of the loop."""
        epoch = self.epoch(sequences)
        warmup = max(1, round(self.warmup_share * self.epochs * epoch))
        return Optimisation(
            self.learning_rate, warmup, self.final_share, (0.9, 0.98), self.weight_decay, self.clip, epoch, epoch,
            watch, self.patience,
        )  # fmt: skip


AnyRecipe = TypeVar("AnyRecipe", Recipe, FineTuneRecipe)


def scaled(recipe: AnyRecipe, tokens: int) -> AnyRecipe:
    """Return the recipe with its stages and warm-up shortened or lengthened in proportion to ``tokens`` in all."""
    share = tokens / recipe.tokens
    replace = msgspec.structs.replace
    stages = tuple(replace(stage, tokens=max(1, round(stage.tokens * share))) for stage in recipe.stages)
    return replace(recipe, stages=stages, warmup_steps=max(1, round(recipe.warmup_steps * share)))


@dataclass(frozen=True, slots=True)
class StepPlan:
    """The windows of a step; ``first_position`` is where on the model's positions they are put."""

    stage: Stage
    width: int
    windows: int
    first_position: int


class StagePlan:
    """The steps of a training's stages."""

    def __init__(self, recipe: Recipe | FineTuneRecipe) -> None:
        self._recipe = recipe
        self._longest = max(stage.longest for stage in recipe.stages)
        # A step has fewer than batch_tokens, since windows are whole: of 510 nt almost as many, of 1,000 at worst 2/3.
        self._ends = list(accumulate(max(1, round(stage.tokens / recipe.batch_tokens)) for stage in recipe.stages))

    @property
    def steps(self) -> int:
        """Steps of all stages."""
        return self._ends[-1]

    def step(self, step: int) -> StepPlan:
        """Return the plan of a step, from the seed and its number alone."""
        recipe = self._recipe
        stage = recipe.stages[bisect_right(self._ends, step)]
        rng = step_rng(recipe.seed, step, recipe.parts)
        width = int(rng.integers(stage.shortest, stage.longest + 1))
        windows = max(1, recipe.batch_tokens // (width + 2) // recipe.parts)
        first = int(rng.integers(self._longest - width + 1)) if stage.anywhere else 0
        return StepPlan(stage, width, windows, first)

    def describe(self, step: int) -> dict[str, float | int | str]:
        """Return the number of the stage, from 1, and the window length, for the log."""
        return {"stage": bisect_right(self._ends, step) + 1, "window": self.step(step).width}
