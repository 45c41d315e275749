"""Do embeddings and attention of a model know splice sites? Pictures and figures from held-out genes.

    python benchmarks/embedding_picture.py --fasta GRCh38.fa --annotation grch38 --model splicebert-mini --out docs

The genes are those that ``splicebert-vep corpus --genome human FASTA ANNOTATION`` holds out, which a model trained on
that corpus, as the bundled one, has not seen. Two pictures are written:

- ``embed_pca.png``: embeddings of annotated donor GT and acceptor AG beside as many random GT and AG of the same genes
  (as Chen et al. 2024, 10.1093/bib/bbae163, figure 2), with silhouette and the accuracy of a linear probe. Every
  dinucleotide stands in the middle of its window; its embedding is the mean of both nucleotides.
- ``embed_attention.png``: attention between donor and acceptor of an intron, mean of both directions, beside pairs of
  a GT and an AG at the very same distance, with as much G and C between them, each pair in the middle of its window:
  random ones inside introns, and such with one annotated site, which tell whether a pair matters or a site alone.
"""

from __future__ import annotations

import random
import tempfile
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from splicebert_vep import Annotator, embed
from splicebert_vep.genome.gene_build import load_table
from splicebert_vep.genome.gene_table import HAS_ACCEPTOR, HAS_DONOR, REPORTED, GeneTable
from splicebert_vep.tools.embed import Embedding
from splicebert_vep.train.corpus import Corpus, Source, build_corpus
from splicebert_vep_spec import A, C, G, T

Floats = NDArray[np.float64]

MARGIN = 5  # nt of the window on both sides of an intron, at least
SHORTEST = 60  # nt of an intron
CONTROLS = 2  # pairs of either kind for each intron
TRIES = 30_000  # to find random pairs; one in about 15 has an AG at the distance
ALIKE = 0.05  # by how much the share of G and C between the ends of pairs may differ from the intron's
MOST = 600  # annotated sites of either kind
FLANK = 20  # nt on both sides of a dinucleotide that the baseline reads
DRAWS = 2000  # of the bootstrap
DINUCLEOTIDES = {"GT": (G, T), "AG": (A, G)}
SITES = {"GT": "donor", "AG": "acceptor"}
BLUE, ORANGE, GREY = "#0072b2", "#e69f00", "#9a9a9a"


@dataclass(frozen=True)
class Gene:
    """A held-out gene; positions count from its 5' end.

    Args:
        bases: tokens of the transcribed strand.
        sites: annotated positions of GT and of AG, of any transcript.
        introns: start and end of the introns of the reported transcript.
    """

    name: str
    contig: str
    start: int
    end: int
    strand: str
    bases: NDArray[np.uint8]
    sites: dict[str, list[int]]
    introns: list[tuple[int, int]]

    def bed(self, start: int, end: int, name: str) -> str:
        """Return a stretch as a line of BED."""
        low, high = (self.start + start, self.start + end) if self.strand == "+" else (self.end - end, self.end - start)
        return f"{self.contig}\t{low}\t{high}\t{name}\t0\t{self.strand}\n"

    @cached_property
    def gc_before(self) -> NDArray[np.int64]:
        """How many G and C come before each position."""
        return np.concatenate([[0], np.cumsum((self.bases == G) | (self.bases == C))])

    def gc(self, start: int, end: int) -> float:
        """Return the share of G and C."""
        return float(self.gc_before[end] - self.gc_before[start]) / (end - start)

    def places(self, word: str) -> list[int]:
        """Return where a dinucleotide stands."""
        first, second = DINUCLEOTIDES[word]
        found: list[int] = np.flatnonzero((self.bases[:-1] == first) & (self.bases[1:] == second)).tolist()
        return found


def held_out_genes(fasta: Path, annotation: str, contigs: Sequence[str], share: float) -> list[Gene]:
    """Return the held-out genes on some contigs, as the annotation names them; of all when none is named."""
    corpus = build_corpus([Source("human", fasta, annotation)], share)
    table = load_table(annotation)
    row_of = {gene: row for row, gene in enumerate(table.gene_ids)}
    known = annotated(table)
    found = []
    for number in np.flatnonzero(corpus.held_out).tolist():
        row = row_of[corpus.names[number].partition(":")[2]]
        contig = table.contigs[table.gene_contig[row]]
        if not contigs or contig in contigs:
            found.append(gene_of(corpus, number, table, row, contig, known))
    return found


def annotated(table: GeneTable) -> set[tuple[str, str, int]]:
    """Return contig, strand and forward start of every annotated dinucleotide of any gene."""
    found = set()
    for row in range(len(table.gene_ids)):
        contig, plus = table.contigs[table.gene_contig[row]], table.gene_strand[row] > 0
        for at in range(table.exon_offsets[row], table.exon_offsets[row + 1]):
            flags, start, end = int(table.exon_flags[at]), int(table.exon_start[at]), int(table.exon_end[at])
            if flags & HAS_DONOR:
                found.add((contig, "+" if plus else "-", end if plus else start - 2))
            if flags & HAS_ACCEPTOR:
                found.add((contig, "+" if plus else "-", start - 2 if plus else end))
    return found


def gene_of(
    corpus: Corpus, number: int, table: GeneTable, row: int, contig: str, known: set[tuple[str, str, int]]
) -> Gene:
    """Return a gene with its sites and introns."""
    first, last = corpus.offsets[number : number + 2].tolist()
    start, end, strand = (
        int(table.gene_start[row]),
        int(table.gene_end[row]),
        "+" if table.gene_strand[row] > 0 else "-",
    )
    bases = corpus.bases[first:last]

    def is_known(at: int) -> bool:
        return (contig, strand, start + at if strand == "+" else end - at - 2) in known

    gene = Gene(table.symbols[row] or table.gene_ids[row], contig, start, end, strand, bases, {}, [])
    of_gene = (corpus.exon_start >= first) & (corpus.exon_start < last)
    exons = np.stack([corpus.exon_start[of_gene] - first, corpus.exon_end[of_gene] - first])
    flags = corpus.exon_flags[of_gene]
    ends = {
        "GT": set(exons[1, flags & HAS_DONOR > 0].tolist()),
        "AG": set((exons[0, flags & HAS_ACCEPTOR > 0] - 2).tolist()),
    }
    for word in DINUCLEOTIDES:
        gene.sites[word] = [at for at in gene.places(word) if at in ends[word]]
        gene.sites[f"random {word}"] = [at for at in gene.places(word) if not is_known(at)]
    reported = exons[:, flags & REPORTED > 0]
    order = np.argsort(reported[0])
    gene.introns.extend(zip(reported[1, order][:-1].tolist(), reported[0, order][1:].tolist(), strict=True))
    return gene


def embedded(annotator: Annotator, lines: Sequence[str], layers: Sequence[int], attention: bool) -> Iterator[Embedding]:
    """Yield what the model says of stretches, each read from one window in whose middle it stands."""
    with tempfile.NamedTemporaryFile("w", suffix=".bed") as bed:
        bed.writelines(lines)
        bed.flush()
        yield from embed(annotator, bed=bed.name, layers=layers, attention=attention)


# Embeddings of dinucleotides


@dataclass(frozen=True)
class Dinucleotides:
    """Annotated and random places of one dinucleotide: (n,) site and gene, (n, layers, H) and one-hot neighbours."""

    site: NDArray[np.bool_]
    gene: NDArray[np.int64]
    states: Floats
    letters: Floats


def dinucleotides(
    annotator: Annotator, genes: Sequence[Gene], word: str, layers: Sequence[int], seed: int
) -> Dinucleotides:
    """Embed annotated sites of the genes, and as many random places of each gene."""
    rng = random.Random(seed)
    chosen: list[tuple[bool, int, int]] = []
    every = [(number, at) for number, gene in enumerate(genes) for at in gene.sites[word] if at in room_of(gene)]
    drawn = rng.sample(every, min(len(every), MOST))
    for number, gene in enumerate(genes):
        room = room_of(gene)
        sites = [at for of, at in drawn if of == number]
        others = [at for at in gene.sites[f"random {word}"] if at in room]
        count = min(len(sites), len(others))
        chosen += [(True, number, at) for at in sorted(rng.sample(sites, count))]
        chosen += [(False, number, at) for at in sorted(rng.sample(others, count))]
    lines = [genes[number].bed(at, at + 2, word) for _, number, at in chosen]
    states = []
    for one in embedded(annotator, lines, layers, False):
        assert one.sequence == word, one.target
        states.append(one.mean)
    around = np.stack([genes[number].bases[at - FLANK : at + 2 + FLANK] for _, number, at in chosen])
    letters = (around[:, :, None] == np.array([A, C, G, T])).reshape(len(chosen), -1).astype(float)
    return Dinucleotides(
        np.array([site for site, _, _ in chosen]), np.array([number for _, number, _ in chosen]),
        np.stack(states).astype(float), letters,
    )  # fmt: skip


def room_of(gene: Gene) -> range:
    """Return where a dinucleotide has its neighbours in the gene."""
    return range(FLANK, len(gene.bases) - FLANK - 2)


def probe(values: Floats, found: Dinucleotides, rng: np.random.Generator) -> tuple[float, float, float]:
    """Return accuracy of logistic regression in five folds by gene, and its 95 % interval over genes."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=5000))
    told = cross_val_predict(model, values, found.site, groups=found.gene, cv=GroupKFold(5))
    return interval((told == found.site).astype(float), found.gene, rng)


def interval(values: Floats, gene: NDArray[np.int64], rng: np.random.Generator) -> tuple[float, float, float]:
    """Return the mean and its 95 % interval, by drawing genes with replacement."""
    total = np.bincount(gene, values)
    count = np.bincount(gene)
    total, count = total[count > 0], count[count > 0]
    drawn = rng.integers(len(count), size=(DRAWS, len(count)))
    means = total[drawn].sum(axis=1) / count[drawn].sum(axis=1)
    low, high = np.quantile(means, (0.025, 0.975)).tolist()
    return float(values.mean()), low, high


def draw_pca(groups: dict[str, Dinucleotides], layers: Sequence[int], path: Path, rng: np.random.Generator) -> None:
    """Draw the principal components of each dinucleotide in some layers, and print the figures."""
    import matplotlib.pyplot as plt
    from sklearn.decomposition import PCA
    from sklearn.metrics import silhouette_score

    shown = layers[1:]
    figure, axes = plt.subplots(len(shown), 2, figsize=(9, 4.2 * len(shown)), layout="constrained", squeeze=False)
    click.echo("| dinucleotides | read by the probe | silhouette | probe: accuracy (95 % interval over genes) |")
    click.echo("|---|---|---|---|")
    for column, (word, found) in enumerate(groups.items()):
        site = found.site
        title = f"{site.sum():,} {SITES[word]} {word}, {(~site).sum():,} random {word}, {len(set(found.gene))} genes"
        for number, layer in enumerate(layers):
            values = found.states[:, number]
            silhouette = float(silhouette_score(values, site))
            mean, low, high = probe(values, found, rng)
            click.echo(f"| {title} | layer {layer} | {silhouette:.3f} | {mean:.3f} ({low:.3f}-{high:.3f}) |")
            if layer not in shown:
                continue
            axis = axes[shown.index(layer), column]
            pca = PCA(2).fit(values)
            across = pca.transform(values)
            mixed = rng.permutation(len(site))  # so that neither kind lies on top
            axis.scatter(*across[mixed].T, s=10, c=np.where(site, BLUE, GREY)[mixed], alpha=0.7, linewidths=0)
            for colour, label in ((GREY, f"random {word}"), (BLUE, f"{SITES[word]} {word}")):
                axis.scatter([], [], s=10, c=colour, label=label)
            first, second = pca.explained_variance_ratio_
            axis.set(xlabel=f"PC 1 ({first:.0%})", ylabel=f"PC 2 ({second:.0%})", xticks=[], yticks=[])
            axis.set_title(f"layer {layer}: silhouette {silhouette:.2f}, probe {mean:.2f} (chance .50)", fontsize=10)
            axis.legend(frameon=False, fontsize=9, markerscale=2, loc="best", handletextpad=0.2)
            axis.spines[["top", "right"]].set_visible(False)
        mean, low, high = probe(found.letters, found, rng)
        click.echo(f"| {title} | one-hot, {FLANK} nt on both sides | | {mean:.3f} ({low:.3f}-{high:.3f}) |")
    figure.savefig(path, dpi=110)
    plt.close(figure)


# Attention between the ends of introns


@dataclass(frozen=True)
class Pairs:
    """Attention of n introns, (n, layers, heads), and of CONTROLS pairs of each kind, (n, CONTROLS, layers, heads).

    Args:
        gene, distance: (n,) number of the gene, nt from GT to AG.
        random: neither end is annotated.
        half: one end is, the donor in the first half of them and the acceptor in the other.
    """

    gene: NDArray[np.int64]
    distance: NDArray[np.int64]
    intron: Floats
    random: Floats
    half: Floats


def pairs_of(annotator: Annotator, genes: Sequence[Gene], layers: Sequence[int], seed: int) -> Pairs:
    """Read the attention of introns that fit one window, and of pairs at the same distance."""
    rng = random.Random(seed)
    longest = annotator.settings.window.width - 2 * MARGIN
    introns = sorted(
        (number, start, end)
        for number, gene in enumerate(genes)
        for start, end in gene.introns
        if SHORTEST <= end - start <= longest and start in gene.sites["GT"] and end - 2 in gene.sites["AG"]
    )
    within = inside_introns(genes)
    lines, kept = [], []
    for number, start, end in introns:
        apart = end - 2 - start
        gc = genes[number].gc(start, end)

        def alike(of: int, at: int, apart: int = apart, gc: float = gc) -> bool:
            return abs(genes[of].gc(at, at + apart + 2) - gc) <= ALIKE

        drawn = controls(within, apart, alike, rng)
        if len(drawn) == 2 * CONTROLS:
            kept.append((number, apart))
            lines.append(genes[number].bed(start, end, "intron"))
            lines += [genes[of].bed(at, at + apart + 2, "control") for of, at in drawn]
    weights = np.empty((len(lines), len(layers), annotator.backend.heads or 0))
    for row, one in enumerate(embedded(annotator, lines, layers, True)):
        assert one.sequence[:2] == "GT" and one.sequence[-2:] == "AG" and one.attention is not None
        both = one.attention[:, :, :2, -2:], one.attention[:, :, -2:, :2]
        weights[row] = np.mean(both, axis=(0, 3, 4))
    weights = weights.reshape(len(kept), 1 + 2 * CONTROLS, *weights.shape[1:])
    number, distance = np.array(kept).T
    return Pairs(number, distance, weights[:, 0], weights[:, 1 : 1 + CONTROLS], weights[:, 1 + CONTROLS :])


@dataclass(frozen=True)
class Inside:
    """An intron: number of its gene, its sites where they are annotated GT and AG, and the other GT and AG in it."""

    gene: int
    donor: int | None
    acceptor: int | None
    gt: list[int]
    ag: set[int]


def inside_introns(genes: Sequence[Gene]) -> list[Inside]:
    """Return all introns of the genes, and the GT and AG in them that are annotated nowhere."""
    found = []
    for number, gene in enumerate(genes):
        every = {word: np.array(gene.sites[f"random {word}"], dtype=np.int64) for word in DINUCLEOTIDES}
        for start, end in gene.introns:
            gt, ag = (every[word][(every[word] > start) & (every[word] < end - 2)].tolist() for word in DINUCLEOTIDES)
            donor = start if start in gene.sites["GT"] else None
            acceptor = end - 2 if end - 2 in gene.sites["AG"] else None
            found.append(Inside(number, donor, acceptor, gt, set(ag)))
    return found


def holds(places: Sequence[int], place: int) -> bool:
    """Tell whether sorted places hold one."""
    index = bisect_left(places, place)
    return index < len(places) and places[index] == place


def controls(
    within: Sequence[Inside], apart: int, alike: Callable[[int, int], bool], rng: random.Random
) -> list[tuple[int, int]]:
    """Draw pairs of GT and AG of one intron that are ``apart``: CONTROLS random ones, half as many with either site.

    Args:
        alike: tells of the number of a gene and the place of a GT in it whether the pair will do.

    Returns:
        number of the gene and place of the GT, fewer than asked for where there are not so many.
    """
    sizes = np.cumsum([len(one.gt) for one in within])
    both: dict[tuple[int, int], None] = {}
    for _ in range(TRIES):
        if len(both) == CONTROLS:
            break
        place = rng.randrange(int(sizes[-1]))
        one = within[int(np.searchsorted(sizes, place, side="right"))]
        at = rng.choice(one.gt)
        if at + apart in one.ag and alike(one.gene, at):
            both[one.gene, at] = None
    donors = [(one.gene, one.donor) for one in within if one.donor is not None and one.donor + apart in one.ag]
    acceptors = [
        (one.gene, one.acceptor - apart)
        for one in within
        if one.acceptor is not None and holds(one.gt, one.acceptor - apart)
    ]
    drawn = list(both)
    for halves in (donors, acceptors):
        there = [pair for pair in halves if alike(*pair)]
        drawn += rng.sample(there, min(CONTROLS // 2, len(there)))
    return drawn


def draw_attention(found: Pairs, layers: Sequence[int], width: int, path: Path, rng: np.random.Generator) -> None:
    """Draw attention by layer and head, and print the figures."""
    import matplotlib.pyplot as plt

    ratio = np.log2(found.intron.mean(axis=0) / found.random.mean(axis=(0, 1)))  # (layers, heads)
    figure, axes = plt.subplots(1, 3, figsize=(13, 4), layout="constrained", width_ratios=(1.1, 1.1, 1))
    groups = (
        ("both random", GREY, found.random.mean(axis=1)),
        ("one annotated", ORANGE, found.half.mean(axis=1)),
        ("donor and acceptor of an intron", BLUE, found.intron),
    )
    for shift, (name, colour, values) in enumerate(groups, start=-1):
        means = np.array([interval(of_layer, found.gene, rng) for of_layer in values.mean(axis=2).T]).T
        where = np.array(layers) + 0.12 * shift
        axes[0].errorbar(
            where, means[0], np.abs(means[1:] - means[0]), fmt="o", color=colour, capsize=3, ms=5, label=name
        )
    axes[0].axhline(1 / (width + 2), ls=":", c="black", lw=1, label="the same to every token")
    axes[0].set(xlabel="layer", ylabel="attention between GT and AG", title="mean over heads")
    axes[0].set_ylim(bottom=0)
    axes[0].legend(frameon=False, fontsize=9)
    largest = np.abs(ratio).max()
    image = axes[1].imshow(ratio, cmap="RdBu", vmin=-largest, vmax=largest, aspect="auto")
    axes[1].set(xlabel="head", ylabel="layer", title="log2 of introns / both random")
    axes[1].set_xticks(range(ratio.shape[1]), range(1, ratio.shape[1] + 1))
    axes[1].set_yticks(range(len(layers)), layers)
    figure.colorbar(image, ax=axes[1])
    click.echo(
        "| layer | introns | one annotated | both random | introns minus both random (95 % interval over genes) "
        "| introns minus one annotated | introns above both random |"
    )
    click.echo("|---|---|---|---|---|---|---|")
    every = np.ones(len(found.gene), dtype=bool)
    for number, layer in enumerate(layers):
        print_row(f"{layer}", found, every, number, slice(None), rng)
    chosen, layer, head = best_head(found, rng)
    rest = ~chosen
    print_row(f"{layers[layer]}, head {head + 1}", found, rest, layer, slice(head, head + 1), rng)
    for name, colour, values in (
        ("both random", GREY, found.random[rest, :, layer, head].ravel()),
        ("one annotated", ORANGE, found.half[rest, :, layer, head].ravel()),
        ("introns", BLUE, found.intron[rest, layer, head]),
    ):
        axes[2].step(np.sort(values), np.arange(1, len(values) + 1) / len(values), color=colour, label=name)
    axes[2].set(xscale="log", xlabel="attention between GT and AG", ylabel="share of pairs below")
    axes[2].set_title(f"layer {layers[layer]}, head {head + 1}: {rest.sum()} introns of other genes", fontsize=10)
    axes[2].legend(frameon=False, fontsize=9, loc="upper left")
    for axis in (axes[0], axes[2]):
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def best_head(found: Pairs, rng: np.random.Generator) -> tuple[NDArray[np.bool_], int, int]:
    """Choose a head on half of the genes, so that the other half says whether it was luck.

    Returns:
        which introns it was chosen on, number of its layer among those read, number of the head.
    """
    genes = rng.permutation(np.unique(found.gene))
    chosen = np.isin(found.gene, genes[: len(genes) // 2])
    gain = found.intron[chosen].mean(axis=0) / found.random[chosen].mean(axis=(0, 1))
    layer, head = np.unravel_index(gain.argmax(), gain.shape)
    return chosen, int(layer), int(head)


def print_row(
    name: str, found: Pairs, rows: NDArray[np.bool_], layer: int, heads: slice, rng: np.random.Generator
) -> None:
    """Print what some introns have in a layer, the mean over some heads."""
    gene = found.gene[rows]
    intron = found.intron[rows, layer, heads].mean(axis=-1)  # (n,)
    half, both = (kind[rows, :, layer, heads].mean(axis=-1) for kind in (found.half, found.random))  # (n, CONTROLS)
    spread = "{:+.5f} ({:+.5f} to {:+.5f})".format
    above = interval((intron[:, None] > both).mean(axis=1), gene, rng)
    cells = (
        name, f"{intron.mean():.5f}", f"{half.mean():.5f}", f"{both.mean():.5f}",
        spread(*interval(intron - both.mean(axis=1), gene, rng)),
        spread(*interval(intron - half.mean(axis=1), gene, rng)),
        "{:.2f} ({:.2f}-{:.2f})".format(*above),
    )  # fmt: skip
    click.echo(f"| {' | '.join(cells)} |")


@click.command()
@click.option("--fasta", required=True, type=click.Path(path_type=Path))
@click.option("--annotation", default="grch38", show_default=True)
@click.option("--model", default="splicebert-mini", show_default=True)
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder of the pictures.")
@click.option("--contig", "contigs", multiple=True, help="As the annotation names it; all of the FASTA otherwise.")
@click.option("--held-out", default=0.05, show_default=True, help="Share that the corpus held out.")
@click.option("--seed", default=1, show_default=True)
def main(
    fasta: Path, annotation: str, model: str, out: Path, contigs: tuple[str, ...], held_out: float, seed: int
) -> None:
    """Draw both pictures and print both tables."""
    genes = held_out_genes(fasta, annotation, contigs, held_out)
    out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    with Annotator(fasta, annotation, model=model, device="cpu") as annotator:
        info = annotator.backend.info
        last = annotator.backend.layers
        assert last is not None
        click.echo(
            f"model {info.model}, weights {info.weights_sha256[:8]}, {info.precision}; {len(genes)} held-out genes\n"
        )
        layers = (0, last // 2, last)
        groups = {word: dinucleotides(annotator, genes, word, layers, seed) for word in DINUCLEOTIDES}
        draw_pca(groups, layers, out / "embed_pca.png", rng)
        every = range(1, last + 1)
        pairs = pairs_of(annotator, genes, every, seed)
        nearest, farthest = pairs.distance.min(), pairs.distance.max()
        click.echo(
            f"\n{len(pairs.gene)} introns of {len(set(pairs.gene.tolist()))} genes, {nearest} to {farthest} nt\n"
        )
        draw_attention(pairs, every, annotator.settings.window.width, out / "embed_attention.png", rng)


if __name__ == "__main__":
    main()
