"""What the windows of each training step look like, from the seed and the step's number alone."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from .recipe import Stage
from .sampling import step_rng


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
