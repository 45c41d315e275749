"""What a device does with a file of SNVs: rate, share of its matrix peak, and whether its precision ranks as fp32.

    python benchmarks/device.py -R GRCh38.fa --device cuda --count 20000
    python benchmarks/device.py -R GRCh38.fa --device cpu --count 30 --window 510

SNVs lie 2,000 nt apart in genes, so that nothing is shared: exact mode runs three windows for each. The rate is that of
``Annotator.score``, host included. Peak is the rate of a large matrix product in the precision of the run (bf16 on a
GPU that computes in fp32, so that the share is of what the GPU could do); the work is that of whole windows.

Without ``--model`` the weights are random, of the official size.
"""

from __future__ import annotations

import tempfile
import time
from functools import partial
from pathlib import Path

import click
import numpy as np
import torch
from common import genome, machine, make_input, median, print_table, say, show
from published import OFFICIAL, official_size, read
from roofline import HALF, flops, rate
from scipy.stats import spearmanr

from splicebert_vep import Annotator, Settings, Variant
from splicebert_vep_spec import Status

SCORES = ("LLR", "PLLR", "DELTA_P", "KL_CTX", "KL_SS", "EMB_COS", "EMB_L2")
PASSES = 3
SQUARE = 8192


def peak(device: torch.device, kind: torch.dtype) -> float:
    """Return operations per second of a large matrix product."""
    size = SQUARE if device.type == "cuda" else SQUARE // 4
    a, b = (torch.randn(size, size, dtype=kind, device=device) for _ in range(2))
    return rate(2.0 * size**3, lambda: a @ b, device, 2.0)


@click.command()
@genome
@click.option("--contig", default="chr22")
@click.option("--model")
@click.option("--device", default="auto")
@click.option("--precision", default="auto")
@click.option("--window", "widths", multiple=True, type=int, default=(510, 1022))
@click.option("--count", default=20_000, help="SNVs.")
@click.option("--exact-count", default=1000, help="SNVs that are scored in fp32 too.")
@click.option("--repeats", default=3)
@click.option("--threads", default=2)
def main(
    reference: str, annotation: str, contig: str, model: str | None, device: str, precision: str,
    widths: tuple[int, ...], count: int, exact_count: int, repeats: int, threads: int,
) -> None:  # fmt: skip
    """Print the table."""
    rows, ranks = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        given = model or str(official_size(folder / "official-size"))
        file = folder / "stepped.vcf"
        words = f"--contig {contig} --count {count} --step 1000".split()
        make_input("stepped", file, "-R", reference, "-A", annotation, *words)
        variants: list[Variant] = read(file)
        for width in widths:
            settings = Settings(window=width, scores=SCORES)

            opened = partial(
                Annotator, reference, annotation, model=given, device=device, threads=threads, settings=settings
            )
            with opened(precision=precision) as annotator:
                info = annotator.backend.info
                list(annotator.score(variants[:64]))
                rates = []
                for repeat in range(repeats):
                    began = time.perf_counter()
                    results = list(annotator.score(variants))
                    rates.append(len(variants) / (time.perf_counter() - began))
                    say(f"W {width}, run {repeat + 1} of {repeats}: {rates[-1]:,.1f} alleles/s")
            failed = sum(result.status is Status.FAILED for result in results)
            with opened(precision="fp32") as annotator:
                exact = list(annotator.score(variants[:exact_count]))
            where = torch.device(info.device)
            ceiling = peak(where, HALF.get(info.precision, torch.bfloat16 if where.type == "cuda" else torch.float32))
            speed = median(rates) or 0.0
            share = "-" if model else f"{speed * PASSES * flops(OFFICIAL, width + 2) / ceiling:.0%}"
            rows.append([str(width), show(speed), show(ceiling / 1e12), share, str(failed)])
            cells = []
            for field in SCORES:
                some = results[: len(exact)], exact
                ours, theirs = (np.array([one[field] for one in those], dtype=float) for those in some)
                both = ~np.isnan(ours) & ~np.isnan(theirs)
                cells.append(f"{spearmanr(ours[both], theirs[both]).statistic:.5f}")
            ranks.append([str(width), *cells])
    click.echo(f"{len(variants):,} SNVs; weights {model or 'random, official size'}; {info.device}, {info.precision}")
    click.echo(f"{machine()}; threads {threads}; medians of {repeats} runs; torch {torch.__version__}")
    print_table(("W", "alleles/s", "peak TFLOP/s", "share of peak", "failed"), rows)
    click.echo(f"Spearman with fp32 on the same device, {len(exact):,} SNVs")
    print_table(("W", *SCORES), ranks)


if __name__ == "__main__":
    main()
