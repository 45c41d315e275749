"""SpliceAI's own command line against the plugin that runs it as a scorer, on ten variants of chr22.

    python -m venv live
    live/bin/pip install spliceai==1.3.1 tensorflow "numpy<2.3" "setuptools>=77,<80"
    live/bin/pip install --no-build-isolation ./plugin_spec . ./plugin_spec/spliceai
    live/bin/python benchmarks/live_spliceai.py -R GRCh38.fa

Both run in the environment that runs this, and on the same FASTA. Every entry ALT x gene of SpliceAI is looked up in
the table of splicebert-vep by allele and symbol; its eight numbers have to be equal, and their largest score
SpliceAI_DS_MAX. An entry that only one of the two has is a difference.
"""

from __future__ import annotations

import csv
import os
import re
import sys
import tempfile
from pathlib import Path

import click
from common import annotate, lines, print_table, run

VARIANTS = (  # 1-based, left-aligned, GRCh38
    ("20783971", "G", "A", "SERPIND1 acceptor -1, within PI4KA"),
    ("28696985", "GTAC", "G", "CHEK2 acceptor -3 to -1 deleted"),
    ("28710060", "C", "T", "CHEK2 acceptor -1"),
    ("28724976", "C", "T", "CHEK2 donor +1"),
    ("29636877", "G", "A", "NF2 donor +1"),
    ("29654655", "A", "G", "NF2 acceptor -2"),
    ("32849539", "G", "A", "TIMP3 donor +5, within SYN3"),
    ("36293811", "C", "T", "MYH9, within an exon"),
    ("41141224", "T", "TTAG", "EP300 insertion at donor +3"),
    ("50677639", "T", "C", "SHANK3, deep in an intron"),
)
HEADER = "##fileformat=VCFv4.2\n##contig=<ID=chr22>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
DELTAS = [f"{kind}_{site}" for kind in ("DS", "DP") for site in ("AG", "AL", "DG", "DL")]
Entry = tuple[str, str, str, str]  # POS, REF, ALT, SYMBOL
Found = dict[Entry, list[float | None]]


def numbers(texts: list[str]) -> list[float | None]:
    """Return numbers; None for what is missing in a VCF or a table."""
    return [None if text in ("", ".") else float(text) for text in texts]


def spliceai(vcf: Path, reference: Path, distance: int, mask: int, target: Path) -> Found:
    """Run SpliceAI's command line."""
    options = ["-R", reference, "-A", "grch38", "-D", str(distance), "-M", str(mask)]
    run([Path(sys.executable).with_name("spliceai"), "-I", vcf, "-O", target, *options], 2)
    found: Found = {}
    for line in lines(target):
        entries = re.search(r"[\t;]SpliceAI=([^;\t]+)", line)
        for entry in entries[1].split(",") if entries else ():
            _, position, _, ref, _ = line.split("\t", 4)
            alt, symbol, *texts = entry.split("|")
            deltas = numbers(texts)
            largest = max((score for score in deltas[:4] if score is not None), default=None)
            found[position, ref, alt, symbol] = [*deltas, largest]
    return found


def plugin(vcf: Path, reference: Path, distance: int, mask: int, target: Path) -> Found:
    """Run ``splicebert-vep annotate`` with the plugin."""
    given = {"ANNOTATION": "grch38", "DISTANCE": str(distance), "MASK": str(mask)}
    os.environ |= {f"SPLICEAI_VEP_{name}": value for name, value in given.items()}
    fields = [f"SpliceAI_{name}" for name in (*DELTAS, "DS_MAX")]
    table = target.with_suffix(".tsv")
    emit = f"flat,tsv={table}"
    annotate(vcf, target, ["-R", str(reference), "--scores", f"LLR,{','.join(fields)}", "--emit", emit], 2)
    rows = csv.DictReader((line for line in lines(table) if not line.startswith("##")), delimiter="\t")
    entries = ((tuple(row[name] for name in ("POS", "REF", "ALT", "SYMBOL")), row) for row in rows)
    found = {entry: numbers([row[field] for field in fields]) for entry, row in entries}
    return {entry: values for entry, values in found.items() if any(value is not None for value in values)}


def shown(values: list[float | None] | None) -> str:
    """Return the values of an entry as text."""
    return "no entry" if values is None else "|".join("." if value is None else f"{value:g}" for value in values)


@click.command()
@click.option("-R", "--reference", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("-D", "--distance", default=50, help="SpliceAI's -D.")
@click.option("-M", "--mask", default=0, help="SpliceAI's -M.")
def main(reference: Path, distance: int, mask: int) -> None:
    """Print the table and how many variants are equal."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        link = folder / reference.name
        link.symlink_to(reference.resolve())  # SpliceAI writes its index beside the FASTA
        vcf = folder / "ten.vcf"
        records = [f"chr22\t{position}\t.\t{ref}\t{alt}\t.\t.\t.\n" for position, ref, alt, _ in VARIANTS]
        vcf.write_text(HEADER + "".join(records))
        theirs = spliceai(vcf, link, distance, mask, folder / "spliceai.vcf")
        ours = plugin(vcf, reference, distance, mask, folder / "ours.vcf")
    rows, equal = [], 0
    for *allele, what in VARIANTS:
        entries = [entry for entry in sorted({*theirs, *ours}) if list(entry[:3]) == allele]
        equal += bool(entries) and all(theirs.get(entry) == ours.get(entry) for entry in entries)
        for entry in entries:
            told, ours_told = shown(theirs.get(entry)), shown(ours.get(entry))
            rows.append(["-".join(entry), what, told, "equal" if told == ours_told else ours_told])
    print_table(("variant and gene", "what", f"SpliceAI -D {distance} -M {mask}", "plugin"), rows)
    click.echo(f"{equal} of {len(VARIANTS)} equal")
    if equal < len(VARIANTS):
        raise click.ClickException("they differ")


if __name__ == "__main__":
    main()
