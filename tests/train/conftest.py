"""A corpus and a pre-training on it, which several files look at."""

import pytest

from factories import TINY, write_genome
from splicebert_vep.train.corpus import Source, build_corpus
from splicebert_vep.train.pretrain import pretrain


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    fasta, gtf = write_genome(tmp_path_factory.mktemp("genome"), "+-" * 10)
    return build_corpus([Source("test", fasta, str(gtf))], 0.3)


@pytest.fixture(scope="session")
def unbroken(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    pretrain(TINY, corpus, folder)
    return folder
