"""Every score equals an independent implementation through transformers to 1e-4."""

import random

import pytest

from factories import FakeGenes, FakeRecord, FakeReference, gene, pipeline
from oracle import Oracle, random_transformers
from splicebert_vep.model.backend import TorchBackend
from splicebert_vep_spec import BackendOptions, Status

WIDTH, FLANK = 120, 20
DONOR, ACCEPTOR = (525, 527), (488, 490)


@pytest.fixture(scope="module")
def genome() -> str:
    rng = random.Random(11)
    return "".join(rng.choice("ACGT") for _ in range(1200))


@pytest.fixture(scope="module")
def network():
    return random_transformers()


@pytest.fixture(scope="module")
def backend(network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    network.save_pretrained(folder)
    return TorchBackend(BackendOptions(model=str(folder), device="cpu"))


def other(base: str, step: int = 1) -> str:
    return "ACGT"["ACGT".index(base) + step & 3]


def cases(genome: str) -> dict[str, tuple[int, str, str]]:
    """Trimmed, left-aligned changes: 0-based start, REF span, ALT span."""

    def inserted(at: int, length: int) -> str:
        # the last inserted base differs from the base before, so the insertion is already leftmost
        return "".join(other(genome[at - 1], 1 + i % 3) for i in range(length))

    def deleted(at: int, length: int) -> tuple[int, str]:
        while genome[at - 1] == genome[at + length - 1]:
            at += 1
        return at, genome[at : at + length]

    deletion, long_deletion = deleted(507, 3), deleted(515, 30)
    return {
        "snv": (500, genome[500], other(genome[500])),
        "snv in donor": (525, genome[525], other(genome[525], 2)),
        "mnv": (510, genome[510:513], "".join((other(genome[510]), genome[511], other(genome[512], 3)))),
        "insertion": (505, "", inserted(505, 1)),
        "long insertion": (505, "", inserted(505, 17)),
        "insertion inside the donor": (526, "", inserted(526, 2)),
        "deletion": (deletion[0], deletion[1], ""),
        "deletion over the donor": (long_deletion[0], long_deletion[1], ""),
        "delins": (509, genome[509:513], other(genome[509]) + other(genome[512], 2)),
    }


NAMES = ("snv", "snv in donor", "mnv", "insertion", "long insertion", "insertion inside the donor", "deletion",
         "deletion over the donor", "delins")  # fmt: skip


@pytest.mark.parametrize("strand", "+-")
@pytest.mark.parametrize("name", NAMES)
def test_equals_the_independent_implementation(name, strand, genome, network, backend):
    start, ref, alt = cases(genome)[name]
    donor, acceptor = (DONOR, ACCEPTOR) if strand == "+" else (ACCEPTOR, DONOR)
    expected = Oracle(network, genome, WIDTH, FLANK).score(
        start, ref, alt, strand, donor=range(*donor), acceptor=range(*acceptor)
    )
    context = gene(strand=strand, donor=donor, acceptor=acceptor)
    anchor = genome[start - 1]
    record = FakeRecord("c", start, anchor + ref, (anchor + alt,))
    scored = pipeline(FakeReference({"c": genome}), FakeGenes([context]), backend, width=WIDTH, flank=FLANK)
    outcome = scored.report([record])[0].alleles[0].contexts[0]
    assert outcome.status is Status.OK
    found = {field: value for field, value in outcome.values.items() if value is not None}
    for field in ("N_FRAC", "KL_MAX", "KL_MAX_POS"):
        found.pop(field, None)
    assert set(found) == set(expected)
    for field, value in expected.items():
        assert found[field] == pytest.approx(value, abs=1e-4), field
    assert len(ref) != len(alt) or abs(expected["LLR"]) > 1e-3  # the comparison is of real numbers
