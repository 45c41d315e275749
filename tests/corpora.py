"""A small genome with genes, as files; for the tests of corpus, training and region table."""

from __future__ import annotations

import random
from pathlib import Path

GENE = 3000  # nt; exons of 200 nt every 700, the introns read GT...AG
COMPLEMENT = str.maketrans("ACGTN", "TGCAN")


def reverse_complement(text: str) -> str:
    return text.translate(COMPLEMENT)[::-1]


def gene_text(seed: int, donor: str = "GT", acceptor: str = "AG") -> tuple[str, list[tuple[int, int]]]:
    """Return a gene of random bases, 5' to 3', and its exons, 0-based half-open.

    Args:
        donor, acceptor: what introns begin and end with.
    """
    rng = random.Random(seed)
    bases = [rng.choice("ACGT") for _ in range(GENE)]
    exons = [(at, at + 200) for at in range(0, GENE, 700)]
    for start, end in exons:
        if end + len(donor) < GENE:
            bases[end : end + len(donor)] = donor
        if start:
            bases[start - len(acceptor) : start] = acceptor
    return "".join(bases), exons


def write_genome(
    folder: Path, strands: str, *, name: str = "genome", mask: tuple[int, int] | None = None, contig_name: str = "1",
    first: int = 0, coding: bool = False, donor: str = "GT", acceptor: str = "AG",
) -> tuple[Path, Path]:  # fmt: skip
    """Write a FASTA and a GTF with one gene per strand given; the same gene number has the same bases on either.

    Args:
        mask: part of the contig to turn to N, 0-based half-open.
        first: number of the first gene.
        coding: let every exon be coding.
        donor, acceptor: what introns begin and end with.
    """
    contig, rows = "", []
    for number, strand in enumerate(strands, start=first):
        text, exons = gene_text(number, donor, acceptor)
        start = len(contig) + 500
        contig += "".join(random.Random(-number - 1).choice("ACGT") for _ in range(500))
        if strand == "-":
            text = reverse_complement(text)
            exons = [(GENE - end, GENE - begin) for begin, end in exons]
        contig += text
        about = f'gene_id "G{number}"; gene_biotype "protein_coding";'
        label = f'{about} transcript_id "T{number}"; transcript_biotype "protein_coding";'
        rows.append(("gene", start, start + GENE, strand, about))
        rows.append(("transcript", start, start + GENE, strand, label))
        rows += [("exon", start + begin, start + end, strand, label) for begin, end in sorted(exons)]
        if coding:
            rows += [("CDS", start + begin, start + end, strand, label) for begin, end in sorted(exons)]
    if mask:
        contig = contig[: mask[0]] + "N" * (mask[1] - mask[0]) + contig[mask[1] :]
    fasta, gtf = folder / f"{name}.fa", folder / f"{name}.gtf"
    fasta.write_text(f">{contig_name}\n{contig}\n", encoding="ascii")
    lines = (
        f"{contig_name}\tx\t{kind}\t{begin + 1}\t{end}\t.\t{strand}\t.\t{text}\n"
        for kind, begin, end, strand, text in rows
    )
    gtf.write_text("".join(lines), encoding="ascii")
    return fasta, gtf
