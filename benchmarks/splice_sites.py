"""How well fine-tuned splice-site models find acceptors and donors of held-out genes, with SpliceAI beside them.

    python benchmarks/splice_sites.py --genome human GRCh38.fa grch38 --hold-out human:chr22 --test-nt 1000000 \
        --model trained=sites/model --model random=random/model --spliceai --out figures.json

Genes, labels and figures are those of ``splicebert-vep finetune splice-sites`` with the same options. SpliceAI 1.3.1 is
run as its authors do: five models averaged, 5,000 nt of sequence on either side, N beyond a contig's end; it needs an
environment of its own (pip install spliceai==1.3.1 tensorflow scikit-learn, then this package). A set that is in
``--out`` already is not computed again, so that a run goes on where it was broken off.
"""

from __future__ import annotations

import argparse
import json
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from common import print_table

from splicebert_vep.genome.reference import Reference
from splicebert_vep.model.tuned import SpliceSiteModel
from splicebert_vep.sequence.tokens import encode, reverse_complement
from splicebert_vep.train.corpus import Source
from splicebert_vep.train.finetune import answers
from splicebert_vep.train.labels import split_genes
from splicebert_vep.train.metrics import site_figures
from splicebert_vep_spec import A, N

CONTEXT = 5_000  # nt on either side
BLOCK = 50_000  # nt of output at a time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--genome", nargs=3, action="append", required=True, metavar=("SPECIES", "FASTA", "ANNOTATION"))
    parser.add_argument("--hold-out", action="append", required=True)
    parser.add_argument("--test-nt", type=int, default=3_000_000)
    parser.add_argument("--validation", type=float, default=0.05)
    parser.add_argument("--only", action="append", help="names of test sets; all unless given")
    parser.add_argument("--model", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--spliceai", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    sources = [Source(species, Path(fasta), annotation) for species, fasta, annotation in options.genome]
    split = split_genes(
        sources, options.hold_out, validation_share=options.validation, margin=256, test_nt=options.test_nt
    )
    models = dict(named.split("=", 1) for named in options.model)
    rows = json.loads(options.out.read_text()) if options.out.is_file() else []
    for test in split.tests:
        if options.only and test.name not in options.only:
            continue
        for name in [*models, *(["SpliceAI 1.3.1"] if options.spliceai else [])]:
            if any(row["test"] == test.name and row["model"] == name for row in rows):
                continue
            if name in models:
                model = SpliceSiteModel.open(models[name], "cpu")
                found, labels = answers(model.probabilities, test.labelled, width=model.window)
            else:
                found, labels = by_spliceai(test, sources)
            for figure in site_figures(found, labels, test.labelled.names):
                rows.append({"test": test.name, "genes": sum(len(s.genes) for s in test.labelled.stretches),
                             "paralogs": test.paralogs, "model": name, **figure})  # fmt: skip
                print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
            options.out.write_text(json.dumps(rows, indent=1) + "\n")
    head = ("genes", "site", "model", "sites", "AUPRC", "top-k", "MCC", "expected")
    cells = [
        (f"{row['test']}, {row['genes']} genes, {row['nucleotides']:,} nt", row["label"], row["model"],
         f"{row['sites']:,}", *(f"{row[name]:.3f}" for name in ("auprc", "top_k", "mcc")), f"{row['expected']:,.0f}")
        for row in rows
    ]  # fmt: skip
    print_table(head, cells)


def by_spliceai(test, sources):
    """Return SpliceAI's probabilities (n, 3), in the order of the labels, and the labels (n,) of a test set."""
    predict = spliceai()
    source = next(s for s in sources if test.name.split()[0] == s.species and holds(s, test))
    margin, values, labels = test.labelled.margin, [], []
    with Reference(source.reference) as reference:
        for number, stretch in enumerate(test.labelled.stretches):
            tokens = np.full(stretch.end - stretch.start + 2 * CONTEXT, N, dtype=np.uint8)
            low = stretch.start - CONTEXT
            bases = encode(reference.fetch(stretch.contig, low, stretch.end + CONTEXT))
            tokens[max(0, -low) : max(0, -low) + len(bases)] = bases
            if stretch.minus:
                tokens = reverse_complement(tokens)
            values.append(predict(tokens))
            start, end = test.labelled.offsets[number : number + 2]
            labels.append(test.labelled.labels[start + margin : end - margin])
            print(f"SpliceAI: {number + 1} of {len(test.labelled.stretches)}", end="\r", file=sys.stderr)
    return np.concatenate(values), np.concatenate(labels)


def holds(source, test):
    """Tell whether a source's FASTA has the bases of a test set's first stretch."""
    first = test.labelled.stretches[0]
    with Reference(source.reference) as reference:
        if reference.find(first.contig) != first.contig or reference.lengths[first.contig] < first.end:
            return False
        tokens = encode(reference.fetch(first.contig, first.start, first.end))
    margin = test.labelled.margin
    there = test.labelled.bases[margin : margin + len(tokens)]
    return bool(np.array_equal(reverse_complement(tokens) if first.minus else tokens, there))


def spliceai():
    """Return what turns tokens (n + 10,000,) to probabilities (n, 3)."""

    import keras

    keras.utils.disable_interactive_logging()
    folder = metadata.distribution("spliceai").locate_file("spliceai/models")  # a benchmark here has its name too
    models = [keras.models.load_model(f"{folder}/spliceai{k}.h5", compile=False) for k in range(1, 6)]

    def one(tokens):
        hot = (tokens[:, None] == np.arange(A, A + 4)).astype(np.float32)[None]
        return np.mean([np.asarray(model(hot))[0] for model in models], axis=0)

    def predict(tokens):
        length = len(tokens) - 2 * CONTEXT
        blocks = [tokens[at : min(at + BLOCK, length) + 2 * CONTEXT] for at in range(0, length, BLOCK)]
        return np.concatenate([one(block) for block in blocks])

    return predict


if __name__ == "__main__":
    main()
