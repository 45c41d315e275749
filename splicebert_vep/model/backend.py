"""The torch backend: the network on a device, in fp32 or, where that ranks variants the same, in half precision."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from splicebert_vep_spec import CLS, NUCLEOTIDES, SEP, A, Backend, BackendInfo, BackendOptions, BackendOutput

from ..errors import SettingsError
from .bert import BertOutput, SpliceBert, pick
from .checkpoint import load_checkpoint
from .registry import MODELS, check_known, quality_note, resolve_model, worth_of

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
AGREEMENT = 0.999
"""Least rank correlation with fp32 of the context score, whose logarithm of small divergences suffers first."""

_PAIRS = 256
_PAIRS_PER_CALL = 16
_FLANK = 100

_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")
Forward = Callable[[NDArray[np.uint8], NDArray[np.int64]], BackendOutput]


def agreement(exact: Forward, half: Forward, width: int) -> float:
    """Return Spearman's correlation of the context score of random SNVs between two precisions; 0 with a NaN.

    Args:
        exact, half: the same network's ``forward`` in fp32 and in the other precision.
        width: W of the windows, at least 3.
    """
    scores = [np.concatenate(list(_context_scores(forward, width))) for forward in (exact, half)]
    if not np.isfinite(scores).all():
        return 0.0
    first, second = (np.argsort(np.argsort(score)) for score in scores)
    return float(np.corrcoef(first, second)[0, 1])


def _context_scores(forward: Forward, width: int) -> Iterator[NDArray[np.float64]]:
    rng = np.random.default_rng(0)
    middle, flank = width // 2, min(_FLANK, (width - 1) // 2)
    d = np.arange(1, flank + 1)
    read = np.concatenate([middle - d, middle + d])
    for _ in range(0, _PAIRS, _PAIRS_PER_CALL):
        ref = rng.integers(4, size=(_PAIRS_PER_CALL, width))
        alt = ref.copy()
        alt[:, middle] = (ref[:, middle] + rng.integers(1, 4, _PAIRS_PER_CALL)) % 4
        both = np.pad(A + np.concatenate([ref, alt]), ((0, 0), (1, 1)), constant_values=((0, 0), (CLS, SEP)))
        out = forward(both.astype(np.uint8), np.tile(read + 1, (len(both), 1)))
        p, q = torch.log_softmax(out.logits[..., NUCLEOTIDES].double(), dim=-1).cpu().chunk(2)
        kl = (q.exp() * (q - p)).sum(dim=-1)
        yield ((kl[:, :flank] + kl[:, flank:]) / 2).clamp(min=1e-6).log().mean(dim=1).numpy()


_CPU_TOKENS = 2048  # a layer's output for so many stays in the processor's cache
_GPU_TOKENS = 65536  # enough to occupy a GPU
_FORCE_TF32 = "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"


def devices() -> dict[str, str | None]:
    """Describe the devices ``cpu``, ``cuda`` and ``mps``; None where there is no such device."""
    cuda = mps = None
    threads = default_threads()
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
        cuda = f"{', '.join(names)}; CUDA {torch.version.cuda}"
    if torch.backends.mps.is_available():
        mps = "Apple GPU"
    return {"cpu": f"{threads} thread{'' if threads == 1 else 's'}", "cuda": cuda, "mps": mps}


#: Torch's own number of CPU threads, before ``Cores`` gives it one.
_THREADS = torch.get_num_threads()


def default_threads() -> int:
    """Return torch's default number of CPU threads on this machine."""
    return _THREADS


class Cores:
    """Share work among CPU cores, each with one thread of torch of its own.

    Threads of one operation wait for each other at its end: beside other programs, which take a core from one of them
    now and then, all wait. Pieces of work that know nothing of each other lose only their own share of a core.

    Args:
        device: on another one than the CPU nothing is shared.
        threads: cores to use; None takes torch's number of threads.
    """

    def __init__(self, device: torch.device, threads: int | None = None) -> None:
        self.count = (threads or default_threads()) if device.type == "cpu" else 1
        self._pool: ThreadPoolExecutor | None = None
        if device.type == "cpu":
            torch.set_num_threads(1)
        if self.count > 1:
            self._pool = ThreadPoolExecutor(self.count, initializer=torch.set_num_threads, initargs=(1,))

    def map(self, work: Callable[[_Item], _Answer], items: Iterable[_Item]) -> list[_Answer]:
        """Return what the work makes of each item, in order; an error of any is raised."""
        waiting = list(items)
        if self._pool is None or len(waiting) < 2:
            return [_alone(work, item) for item in waiting]
        return list(self._pool.map(partial(_alone, work), waiting))


@torch.inference_mode()
def _alone(work: Callable[[_Item], _Answer], item: _Item) -> _Answer:
    return work(item)


def suited_tokens(device: torch.device, cores: int = 1) -> int:
    """Return the number of tokens in one forward call that suits a device."""
    return _CPU_TOKENS * cores if device.type == "cpu" else _GPU_TOKENS


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Compute in fp32, despite the caller's autocast and TF32 settings, which are restored at the end.

    On CUDA convolutions have a setting of their own, and TF32 is its default.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with _exact_convolutions(), torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def _exact_convolutions() -> Iterator[None]:
    cudnn: Any = torch.backends.cudnn
    # From torch 2.9 on, reading allow_tf32 is an error where the caller has set fp32_precision.
    where, name, exact = (
        (cudnn.conv, "fp32_precision", "ieee") if hasattr(cudnn, "conv") else (cudnn, "allow_tf32", False)
    )
    before = getattr(where, name)
    setattr(where, name, exact)
    try:
        yield
    finally:
        setattr(where, name, before)


def choose_device(asked: str) -> torch.device:
    """Return the device for ``auto`` (a CUDA GPU, else the CPU), ``cpu``, ``cuda`` or ``mps``.

    Raises:
        SettingsError: it is not there, or the word is none of these.
    """
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if asked == "auto":
        asked = "cuda" if there["cuda"] else "cpu"
    if asked == "cuda" and os.environ.get(_FORCE_TF32) == "1":
        problem = f"{_FORCE_TF32}=1 makes CUDA round fp32 to 10 bits, against the program's settings."
        raise SettingsError(problem, remedy=f"unset {_FORCE_TF32}")
    if not there.get(asked, False):
        needed = f"one of auto, {', '.join(name for name in there if there[name])}"
        remedy = "for a GPU install a torch build that supports it, see README"
        raise SettingsError(f"Device {asked} is not available.", needed=needed, remedy=remedy)
    return torch.device(asked)


_CHECK_WIDTH = 510


class TorchBackend(Backend):
    """Run a checkpoint (``--backend torch``).

    Args:
        options: model name or folder, device, number of threads and precision. ``auto`` is fp32 on a CPU; on a CUDA
            GPU the first of fp16 and bf16 whose context scores rank random SNVs as fp32's do (Spearman >= 0.999).

    Raises:
        ModelError: the model is unknown, not pulled yet, or its folder is incomplete or wrong.
        SettingsError: the device is not there, or the precision is unknown.
    """

    name = "torch"
    version = "1"

    def __init__(self, options: BackendOptions) -> None:
        self._device = choose_device(options.device)
        self._cores = Cores(self._device, options.threads)
        folder = resolve_model(options.model)
        loaded = load_checkpoint(folder)
        if options.model in MODELS:
            check_known(loaded, MODELS[options.model])
        width = loaded.fixed_window or min(_CHECK_WIDTH, loaded.max_window)
        self._model, precision = self._choose(loaded.model.to(self._device), options.precision, width)
        self.layers, self.heads = loaded.config.num_hidden_layers, loaded.config.num_attention_heads
        self.info = BackendInfo(
            options.model if options.model in MODELS else folder.name, loaded.weights_sha256, loaded.max_window,
            loaded.fixed_window, loaded.config.hidden_size, loaded.architecture, precision, self._device.type,
            quality_note(folder) or "", suited_tokens(self._device, self._cores.count), worth_of(folder),
        )  # fmt: skip

    @classmethod
    def open(cls, options: BackendOptions) -> TorchBackend:
        """Load the model; raises as the class."""
        return cls(options)

    def _choose(self, exact: SpliceBert, asked: str, width: int) -> tuple[SpliceBert, str]:
        """Return the network in the precision to compute in, and its name."""
        for precision in _candidates(asked, self._device):
            model = exact if precision == "fp32" else deepcopy(exact).to(DTYPES[precision])
            if asked != "auto" or precision == "fp32":
                break
            if agreement(partial(self._answer, exact), partial(self._answer, model), width) >= AGREEMENT:
                break
        return model, precision

    def forward(self, tokens: NDArray[np.uint8], positions: NDArray[np.int64]) -> BackendOutput:
        """Return logits (N, P, V) and last hidden states (N, P, H) at token positions (N, P), as float32."""
        rows = np.array_split(np.arange(len(tokens)), max(1, min(self._cores.count, len(tokens))))
        parts = self._cores.map(lambda some: self._answer(self._model, tokens[some], positions[some]), rows)
        if len(parts) == 1:
            return parts[0]
        return BackendOutput(torch.cat([part.logits for part in parts]), torch.cat([part.hidden for part in parts]))

    def hidden_states(
        self, tokens: NDArray[np.uint8], positions: NDArray[np.int64], layers: Sequence[int]
    ) -> torch.Tensor:
        """Return hidden states (layers, N, P, H) at token positions (N, P), as float32; layer 0 is the embeddings."""
        out = self._run(self._model, self._to(tokens), output_hidden_states=True)
        assert out.all_hidden is not None
        at = self._to(positions)
        return torch.stack([pick(out.all_hidden[layer], at).float() for layer in layers])

    def attention(self, tokens: NDArray[np.uint8], positions: NDArray[np.int64], layers: Sequence[int]) -> torch.Tensor:
        """Return the weights, (layers, N, heads, P, W + 2), with which token positions (N, P) attend to all tokens."""
        return self._run(self._model.attention, self._to(tokens), self._to(positions), layers)

    @torch.inference_mode()
    def _run(self, call: Callable[..., _Answer], *arguments: Any, **options: Any) -> _Answer:
        with full_precision(self._device):
            return call(*arguments, **options)

    def _to(self, array: NDArray[Any]) -> torch.Tensor:
        tensor = torch.from_numpy(array.astype(np.int64, copy=False))
        if self._device.type == "cuda":  # from pinned memory, so that the host goes on at once
            return tensor.pin_memory().to(self._device, non_blocking=True)
        return tensor.to(self._device)

    def _answer(self, model: SpliceBert, tokens: NDArray[np.uint8], positions: NDArray[np.int64]) -> BackendOutput:
        return self._output(self._run(model, self._to(tokens), self._to(positions)))

    def _output(self, out: BertOutput) -> BackendOutput:
        logits, hidden = out.logits.float(), out.hidden.float()
        if self._device.type == "mps":  # it has no float64, which the scores are computed in
            return BackendOutput(logits.cpu(), hidden.cpu())
        return BackendOutput(logits, hidden)


def _candidates(asked: str, device: torch.device) -> tuple[str, ...]:
    """Return the precisions to try, in order.

    Raises:
        SettingsError: the word is none of them.
    """
    if asked == "auto":
        return ("fp16", "bf16", "fp32") if device.type == "cuda" else ("fp32",)
    if asked not in DTYPES:
        raise SettingsError("An unknown precision was asked for.", needed=f"auto, {', '.join(DTYPES)}", found=asked)
    return (asked,)
