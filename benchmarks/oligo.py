"""Do oligos beside splice sites rank above deep-intronic ones? The change of the sites by where the hidden 20-mer lies.

    python benchmarks/oligo.py -R GRCh38.fa -A grch38
    python benchmarks/oligo.py -R GRCh38.fa -A grch38 --splice-model FOLDER

The exons are chosen by a rule that no score enters: in the order of the contig, the first exon of each gene that is an
internal exon of a MANE Select transcript, coding over its whole length, 100 to 200 nt, with introns of more than 500
nt on both sides, and strong sites: at least 7 of the 9 nt of the donor's MAG|GTRAGT with its GT, and at the acceptor
YAG with at least 12 pyrimidines in -20..-6.

Classes, of oligos that do not touch -2..+1 of the acceptor or -1..+2 of the donor: ``tract`` covers at least 9 of the
18 nt at -20..-3 of the acceptor; ``flank`` lies within 10 nt of one of these sites, and is not tract; ``exon`` lies in
the exon and is neither; ``deep`` lies in an intron with every nucleotide more than 50 nt from both sites.

AUC is the share of pairs of a tract or flank oligo and a deep oligo in which the first lowers the sites more, ties
half: over all oligos, whose windows overlap, and as the median over exons; also of the size of the change.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import replace

import click
import numpy as np
from common import MODEL, genome, print_table, say
from scipy.stats import mannwhitneyu

from splicebert_vep import Annotator, Oligo, Oligos, oligos_of
from splicebert_vep.scoring.delta import open_splice_model
from splicebert_vep.sequence.tokens import other_strand

CLASSES = ("tract", "flank", "exon", "deep")
LENGTH = 20  # nt
DONOR = ("AC", "A", "G", "G", "T", "AG", "A", "G", "T")


def exons(annotator: Annotator, contig: str, count: int) -> Iterator[tuple[str, int]]:
    """Yield gene and exon number, the first ``count`` that the rule takes."""
    table = annotator.genes.table
    [name] = [one for one in table.contigs if annotator.reference.find(one) == contig]
    found = 0
    for row in np.flatnonzero(table.gene_contig == table.contigs.index(name)).tolist():
        gene = table.gene_ids[row]
        place = (contig, int(table.gene_start[row]), int(table.gene_end[row]))
        context = next(one for one in annotator.genes.contexts(*place) if one.gene_id == gene)
        if context.transcript_choice != "MANE_Select" or context.biotype != "protein_coding":
            continue
        own = [one.interval for one in annotator.genes.exons(gene, *place) if one.reported]
        coding = int(table.cds_start[row]), int(table.cds_end[row])
        own.sort(key=lambda one: one.start)
        for at in range(1, len(own) - 1):
            before, exon, after = own[at - 1 : at + 2]
            if (
                coding[0] <= exon.start
                and exon.end <= coding[1]
                and 100 <= exon.end - exon.start <= 200
                and min(exon.start - before.end, after.start - exon.end) > 500
                and strong(annotator, contig, exon.start, exon.end, context.strand)
            ):
                yield gene, (at + 1 if context.strand == "+" else len(own) - at)
                found += 1
                break
        if found == count:
            return


def strong(annotator: Annotator, contig: str, start: int, end: int, strand: str) -> bool:
    """Tell whether both sites of an exon are near their consensus."""
    bases = annotator.reference.fetch(contig, start - 30, end + 30).decode("ascii")
    if strand == "-":
        bases = other_strand(bases)
    intron, site = bases[:30], bases[-33:-24]  # the site is the last 3 nt of the exon and 6 of the intron
    matches = sum(base in known for base, known in zip(site, DONOR, strict=True))
    pyrimidines = sum(base in "CT" for base in intron[-20:-5])
    return site[3:5] == "GT" and matches >= 7 and intron[-2:] == "AG" and intron[-3] in "CT" and pyrimidines >= 12


def class_of(oligo: Oligo) -> str | None:
    """Return where an oligo lies; None between the classes, and for what touches a site."""
    if oligo.rank is None:
        return None
    (first, last), (begin, end) = oligo.offsets["acceptor"], oligo.offsets["donor"]
    if len(set(range(first, last + 1)) & set(range(-20, -2))) >= 9:
        return "tract"
    if 2 <= first <= 11 or -11 <= end <= -2 or 3 <= begin <= 12:
        return "flank"
    if oligo.region == "exon":
        return "exon"
    return "deep" if last < -50 or begin > 50 else None


def auc(positives: Sequence[float], negatives: Sequence[float]) -> float:
    """Return the share of pairs that are in order, ties half."""
    return mannwhitneyu(positives, negatives).statistic / (len(positives) * len(negatives))


def effects(found: Oligos) -> dict[str, list[float]]:
    """Return the effects by class."""
    ranked = [(class_of(oligo), oligo.effect) for oligo in found.oligos if oligo.effect is not None]
    return {name: [effect for kind, effect in ranked if kind == name] for name in CLASSES}


@click.command()
@genome
@click.option("--contig", default="chr19")
@MODEL
@click.option("--splice-model")
@click.option("--count", default=20)
@click.option("--step", default=2)
def main(
    reference: str, annotation: str, contig: str, model: str, splice_model: str | None, count: int, step: int
) -> None:
    """Print the distributions."""
    every: list[dict[str, list[float]]] = []
    with Annotator(reference, annotation, model=model, scores="zero-shot") as annotator:
        chosen_model = replace(annotator.settings, splice_model=splice_model or "auto")
        head = open_splice_model(annotator.plugins, chosen_model) if splice_model else None
        info = annotator.backend.info
        chosen = list(exons(annotator, contig, count))
        for gene, number in chosen:
            lengths = LENGTH, LENGTH
            found = oligos_of(
                annotator, exon=number, gene=gene, lengths=lengths, step=step, splice_model=head, off_targets=False
            )
            every.append(effects(found))
            expected = ", ".join(f"{one.site.kind} ln p {one.log_p:.2f} head {one.head}" for one in found.sites)
            say(f"{found.aim.name}: {expected}")
    measure = "p of the splice-site model" if head else "ln p, zero-shot"
    click.echo(f"model {info.model}, splice-site model {head and head.info.model}; fall of {measure}, sum of the sites")
    click.echo(f"{len(chosen)} exons of {contig}, {LENGTH}-mers in steps of {step} nt")
    rows = []
    for name in CLASSES:
        values = [value for one in every for value in one[name]]
        cut = np.percentile(values, [5, 25, 50, 75, 95])
        medians = statistics.median(statistics.median(one[name]) for one in every if one[name])
        rows.append([name, str(len(values)), *(f"{value:.4f}" for value in cut), f"{medians:.4f}"])
    print_table(["class", "oligos", "5 %", "25 %", "median", "75 %", "95 %", "median of exons"], rows)
    for title, of in (("fall", float), ("size of the change", abs)):
        for names in (("tract",), ("flank",), ("tract", "flank"), ("exon",)):
            pairs = [([of(v) for name in names for v in one[name]], [of(v) for v in one["deep"]]) for one in every]
            over_all = auc([v for one, _ in pairs for v in one], [v for _, deep in pairs for v in deep])
            by_exon = [auc(*pair) for pair in pairs]
            click.echo(
                f"{title}, {' + '.join(names)} against deep: AUC {over_all:.3f} over all; median over exons "
                f"{statistics.median(by_exon):.3f}, above .5 in {sum(one > 0.5 for one in by_exon)} of {len(by_exon)}"
            )


if __name__ == "__main__":
    main()
