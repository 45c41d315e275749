"""Recipes: everything that, with a corpus, determines a trained model; frozen, and kept in the run's folder."""

from __future__ import annotations

import dataclasses
import json
import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from ..errors import SettingsError
from ..model.bert import VOCABULARY, BertConfig
from ..model.classifier import CONVOLUTION, HEADS, LINEAR
from .loop import Optimisation, step_rng

Rule = tuple[str, object, bool]
"""What is held to a rule, its value, and whether it follows it."""


def _check(rules: Iterable[Rule]) -> None:
    wrong = [f"{what}: {value}" for what, value, right in rules if not right]
    if wrong:
        raise SettingsError("The recipe cannot be followed.", found="; ".join(wrong))


def _above_0(recipe: object, *names: str) -> Iterator[Rule]:
    for name in names:
        value = getattr(recipe, name)
        yield name, value, isinstance(value, int) and value > 0


def _shares(recipe: object, *names: str) -> Iterator[Rule]:
    for name in names:
        value = getattr(recipe, name)
        yield name, value, isinstance(value, int | float) and 0 <= value < 1


@dataclass(frozen=True, slots=True)
class Stage:
    """One part of a training: which windows, and how long.

    Args:
        shortest, longest: window length W, nt; every step draws one length between them, for all of its windows.
        tokens: to train on, [CLS] and [SEP] included.
        site_share: of the windows, those drawn around a splice site, 0 to 1.
        anywhere: put each step's windows at a random first position instead of 0, so that short windows train every
            position that the longest windows of the recipe have.
    """

    shortest: int
    longest: int
    tokens: int
    site_share: float
    anywhere: bool = False


def _stage_rules(stage: Stage, batch_tokens: int, parts: int) -> Iterator[Rule]:
    yield "window", f"{stage.shortest}..{stage.longest}", 1 <= stage.shortest <= stage.longest
    yield "tokens of a stage", stage.tokens, stage.tokens > 0
    yield "site_share", stage.site_share, 0 <= stage.site_share <= 1
    yield "batch_tokens by parts", f"{batch_tokens} by {parts}", batch_tokens >= parts * (stage.longest + 2)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a model is trained.

    Args:
        batch_tokens: of one step, over all processes and micro-batches.
        parts: micro-batches of a step; a step's windows and loss are the same whatever number of processes shares them.
        learning_rate: at its peak; it rises linearly for ``warmup_steps`` and falls as a cosine to ``final_share`` of
            the peak at the end of the last stage.
        clip: largest norm of the gradient.
        neighbour_layers: first layers whose heads begin as views of near neighbours; see ``initial.py``.
        validate_every, save_every: steps.
    """

    name: str
    hidden_size: int
    layers: int
    heads: int
    intermediate_size: int
    layer_norm_eps: float
    stages: tuple[Stage, ...]
    batch_tokens: int
    parts: int
    learning_rate: float
    warmup_steps: int
    final_share: float = 0.02
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.01
    clip: float = 1.0
    selected: float = 0.15
    unknown: float = 0.005
    neighbour_layers: int = 2
    seed: int = 1
    validate_every: int = 250
    save_every: int = 250

    def __post_init__(self) -> None:
        """Refuse a recipe that cannot be followed.

        Raises:
            SettingsError: naming every value that breaks a rule.
        """
        _check(self._rules())

    def _rules(self) -> Iterator[Rule]:
        """Yield what is held to a rule, its value, and whether it follows it."""
        counts = ("hidden_size", "layers", "heads", "intermediate_size", "batch_tokens", "parts", "warmup_steps")
        yield from _above_0(self, *counts, "validate_every", "save_every")
        yield from _shares(
            self, "learning_rate", "final_share", "weight_decay", "selected", "unknown", "layer_norm_eps"
        )
        yield "clip", self.clip, isinstance(self.clip, int | float) and 0 <= self.clip < math.inf
        yield "betas", self.betas, len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas)
        yield "seed", self.seed, isinstance(self.seed, int) and 0 <= self.seed < 2**63
        yield "neighbour_layers", self.neighbour_layers, 0 <= self.neighbour_layers <= self.layers
        yield "stages", len(self.stages), len(self.stages) > 0
        for stage in self.stages:
            yield from _stage_rules(stage, self.batch_tokens, self.parts)
        if isinstance(self.heads, int) and self.heads > 0:
            divided = self.hidden_size % self.heads == 0
            yield "hidden_size by heads", f"{self.hidden_size} by {self.heads}", divided

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
            vocab_size=len(VOCABULARY),
            hidden_size=self.hidden_size,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            intermediate_size=self.intermediate_size,
            max_position_embeddings=self.longest + 2,
            type_vocab_size=2,
            layer_norm_eps=self.layer_norm_eps,
            max_trained_length=self.longest,
        )

    def to_json(self) -> str:
        """Return the recipe as text that ``from_json`` reads."""
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str) -> Recipe:
        """Read a recipe.

        Raises:
            SettingsError: not JSON, an unknown or missing key, or a recipe that cannot be followed.
        """
        try:
            raw: dict[str, Any] = json.loads(text)
            stages = tuple(Stage(**stage) for stage in raw.pop("stages"))
            if "betas" in raw:
                raw["betas"] = tuple(raw["betas"])
            return cls(**{**raw, "stages": stages})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise SettingsError(
                "The recipe cannot be read.",
                needed="JSON with the keys that 'pretrain --print-recipe' shows",
                found=str(error),
                where=where,
            ) from error


MINI = Recipe(
    name="mini",
    hidden_size=128,
    layers=6,
    heads=8,
    intermediate_size=512,
    layer_norm_eps=1e-5,
    stages=(  # short windows first: there a splice site is no rare event, and what its neighbours tell is learned
        Stage(30, 62, 12_000_000, site_share=1.0, anywhere=True),
        Stage(62, 254, 12_000_000, site_share=1.0, anywhere=True),
        Stage(510, 510, 10_000_000, site_share=0.8),
        Stage(64, 1024, 2_000_000, site_share=0.8),
    ),
    batch_tokens=3_072,
    parts=1,
    learning_rate=1.5e-3,
    warmup_steps=200,
    validate_every=500,
    save_every=500,
)

BASE = Recipe(
    name="base",
    hidden_size=512,
    layers=6,
    heads=16,
    intermediate_size=2048,
    layer_norm_eps=1e-12,
    stages=(
        Stage(126, 126, 300_000_000, site_share=0.8, anywhere=True),
        Stage(510, 510, 1_000_000_000, site_share=0.5),
        Stage(64, 1024, 300_000_000, site_share=0.5),
    ),
    batch_tokens=131_072,
    parts=8,
    learning_rate=6e-4,
    warmup_steps=500,
)

PRESETS: Mapping[str, Recipe] = MappingProxyType({recipe.name: recipe for recipe in (MINI, BASE)})


def load_recipe(name_or_path: str) -> Recipe:
    """Return a preset, or the recipe of a JSON file.

    Raises:
        SettingsError: neither.
    """
    if name_or_path in PRESETS:
        return PRESETS[name_or_path]
    try:
        text = Path(name_or_path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"No preset is called {name_or_path!r}, and no recipe file can be read there.",
            needed=f"one of {', '.join(PRESETS)}, or a JSON file as 'pretrain --print-recipe' shows",
            found=str(error),
        ) from error
    return Recipe.from_json(text, name_or_path)


@dataclass(frozen=True, slots=True)
class FineTuneRecipe:
    """How a model is fine-tuned.

    Args:
        stages: see ``Stage``; a window drawn around a site has it at any place. The last stage's longest window is the
            model's.
        batch_tokens: of one step.
        site_weight: of a site's loss against that of another nucleotide; probabilities are set right at the end.
        hidden_share: of the windows, those in which a stretch of 15 to 30 nt is masked, so that the model can be asked
            what hiding a stretch does.
        head: what stands on the encoder: ``convolution``, or ``linear`` for transformers' layout.
        frozen: train the head only, and leave the encoder as it was.
        learning_rate: at its peak; see ``Recipe``.
        validate_every: steps between validations; a checkpoint is saved at each.
        patience: validations without a better mean AUPRC after which the training stops; 0 never stops it.
    """

    stages: tuple[Stage, ...] = (
        Stage(62, 254, 4_000_000, site_share=0.8, anywhere=True),
        Stage(510, 510, 8_000_000, site_share=0.5),
    )
    batch_tokens: int = 4_096
    parts: int = 1
    site_weight: float = 4.0
    hidden_share: float = 0.1
    head: str = CONVOLUTION
    frozen: bool = False
    learning_rate: float = 1e-3
    warmup_steps: int = 200
    final_share: float = 0.02
    weight_decay: float = 0.01
    clip: float = 1.0
    seed: int = 1
    validate_every: int = 400
    patience: int = 10

    def __post_init__(self) -> None:
        """Refuse a recipe that cannot be followed.

        Raises:
            SettingsError: naming every value that breaks a rule.
        """
        _check(self._rules())

    def _rules(self) -> Iterator[Rule]:
        yield from _above_0(self, "batch_tokens", "parts", "warmup_steps", "validate_every")
        yield from _shares(self, "learning_rate", "final_share", "weight_decay")
        yield "hidden_share", self.hidden_share, 0 <= self.hidden_share <= 1
        yield "site_weight", self.site_weight, 0 < self.site_weight < math.inf
        yield "clip", self.clip, 0 < self.clip < math.inf
        yield "seed", self.seed, 0 <= self.seed < 2**63
        yield "patience", self.patience, self.patience >= 0
        yield "head", self.head, self.head in HEADS
        yield "stages", len(self.stages), len(self.stages) > 0
        for stage in self.stages:
            yield from _stage_rules(stage, self.batch_tokens, self.parts)
        if self.stages:
            longest = max(stage.longest for stage in self.stages)
            yield "longest window of the last stage", self.window, self.window == longest

    @property
    def window(self) -> int:
        """Nucleotides that the model sees at once."""
        return self.stages[-1].longest

    @property
    def tokens(self) -> int:
        """Tokens of all stages."""
        return sum(stage.tokens for stage in self.stages)

    def optimisation(self) -> Optimisation:
        """Return how the loop takes its steps."""
        return Optimisation(
            learning_rate=self.learning_rate, warmup_steps=self.warmup_steps, final_share=self.final_share,
            betas=(0.9, 0.98), weight_decay=self.weight_decay, clip=self.clip, validate_every=self.validate_every,
            save_every=self.validate_every, watch="auprc", patience=self.patience,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class SequenceRecipe:
    """How a model is fine-tuned on whole sequences.

    Args:
        epochs: how often, on average, every sequence is seen at most.
        batch: sequences of one step.
        head: what stands on the encoder: ``linear`` or ``convolution``.
        frozen: train the head only, and leave the encoder as it was.
        learning_rate: at its peak; see ``Recipe``.
        warmup_share: of the steps, those in which the learning rate rises.
        patience: epochs without a better figure after which the training stops; 0 never stops it.
    """

    epochs: int = 20
    batch: int = 32
    head: str = LINEAR
    frozen: bool = False
    learning_rate: float = 3e-4
    warmup_share: float = 0.1
    final_share: float = 0.02
    weight_decay: float = 0.01
    clip: float = 1.0
    seed: int = 1
    patience: int = 5

    def __post_init__(self) -> None:
        """Refuse a recipe that cannot be followed.

        Raises:
            SettingsError: naming every value that breaks a rule.
        """
        _check(self._rules())

    def _rules(self) -> Iterator[Rule]:
        yield from _above_0(self, "epochs", "batch")
        yield from _shares(self, "learning_rate", "warmup_share", "final_share", "weight_decay")
        yield "clip", self.clip, 0 < self.clip < math.inf
        yield "seed", self.seed, 0 <= self.seed < 2**63
        yield "patience", self.patience, self.patience >= 0
        yield "head", self.head, self.head in HEADS

    def epoch(self, sequences: int) -> int:
        """Return the steps of an epoch; there is a validation after each."""
        return max(1, math.ceil(sequences / self.batch))

    def optimisation(self, sequences: int, watch: str) -> Optimisation:
        """Return how the loop takes its steps."""
        epoch = self.epoch(sequences)
        return Optimisation(
            learning_rate=self.learning_rate, warmup_steps=max(1, round(self.warmup_share * self.epochs * epoch)),
            final_share=self.final_share, betas=(0.9, 0.98), weight_decay=self.weight_decay, clip=self.clip,
            validate_every=epoch, save_every=epoch, watch=watch, patience=self.patience,
        )  # fmt: skip


AnyRecipe = TypeVar("AnyRecipe", Recipe, FineTuneRecipe)


def scaled(recipe: AnyRecipe, tokens: int) -> AnyRecipe:
    """Return the recipe with its stages and warm-up shortened or lengthened in proportion to ``tokens`` in all."""
    share = tokens / recipe.tokens
    stages = tuple(dataclasses.replace(stage, tokens=max(1, round(stage.tokens * share))) for stage in recipe.stages)
    return dataclasses.replace(recipe, stages=stages, warmup_steps=max(1, round(recipe.warmup_steps * share)))


@dataclass(frozen=True, slots=True)
class StepPlan:
    """What a step's windows look like; ``first_position`` is where on the model's positions they are put."""

    stage: Stage
    width: int
    windows: int
    first_position: int


class StagePlan:
    """The steps of a training's stages.

    Args:
        batch_tokens: of one step, over all its ``parts`` micro-batches.
    """

    def __init__(self, stages: Sequence[Stage], *, batch_tokens: int, parts: int, seed: int) -> None:
        self._stages, self._batch_tokens, self._parts, self._seed = stages, batch_tokens, parts, seed
        self._longest = max(stage.longest for stage in stages)
        # A step has fewer than batch_tokens, since windows are whole: of 510 nt almost as many, of 1,000 at worst 2/3.
        self._ends = list(accumulate(max(1, round(s.tokens / batch_tokens)) for s in stages))

    @property
    def steps(self) -> int:
        """Steps of all stages."""
        return self._ends[-1]

    def number(self, step: int) -> int:
        """Return the number of a step's stage, from 0."""
        return bisect_right(self._ends, step)

    def step(self, step: int) -> StepPlan:
        """Return what a step looks like."""
        stage = self._stages[self.number(step)]
        rng = step_rng(self._seed, step, self._parts)
        width = int(rng.integers(stage.shortest, stage.longest + 1))
        windows = max(1, self._batch_tokens // (width + 2) // self._parts)
        first = int(rng.integers(self._longest - width + 1)) if stage.anywhere else 0
        return StepPlan(stage, width, windows, first)

    def describe(self, step: int) -> dict[str, float | int | str]:
        """Name the stage, from 1, and the window length, for the log."""
        return {"stage": self.number(step) + 1, "window": self.step(step).width}
