"""Which device and which processes a training has: one, or those that ``torchrun`` started."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist

from splicebert_vep.model.devices import choose_device

from .loop import Processes


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
