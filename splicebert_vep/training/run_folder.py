"""A training's folder: recipe, log, checkpoint and curve; what makes it survive being killed at any moment.

==================  ==================================================================================
``recipe.json``     what is trained, and on which corpus; a run that differs is refused
``train.csv``       one line per step
``validation.csv``  one line per validation
``checkpoint.pt``   weights, optimiser and progress; replaced whole, so one is always there
``best.pt``         weights of the best validation; of a task that watches one
``curve.png``       loss against tokens
``model/``          the trained model, in the official layout; there once training is done
``lock``            held by the process that trains; the system lets go of it when that ends, however it ends
==================  ==================================================================================
"""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError
from types import TracebackType

import torch
from torch import nn

from splicebert_vep.errors import ModelError, SettingsError
from splicebert_vep.files import locked, remove_left_over, reporting, whole_or_not

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
