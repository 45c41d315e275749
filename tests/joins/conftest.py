"""An annotator on the small genome with joins, shared by the tests of this room."""

import pytest

from factories import ROW, open_annotator, tabixed, vcf


@pytest.fixture(scope="package")
def annotator(tmp_path_factory):
    with open_annotator(tmp_path_factory.mktemp("joins"), scores=("KL_CTX", "LLR")) as opened:
        yield opened


@pytest.fixture
def source(tmp_path):
    """An input with the one variant that most tests join scores to."""
    return vcf(tmp_path / "in.vcf", ["chr1 350 A C"])


@pytest.fixture
def file(tmp_path):
    """A file of SpliceAI's scores that has that variant in ALPHA, of DS_MAX .5."""
    return tabixed(tmp_path / "s.vcf", [ROW])
