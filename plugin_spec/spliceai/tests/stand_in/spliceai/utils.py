"""What the plugin calls of ``spliceai.utils``, with its shapes, its silence and its ``exit()``."""

import keras

# NAME, contig, strand, first and last base, first and last bases of exons; all 1-based and inclusive
GENES = [
    ("GENE+", "1", "+", 1, 30_000, [1, 15_001], [9_000, 15_120]),
    ("GENE-", "1", "-", 1, 30_000, [1, 15_001], [9_000, 15_120]),
    ("TWICE", "2", "+", 1, 100, [1], [100]),
    ("TWICE", "2", "+", 50, 100, [50], [100]),
]


class Annotator:
    def __init__(self, ref_fasta, annotations):
        with open(ref_fasta) as fasta:
            assert fasta.readline().startswith(">")
        if annotations not in ("grch37", "grch38"):
            exit()
        self.genes, self.chroms, self.strands, self.starts, self.ends, self.exon_starts, self.exon_ends = map(
            list, zip(*GENES, strict=True)
        )

    def get_name_and_strand(self, chrom, pos):
        rows = [
            row
            for row, contig in enumerate(self.chroms)
            if contig == chrom.removeprefix("chr") and self.starts[row] <= pos <= self.ends[row]
        ]
        return [self.genes[row] for row in rows], [self.strands[row] for row in rows], rows


def get_delta_scores(record, ann, dist_var, mask):
    assert keras.SAID, "progress would go to stdout"
    [contig] = ann.ref_fasta.keys()
    around = ann.ref_fasta[contig][record.pos - 6 : record.pos + 100].seq
    if len(around) != 106 or around[5 : 5 + len(record.ref)] != record.ref:
        return []
    entries = []
    for gene in ann.get_name_and_strand(record.chrom, record.pos)[0]:
        for alt in record.alts:
            if len(record.ref) > 1 and len(alt) > 1:
                entries.append(f"{alt}|{gene}|.|.|.|.|.|.|.|.")
                continue
            scores = (record.pos % 100 / 100, -0.001, around.count("G") / 1000, 0.9 if gene == "GENE-" else 0.4)
            places = (len(record.ref), len(alt), -dist_var, mask)
            entries.append("|".join([alt, gene, *(f"{score:.2f}" for score in scores), *map(str, places)]))
    return entries
