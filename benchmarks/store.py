"""How fast a large score store answers, and how much room a score takes.

    python benchmarks/store.py --rows 10000000

Rows are synthetic: three ALTs at every position, nine scores each, as of saturated genes. Look-ups are sorted chunks of
1,024 alleles each, drawn over all of the store; half of them are also made by two processes while a third one writes.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
from common import machine, print_table, say

from splicebert_vep.provenance import Space
from splicebert_vep.store.store import AlleleKey, ScoreStore, StoredScores

CHUNK = 1024
BLOCK = 30_000  # rows in one transaction
SCORES = ("LLR", "PLLR", "KL_CTX", "KL_DONOR", "KL_ACCEPTOR", "KL_SS", "N_SITES", "EMB_COS", "EMB_L2")
SPACE = Space("0" * 64, "1" * 64, (*(f"{name}=synthetic/1" for name in SCORES), "N_FRAC"))
NAMES = {f"{number:032x}": f"chr{number + 1}" for number in range(4)}
OTHERS = {base: [other for other in "ACGT" if other != base] for base in "ACGT"}


def rows(first: int, count: int, md5: str, rng: np.random.Generator) -> Iterator[tuple[AlleleKey, list[StoredScores]]]:
    """Yield ``count`` alleles of a contig from a position on, one gene each."""
    values = rng.normal(size=(count, len(SCORES))).tolist()
    for i, scores in enumerate(values):
        start = first + i // 3
        ref = "ACGT"[start % 4]
        stored = StoredScores(f"ENSG{start // 50_000:011}", "OK", "", (*scores, 0.0))
        yield AlleleKey(md5, start, ref, OTHERS[ref][i % 3]), [stored]


def fill(store: ScoreStore, total: int) -> float:
    """Fill a store; return seconds."""
    rng, began = np.random.default_rng(1), time.perf_counter()
    share = total // len(NAMES)
    for md5 in NAMES:
        for done in range(0, share, BLOCK):
            store.add(SPACE, rows(done // 3, min(BLOCK, share - done), md5, rng), NAMES)
        say(f"{NAMES[md5]} filled, {time.perf_counter() - began:.0f} s")
    return time.perf_counter() - began


def chunks(total: int, count: int, seed: int) -> list[list[AlleleKey]]:
    """Return chunks of alleles as a sorted VCF has them: far apart in half of them, close together in the others."""
    rng = np.random.default_rng(seed)
    positions = total // len(NAMES) // 3
    found = []
    for number in range(count):
        md5 = list(NAMES)[number % len(NAMES)]
        span = positions if number % 2 else min(positions, 50_000)
        low = rng.integers(0, positions - span + 1)
        starts = np.sort(rng.integers(low, low + span, CHUNK)).tolist()
        picked = rng.integers(0, 3, CHUNK).tolist()
        refs = ["ACGT"[start % 4] for start in starts]
        found.append([AlleleKey(md5, s, r, OTHERS[r][k]) for s, r, k in zip(starts, refs, picked, strict=True)])
    return found


def look_up(path: Path, total: int, count: int, seed: int, results: Any) -> None:
    """Look chunks up; put alleles, how many were found, and seconds into the queue of results."""
    asked = chunks(total, count, seed)
    with ScoreStore(path, writing=False) as store:
        store.find(SPACE, asked[0])
        began = time.perf_counter()
        found = sum(map(bool, (one for chunk in asked for one in store.find(SPACE, chunk))))
        results.put((count * CHUNK, found, time.perf_counter() - began))


def write_meanwhile(path: Path, stop: Any, written: Any) -> None:
    """Store further rows until told to stop."""
    rng, number, md5 = np.random.default_rng(2), 0, f"{99:032x}"
    with ScoreStore(path) as store:
        while not stop.is_set():
            number += store.add(SPACE, rows(number // 3, 300, md5, rng), {md5: "chr99"})
    written.put(number)


@click.command()
@click.option("--rows", "total", default=1_000_000)
@click.option("--lookups", default=400, help="Chunks that are looked up.")
def main(total: int, lookups: int) -> None:
    """Fill a store, look alleles up, and print what it took."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scores.sqlite"
        with ScoreStore(path) as store:
            seconds = fill(store, total)
            count = store.count(SPACE)
        size = path.stat().st_size
        context = multiprocessing.get_context("spawn")
        stop, results, written = context.Event(), context.Queue(), context.Queue()
        look_up(path, total, lookups, 3, results)
        alleles, found, took = results.get()
        writer = context.Process(target=write_meanwhile, args=(path, stop, written))
        readers = [context.Process(target=look_up, args=(path, total, lookups // 2, seed, results)) for seed in (4, 5)]
        for process in (writer, *readers):
            process.start()
        both = [results.get() for _ in readers]
        stop.set()
        more = written.get()
        for process in (writer, *readers):
            process.join()
    rows_of_table = [
        ("rows", f"{count:,}"),
        ("rows stored per second", f"{count / seconds:,.0f}"),
        ("bytes per row", f"{size / count:.0f}"),
        ("alleles looked up per second, one process", f"{alleles / took:,.0f}"),
        ("of them found", f"{found / alleles:.0%}"),
        ("two processes while a third one writes, each", ", ".join(f"{a / s:,.0f}" for a, _, s in both)),
        ("of them found ", ", ".join(f"{f / a:.0%}" for a, f, _ in both)),
        ("rows that the third one wrote meanwhile", f"{more:,}"),
    ]
    print_table(("what", machine()), rows_of_table)


if __name__ == "__main__":
    main()
