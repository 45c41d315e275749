"""Make the inputs of the benchmarks of speed, as VCF.

    python benchmarks/make_inputs.py sparse sparse.vcf -R GRCh38.fa --contig chr22 --count 40
    python benchmarks/make_inputs.py saturation saturation.vcf -R GRCh38.fa --contig chr22 --sites 100
    python benchmarks/make_inputs.py panel panel.vcf -R GRCh38.fa --vcf clinvar.vcf.gz --every 50
    python benchmarks/make_inputs.py large large.vcf -R GRCh38.fa --vcf clinvar.vcf.gz --records 1000000
    python benchmarks/make_inputs.py stepped stepped.vcf -R GRCh38.fa --contig chr19 --count 100000
    python benchmarks/make_inputs.py samples samples/ --vcf 1000G.vcf.gz --count 200

Where the file of ``large`` has too few records, SNVs as of ``stepped`` follow all of them. Records without ALT are left
out, missing ``##contig`` lines are added.
"""

from __future__ import annotations

import random
from bisect import bisect, insort
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import click
from common import genome, has_alt, lines, say, snv
from pysam import BGZFile

from splicebert_vep import Annotator
from splicebert_vep_spec import GeneContext

APART = 1000  # nt
BLOCK = 1000  # nt that are looked up at once
TRANSITION = {"A": "G", "G": "A", "C": "T", "T": "C"}
COLUMNS = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"


def base(annotator: Annotator, contig: str, start: int) -> str:
    """Return the base at the 0-based ``start``."""
    return annotator.reference.fetch(contig, start, start + 1).decode()


def only_gene(annotator: Annotator, contig: str, start: int) -> GeneContext | None:
    """Return the protein-coding gene at ``start``, where it lies in no other gene."""
    contexts = annotator.genes.contexts(contig, start, start + 1)
    return contexts[0] if len(contexts) == 1 and contexts[0].biotype == "protein_coding" else None


def stepped_snvs(annotator: Annotator, contig: str, step: int, name: str) -> Iterator[str]:
    """Yield SNVs of blocks that lie in one gene as a whole."""
    for first in range(0, annotator.reference.lengths[contig] - BLOCK, BLOCK):
        left, right = (
            {context.gene_id for context in annotator.genes.contexts(contig, at, at + 1)}
            for at in (first, first + BLOCK - 1)
        )
        if left & right:
            bases = annotator.reference.fetch(contig, first, first + BLOCK).decode()
            for i in range(0, BLOCK, step):
                if bases[i] in TRANSITION:
                    yield snv(name, first + i, bases[i], TRANSITION[bases[i]])


def write(target: Path, annotator: Annotator, records: Iterable[str], header: Iterable[str] = ()) -> int:
    """Write a VCF, its header completed by the contigs of its records, and return the number of records."""
    body = list(records)
    head = list(header) or ["##fileformat=VCFv4.2", COLUMNS]
    known = {line[13:].split(",")[0].rstrip(">") for line in head if line.startswith("##contig=<ID=")}
    for contig in dict.fromkeys(line.split("\t", 1)[0] for line in body):
        if contig not in known:
            name = annotator.reference.find(contig)
            length = f",length={annotator.reference.lengths[name]}" if name else ""
            head.insert(-1, f"##contig=<ID={contig}{length}>")
    target.write_text("\n".join([*head, *body]) + "\n")
    return len(body)


def split(vcf: Path) -> tuple[list[str], list[str]]:
    """Return the header's lines and those of the records that have an ALT."""
    everything = list(lines(vcf))
    header = [line for line in everything if line[0] == "#"]
    return header, [line for line in everything if line[0] != "#" and has_alt(line)]


TARGET = click.argument("target", type=click.Path(path_type=Path))
VCF = click.option("--vcf", required=True, type=click.Path(path_type=Path))
CONTIG = click.option("--contig", default="chr22")
SEED = click.option("--seed", default=1)


def opened(reference: str, annotation: str) -> Annotator:
    """Open reference and genes, without a model."""
    return Annotator(reference, annotation, backend="null")


@click.group()
def main() -> None:
    """Make an input."""


@main.command()
@TARGET
@genome
@CONTIG
@click.option("--count", default=40)
@SEED
@click.option("--also", default=None, help="A table in which they have to lie in one gene too, such as SpliceAI's.")
def sparse(target: Path, contig: str, count: int, seed: int, also: str | None, **options: Any) -> None:
    """Write SNVs more than 1 kb apart, each in one protein-coding gene and no other."""
    rng = random.Random(seed)
    with opened(**options) as annotator, opened(options["reference"], also or options["annotation"]) as second:
        kept: list[int] = []
        for _ in range(1000 * count):
            start = rng.randrange(annotator.reference.lengths[contig])
            at = bisect(kept, start)
            if any(abs(start - other) <= APART for other in kept[max(0, at - 1) : at + 1]):
                continue
            both = not also or len(second.genes.contexts(contig, start, start + 1)) == 1
            if both and only_gene(annotator, contig, start) and base(annotator, contig, start) in TRANSITION:
                insort(kept, start)
                if len(kept) == count:
                    break
        refs = [base(annotator, contig, start) for start in kept]
        alts = [rng.choice("ACGT".replace(ref, "")) for ref in refs]
        made = write(target, annotator, map(snv, [contig] * len(kept), kept, refs, alts))
    say(f"{made:,} SNVs more than {APART:,} nt apart in protein-coding genes of {contig}, seed {seed}")


@main.command()
@TARGET
@genome
@CONTIG
@click.option("--sites", default=100)
@SEED
def saturation(target: Path, contig: str, sites: int, seed: int, **options: Any) -> None:
    """Write every SNV of neighbouring sites around a donor of a MANE Select transcript."""
    rng = random.Random(seed)
    with opened(**options) as annotator:
        while True:
            start = rng.randrange(annotator.reference.lengths[contig])
            gene = only_gene(annotator, contig, start)
            if gene and gene.transcript_choice == "MANE_Select" and gene.region == "CDS" and gene.donor:
                break
        first = gene.donor.start - sites // 2
        refs = annotator.reference.fetch(contig, first, first + sites).decode()
        records = [snv(contig, first + i, ref, alt) for i, ref in enumerate(refs) for alt in "ACGT" if alt != ref]
        made = write(target, annotator, records)
    say(f"{made:,} SNVs of {sites:,} sites around a donor of {gene.symbol} {gene.transcript_id}, {contig}, seed {seed}")


@main.command()
@TARGET
@genome
@VCF
@click.option("--every", default=50)
def panel(target: Path, vcf: Path, every: int, **options: Any) -> None:
    """Write every k-th record of a file."""
    header, records = split(vcf)
    with opened(**options) as annotator:
        made = write(target, annotator, records[::every], header)
    say(f"{made:,} records, one in {every} of {vcf.name}")


@main.command()
@TARGET
@genome
@VCF
@click.option("--records", "wanted", default=100_000)
@click.option("--contig", default="chr19", help="Where SNVs are made when the file has too few records.")
@click.option("--step", default=20)
def large(target: Path, vcf: Path, wanted: int, contig: str, step: int, **options: Any) -> None:
    """Write as many records, spread over a file, without genotypes; SNVs are made where it has too few."""
    header, records = split(vcf)
    real = [records[i * len(records) // wanted] for i in range(wanted)] if wanted < len(records) else records
    body = ["\t".join(line.split("\t", 8)[:8]) for line in real]
    used = {line.split("\t", 1)[0] for line in body}
    name = contig if any(other.startswith("chr") for other in used) else contig.removeprefix("chr")
    if wanted > len(body) and name in used:
        raise click.UsageError(f"{vcf} has records on {name}; take another --contig")
    with opened(**options) as annotator:
        made = islice(stepped_snvs(annotator, contig, step, name), wanted - len(body))
        total = write(target, annotator, [*body, *made], [*header[:-1], COLUMNS])
    more = f", then {total - len(body):,} made SNVs {step} nt apart in genes of {contig}" if total > len(body) else ""
    say(f"{total:,} records: {len(body):,} of {vcf.name}{more}")


@main.command()
@TARGET
@genome
@click.option("--contig", default="chr19")
@click.option("--count", default=100_000)
@click.option("--step", default=20)
def stepped(target: Path, contig: str, count: int, step: int, **options: Any) -> None:
    """Write SNVs in genes, so many nt apart."""
    with opened(**options) as annotator:
        made = write(target, annotator, islice(stepped_snvs(annotator, contig, step, contig), count))
    say(f"{made:,} made SNVs {step} nt apart in genes of {contig}")


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--vcf", "vcfs", required=True, multiple=True, type=click.Path(path_type=Path))
@click.option("--count", default=200)
@click.option("--all-sites", is_flag=True, help="Keep records whose ALT the sample does not carry.")
def samples(folder: Path, vcfs: tuple[Path, ...], count: int, all_sites: bool) -> None:
    """Write one bgzipped VCF for each of the first samples, with the records of all files in their order."""
    folder.mkdir(parents=True, exist_ok=True)
    files: list[BGZFile] = []
    records = 0
    for vcf in vcfs:
        header, body = split(vcf)
        names = header[-1].split("\t")[9 : 9 + count]
        if not files:
            files = [BGZFile(str(folder / f"{name}.vcf.gz"), "w") for name in names]
            for file, name in zip(files, names, strict=True):
                columns = f"{COLUMNS}\tFORMAT\t{name}\n"
                file.write("".join([*(f"{line}\n" for line in header[:-1]), columns]).encode())
        for line in body:
            columns = line.split("\t", 9 + count)
            for file, genotype in zip(files, columns[9:], strict=False):
                if all_sites or set(genotype.partition(":")[0]) & set("123456789"):
                    file.write("\t".join([*columns[:9], genotype]).encode() + b"\n")
                    records += 1
    for file in files:
        file.close()
    say(f"{len(files):,} files, {records:,} records")


if __name__ == "__main__":
    main()
