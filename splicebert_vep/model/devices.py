"""What the machine offers to run a model on."""

from __future__ import annotations

import torch


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
