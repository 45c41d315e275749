"""DS_MAX of a splice-site model on variants with RNA evidence: AUROC, average precision, shares above thresholds, by D.

::

    python benchmarks/validated.py splice_validated.dev.tsv -R GRCh38.fa --splice-model cispliceai --distances 50,500

The table has columns chrom, pos, ref, alt, affects_splicing (0 or 1), and, where published scores are to be set beside
it, ci_spliceai_max and spliceai_max (Strauch et al. 2022, 10.1371/journal.pone.0269159).
"""

import argparse
import csv

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from splicebert_vep import Annotator


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table")
    parser.add_argument("-R", "--reference", required=True)
    parser.add_argument("--splice-model", default="cispliceai")
    parser.add_argument("--distances", default="50,100,200,500,1000")
    asked = parser.parse_args()
    with open(asked.table, encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    harmful = np.array([row["affects_splicing"] == "1" for row in rows])
    print(f"{len(rows)} variants, {harmful.sum()} affect splicing\n")
    print("| score | D | missing | AUROC | average precision | harmful, harmless >= .2 | >= .1 |")
    print("|---|---|---|---|---|---|---|")
    for distance in map(int, asked.distances.split(",")):
        with Annotator(
            asked.reference, scores="DS_MAX", splice_model=asked.splice_model, delta_distance=distance, backend="null"
        ) as annotator:
            results = annotator.score((row["chrom"], int(row["pos"]), row["ref"], row["alt"]) for row in rows)
            found = [
                max((c.values.get("DS_MAX") for c in one.contexts), key=lambda v: -1 if v is None else v)
                for one in results
            ]
        report(asked.splice_model, str(distance), found, harmful)
    for column, name, distance in (
        ("ci_spliceai_max", "CI-SpliceAI, published", 1000),
        ("spliceai_max", "SpliceAI, published", 500),
    ):
        if column in rows[0]:
            report(name, str(distance), [float(row[column]) if row[column] else None for row in rows], harmful)


def report(name: str, distance: str, found: list[float | None], harmful: np.ndarray) -> None:
    """Print one row; missing scores count as 0 in the figures and are told."""
    scores = np.array([0.0 if value is None else value for value in found])
    shares = [f"{(scores[harmful] >= at).mean():.1%}, {(scores[~harmful] >= at).mean():.1%}" for at in (0.2, 0.1)]
    figures = f"{roc_auc_score(harmful, scores):.4f} | {average_precision_score(harmful, scores):.4f}"
    print(f"| {name} | {distance} | {found.count(None)} | {figures} | {shares[0]} | {shares[1]} |", flush=True)


if __name__ == "__main__":
    main()
