"""The training loop of every task: optimiser, learning rate, precision, processes, log, checkpoints, resume.

A task draws its micro-batches from the step's number alone, so a run that was killed continues from its checkpoint with
the windows that it would have had.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..errors import ModelError, SettingsError
from ..files import locked, remove_left_over, reporting, whole_or_not
from ..model.backend import choose_device
from ..model.checkpoint import DAMAGED

IGNORED = -100
"""Target that no loss counts; torch's own default."""


def step_rng(seed: int, step: int, part: int) -> np.random.Generator:
    """Return the random numbers of one part (a micro-batch) of one step."""
    return np.random.Generator(np.random.Philox(key=[seed, (step << 20) + part]))


@dataclass(frozen=True, slots=True)
class Processes:
    """The processes of a run, which ``torchrun`` starts and numbers."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """True for the process that writes files."""
        return self.rank == 0

    def sum(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by its sum over all processes."""
        if self.count > 1:
            for tensor in tensors:
                dist.all_reduce(tensor)

    def check_step(self, step: int, device: torch.device) -> None:
        """Raise a SettingsError if the processes do not all continue from the same step."""
        steps = torch.tensor([step], device=device)
        self.sum([steps])
        if int(steps) != step * self.count:
            problem = f"The processes do not start at the same step: process {self.rank} at {step}."
            raise SettingsError(problem, remedy="give one run folder that all of them see")


def _silent(*_: object) -> None:
    """Report nothing."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The device that trains, the other processes, and the callbacks that report.

    Args:
        half: run the network in bf16 (weights, gradients and loss stay fp32).
        say: receives lines of text.
        progress: receives the name of the work, the steps (or nucleotides) done, and their number in all.
    """

    device: torch.device = torch.device("cpu")
    half: bool = False
    processes: Processes = Processes()
    say: Callable[[str], None] = _silent
    progress: Callable[[str, int, int], None] = _silent


@contextmanager
def open_machine(
    device: str, precision: str, threads: int | None, say: Callable[[str], None],
    progress: Callable[[str, int, int], None] | None = None,
) -> Iterator[Machine]:  # fmt: skip
    """Choose the device of this process, and join the others where torchrun started it; leave them at the end.

    Args:
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        precision: ``fp32``, ``bf16``, or ``auto``: bf16 on a CUDA GPU.
        threads: CPU threads of this process; None for torch's choice.

    Raises:
        SettingsError: the device is not there.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    chosen = choose_device(device)
    half = precision == "bf16" or precision == "auto" and chosen.type == "cuda"
    if not dist.is_torchelastic_launched():
        yield Machine(chosen, half, Processes(), say, progress or _silent)
        return
    if chosen.type == "cuda":
        chosen = torch.device("cuda", int(os.environ["LOCAL_RANK"]))  # set by torchrun
        torch.cuda.set_device(chosen)
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        told = progress if progress and dist.get_rank() == 0 else _silent
        yield Machine(chosen, half, Processes(dist.get_rank(), dist.get_world_size()), say, told)
    finally:
        dist.destroy_process_group()


@dataclass(frozen=True, slots=True)
class Loss:
    """The loss of a micro-batch.

    Args:
        total: over its ``count`` answers, with a gradient, nats.
        correct: number of right answers; a tensor, so that the host does not wait for the device.
        count: answers that count.
        tokens: that went through the network.
        of: answers that ``correct`` is of; None for all that count, 0 where none can be right or wrong.
    """

    total: Tensor
    correct: Tensor
    count: int
    tokens: int
    of: int | None = None


class Task:
    """The work that the loop repeats: a loss by step, and a validation."""

    steps: int
    parts = 1
    """Micro-batches of a step."""

    def loss(self, model: nn.Module, step: int, part: int, device: torch.device) -> Loss:
        """Draw a micro-batch, which must depend on nothing but ``step`` and ``part``, and run it."""
        raise NotImplementedError

    def describe(self, step: int) -> dict[str, float | int | str]:
        """Return columns of the log that describe a step."""
        raise NotImplementedError

    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Measure on held-out data; the same data every time."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Optimisation:
    """The settings of the loop; see ``Recipe``.

    Args:
        watch: figure of a validation that is to grow; the weights with the largest are kept as best. Empty for none.
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


RECIPE, STEPS, VALIDATIONS, CHECKPOINT, BEST, MODEL = (
    "recipe.json", "train.csv", "validation.csv", "checkpoint.pt", "best.pt", "model",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Progress:
    """Steps done, tokens trained on, and seconds taken, over all starts of a run."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0


class RunFolder(ExitStack):
    """The files of a run; a context, in which no other process may train in the folder.

    Args:
        path: made when it is not there.
        identity: determines the run; a folder that began with another is refused.
        writes: False in all but one of several processes.

    Raises:
        SettingsError: the folder holds another run, or another process trains in it.
        OutputError: it cannot be made.
    """

    def __init__(self, path: Path, identity: Mapping[str, object], *, writes: bool = True) -> None:
        super().__init__()
        self.path, self.model, self._writes = path, path / MODEL, writes
        text, recipe = json.dumps(identity, indent=1) + "\n", path / RECIPE
        if recipe.is_file() and recipe.read_text(encoding="utf-8") != text:
            remedy = "give another folder with -O, or the settings that recipe.json shows"
            raise SettingsError("The folder holds a run of another recipe or corpus.", where=str(recipe), remedy=remedy)
        if writes:
            self.enter_context(locked(path, "training"))
            if not recipe.is_file():
                with whole_or_not(recipe) as temporary:
                    temporary.write_text(text, encoding="utf-8")
            remove_left_over(path)

    def resume(self, model: nn.Module, optimiser: torch.optim.Optimizer) -> Progress:
        """Load the checkpoint, if there is one, into model and optimiser (ModelError); cut the logs back to it."""
        progress = Progress()
        if (self.path / CHECKPOINT).is_file():
            with self._reading(CHECKPOINT) as state:
                model.load_state_dict(state["model"])
                optimiser.load_state_dict(state["optimiser"])
                progress = Progress(**state["progress"])
        if self._writes:
            for name in (STEPS, VALIDATIONS):
                self._cut_log(self.path / name, progress.step)
        return progress

    def save(self, model: nn.Module, optimiser: torch.optim.Optimizer, progress: Progress) -> None:
        """Replace the checkpoint; the one before stays if it cannot be written (OutputError)."""
        state = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "progress": asdict(progress)}
        self._write(CHECKPOINT, state)

    def save_best(self, model: nn.Module) -> None:
        """Keep the weights as the best so far; OutputError if they cannot be written."""
        self._write(BEST, model.state_dict())

    def load_best(self, model: nn.Module) -> None:
        """Load the weights that ``save_best`` kept; ModelError if they are missing or damaged."""
        with self._reading(BEST) as state:
            model.load_state_dict(state)

    def since_best(self, watched: str) -> int:
        """Return how many validations there were after the one with the largest ``watched``; ties go to the first."""
        values = [float(row[watched]) for row in read_log(self.path / VALIDATIONS)] if watched else []
        return len(values) - 1 - values.index(max(values)) if values else 0

    def log(self, name: str, row: Mapping[str, object]) -> None:
        """Append a line to ``train.csv`` or ``validation.csv``."""
        file = self.path / name
        with reporting(file):
            new = not file.is_file()
            with file.open("a", encoding="utf-8", newline="") as handle:
                writer = csv.DictWriter(handle, list(row), lineterminator="\n")
                if new:
                    writer.writeheader()
                writer.writerow(row)

    def _cut_log(self, file: Path, step: int) -> None:
        """Drop the lines of steps after the checkpoint, which will be taken again."""
        kept = [row for row in read_log(file) if int(row["step"]) <= step]
        if not kept:
            file.unlink(missing_ok=True)
            return
        with whole_or_not(file) as temporary, temporary.open("w", encoding="utf-8", newline="") as handle:
            writer = csv.DictWriter(handle, list(kept[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(kept)

    def _write(self, name: str, state: Mapping[str, object]) -> None:
        data = io.BytesIO()  # torch reports a full disk as a RuntimeError of its own
        torch.save(state, data)
        with whole_or_not(self.path / name) as temporary:
            temporary.write_bytes(data.getbuffer())

    @contextmanager
    def _reading(self, name: str) -> Iterator[dict[str, Any]]:
        file = self.path / name
        try:
            # On the CPU first: an optimiser moves loaded state to the device of its weights.
            yield torch.load(file, weights_only=True, map_location="cpu")
        except DAMAGED as error:
            found = str(error).splitlines()[0] if str(error) else type(error).__name__
            remedy = "remove it to begin again"
            raise ModelError("The checkpoint cannot be read.", found=found, where=str(file), remedy=remedy) from error


def read_log(file: Path) -> list[dict[str, str]]:
    """Return the whole lines of a log by column; none when it is not there."""
    if not file.is_file():
        return []
    with reporting(file):
        text = file.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]  # without a line that was being written when the run was killed
    return list(csv.DictReader(whole.splitlines()))


def train(model: nn.Module, task: Task, how: Optimisation, folder: RunFolder, machine: Machine) -> None:
    """Train from the folder's checkpoint, or from the start, to the last step or until patience is out.

    Args:
        model: on the device; changed in place.

    Raises:
        SettingsError: the training diverged, or the processes do not share the run's folder.
    """
    device, processes = machine.device, machine.processes
    optimiser = _optimiser(model, how, device)
    so_far = folder.resume(model, optimiser)
    processes.check_step(so_far.step, device)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    began, before = time.monotonic(), so_far
    waited = folder.since_best(how.watch)
    for step in range(so_far.step, task.steps):
        if how.patience and waited >= how.patience:
            at = f"stopped after {step:,} of {task.steps:,} steps"
            machine.say(f"{at}: {waited} validations without a better {how.watch}")
            break
        rate = how.rate(step, task.steps)
        for group in optimiser.param_groups:
            group["lr"] = rate
        optimiser.zero_grad(set_to_none=True)
        totals = _accumulate(model, task, step, machine)
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        processes.sum([totals, *gradients])
        cost, correct, count, tokens, of = totals.tolist()
        for gradient in gradients:  # of the mean over the answers of all parts, which need not have as many each
            gradient /= max(1.0, count)
        norm = float(nn.utils.clip_grad_norm_(parameters, how.clip))
        if not math.isfinite(norm):
            remedy = "choose a smaller learning_rate; the last checkpoint is as it was"
            raise SettingsError(f"The training diverged: a gradient of {norm} at step {step + 1}.", remedy=remedy)
        optimiser.step()
        elapsed = time.monotonic() - began
        so_far = Progress(step + 1, so_far.tokens + int(tokens), before.seconds + elapsed)
        last = step + 1 == task.steps
        if not processes.first:
            continue
        speed = (so_far.tokens - before.tokens) / max(1e-9, elapsed)
        done = {"step": so_far.step, "tokens": so_far.tokens}
        described = {**done, **task.describe(step), "learning_rate": f"{rate:.6g}"}
        measured = {"loss": f"{cost / max(1, count):.6f}", "accuracy": f"{correct / of:.6f}" if of else ""}
        folder.log(STEPS, described | measured | {"gradient_norm": f"{norm:.4f}", "tokens_per_second": f"{speed:.0f}"})
        if last or so_far.step % how.validate_every == 0:
            model.eval()
            found = task.validate(model, device)
            model.train()
            folder.log(VALIDATIONS, {**done, **found})
            waited = folder.since_best(how.watch)
            if how.watch and not waited:
                folder.save_best(model)
            shown = ", ".join(f"{name} {value:.4f}" for name, value in found.items())
            at = f"step {so_far.step:,} of {task.steps:,}, {so_far.tokens:,} tokens, {speed:,.0f} tokens/s"
            machine.say(f"{at}: {shown}")
        if last or so_far.step % how.save_every == 0:
            folder.save(model, optimiser, so_far)
        machine.progress("training", so_far.step, task.steps)


def _accumulate(model: nn.Module, task: Task, step: int, machine: Machine) -> Tensor:
    """Add up the gradients of this process' micro-batches.

    Returns:
        (5,) sum of the loss, right answers, answers that count, tokens, answers that can be right.
    """
    device, processes = machine.device, machine.processes
    exact = torch.float32 if device.type == "mps" else torch.float64  # mps has no float64
    totals = torch.zeros(5, dtype=exact, device=device)
    for part in range(processes.rank, task.parts, processes.count):
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=machine.half):
            loss = task.loss(model, step, part, device)
        loss.total.backward()  # type: ignore[no-untyped-call]
        of = loss.count if loss.of is None else loss.of
        counts = torch.tensor([loss.count, loss.tokens, of], dtype=exact, device=device)
        totals += torch.cat([torch.stack([loss.total.detach(), loss.correct]).to(exact), counts])
    return totals


def _optimiser(model: nn.Module, how: Optimisation, device: torch.device) -> torch.optim.AdamW:
    """Return AdamW that decays matrices only, not biases and gains of norms."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    matrices = [parameter for parameter in trained if parameter.dim() >= 2]
    rest = [parameter for parameter in trained if parameter.dim() < 2]
    groups = [{"params": matrices, "weight_decay": how.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=how.learning_rate, betas=how.betas, eps=1e-6, fused=device.type != "mps")
