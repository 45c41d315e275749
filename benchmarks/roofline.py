"""How near the engine comes to what the processor can multiply.

    python benchmarks/roofline.py --window 510
    python benchmarks/roofline.py --window 510 --window 1022 --device cuda --precision bf16

The engine's rate counts the network's own multiplications and additions (projections, feed-forward, attention) of
whole windows, none of the softmax, GELU or normalisation in between; the ceiling is the largest rate of a square or
of the network's own matrix products, measured in turns with it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import torch
from common import machine, median, print_table, say, show

from splicebert_vep.model.backend import TorchBackend
from splicebert_vep.model.bert import BertConfig, SpliceBert
from splicebert_vep.model.checkpoint import save_checkpoint
from splicebert_vep_spec import CLS, SEP, A, BackendOptions, T

OFFICIAL = BertConfig(
    vocab_size=10, hidden_size=512, num_hidden_layers=6, num_attention_heads=16, intermediate_size=2048,
    max_position_embeddings=1026, type_vocab_size=2, layer_norm_eps=1e-12, max_trained_length=1024,
)  # fmt: skip
SQUARES = (2048, 4096)
HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


def official_size(folder: Path, seed: int = 0) -> Path:
    """Write random weights of the official size, on the scale that BERT starts with."""
    generator = torch.Generator().manual_seed(seed)
    model = SpliceBert(OFFICIAL)
    for name, parameter in model.named_parameters():
        if parameter.dim() == 2:
            torch.nn.init.normal_(parameter, std=0.02, generator=generator)
        else:
            torch.nn.init.constant_(parameter, 1.0 if name.endswith("norm.weight") else 0.0)
    save_checkpoint(model, folder)
    return folder


def flops(config: BertConfig, tokens: int) -> float:
    """Return the multiplications and additions of a whole window of so many tokens, MLM head included."""
    size, inner = config.hidden_size, config.intermediate_size
    per_token = 2 * (4 * size * size + 2 * size * inner) + 4 * tokens * size
    head = 2 * (size * size + size * config.vocab_size)
    return float(tokens * (config.num_hidden_layers * per_token + head))


def rate(work: float, call: Callable[[], object], device: torch.device, at_least: float) -> float:
    """Return operations per second, of as many calls as take the time."""
    call()
    wait(device)
    calls, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < at_least or not calls:
        call()
        wait(device)
        calls += 1
    return work * calls / spent


def wait(device: torch.device) -> None:
    """Wait for the device to finish."""
    if device.type == "cuda":
        torch.cuda.synchronize()


@click.command()
@click.option("--window", "widths", multiple=True, type=int, default=(510, 1022))
@click.option("--device", default="cpu")
@click.option("--precision", default="auto", help="Of the engine; 'auto' is what annotate would take.")
@click.option("--threads", default=2)
@click.option("--repeats", default=5)
@click.option("--seconds", default=3.0, help="Of every measurement.")
def main(widths: tuple[int, ...], device: str, precision: str, threads: int, repeats: int, seconds: float) -> None:
    """Print the table."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        backend = TorchBackend(
            BackendOptions(str(official_size(Path(name) / "official-size")), device, threads, precision)
        )
    info, where = backend.info, torch.device(backend.info.device)
    kind = HALF.get(info.precision, torch.float32)
    shapes = [(n, n, n) for n in SQUARES] + [
        (info.batch_tokens, OFFICIAL.hidden_size, OFFICIAL.intermediate_size),
        (info.batch_tokens, OFFICIAL.intermediate_size, OFFICIAL.hidden_size),
    ]
    factors = [
        (torch.randn(m, k, dtype=kind, device=where), torch.randn(k, n, dtype=kind, device=where)) for m, k, n in shapes
    ]
    rows = []
    for width in widths:
        count = max(1, info.batch_tokens // (width + 2))
        tokens = rng.integers(A, T + 1, (count, width + 2)).astype(np.uint8)
        tokens[:, 0], tokens[:, -1] = CLS, SEP
        positions = np.tile(np.arange(width + 2), (count, 1))
        engine, ceiling, shares = [], [], []
        for repeat in range(repeats):
            products = [
                rate(2.0 * a.shape[0] * a.shape[1] * b.shape[1], lambda a=a, b=b: a @ b, where, seconds / len(factors))
                for a, b in factors
            ]
            work = count * flops(OFFICIAL, width + 2)
            engine.append(rate(work, lambda t=tokens, p=positions: backend.forward(t, p), where, seconds))
            ceiling.append(max(products))
            shares.append(engine[-1] / ceiling[-1])
            say(f"W {width}, run {repeat + 1} of {repeats}: {shares[-1]:.0%}")
        gflops = [show((median(found) or 0) / 1e9) for found in (engine, ceiling)]
        spread = f"{min(shares):.0%} - {max(shares):.0%}"
        rows.append([str(width), str(count), *gflops, f"{median(shares):.0%}", spread])
    click.echo(f"random weights of the official size; {info.device}, {info.precision}; {machine()}; threads {threads}")
    click.echo(f"medians of {repeats} alternating runs of {seconds:g} s; torch {torch.__version__}")
    print_table(("W", "windows", "engine GFLOP/s", "product GFLOP/s", "share", "lowest - highest"), rows)


if __name__ == "__main__":
    main()
