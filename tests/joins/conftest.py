"""An annotator on the small genome with joins, shared by the tests of this room."""

import pytest

from factories import open_annotator


@pytest.fixture(scope="package")
def annotator(tmp_path_factory):
    with open_annotator(tmp_path_factory.mktemp("joins"), scores=("KL_CTX", "LLR")) as opened:
        yield opened
