"""Whether ``--emit csq`` put every score where it belongs and left all else as it was.

    splicebert-vep annotate before.vcf.gz -R GRCh38.fa --emit csq,tsv=scores.tsv -O after.vcf.gz
    python benchmarks/csq.py before.vcf.gz after.vcf.gz scores.tsv

Both files are read with cyvcf2, the scores from the table. In a record with one ALT, an entry of a gene in the table
has to carry that row's numbers and status, an entry of another gene nothing; where the table has no gene, every entry
carries the status alone. Of other records only what must not change is checked. Ends with 1 when anything differs.
"""

from __future__ import annotations

import csv
import re
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

import click
import cyvcf2

from splicebert_vep.genome.ids import stable_id
from splicebert_vep_spec import escape_info

PREFIX = "SpliceBERT_pred_"
GENE = {"CSQ": "Gene", "ANN": "Gene_ID"}
SHOWN = 10

Rows = dict[tuple[str, int, str, str], list[dict[str, str]]]


@click.command(help=__doc__.splitlines()[0])
@click.argument("before")
@click.argument("after")
@click.argument("table")
@click.option("--key", type=click.Choice(list(GENE)), default="CSQ", help="INFO key.")
def main(before: str, after: str, table: str, key: str) -> None:
    """Compare, print counts, and say what differs."""
    old, new = cyvcf2.VCF(before), cyvcf2.VCF(after)
    rows, counts = read_table(table), Counter[str]()
    names = columns(old, key), columns(new, key)
    problems = []
    kept = [name for name in names[0] if not name.startswith(PREFIX)]
    if names[1] != kept + [name for name in names[1] if name.startswith(PREFIX)]:
        problems.append(f"Format: {names[1]}")
    for one, other in zip_longest(old, new):
        if one is None or other is None:
            problems.append("another number of records")
            break
        where = f"{one.CHROM}:{one.POS} {one.REF[:20]}>{','.join(one.ALT)[:20]}"
        problems += [f"{where}: {text}" for text in differences(one, other, names, key, rows, counts)]
    for name, count in sorted(counts.items()):
        click.echo(f"{count:10,}  {name}")
    for text in problems[:SHOWN]:
        click.echo(text)
    click.echo(f"{len(problems):10,}  differences")
    sys.exit(bool(problems))


def read_table(path: str) -> Rows:
    """Return the rows of a table by record; those of one ALT are its genes."""
    rows: Rows = {}
    with open(path, newline="") as file:
        lines = (line for line in file if not line.startswith("##"))
        for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE):
            rows.setdefault((row["CHROM"], int(row["POS"]), row["REF"], row["ALT"]), []).append(row)
    return rows


def columns(vcf: Any, key: str) -> list[str]:
    """Return the names of an entry's subfields, as the header's Description lists them."""
    text = vcf.get_header_type(key)["Description"]
    listed = re.search(r"Format: ([^\"']*)", text) or re.search(r"'([^']*)'", text)
    return [name.strip() for name in listed[1].split("|")]


def differences(
    one: Any, other: Any, names: tuple[list[str], list[str]], key: str, rows: Rows, counts: Counter[str]
) -> Iterator[str]:
    """Yield what is wrong with a record, and count what was looked at."""
    counts["records"] += 1
    if fixed(one) != fixed(other):
        yield "other columns or another INFO"
    before, after = (
        [entry.split("|") for entry in text.split(",")] if (text := record.INFO.get(key)) else []
        for record in (one, other)
    )
    if len(before) != len(after):
        yield "another number of entries"
        return
    if not before:
        counts[f"records without {key}"] += 1
        return
    scored = rows[one.CHROM, one.POS, one.REF, one.ALT[0]] if len(one.ALT) == 1 else None
    for old, new in zip(before, after, strict=True):
        if len(new) != len(names[1]):
            yield f"{len(new)} subfields"
            continue
        cells = dict(zip(names[1], new, strict=True))
        for name, value in zip(names[0], old, strict=True):
            if not name.startswith(PREFIX) and cells[name] != value:
                yield f"{name} was {value!r}, is {cells[name]!r}"
        counts["entries"] += 1
        if scored is not None:
            mine = {name: value for name, value in cells.items() if name.startswith(PREFIX)}
            yield from wrong(mine, cells[GENE[key]], scored, kind_of(one.REF, one.ALT[0]), counts)


def wrong(
    mine: dict[str, str], gene: str, scored: list[dict[str, str]], kind: str, counts: Counter[str]
) -> Iterator[str]:
    """Yield what is wrong with the scores of an entry of a record with one ALT."""
    genes = {stable_id(row["GENE"]): row for row in scored}
    expected = dict.fromkeys(mine, "")
    if "" in genes:
        expected[f"{PREFIX}STATUS"] = genes[""]["STATUS"]
        counts[f"entries with the status of an ALT without gene, {genes['']['STATUS']}"] += 1
    elif gene in genes:
        expected = {name: escape_info(genes[gene][name.removeprefix(PREFIX)]) for name in mine}
        counts[f"entries of a scored gene, {kind}, {genes[gene]['STATUS']}"] += 1
    else:
        counts["entries of another gene, empty"] += 1
    if mine != expected:
        yield f"needed {expected}, found {mine}"


def kind_of(ref: str, alt: str) -> str:
    """Return what kind of change an ALT is."""
    if len(ref) == len(alt):
        return "SNV" if len(ref) == 1 else "MNV"
    if ref[0] != alt[0]:
        return "delins without a shared first base"
    return "insertion" if len(ref) == 1 else "deletion" if len(alt) == 1 else "delins"


def fixed(record: Any) -> list[Any]:
    """Return what must not change: the columns, and INFO without what is merged into and the program's own keys."""
    info = [(name, value) for name, value in record.INFO if name not in GENE and not name.startswith("SpliceBERT")]
    return [record.CHROM, record.POS, record.ID, record.REF, record.ALT, record.QUAL, record.FILTER, dict(info)]


if __name__ == "__main__":
    main()
