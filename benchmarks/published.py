"""Speed against the published way: three whole windows per allele through transformers.

    python benchmarks/published.py -R GRCh38.fa --clinvar clinvar.vcf.gz --window 510
    python benchmarks/published.py -R GRCh38.fa --clinvar clinvar.vcf.gz --window 1022 --input sparse --input saturation

The published way runs the REF, the ALT and (of SNVs) the masked REF window through ``BertForMaskedLM``, SDPA, fp32, 16
equal windows at a time, and computes the scores in numpy; cutting its windows is not timed. Ours is ``Annotator.score``
with the default scores. Both have the same weights, windows, threads and process, and take turns. The published way is
timed on the first ``--sample`` alleles of an input.

Without ``--model`` the weights are random, of the official size (6 x 512, 1,026 positions).
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from common import genome, lines, machine, make_input, median, print_table, say, show
from numpy.typing import NDArray
from roofline import official_size
from transformers import BertForMaskedLM

from splicebert_vep import Annotator, Settings, Variant
from splicebert_vep.model.engine import masked
from splicebert_vep.model.registry import resolve_model
from splicebert_vep.sequence import windows
from splicebert_vep.sequence.tokens import with_special
from splicebert_vep.sequence.windows import WindowPairs
from splicebert_vep_spec import NUCLEOTIDES, Allele, GeneContext, Status

BATCH = 16
INPUTS = ("sparse", "panel", "saturation")


def published(model: Any, pairs: WindowPairs, flank: int) -> list[tuple[float, ...]]:
    """Score pairs (B, W) the published way; returns DELTA_P, KL_CTX, KL_SS, EMB_COS and EMB_L2 of each."""
    equal = pairs.equal_length
    tokens = pairs.ref, pairs.alt, masked(pairs)[equal]
    ref, alt, blank = (outputs(model, with_special(each)) for each in tokens)
    site = np.cumsum(equal) - 1
    return [
        scores(pairs, i, (ref[0][i], ref[1][i]), (alt[0][i], alt[1][i]), blank[0][site[i]] if equal[i] else None, flank)
        for i in range(len(pairs))
    ]


def outputs(model: Any, tokens: NDArray[np.uint8]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return logits (N, W, V) and last hidden states (N, W, H), 16 windows at a time."""
    logits, hidden = [], []
    with torch.inference_mode():
        for start in range(0, len(tokens), BATCH):
            batch = torch.from_numpy(tokens[start : start + BATCH].astype(np.int64))
            out = model(batch, output_hidden_states=True)
            logits.append(out.logits[:, 1:-1].numpy())
            hidden.append(out.hidden_states[-1][:, 1:-1].numpy())
    return np.concatenate(logits), np.concatenate(hidden)


def scores(
    pairs: WindowPairs, i: int, ref: tuple[Any, Any], alt: tuple[Any, Any], blank: Any, flank: int
) -> tuple[float, ...]:
    """Compute one allele's scores in numpy, at equal token indices."""
    p, q = softmax(ref[0][:, NUCLEOTIDES]), softmax(alt[0][:, NUCLEOTIDES])
    kl = (q * np.log(q / p)).sum(axis=1)
    offset = int(pairs.offset[i])
    if pairs.minus[i]:
        offset = len(kl) - offset - int(pairs.ref_length[i])
    d = np.arange(1, flank + 1)
    left, right = offset - d, offset + int(pairs.ref_length[i]) - 1 + d
    around = np.concatenate([left, right])
    context = np.log(np.maximum((kl[left] + kl[right]) / 2, 1e-6)).sum() / flank
    sites = pairs.sites[i][pairs.has_site[i]]
    inside = sites[(sites >= 0) & (sites < len(kl))]
    splice = kl[inside].sum() / 2
    a, b = ref[1][around], alt[1][around]
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosine, distance = 1 - (a * b).sum(axis=1) / norms, np.linalg.norm(a - b, axis=1)
    change = np.nan
    if blank is not None:
        full = softmax(blank[offset])
        change = float(full[pairs.alt[i, offset]] - full[pairs.ref[i, offset]])
    return change, float(context), float(splice), float(cosine.mean()), float(np.sqrt((distance**2).mean()))


def softmax(logits: NDArray[Any]) -> NDArray[Any]:
    """Return probabilities along the last axis."""
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def read(path: Path) -> list[Variant]:
    """Return the variants of a VCF, one per ALT."""
    fields = [line.split("\t", 5) for line in lines(path) if line[0] != "#"]
    return [Variant(f[0], int(f[1]), f[3], alt) for f in fields for alt in f[4].split(",")]


def window_pairs(annotator: Annotator, alleles: Sequence[Allele], contexts: Sequence[GeneContext]) -> WindowPairs:
    """Return the windows of alleles that have been scored before, each in one gene."""
    shape, reference = annotator.settings.shape, annotator.reference
    placed = windows.place(alleles, [reference.lengths[allele.contig] for allele in alleles], shape)
    bases = [
        reference.fetch(allele.contig, *windows.region(allele, start, shape.width))
        for allele, start in zip(alleles, placed.start.tolist(), strict=True)
    ]
    return windows.pair(windows.cut(alleles, placed.start, bases, shape), range(len(alleles)), contexts)


def windows_of(annotator: Annotator, variants: Sequence[Variant]) -> WindowPairs:
    """Return the windows that the annotator gives these variants, in their first gene."""
    scored = [one for one in annotator.score(variants) if one.status is Status.OK and one.allele and one.gene]
    return window_pairs(annotator, [one.allele for one in scored], [one.gene for one in scored])


def timed(call: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


@click.command()
@genome
@click.option("--clinvar", help="A VCF, for the input 'panel'.")
@click.option("--model", help="Name or folder; default: random weights of the official size.")
@click.option("--input", "inputs", multiple=True, type=click.Choice(INPUTS), default=INPUTS)
@click.option("--window", default=510)
@click.option("--sites", default=60, help="Of 'sparse' and 'saturation'.")
@click.option("--every", default=50, help="Of the records of 'panel'.")
@click.option("--sample", default=32, help="Alleles that the published way is timed on.")
@click.option("--threads", default=2)
@click.option("--repeats", default=3)
def main(
    reference: str, annotation: str, clinvar: str | None, model: str | None, inputs: tuple[str, ...], window: int,
    sites: int, every: int, sample: int, threads: int, repeats: int,
) -> None:  # fmt: skip
    """Print the table."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        given = model or str(official_size(folder / "official-size"))
        theirs = BertForMaskedLM.from_pretrained(resolve_model(given), attn_implementation="sdpa").eval()
        for kind in inputs:
            file = folder / f"{kind}.vcf"
            options = {
                "sparse": ["--contig", "chr22", "--count", str(sites)],
                "panel": ["--vcf", str(clinvar), "--every", str(every)],
                "saturation": ["--contig", "chr22", "--sites", str(sites)],
            }[kind]
            say(make_input(kind, file, "-R", reference, "-A", annotation, *options))
            variants = read(file)
            settings = Settings(window=window)
            with Annotator(
                reference, annotation, model=given, device="cpu", threads=threads, settings=settings
            ) as annotator:
                info = annotator.backend.info
                pairs = windows_of(annotator, variants[: 2 * sample])
                pairs = pairs.take(np.arange(min(sample, len(pairs))))
                each, ours = [], []
                for repeat in range(repeats):
                    each.append(timed(lambda p=pairs: published(theirs, p, 100)) / len(pairs))
                    ours.append(timed(lambda a=annotator, v=variants: list(a.score(v))) / len(variants))
                    say(f"{kind}, run {repeat + 1} of {repeats}: {each[-1] / ours[-1]:.2f}x")
            ratio = median([a / b for a, b in zip(each, ours, strict=True)])
            for way, values, many, by in (("published", each, pairs, 1.0), ("ours", ours, variants, ratio)):
                per = median(values)
                rows.append([f"{kind} {way}", f"{len(many):,}", show(per * 1000), show(1 / per), show(by, "x")])
    weights = model or "random, official size"
    click.echo(f"weights {weights} ({info.architecture}); W {window}; {info.device}, {info.precision}")
    click.echo(f"{machine()}; threads {threads}; medians of {repeats} alternating runs; torch {torch.__version__}")
    print_table(("input, way", "ALTs", "ms/ALT", "ALTs/s", "by published"), rows)


if __name__ == "__main__":
    main()
