"""What the machine offers to run a model on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from splicebert_vep.errors import SettingsError

_CPU_TOKENS = 2048  # what a layer writes of so many stays in the processor's cache
_GPU_TOKENS = 65536  # enough to fill one
_FORCE_TF32 = "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"


def devices() -> dict[str, str | None]:
    """Return what is behind ``cpu``, ``cuda`` and ``mps``, in words; None where there is no such device."""
    cuda = mps = None
    threads = torch.get_num_threads()
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
        cuda = f"{', '.join(names)}; CUDA {torch.version.cuda}"
    if torch.backends.mps.is_available():
        mps = "Apple GPU"
    return {"cpu": f"{threads} thread{'' if threads == 1 else 's'}", "cuda": cuda, "mps": mps}


def default_threads() -> int:
    """Return how many CPU threads torch takes on this machine when nobody says."""
    return torch.get_num_threads()


def suited_tokens(device: torch.device) -> int:
    """Return how many tokens in one forward call suit a device."""
    return _CPU_TOKENS if device.type == "cpu" else _GPU_TOKENS


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Compute in fp32 whatever the caller's autocast or TF32 settings are, and leave these as they were."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def choose_device(asked: str) -> torch.device:
    """Return the device for ``auto`` (a CUDA GPU, else the CPU), ``cpu``, ``cuda`` or ``mps``.

    Raises:
        SettingsError: it is not there, or the word is none of these.
    """
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if asked == "auto":
        asked = "cuda" if there["cuda"] else "cpu"
    if asked == "cuda" and os.environ.get(_FORCE_TF32) == "1":
        raise SettingsError(
            f"{_FORCE_TF32} makes CUDA round fp32 to 10 bits, whatever the program asks for.",
            needed="the variable unset",
            found=f"{_FORCE_TF32}=1",
            remedy=f"unset {_FORCE_TF32}",
        )
    if not there.get(asked, False):
        raise SettingsError(
            f"Device {asked} is not available.",
            needed=f"one of auto, {', '.join(name for name in there if there[name])}",
            found=asked,
            remedy="for a GPU install a torch build that supports it, see README",
        )
    return torch.device(asked)
