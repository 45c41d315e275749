"""Who carries an allele, whatever way genotypes are written in."""

import pytest

from splicebert_vep.vcf.read import VcfRecord, carriers


def record(alts, *samples):
    return VcfRecord("\t".join(["1", "5", ".", "A", alts, ".", ".", ".", *samples]).encode() + b"\n", 1)


@pytest.mark.parametrize(
    ("alts", "samples", "expected"),
    [
        ("C", ("GT", "0/1", "1|1", "0/0", "./."), [2]),
        ("C,G", ("GT", "1/2", "0|2", "2/2"), [1, 3]),
        ("C", ("GT", "1", "0", "."), [1]),  # haploid
        ("C", ("GT", "./1", "1/.", "0/."), [2]),  # half-calls
        ("C", ("GT:DP", "0/1:3", "0/0:9", "1/1"), [2]),  # trailing fields may be left out
        ("C", ("DP:GT", "3:0/1", "9:0/0", "4"), [1]),  # GT not first, and left out
        ("C", ("GT", "0/1/1", "|0|1", "/1/1"), [3]),  # polyploid; VCF 4.4 writes phase first
        ("C", ("GT", "0/3"), [0]),  # a number that the record has no ALT for
        ("C", ("DP", "3", "4"), [None]),
        ("C,G", (), [None, None]),
        ("C", ("GT",), [None]),  # a FORMAT column and no sample
        (".", ("GT", "0/0"), []),
    ],
)
def test_carriers(alts, samples, expected):
    assert carriers(record(alts, *samples)) == expected
