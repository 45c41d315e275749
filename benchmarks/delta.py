"""How scores judge ClinVar's SNVs of BRCA1 at splice sites and in introns.

    python benchmarks/delta.py clinvar.BRCA1.vcf.gz -R GRCh38.fa

Harmful and harmless are those that ClinVar calls (likely) pathogenic and (likely) benign. The first table compares
harmful SNVs in canonical dinucleotides of any transcript with harmless ones of the region class deep_intron
(docs/scores.md); below it stands how many of the former have a DS_MAX below the threshold. The second compares SNVs
whose only consequence is intron_variant: every harmful one with every eighth harmless one. AUROC is the chance that one
of the former scores more disturbed than one of the latter, of those that have the score; n tells how many have.
``distance`` is the distance to the reported transcript's nearest splice site alone.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import click
from common import MODEL, genome, lines, print_table, say
from scipy.stats import mannwhitneyu

from splicebert_vep import Annotator, Settings, Variant
from splicebert_vep.scoring.percentiles import region_class
from splicebert_vep.settings import MASKS
from splicebert_vep_spec import ScoredContext, Status

GENE = "BRCA1"
HARMFUL = ("Pathogenic", "Likely_pathogenic", "Pathogenic/Likely_pathogenic")
HARMLESS = ("Benign", "Likely_benign", "Benign/Likely_benign")
#: Region class, and what ClinVar says of the SNVs taken from it.
CHOSEN = {"canonical": HARMFUL, "deep_intron": HARMLESS}
DISTANCE = "distance"
#: Score -> the sign that makes larger mean more disturbed.
SCORES = {
    DISTANCE: -1, "DS_MAX": 1, "DS_AG": 1, "DS_AL": 1, "DS_DG": 1, "DS_DL": 1, "LLR": -1, "PLLR": -1, "KL_CTX": 1,
    "KL_SS": 1, "KL_DONOR": 1, "KL_ACCEPTOR": 1, "EMB_COS": 1, "EMB_L2": 1,
}  # fmt: skip


@click.command()
@click.argument("vcf", type=Path)
@genome
@MODEL
@click.option("--splice-model", default="auto")
@click.option("--delta-distance", type=int)
@click.option("--mask", type=click.Choice(MASKS), default="none")
def main(
    vcf: Path, reference: str, annotation: str, model: str, splice_model: str, delta_distance: int | None, mask: str
) -> None:
    """Print the tables."""
    asked = (*(score for score in SCORES if score != DISTANCE), "LOSS_JUDGED")
    settings = Settings(scores=asked, delta_distance=delta_distance, mask=mask)
    with Annotator(reference, annotation, model=model, splice_model=splice_model, settings=settings) as annotator:
        canonical = print_areas(annotator, vcf, lambda kind, said: said in CHOSEN.get(kind, ()), SCORES)
        threshold = annotator.delta.threshold
        below = [one for one in canonical if isinstance(ds := one.values["DS_MAX"], float) and ds < threshold]
        words = Counter(str(one.values["LOSS_JUDGED"]) for one in canonical)
        unseen = sum(one.values["LOSS_JUDGED"] != "JUDGED" for one in below)
        click.echo(
            f"\nof {len(canonical)} canonical SNVs {len(below)} ({len(below) / len(canonical):.1%}) have a DS_MAX "
            f"below {threshold:g}, {unseen} of these not JUDGED; LOSS_JUDGED of all: "
            + ", ".join(f"{word} {count}" for word, count in words.most_common())
        )
        harmful, harmless = [], []
        for snv, info in snvs_of(vcf):
            if info.get("MC") == "SO:0001627|intron_variant":
                (
                    harmful if info.get("CLNSIG") in HARMFUL else harmless if info.get("CLNSIG") in HARMLESS else []
                ).append(snv)
        click.echo()
        introns = [scored_in_gene(annotator, snvs) for snvs in (harmful, harmless[::8])]
        print_table(*compared(*introns, ("harmful", "harmless"), SCORES))
        for name, outcomes in zip(("harmful", "harmless"), introns, strict=True):
            values = [ds for one in outcomes if isinstance(ds := one.values["DS_MAX"], float)]
            share = sum(value >= threshold for value in values) / len(values)
            click.echo(f"{name}: {share:.1%} of {len(values)} have a DS_MAX of {threshold:g} or more")


def print_areas(
    annotator: Annotator, vcf: Path, wanted: Callable[[str, str | None], bool], scores: Mapping[str, int]
) -> list[ScoredContext]:
    """Print by score how well it tells canonical SNVs of the gene from deep-intronic SNVs; return the canonical ones.

    ``wanted`` takes the region class and ClinVar's CLNSIG; ``scores`` maps a score to the sign that makes larger mean
    more disturbed.
    """
    chosen: dict[str, list[Variant]] = {kind: [] for kind in CHOSEN}
    for snv, info in snvs_of(vcf):
        for context in annotator.genes.contexts(snv.chrom, snv.pos - 1, snv.pos):
            kind = region_class(context)
            if context.symbol == GENE and kind in chosen and wanted(kind, info.get("CLNSIG")):
                chosen[kind].append(snv)
    say(", ".join(f"{kind} {len(snvs):,}" for kind, snvs in chosen.items()))
    canonical, deep = (scored_in_gene(annotator, snvs) for snvs in chosen.values())
    print_table(*compared(canonical, deep, tuple(CHOSEN), scores))
    return canonical


def snvs_of(vcf: Path) -> Iterator[tuple[Variant, Mapping[str, str]]]:
    """Yield the SNVs of a file with their INFO."""
    for line in lines(vcf):
        chrom, pos, _, ref, alt, _, _, info = line.split("\t")[:8] if line[0] != "#" else [""] * 8
        if len(ref) == len(alt) == 1 and alt in "ACGT":
            yield Variant(chrom, int(pos), ref, alt), dict(item.partition("=")[::2] for item in info.split(";"))


def scored_in_gene(annotator: Annotator, snvs: Sequence[Variant]) -> list[ScoredContext]:
    """Return the outcomes of SNVs in the gene."""
    return [
        outcome
        for result in annotator.score(snvs)
        for outcome in result.contexts
        if outcome.status == Status.OK and outcome.context and outcome.context.symbol == GENE
    ]


def compared(
    more: Sequence[ScoredContext], less: Sequence[ScoredContext], names: tuple[str, str], scores: Mapping[str, int]
) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of a table: by score the counts, the medians, and AUROC."""
    rows = []
    for name, sign in scores.items():
        ours, others = (
            [sign * value for one in outcomes if (value := value_of(one, name)) is not None]
            for outcomes in (more, less)
        )
        area = mannwhitneyu(ours, others).statistic / (len(ours) * len(others))
        medians = [f"{sign * statistics.median(values):.4g}" for values in (ours, others)]
        rows.append([name, str(len(ours)), str(len(others)), *medians, f"{area:.3f}"])
    return ["score", *(f"n {kind}" for kind in names), *(f"median {kind}" for kind in names), "AUROC"], rows


def value_of(outcome: ScoredContext, score: str) -> float | None:
    """Return a score, or the distance to the nearest splice site; None is missing."""
    if score == DISTANCE:
        return outcome.context.distance if outcome.context else None
    value = outcome.values.get(score)
    return value if isinstance(value, float) else None


if __name__ == "__main__":
    main()
