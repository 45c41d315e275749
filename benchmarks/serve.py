"""How soon a running ``serve`` answers, and what it does under many visitors.

    python benchmarks/serve.py http://127.0.0.1:8038 17:43046000 -R GRCh38.fa --count 120 --at-once 8

Asks ``/splice`` for one SNV in every 397 nt from a place on, each once: give another place for the next run of a
server with ``--store``, and start the server with a large ``--rate``. Printed are the answers by code and status, the
rate, and the median, 95th percentile and maximum of the seconds that an answer took.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import click
import numpy as np
from common import say

from splicebert_vep.genome.reference import Reference

_APART = 397  # nt


@click.command()
@click.argument("url")
@click.argument("place", metavar="CHROM:POS")
@click.option("-R", "--reference", required=True)
@click.option("--count", default=40, show_default=True)
@click.option("--at-once", default=1, show_default=True)
def main(url: str, place: str, reference: str, count: int, at_once: int) -> None:
    chrom, _, first = place.partition(":")
    variants = []
    with Reference(reference) as fasta:
        contig = fasta.find(chrom)
        for pos in range(int(first), int(first) + count * _APART, _APART):
            ref = fasta.fetch(contig or chrom, pos - 1, pos).decode()
            variants.append(f"{chrom}-{pos}-{ref}-{'CGTA'['ACGT'.index(ref)]}")

    def ask(variant: str) -> tuple[int, str, float]:
        began = time.perf_counter()
        try:
            with urllib.request.urlopen(f"{url.rstrip('/')}/splice?variant={variant}", timeout=600) as answer:
                code, found = answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            code, found = error.code, json.load(error)
        return code, found.get("status", found.get("error")), time.perf_counter() - began

    began = time.perf_counter()
    with ThreadPoolExecutor(at_once) as visitors:
        answers = list(visitors.map(ask, variants))
    wall = time.perf_counter() - began
    for (code, status), number in Counter(answer[:2] for answer in answers).items():
        say(f"{number:,} x {code} {status}")
    median, most, last = np.percentile([answer[2] for answer in answers], [50, 95, 100])
    say(f"{count / wall:.1f}/s; seconds: median {median:.3f}, 95 % {most:.3f}, longest {last:.3f}")


if __name__ == "__main__":
    main()
