"""Scores for tests of the store, and processes that write and read one at the same time."""

from splicebert_vep.provenance import Space
from splicebert_vep.store.store import AlleleKey, ScoreStore, StoredScores

SPACE = Space("s" * 64, "a" * 64, ("LLR=likelihood/1", "KL_CTX=divergence/1"), {"Model": "m", "Precision": "fp32"})
OTHER = Space("t" * 64, "a" * 64, ("LLR=likelihood/1",), {"Model": "other"})
M5 = "0" * 32
NAMES = {M5: "chr1", "1" * 32: "chr2"}


def key(start=100, ref="A", alt="C", md5=M5):
    return AlleleKey(md5, start, ref, alt)


def row(*values, gene="G1", status="OK", reason=""):
    return StoredScores(gene, status, reason, tuple(values))


def write_all(path, count):
    with ScoreStore(path) as opened:
        for n in range(count):
            opened.add(SPACE, [(key(start=n, alt=alt), [row(float(n), 0.0)]) for alt in "CGT"], NAMES)


def read_until_all(path, count, results):
    seen = -1
    with ScoreStore(path, writing=False) as opened:
        while seen < count - 1:
            found = opened.find(SPACE, [key(start=n, alt=alt) for n in range(count) for alt in "CGT"])
            sizes = [sum(map(bool, found[i : i + 3])) for i in range(0, len(found), 3)]
            assert set(sizes) <= {0, 3}, "a block is there whole or not at all"
            there = sizes.count(3)
            assert sizes == [3] * there + [0] * (count - there)
            seen = there - 1
    results.put(seen)
