"""Consequences by the answers of a splice-site model, against what was seen in RNA.

::

    python benchmarks/consequences.py splice_validated.dev.tsv -R GRCh38.fa --splice-model cispliceai --distance 5000

Prints the figures of docs/consequences.md: how many agree, a table of effects by label, and every disagreement. The
table is that of Strauch et al. 2022 (10.1371/journal.pone.0269159), with columns hgvs, chrom, pos, ref, alt, strand,
affects_splicing, effect, observation, acceptor_gained and donor_gained. Of several genes on the strand of a variant one
that has a symbol counts, and no readthrough gene, whose symbol is of two with a dash.
"""

import argparse
import time
from functools import partial
from pathlib import Path

from splicebert_vep.consequence.outcomes import Answers, SplicedTranscript, consequences
from splicebert_vep.genome.gene_build import load_table
from splicebert_vep.genome.gene_index import GeneIndex
from splicebert_vep.genome.reference import Reference
from splicebert_vep.plugins import load_plugins
from splicebert_vep.scoring.delta import Around, look_around, open_splice_model
from splicebert_vep.sequence.alleles import normalise
from splicebert_vep.settings import Settings
from splicebert_vep.train.evaluate import compare_consequences, read_observed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("-R", "--reference", required=True)
    parser.add_argument("-A", "--annotation", default="grch38")
    parser.add_argument("--splice-model", default="cispliceai")
    parser.add_argument("--distance", type=int, default=5000)
    asked = parser.parse_args()
    model = open_splice_model(load_plugins(), Settings(splice_model=asked.splice_model))
    genes, reference = GeneIndex(load_table(asked.annotation)), Reference(asked.reference)
    seen, places = [], []
    for one in read_observed(asked.table):
        contig = reference.find(one.chrom)
        allele = normalise(contig, one.pos, one.ref, one.alt, partial(reference.fetch, contig))
        span = allele.contig, allele.start, allele.end
        named = [gene for gene in genes.contexts(*span) if gene.strand == one.strand and gene.symbol]
        gene = min(named, key=lambda gene: ("-" in gene.symbol, gene.gene_id))
        transcript = next(t for t in genes.transcripts(*span) if t.gene_id == gene.gene_id)
        seen.append(one)
        places.append((allele, gene, transcript))
    started = time.perf_counter()
    asked_for = [(allele, gene) for allele, gene, _ in places]
    looked = look_around(model, asked_for, reference, genes, asked.distance, outside=not model.sees_gene_only)
    network = time.perf_counter() - started
    answered, cases, prepared = [], [], {}
    for one, (allele, gene, transcript), around in zip(seen, places, looked, strict=True):
        if not isinstance(around, Around):
            print(f"{one.name}: no answer of the model")
            continue
        if transcript.transcript_id not in prepared:
            known = genes.gene(gene, allele.contig, allele.start, allele.end).sites
            spliced = SplicedTranscript(transcript, known, partial(reference.fetch, allele.contig))
            prepared[transcript.transcript_id] = spliced
        answered.append(one)
        answers = Answers(around.start, around.ref, around.alt)
        cases.append((prepared[transcript.transcript_id], allele, answers))
    started = time.perf_counter()
    pairs = list(zip(answered, consequences(cases), strict=True))
    took = 1000 * (time.perf_counter() - started) / max(1, len(pairs))
    print(f"{model.info.model} within {asked.distance} nt, {network:.0f} s; consequences {took:.2f} ms an allele")
    print(f"\n{compare_consequences(pairs)}")


if __name__ == "__main__":
    main()
