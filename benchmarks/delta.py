"""Whether delta scores tell ClinVar's pathogenic splice-site SNVs of BRCA1 from its benign deep-intronic ones.

    python benchmarks/delta.py clinvar.BRCA1.vcf.gz -R GRCh38.fa

Pathogenic and likely pathogenic SNVs in canonical dinucleotides of any transcript, against benign and likely benign
ones of the region class deep_intron (docs/scores.md). AUROC is the chance that one of the former scores more
disturbed than one of the latter (lower LLR), of those that have the score; n tells how many have. Average
precision on MFASS is ``splicebert-vep evaluate mfass.tsv --scores zero-shot,DELTA_P,delta``.
"""

from __future__ import annotations

import random
import statistics
from pathlib import Path

import click
from common import lines, print_table, say
from scipy.stats import mannwhitneyu

from splicebert_vep import Annotator, Settings, Variant
from splicebert_vep.model.registry import DEFAULT_SPLICE_MODEL
from splicebert_vep.scoring.percentiles import region_class
from splicebert_vep_spec import ScoredContext, Status

GENE = "BRCA1"
#: Region class, and what ClinVar says of the SNVs taken from it.
CHOSEN = {
    "canonical": ("Pathogenic", "Likely_pathogenic", "Pathogenic/Likely_pathogenic"),
    "deep_intron": ("Benign", "Likely_benign", "Benign/Likely_benign"),
}
#: Score -> the sign that makes larger mean more disturbed.
SCORES = {"LLR": -1, "PLLR": -1, "KL_CTX": 1, "KL_SS": 1, "DS_AG": 1, "DS_AL": 1, "DS_DG": 1, "DS_DL": 1, "DS_MAX": 1}
BASES = frozenset("ACGT")


@click.command()
@click.argument("vcf", type=Path)
@click.option("-R", "--reference", required=True)
@click.option("-A", "--annotation", default="grch38")
@click.option("--model", default="splicebert-mini")
@click.option("--splice-model", default=DEFAULT_SPLICE_MODEL)
@click.option("--delta-distance", default=50)
@click.option("--masked", is_flag=True)
@click.option("--most", type=int, help="Of each kind, drawn with a fixed seed. Default: all.")
def main(
    vcf: Path, reference: str, annotation: str, model: str, splice_model: str, delta_distance: int, masked: bool,
    most: int | None,
) -> None:  # fmt: skip
    """Print the table."""
    settings = Settings(scores=tuple(SCORES), delta_distance=delta_distance, masked=masked)
    opened = Annotator(reference, annotation, model=model, splice_model=splice_model, settings=settings)
    with opened as annotator:
        say(annotator.note)
        chosen = choose(vcf, annotator)
        if most is not None:
            rng = random.Random(1)
            chosen = {kind: sorted(rng.sample(snvs, min(most, len(snvs)))) for kind, snvs in chosen.items()}
        say(", ".join(f"{kind} {len(snvs):,}" for kind, snvs in chosen.items()))
        found = {kind: score(annotator, snvs) for kind, snvs in chosen.items()}
    rows = []
    for name, sign in SCORES.items():
        sites, others = (
            [sign * value for one in outcomes if isinstance(value := one.values.get(name), float)]
            for outcomes in found.values()
        )
        area = mannwhitneyu(sites, others).statistic / (len(sites) * len(others))
        medians = [f"{sign * statistics.median(values):.4g}" for values in (sites, others)]
        rows.append([name, str(len(sites)), str(len(others)), *medians, f"{area:.3f}"])
    print_table(["score", *(f"n {kind}" for kind in CHOSEN), *(f"median {kind}" for kind in CHOSEN), "AUROC"], rows)


def choose(vcf: Path, annotator: Annotator) -> dict[str, list[tuple[str, int, str, str]]]:
    """Return the SNVs of either kind, by region class."""
    chosen: dict[str, list[tuple[str, int, str, str]]] = {kind: [] for kind in CHOSEN}
    for line in lines(vcf):
        if line.startswith("#"):
            continue
        chrom, pos, _, ref, alt, _, _, info = line.rstrip("\n").split("\t")[:8]
        if ref not in BASES or alt not in BASES:
            continue
        said = dict(item.partition("=")[::2] for item in info.split(";")).get("CLNSIG")
        for context in annotator.genes.contexts(chrom, int(pos) - 1, int(pos)):
            kind = region_class(context)
            if context.symbol == GENE and kind is not None and said in CHOSEN.get(kind, ()):
                chosen[kind].append((chrom, int(pos), ref, alt))
    return chosen


def score(annotator: Annotator, snvs: list[tuple[str, int, str, str]]) -> list[ScoredContext]:
    """Return the outcomes in the gene."""
    return [
        outcome
        for result in annotator.score([Variant(*snv) for snv in snvs])
        for outcome in result.contexts
        if outcome.status == Status.OK and outcome.context and outcome.context.symbol == GENE
    ]


if __name__ == "__main__":
    main()
