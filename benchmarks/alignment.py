"""Does a length change stand out by bookkeeping alone? Mean KL_CTX by type of allele, ours and naive.

    python benchmarks/alignment.py -R GRCh38.fa -A grch38 --contig chr22

Alleles of every type are put at the same random positions in genes. "Naive" compares the right flank of ALT with the
REF window of the same start, in which the same bases have other token indices; "ours" is the score as it is reported.
"No allele" is pure bookkeeping: the REF window against the one that starts one or three bases later, base by base.
"""

from __future__ import annotations

import random
import statistics

import click
import numpy as np
import torch
from common import MODEL, genome, print_table
from published import window_pairs

from splicebert_vep import Annotator, Settings, Variant
from splicebert_vep.scoring.scorers import context_score, log_p
from splicebert_vep.sequence.tokens import Tokens, with_special
from splicebert_vep_spec import Allele, GeneContext, Status

TYPES = ("SNV", "3-nt MNV", "1-nt insertion", "3-nt insertion", "1-nt deletion", "3-nt deletion")


def variant(kind: str, contig: str, pos: int, bases: str, rng: random.Random) -> Variant:
    """Make a variant of a type whose first changed base lies at the 1-based ``pos`` + 1; ``bases`` begin at ``pos``."""
    anchor = bases[0]
    if kind == "SNV":
        return Variant(contig, pos + 1, bases[1], rng.choice([base for base in "ACGT" if base != bases[1]]))
    length = int(kind[0])
    if kind.endswith("MNV"):
        other = "".join(rng.choice([base for base in "ACGT" if base != old]) for old in bases[1 : length + 1])
        return Variant(contig, pos + 1, bases[1 : length + 1], other)
    if kind.endswith("insertion"):
        return Variant(contig, pos, anchor, anchor + "".join(rng.choice("ACGT") for _ in range(length)))
    return Variant(contig, pos, bases[: length + 1], anchor)


def kl_ctx(annotator: Annotator, tokens: list[Tokens], index: list[torch.Tensor]) -> float:
    """Return KL_CTX of two windows (W,), read at 2 F indices each, of which the same place is one pair."""
    out = annotator.backend.forward(with_special(np.stack(tokens)), torch.stack(index).numpy() + 1)
    ref, alt = log_p(out.logits)
    kl = (alt.exp() * (alt - ref)).sum(dim=-1)[None]
    return float(context_score(kl, annotator.settings.flank)[0])


def naive_and_bookkeeping(annotator: Annotator, allele: Allele, context: GeneContext) -> tuple[float, float]:
    """Return KL_CTX with ALT's right flank facing the unshifted REF window, and KL_CTX of no allele.

    The latter is between REF windows that start ``allele.shift`` apart, each base facing itself.
    """
    shape = annotator.settings.shape
    pair = window_pairs(annotator, [allele], [context])
    d, offset = torch.arange(1, shape.flank + 1), int(pair.offset[0])
    around = offset + torch.cat([-d, d])
    index = [torch.cat([offset - d, offset + len(bases) - 1 + d]) for bases in (allele.ref, allele.alt)]
    index += [around, around - allele.shift]  # the same bases in the window that starts later
    if pair.minus[0]:
        index = [shape.width - 1 - i for i in index]
    naive = kl_ctx(annotator, [pair.ref[0], pair.alt[0]], index[:2])
    return naive, kl_ctx(annotator, [pair.ref[0], pair.ref_right[0]], index[2:]) if allele.shift else 0.0


@click.command()
@genome
@MODEL
@click.option("--contig", default="chr22")
@click.option("--sites", default=200)
@click.option("--seed", default=1)
def main(reference: str, annotation: str, model: str, contig: str, sites: int, seed: int) -> None:
    """Print the table."""
    rng = random.Random(seed)
    with Annotator(reference, annotation, model=model, settings=Settings(scores=("KL_CTX",))) as annotator:
        length = annotator.reference.lengths[contig]
        found: dict[str, list[tuple[float, float]]] = {kind: [] for kind in TYPES}
        shifts: dict[str, list[float]] = {"1-nt deletion": [], "3-nt deletion": []}
        done = 0
        while done < sites:
            pos = rng.randrange(1000, length - 1000)
            if not annotator.genes.contexts(contig, pos, pos + 1):
                continue
            bases = annotator.reference.fetch(contig, pos - 1, pos + 3).decode()
            if not set(bases) <= set("ACGT"):
                continue
            scored = []
            for kind in TYPES:
                result = annotator.score(variant(kind, contig, pos, bases, rng))
                scored.append((result.allele, result.contexts[0]))
            if any(outcome.status is not Status.OK for _, outcome in scored):
                continue
            done += 1
            for kind, (allele, outcome) in zip(TYPES, scored, strict=True):
                naive, no_allele = naive_and_bookkeeping(annotator, allele, outcome.context)
                found[kind].append((float(outcome.values["KL_CTX"] or 0), naive))
                if kind in shifts:
                    shifts[kind].append(no_allele)
        info = annotator.backend.info
    click.echo(f"model {info.model}, {info.device}, {info.precision}; {sites} random genic sites of {contig}")
    columns = {kind: list(zip(*values, strict=True)) for kind, values in found.items()}
    columns |= {f"no allele, by {kind[0]} nt": [(), values] for kind, values in shifts.items()}
    of = statistics.mean, statistics.median
    rows = [
        [kind, *(f"{one(values):.3f}" if values else "-" for values in pair for one in of)]
        for kind, pair in columns.items()
    ]
    print_table(("allele", "ours mean", "ours median", "naive mean", "naive median"), rows)
    snv = [ours for ours, _ in found["SNV"]]
    for kind in TYPES[1:]:
        above_ours = statistics.mean(o > s for (o, _), s in zip(found[kind], snv, strict=True))
        above_naive = statistics.mean(n > s for (_, n), s in zip(found[kind], snv, strict=True))
        click.echo(f"{kind} above the SNV of the same site: ours {above_ours:.0%}, naive {above_naive:.0%}")


if __name__ == "__main__":
    main()
