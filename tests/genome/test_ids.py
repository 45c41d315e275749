"""One rule for ids with and without version."""

import pytest

from splicebert_vep.genome.ids import stable_id


@pytest.mark.parametrize(
    ("identifier", "stable"),
    [
        ("ENSG00000012048.26", "ENSG00000012048"),
        ("ENSG00000012048", "ENSG00000012048"),
        ("ENSMUST00000017290.11", "ENSMUST00000017290"),
        ("ENSG00000000003.10_8", "ENSG00000000003"),
        ("ENSG00000002586.20_PAR_Y", "ENSG00000002586"),
        ("ENSG00000182378.13_2_PAR_Y", "ENSG00000182378"),
        ("ENSG00000182378_PAR_Y", "ENSG00000182378"),
        ("OTTHUMG00000157412.8", "OTTHUMG00000157412"),
        ("NM_007294.4", "NM_007294"),
        ("XR_001737835.2", "XR_001737835"),
        ("NM_018390.4_1", "NM_018390"),
        ("672", "672"),
        ("AC004556.3", "AC004556.3"),
        ("AT1G01010.1", "AT1G01010.1"),
        ("ENSG00000012048.", "ENSG00000012048."),
        ("", ""),
    ],
)
def test_a_version_is_dropped_and_nothing_else(identifier: str, stable: str) -> None:
    assert stable_id(identifier) == stable
