"""Does a length change stand out by bookkeeping alone? Mean KL_CTX by type of allele, ours and naive.

    python benchmarks/alignment.py -R GRCh38.fa -A grch38 --contig chr22

Alleles of every type are put at the same random positions in genes. "Naive" compares the right flank of ALT with the
REF window of the same start, in which the same bases have other token indices; "ours" is the score as it is reported.
"""

from __future__ import annotations

import random
import statistics

import click
import numpy as np
import torch

from splicebert_vep.annotator import Annotator, Variant
from splicebert_vep.scoring.divergence import context_score
from splicebert_vep.scoring.likelihood import log_p
from splicebert_vep.sequence import windows
from splicebert_vep.sequence.tokens import with_special
from splicebert_vep.settings import Settings
from splicebert_vep_spec import Allele, GeneContext, Status

TYPES = ("SNV", "1-nt insertion", "3-nt insertion", "1-nt deletion", "3-nt deletion")


def variant(kind: str, contig: str, pos: int, bases: str, rng: random.Random) -> Variant:
    """Make a variant of a type whose first changed base lies at the 1-based ``pos`` + 1; ``bases`` begin at ``pos``."""
    anchor = bases[0]
    if kind == "SNV":
        return Variant(contig, pos + 1, bases[1], (rng.choice([base for base in "ACGT" if base != bases[1]]),))
    length = int(kind[0])
    if kind.endswith("insertion"):
        return Variant(contig, pos, anchor, (anchor + "".join(rng.choice("ACGT") for _ in range(length)),))
    return Variant(contig, pos, bases[: length + 1], (anchor,))


def naive_kl_ctx(annotator: Annotator, allele: Allele, context: GeneContext) -> float:
    """Return KL_CTX of one allele in one gene with ALT's right flank facing the unshifted REF window."""
    shape = annotator.settings.window
    placement = windows.place(allele, annotator.reference.lengths[allele.contig], shape)
    assert isinstance(placement, windows.Placement)
    bases = annotator.reference.fetch(allele.contig, *windows.region(allele, placement, shape))
    window = windows.cut(allele, placement, bases, shape)
    assert isinstance(window, windows.Window)
    pair = windows.pair(allele, window, context)
    d = torch.arange(1, shape.flank + 1)
    left = pair.offset - d
    ref_right, alt_right = pair.offset + pair.ref_length - 1 + d, pair.offset + pair.alt_length - 1 + d
    ref_index, alt_index = torch.cat([left, ref_right]), torch.cat([left, alt_right])
    if pair.minus:
        ref_index, alt_index = shape.width - 1 - ref_index, shape.width - 1 - alt_index
    tokens = with_special(np.stack([pair.ref, pair.alt]))
    out = annotator.backend.forward(tokens, torch.stack([ref_index, alt_index]).numpy() + 1)
    ref, alt = log_p(out.logits)
    kl = (alt.exp() * (alt - ref)).sum(dim=-1)[None]
    return float(context_score(kl, shape.flank)[0])


@click.command()
@click.option("-R", "--reference", required=True)
@click.option("-A", "--annotation", default="grch38")
@click.option("--model", default="splicebert-mini")
@click.option("--contig", default="chr22")
@click.option("--sites", default=200)
@click.option("--seed", default=1)
def main(reference: str, annotation: str, model: str, contig: str, sites: int, seed: int) -> None:
    """Print the table."""
    rng = random.Random(seed)
    with Annotator(reference, annotation, model=model, settings=Settings(scores=("KL_CTX",))) as annotator:
        length = annotator.reference.lengths[contig]
        found: dict[str, list[tuple[float, float]]] = {kind: [] for kind in TYPES}
        done = 0
        while done < sites:
            pos = rng.randrange(1000, length - 1000)
            if not annotator.genes.contexts(contig, pos, pos + 1):
                continue
            bases = annotator.reference.fetch(contig, pos - 1, pos + 3).decode()
            here = []
            for kind in TYPES:
                [report] = annotator.score([variant(kind, contig, pos, bases, rng)])
                allele, outcome = report.alleles[0].allele, report.alleles[0].contexts[0]
                if allele is None or outcome.context is None or outcome.status is not Status.OK:
                    break
                here.append((float(outcome.values["KL_CTX"] or 0), naive_kl_ctx(annotator, allele, outcome.context)))
            if len(here) == len(TYPES):
                done += 1
                for kind, values in zip(TYPES, here, strict=True):
                    found[kind].append(values)
        info = annotator.backend.info
    click.echo(
        f"model {info.model}, {info.device}, {info.precision}; {sites} random genic sites, {contig}, seed {seed}"
    )
    click.echo(f"{'allele':<16}{'ours mean':>12}{'ours median':>13}{'naive mean':>12}{'naive median':>14}")
    for kind, values in found.items():
        ours, naive = zip(*values, strict=True)
        click.echo(
            f"{kind:<16}{statistics.mean(ours):>12.3f}{statistics.median(ours):>13.3f}"
            f"{statistics.mean(naive):>12.3f}{statistics.median(naive):>14.3f}"
        )
    snv = [ours for ours, _ in found["SNV"]]
    for kind in TYPES[1:]:
        above_ours = statistics.mean(o > s for (o, _), s in zip(found[kind], snv, strict=True))
        above_naive = statistics.mean(n > s for (_, n), s in zip(found[kind], snv, strict=True))
        click.echo(f"{kind} above the SNV of the same site: ours {above_ours:.0%}, naive {above_naive:.0%}")


if __name__ == "__main__":
    main()
