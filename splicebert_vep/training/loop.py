"""The training loop: steps of a task, with everything that makes a run survive and explain itself.

One loop for every task. A task says how a step's micro-batches look and what they cost; the loop does the rest:
optimiser, learning rate, precision, processes, log, checkpoints.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn

from splicebert_vep.errors import SettingsError

from .run_folder import Progress, RunFolder


@dataclass(frozen=True, slots=True)
class Loss:
    """What a micro-batch cost.

    Args:
        total: over its ``count`` answers, with a gradient, nats.
        correct: how many answers were right; a tensor, so that nobody waits for the device.
        count: answers that count.
        tokens: that went through the network.
        of: answers that ``correct`` is of; None for all that count, 0 where none can be right or wrong.
    """

    total: Tensor
    correct: Tensor
    count: int
    tokens: int
    of: int | None = None


class Task(Protocol):
    """What is learned."""

    @property
    def steps(self) -> int:
        """How many steps the whole training has."""

    @property
    def parts(self) -> int:
        """Micro-batches of a step."""

    def loss(self, model: nn.Module, step: int, part: int, device: torch.device) -> Loss:
        """Draw a micro-batch, which must depend on nothing but ``step`` and ``part``, and run it."""

    def describe(self, step: int) -> dict[str, float | int | str]:
        """Say what is special about a step, for the log."""

    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Measure on held-out data; the same data every time."""


@dataclass(frozen=True, slots=True)
class Optimisation:
    """How steps are taken; see ``Recipe``.

    Args:
        watch: what of a validation is to grow; the weights with the largest are kept as the best. Empty for none.
        patience: validations without a larger one after which the training stops; 0 never stops it.
    """

    learning_rate: float
    warmup_steps: int
    final_share: float
    betas: tuple[float, float]
    weight_decay: float
    clip: float
    validate_every: int
    save_every: int
    watch: str = ""
    patience: int = 0

    def rate(self, step: int, steps: int) -> float:
        """Return the learning rate of a step: linear rise, then a cosine down to ``final_share`` of the peak."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        done = (step - self.warmup_steps) / max(1, steps - self.warmup_steps)
        return self.learning_rate * (self.final_share + (1 - self.final_share) * (1 + math.cos(math.pi * done)) / 2)


@dataclass(frozen=True, slots=True)
class Processes:
    """Who else takes part: ``torchrun`` starts ``count`` processes and numbers them."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes files."""
        return self.rank == 0

    def sum(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by its sum over all processes."""
        if self.count > 1:
            for tensor in tensors:
                dist.all_reduce(tensor)

    def agree(self, step: int, device: torch.device) -> None:
        """See that all processes go on from the same step.

        Raises:
            SettingsError: they do not share the run's folder.
        """
        steps = torch.tensor([step], device=device)
        self.sum([steps])
        if int(steps) != step * self.count:
            raise SettingsError(
                "The processes do not go on from the same step.",
                needed="one run folder that all of them see",
                found=f"step {step} in process {self.rank}",
            )


def train(
    model: nn.Module,
    task: Task,
    how: Optimisation,
    folder: RunFolder,
    *,
    device: torch.device,
    processes: Processes | None = None,
    half: bool = False,
    say: Callable[[str], None] = lambda line: None,
    progress: Callable[[str, int, int], None] | None = None,
) -> None:
    """Train from where the folder's checkpoint is, or from the start, to the last step or until patience is out.

    Args:
        model: on the device; changed in place.
        half: run the network in bf16 (weights, gradients and loss stay fp32).
        say: told once per validation how it goes.
        progress: told which step is done, and of how many.

    Raises:
        SettingsError: more processes than micro-batches, or the training diverged.
    """
    processes = processes or Processes()
    optimiser = _optimiser(model, how, device)
    so_far = folder.resume(model, optimiser)
    processes.agree(so_far.step, device)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    mine = range(processes.rank, task.parts, processes.count)
    exact = torch.float32 if device.type == "mps" else torch.float64  # mps has no float64
    began, before = time.monotonic(), so_far
    waited = folder.since_best(how.watch)
    for step in range(so_far.step, task.steps):
        if how.patience and waited >= how.patience:
            say(f"stopped after {step:,} of {task.steps:,} steps: {waited} validations without a better {how.watch}")
            break
        rate = how.rate(step, task.steps)
        for group in optimiser.param_groups:
            group["lr"] = rate
        optimiser.zero_grad(set_to_none=True)
        totals = torch.zeros(5, dtype=exact, device=device)  # loss, correct, count, tokens, answers that can be right
        for part in mine:
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
                loss = task.loss(model, step, part, device)
            loss.total.backward()  # type: ignore[no-untyped-call]
            of = loss.count if loss.of is None else loss.of
            counts = torch.tensor([loss.count, loss.tokens, of], dtype=exact, device=device)
            totals += torch.cat([torch.stack([loss.total.detach(), loss.correct]).to(exact), counts])
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        processes.sum([totals, *gradients])
        cost, correct, count, tokens, of = totals.tolist()
        for gradient in gradients:  # of the mean over the answers of all parts, which need not have as many each
            gradient /= max(1.0, count)
        norm = nn.utils.clip_grad_norm_(parameters, how.clip)
        if not math.isfinite(norm):
            raise SettingsError(
                "The training diverged.",
                needed="a finite gradient",
                found=f"{float(norm)} at step {step + 1}",
                remedy="choose a smaller learning_rate; the last checkpoint is as it was",
            )
        optimiser.step()
        elapsed = time.monotonic() - began
        so_far = Progress(step + 1, so_far.tokens + int(tokens), before.seconds + elapsed)
        last = step + 1 == task.steps
        if processes.first:
            speed = (so_far.tokens - before.tokens) / max(1e-9, elapsed)
            folder.log_step(
                {
                    "step": step + 1,
                    "tokens": so_far.tokens,
                    **task.describe(step),
                    "learning_rate": f"{rate:.6g}",
                    "loss": f"{cost / max(1, count):.6f}",
                    "accuracy": f"{correct / of:.6f}" if of else "",
                    "gradient_norm": f"{float(norm):.4f}",
                    "tokens_per_second": f"{speed:.0f}",
                }
            )
            if last or (step + 1) % how.validate_every == 0:
                model.eval()
                measured = task.validate(model, device)
                model.train()
                folder.log_validation({"step": step + 1, "tokens": so_far.tokens, **measured})
                shown = ", ".join(f"{name} {value:.4f}" for name, value in measured.items())
                waited = folder.since_best(how.watch)
                if how.watch and not waited:
                    folder.save_best(model)
                say(f"step {step + 1:,} of {task.steps:,}, {so_far.tokens:,} tokens, {speed:,.0f} tokens/s: {shown}")
            if last or (step + 1) % how.save_every == 0:
                folder.save(model, optimiser, so_far)
            if progress:
                progress("training", step + 1, task.steps)


def _optimiser(model: nn.Module, how: Optimisation, device: torch.device) -> torch.optim.AdamW:
    """Return AdamW that decays matrices only: a bias or a norm's gain has no size to keep small."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    matrices = [parameter for parameter in trained if parameter.dim() >= 2]
    rest = [parameter for parameter in trained if parameter.dim() < 2]
    groups = [{"params": matrices, "weight_decay": how.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=how.learning_rate, betas=how.betas, eps=1e-6, fused=device.type != "mps")
