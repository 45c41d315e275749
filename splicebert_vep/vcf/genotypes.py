"""Who carries an allele."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache

from .records import VcfRecord


def carriers(record: VcfRecord) -> list[int | None]:
    """Return how many samples of a record carry each of its ALTs at least once; None where it has no genotypes."""
    columns = record.columns()
    samples = columns[8].split(b"\t") if len(columns) > 8 else []
    keys = samples[0].split(b":") if samples else []
    if b"GT" not in keys or len(samples) < 2:
        return [None] * len(record.alts)
    at = keys.index(b"GT")
    del samples[0]
    if len(keys) > 1:
        samples = [sample.split(b":", at + 1)[at] if sample.count(b":") >= at else b"." for sample in samples]
    found = [0] * len(record.alts)
    for genotype, count in Counter(samples).items():
        for number in _alleles(genotype):
            if 1 <= number <= len(found):
                found[number - 1] += count
    return list(found)


@lru_cache(maxsize=1024)
def _alleles(genotype: bytes) -> frozenset[int]:
    """Return the numbers of the alleles of ``0/1``, ``1|2``, ``1``; a missing one has none."""
    return frozenset(int(part) for part in genotype.replace(b"|", b"/").split(b"/") if part.isdigit())
