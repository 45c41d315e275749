"""The training loop: steps of a task, with everything that makes a run survive and explain itself.

One loop for every task. A task says how a step's micro-batches look and what they cost; the loop does the rest:
optimiser, learning rate, precision, processes, log, checkpoints.
"""

from __future__ import annotations

import contextlib
import csv
import io
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError
from types import TracebackType
from typing import Protocol

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from splicebert_vep_spec import MASK, A, N, T

from ..errors import CorpusError, ModelError, SettingsError, require
from ..files import locked, remove_left_over, reporting, whole_or_not
from ..genome.gene_table import HAS_ACCEPTOR, HAS_DONOR
from ..model.backend import choose_device
from ..sequence.tokens import Tokens, with_special
from .corpus import Corpus, Ints

_SPECIAL = 1  # [CLS] stands before the first nucleotide


@dataclass(frozen=True, eq=False)
class MaskedBatch:
    """What one forward and backward pass reads: B windows, P selected nucleotides in each.

    Args:
        tokens: (B, W + 2) uint8, ``[CLS] x1..xW [SEP]`` with selected nucleotides hidden, changed or kept.
        positions: (B, P) int64, token indices of the selected nucleotides, ascending.
        targets: (B, P) int64, what was there; -100 where the window had too few nucleotides to select.
    """

    tokens: Tokens
    positions: Ints
    targets: Ints


IGNORED = -100
"""Target that no loss counts; torch's own default."""


class WindowSampler:
    """Draw windows of the genes that are, or are not, held out.

    A window lies inside one gene. A share of them hold a splice site, at any place in the window; the others start
    anywhere with equal chance.

    Args:
        corpus: the genes.
        held_out: draw from the held-out genes instead of the others.
    """

    def __init__(self, corpus: Corpus, *, held_out: bool = False) -> None:
        self._kind = "held-out gene" if held_out else "gene to train on"
        self._bases = corpus.bases
        chosen = np.flatnonzero(corpus.held_out == held_out)
        self._starts, self._lengths = corpus.offsets[:-1][chosen], np.diff(corpus.offsets)[chosen]
        donor = corpus.exon_end[(corpus.exon_flags & HAS_DONOR) > 0]
        acceptor = corpus.exon_start[(corpus.exon_flags & HAS_ACCEPTOR) > 0]
        junctions = np.unique(np.concatenate([donor, acceptor]))
        gene = np.searchsorted(corpus.offsets, junctions, side="right") - 1
        kept = corpus.held_out[gene] == held_out
        self._junctions = junctions[kept]
        self._junction_start = corpus.offsets[gene[kept]]
        self._junction_end = corpus.offsets[gene[kept] + 1]

    def draw(self, rng: np.random.Generator, count: int, width: int, site_share: float) -> Tokens:
        """Return windows, (count, width) uint8.

        Args:
            site_share: of the windows, those drawn around a splice site, 0 to 1.

        Raises:
            CorpusError: no gene is as long as a window.
        """
        near = int(np.count_nonzero(rng.random(count) < site_share))
        starts = np.concatenate([self._anywhere(rng, count - near, width), self._around(rng, near, width)])
        return self._bases[starts[:, None] + np.arange(width)]

    def _anywhere(self, rng: np.random.Generator, count: int, width: int) -> Ints:
        room = np.maximum(self._lengths - width + 1, 0)
        if not room.any():
            raise CorpusError(
                f"No {self._kind} of the corpus is as long as a window.",
                needed=f"one of at least {width} nt",
                found=f"{len(room)} of at most {max(self._lengths, default=0)} nt",
                remedy="make the corpus from more sequence or with another --held-out, or choose shorter windows",
            )
        return anywhere(rng, self._starts, room, count)

    def _around(self, rng: np.random.Generator, count: int, width: int) -> Ints:
        fits = np.flatnonzero(self._junction_end - self._junction_start >= width)
        if count and not len(fits):
            raise CorpusError(
                f"No {self._kind} of the corpus with a splice site is as long as a window.",
                needed=f"one of at least {width} nt",
                found=f"{len(self._junctions)} splice sites in shorter genes",
                remedy="make the corpus from more sequence or with another --held-out, or choose shorter windows",
            )
        if not count:
            return np.empty(0, dtype=np.int64)
        row = fits[rng.integers(len(fits), size=count)]
        start = self._junctions[row] - rng.integers(1, width, size=count)
        starts: Ints = np.clip(start, self._junction_start[row], self._junction_end[row] - width)
        return starts


def anywhere(rng: np.random.Generator, starts: Ints, room: Ints, count: int) -> Ints:
    """Draw starts of windows, (count,), each with equal chance.

    Args:
        starts: (S,) where each stretch of an axis starts.
        room: (S,) how many windows it has room for; not 0 for all.
    """
    reach = np.cumsum(room)
    at = rng.integers(reach[-1], size=count)
    row = np.searchsorted(reach, at, side="right")
    drawn: Ints = starts[row] + at - (reach[row] - room[row])
    return drawn


def step_rng(seed: int, step: int, part: int) -> np.random.Generator:
    """Return the random numbers of one part (a micro-batch) of one step."""
    return np.random.Generator(np.random.Philox(key=[seed, (step << 20) + part]))


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
    count, width = windows.shape
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
    return MaskedBatch(with_special(shown), positions + _SPECIAL, targets)


_WINDOWS, _BATCH = 64, 16

Answers = Callable[[MaskedBatch], Tensor]
"""Runs a model on a batch and returns its logits at the selected nucleotides, (B, P, V)."""


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the sum of -ln p(truth), nats, with p over the whole vocabulary, from (B, P, V) and (B, P)."""
    return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED, reduction="sum")


def correct(logits: Tensor, targets: Tensor) -> Tensor:
    """Return how many selected nucleotides were guessed right."""
    return (logits.argmax(dim=-1) == targets).sum()


def held_out_batches(
    sampler: WindowSampler, width: int, windows: int = _WINDOWS
) -> Mapping[str, Sequence[MaskedBatch]]:
    """Draw windows ``anywhere`` in genes and around ``sites``, the same ones at every call, with no N put in."""
    found = {}
    for name, share in (("anywhere", 0.0), ("sites", 1.0)):
        rng = np.random.default_rng(0)
        drawn = sampler.draw(rng, windows, width, share)
        found[name] = [mask_windows(rng, drawn[at : at + _BATCH], unknown=0.0) for at in range(0, windows, _BATCH)]
    return found


def measure(answers: Answers, batches: Mapping[str, Sequence[MaskedBatch]]) -> dict[str, float]:
    """Return loss (nats) and accuracy of a model on batches, by their name."""
    measured = {}
    for name, drawn in batches.items():
        cost = right = count = 0.0
        for batch in drawn:
            logits, targets = answers(batch), torch.from_numpy(batch.targets)
            cost += float(cross_entropy(logits, targets.to(logits.device)))
            right += float(correct(logits, targets.to(logits.device)))
            count += np.count_nonzero(batch.targets != IGNORED)
        measured[f"{name}_loss"], measured[f"{name}_accuracy"] = round(cost / count, 6), round(right / count, 6)
    return measured


@contextmanager
def joined(device: str, threads: int | None) -> Iterator[tuple[torch.device, Processes]]:
    """Give the device of this process and its place among the others; leave the group at the end.

    Args:
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        threads: CPU threads of this process; None for torch's choice.

    Raises:
        SettingsError: the device is not there.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    chosen = choose_device(device)
    if not dist.is_torchelastic_launched():
        yield chosen, Processes()
        return
    if chosen.type == "cuda":
        chosen = torch.device("cuda", int(os.environ["LOCAL_RANK"]))  # set by torchrun
        torch.cuda.set_device(chosen)
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield chosen, Processes(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


RECIPE, STEPS, VALIDATIONS, CHECKPOINT, BEST, CURVE, MODEL = (
    "recipe.json", "train.csv", "validation.csv", "checkpoint.pt", "best.pt", "curve.png", "model",
)  # fmt: skip

# What a cut or foreign file makes torch raise.
_DAMAGED = (OSError, EOFError, RuntimeError, LookupError, ValueError, TypeError, UnpicklingError)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: steps done, tokens trained on, seconds that took, over all its starts."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0


class RunFolder:
    """Keep what a run writes; a context, in which the folder is this process's alone.

    Args:
        path: made when it is not there.
        identity: text that determines the run; a folder that began with another is refused.
        writes: False in all but one of several processes.

    Raises:
        SettingsError: the folder holds another run, or another process trains in it.
        OutputError: it cannot be made.
    """

    def __init__(self, path: Path, identity: str, *, writes: bool = True) -> None:
        self.path = path
        self._writes = writes
        self._lock = contextlib.ExitStack()
        recipe = path / RECIPE
        if recipe.is_file() and recipe.read_text(encoding="utf-8") != identity:
            raise SettingsError(
                "The folder holds a run with another recipe or corpus.",
                needed="the recipe and corpus that the run began with, to go on with it",
                found="another",
                where=str(recipe),
                remedy="give another folder with -O, or the settings that recipe.json shows",
            )
        if not writes:
            return
        self._lock.enter_context(locked(path, "training"))
        if not recipe.is_file():
            _write_text(recipe, identity)
        remove_left_over(path)

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.close()

    @property
    def model(self) -> Path:
        """Where the trained model goes."""
        return self.path / MODEL

    def resume(self, model: nn.Module, optimiser: torch.optim.Optimizer) -> Progress:
        """Load the checkpoint, if there is one, into model and optimiser; cut the logs back to it.

        Raises:
            ModelError: the checkpoint is damaged.
        """
        file = self.path / CHECKPOINT
        progress = Progress()
        if file.is_file():
            with _telling(file):
                # On the CPU first: an optimiser moves what it loads to where its weights are.
                state = torch.load(file, weights_only=True, map_location="cpu")
                model.load_state_dict(state["model"])
                optimiser.load_state_dict(state["optimiser"])
                progress = Progress(**state["progress"])
        if self._writes:
            for name in (STEPS, VALIDATIONS):
                _cut_log(self.path / name, progress.step)
        return progress

    def save(self, model: nn.Module, optimiser: torch.optim.Optimizer, progress: Progress) -> None:
        """Replace the checkpoint.

        Raises:
            OutputError: it cannot be written; the one before stays.
        """
        state = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "progress": asdict(progress)}
        data = io.BytesIO()  # torch reports a full disk as a RuntimeError of its own
        torch.save(state, data)
        with whole_or_not(self.path / CHECKPOINT) as temporary:
            temporary.write_bytes(data.getbuffer())

    def since_best(self, watched: str) -> int:
        """Return how many validations there were after the one with the largest ``watched``; ties go to the first."""
        values = [float(row[watched]) for row in read_log(self.path / VALIDATIONS)] if watched else []
        return len(values) - 1 - values.index(max(values)) if values else 0

    def save_best(self, model: nn.Module) -> None:
        """Keep the weights as the best so far.

        Raises:
            OutputError: they cannot be written.
        """
        data = io.BytesIO()
        torch.save(model.state_dict(), data)
        with whole_or_not(self.path / BEST) as temporary:
            temporary.write_bytes(data.getbuffer())

    def load_best(self, model: nn.Module) -> None:
        """Load the weights that ``save_best`` kept.

        Raises:
            ModelError: they are missing or damaged.
        """
        with _telling(self.path / BEST):
            model.load_state_dict(torch.load(self.path / BEST, weights_only=True, map_location="cpu"))

    def log_step(self, row: Mapping[str, object]) -> None:
        """Append a line to ``train.csv``."""
        _append(self.path / STEPS, row)

    def log_validation(self, row: Mapping[str, object]) -> None:
        """Append a line to ``validation.csv``."""
        _append(self.path / VALIDATIONS, row)


@contextlib.contextmanager
def _telling(file: Path) -> Iterator[None]:
    """Say of which file it is when weights cannot be read."""
    try:
        yield
    except _DAMAGED as error:
        raise ModelError(
            "The checkpoint cannot be read.",
            needed="a checkpoint of this run",
            found=str(error).splitlines()[0] if str(error) else type(error).__name__,
            where=str(file),
            remedy="remove it to begin again",
        ) from error


def read_log(file: Path) -> list[dict[str, str]]:
    """Return the whole lines of a log by column; none when it is not there.

    Raises:
        OutputError: it cannot be read.
    """
    if not file.is_file():
        return []
    with reporting(file):
        text = file.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]  # a line that was being written when the run was killed
    return list(csv.DictReader(whole.splitlines()))


def _append(file: Path, row: Mapping[str, object]) -> None:
    with reporting(file):
        new = not file.is_file()
        with file.open("a", encoding="utf-8", newline="") as handle:
            writer = csv.DictWriter(handle, list(row), lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow(row)


def _cut_log(file: Path, step: int) -> None:
    """Drop the lines of steps after the checkpoint, which will be taken again."""
    rows = read_log(file)
    kept = [row for row in rows if int(row["step"]) <= step]
    if not kept:
        file.unlink(missing_ok=True)
        return
    with whole_or_not(file) as temporary, temporary.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, list(kept[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(kept)


def _write_text(file: Path, text: str) -> None:
    with whole_or_not(file) as temporary:
        temporary.write_text(text, encoding="utf-8")


_SMOOTHED = 50  # steps


def draw_curve(path: Path) -> Path:
    """Draw ``curve.png`` of a run's folder from its logs, and return it.

    Raises:
        SettingsError: matplotlib is not installed, or there is nothing to draw yet.
        OutputError: it cannot be written.
    """
    require("matplotlib")
    from matplotlib.figure import Figure

    steps, validations = read_log(path / STEPS), read_log(path / VALIDATIONS)
    if not steps:
        raise SettingsError("The run has no log yet.", needed=STEPS, found="nothing", where=str(path))
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    tokens = [int(row["tokens"]) / 1e6 for row in steps]
    losses = [float(row["loss"]) for row in steps]
    smooth = [sum(part := losses[max(0, i - _SMOOTHED + 1) : i + 1]) / len(part) for i in range(len(losses))]
    axes.plot(tokens, smooth, linewidth=0.8, label=f"training, mean of {_SMOOTHED} steps")
    for key, label in (("anywhere_loss", "held-out genes, anywhere"), ("sites_loss", "held-out genes, around sites")):
        rows = [row for row in validations if key in row]
        axes.plot(
            [int(row["tokens"]) / 1e6 for row in rows], [float(row[key]) for row in rows], "o-", ms=3, label=label
        )
    stages = [row["stage"] for row in steps]
    for at in range(1, len(stages)):
        if stages[at] != stages[at - 1]:
            axes.axvline(tokens[at], color="grey", linewidth=0.6, linestyle=":")
    floor = min(smooth)
    axes.set(xlabel="tokens, millions", ylabel="loss, nats per masked nucleotide", ylim=(floor - 0.02, 1.42))
    axes.legend()
    axes.grid(alpha=0.3)
    with whole_or_not(path / CURVE) as temporary:
        figure.savefig(temporary, format="png", dpi=150)
    return path / CURVE


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
