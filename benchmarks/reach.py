"""Whether an ALT that CI-SpliceAI computes by reach has the answers of whole windows, and how much memory it takes.

    python benchmarks/reach.py clinvar.vcf.gz more.vcf.gz -R GRCh38.fa

Alleles of the files are taken in turn from every kind (substitution, insertion, deletion, both), strand, and place:
deep in the gene, or so near to its end that the model sees N. Each is computed as ``annotate`` does, REF in one pass
along a stretch and ALT where it can differ, and alone: the whole ALT sequence in one pass. Every tenth, REF and ALT, is
also computed as the authors do, with zeros around each convolution and 5,000 nt cropped at the end. Printed are the
largest differences of p(acceptor) and p(donor), and the peak memory of the way of ``annotate``: after the start, after
these alleles, and after 100 SNVs along the longest stretch of one REF pass.
"""

from __future__ import annotations

import random
import resource
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, islice, zip_longest
from pathlib import Path

import click
import numpy as np
import torch
from common import MIB, genome, lines, machine, say
from numpy.typing import NDArray
from splicebert_vep_cispliceai.network import WEIGHTS, read_stacks
from torch.nn import functional

from splicebert_vep import Annotator, Settings
from splicebert_vep.model.reach import Convolution, ResidualStack
from splicebert_vep.scoring.delta import STRETCH, Around, look_around, stretch_tokens
from splicebert_vep.sequence.alleles import classify, normalise
from splicebert_vep.sequence.tokens import Tokens, encode, letters, reverse_complement
from splicebert_vep_spec import Allele, GeneContext

InGene = tuple[Allele, GeneContext]
Probabilities = NDArray[np.float64]


@click.command()
@click.argument("vcfs", nargs=-1, required=True, type=Path)
@genome
@click.option("--count", default=300)
@click.option("--distance", default=50)
@click.option("--padded-every", default=10)
def main(vcfs: tuple[Path, ...], reference: str, annotation: str, count: int, distance: int, padded_every: int) -> None:
    """Print differences and memory."""
    settings = Settings(scores=("DS_MAX",), delta_distance=distance)
    with Annotator(reference, annotation, splice_model="cispliceai", backend="null", settings=settings) as annotator:
        model, genes, bases = annotator.delta.model, annotator.genes, annotator.reference
        assert model is not None

        def extent(one: InGene) -> tuple[int, int]:
            allele, gene = one
            found = genes.gene(gene, allele.contig, allele.start, allele.end)
            return found.start, found.end

        def stratum(one: InGene) -> tuple[str, str, str]:
            allele, gene = one
            low, high = extent(one)
            near = allele.start - low < model.reach or high - allele.end < model.reach
            kind = {(True, True): "both", (True, False): "deletion", (False, True): "insertion"}[
                bool(allele.ref), bool(allele.alt)
            ]
            kind = "substitution" if len(allele.ref) == len(allele.alt) else kind
            return kind, gene.strand, "N outside" if near else "deep"

        taken = chosen(chain.from_iterable(in_genes(annotator, vcf) for vcf in vcfs), stratum, count)
        for words, number in sorted(Counter(map(stratum, taken)).items()):
            say(f"{' '.join(words)}: {number}")
        peaks = [peak()]
        found = look_around(model, taken, bases, genes, distance, outside=False)
        peaks.append(peak())
        allele, gene = taken[0]
        dense = [
            (Allele(allele.contig, at, base, "A" if base != "A" else "C"), gene)
            for at in range(allele.start, allele.start + STRETCH, STRETCH // 100)
            if (base := bases.fetch(allele.contig, at, at + 1).decode()) in "ACGT"
        ]
        look_around(model, dense, bases, genes, distance, outside=False)
        peaks.append(peak())

        whole, padded, count_padded = 0.0, 0.0, 0
        stacks = read_stacks(WEIGHTS)
        for number, (one, around) in enumerate(zip(taken, found, strict=True)):
            assert isinstance(around, Around)
            minus = one[1].strand == "-"
            first, last = around.start - model.reach, around.start + len(around.ref) + model.reach
            ref = stretch_tokens(bases, one[0].contig, first, last, extent(one))
            at = around.left.start - first
            alt = np.concatenate([ref[:at], encode(around.left.alt.encode()), ref[at + len(around.left.ref) :]])
            ours = [(tokens, answers) for tokens, answers in ((ref, around.ref), (alt, around.alt))]
            if minus:
                ours = [(reverse_complement(tokens), answers[::-1]) for tokens, answers in ours]
            whole = max(whole, difference(model.along(ours[1][0]), ours[1][1]))
            if number % padded_every == 0:
                count_padded += 1
                padded = max(padded, *(difference(by_padding(stacks, *pair[:1]), pair[1]) for pair in ours))
            if number % 20 == 19:
                say(f"{number + 1} alleles: {whole:.2g} from whole windows, {padded:.2g} from padded ones")
    click.echo(f"{machine()}, D {distance}: {len(taken)} alleles")
    click.echo(f"largest difference from a pass over the whole ALT: {whole:.2g}")
    click.echo(f"from REF and ALT with zeros around each convolution, {count_padded} alleles: {padded:.2g}")
    words = ("after the start", "after the alleles", f"after {len(dense)} SNVs in {STRETCH:,} nt")
    click.echo("peak memory: " + ", ".join(f"{mib:,.0f} MiB {word}" for mib, word in zip(peaks, words, strict=True)))


def peak() -> float:
    """Return the peak memory of this process so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB


def difference(found: Probabilities, wanted: Probabilities) -> float:
    """Return the largest difference; the numbers of answers have to be equal."""
    assert found.shape == wanted.shape
    return float(np.abs(found - wanted).max())


def in_genes(annotator: Annotator, vcf: Path) -> Iterator[InGene]:
    """Yield the alleles of a file, of at most 50 nt, in each of their genes."""
    reference = annotator.reference
    for line in lines(vcf):
        if line[0] == "#":
            continue
        chrom, pos, _, ref, alts = line.split("\t", 5)[:5]
        contig = reference.find(chrom)
        if contig is None or max(map(len, (ref, *alts.split(",")))) > 50:
            continue
        for alt in alts.split(","):
            if classify(ref, alt) is None:
                allele = normalise(contig, int(pos), ref, alt, partial(reference.fetch, contig))
                for gene in annotator.genes.contexts(contig, allele.start, allele.end):
                    yield allele, gene


def chosen(alleles: Iterable[InGene], stratum: Callable[[InGene], tuple[str, str, str]], count: int) -> list[InGene]:
    """Return that many alleles, taken in turn from every stratum, in each at random."""
    of_stratum: dict[tuple[str, str, str], list[InGene]] = defaultdict(list)
    for one in dict.fromkeys(alleles):
        of_stratum[stratum(one)].append(one)
    draw = random.Random(1)
    shuffled = [draw.sample(members, len(members)) for _, members in sorted(of_stratum.items())]
    in_turn = (one for row in zip_longest(*shuffled) for one in row if one is not None)
    return list(islice(in_turn, count))


@torch.inference_mode()
def by_padding(stacks: Sequence[ResidualStack], tokens: Tokens) -> Probabilities:
    """Return p(acceptor) and p(donor) away from the ends, each convolution padded with zeros to its input's length."""
    bases = np.array(list(letters(tokens)))
    one_hot = torch.from_numpy(np.stack([bases == base for base in "ACGT"])[None].astype(np.float32))

    def convolved(x: torch.Tensor, one: Convolution) -> torch.Tensor:
        kernel, bias = torch.from_numpy(one.kernel), torch.from_numpy(one.bias)
        return functional.conv1d(x, kernel, bias, padding=one.reach, dilation=one.dilation)

    total = np.zeros((len(tokens), 2))
    for stack in stacks:
        x = convolved(one_hot, stack.stem)
        skip = convolved(x, stack.skips[0])
        for i, unit in enumerate(stack.units):
            hidden = x
            for k, one in enumerate(unit):
                scale, shift = (torch.from_numpy(part)[None, :, None] for part in stack.norms[2 * i + k])
                hidden = convolved(torch.relu(hidden * scale + shift), one)
            x = x + hidden
            if (i + 1) % stack.units_in_block == 0:
                skip = skip + convolved(x, stack.skips[(i + 1) // stack.units_in_block])
        total += torch.softmax(convolved(skip, stack.head), dim=1)[0, 1:].T.double().numpy()
    reach = stacks[0].reach
    return total[reach:-reach] / len(stacks)


if __name__ == "__main__":
    main()
