"""The engine when the model misbehaves, and its token budget."""

import logging
import random
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from factories import Counting, FakeGenes, FakeRecord, FakeReference, gene, pipeline
from splicebert_vep.errors import BackendError, OutOfMemory, PluginError
from splicebert_vep.model import engine as engine_module
from splicebert_vep.model import engine as passes_module
from splicebert_vep.model.engine import ReadBack
from splicebert_vep.model.null import NullBackend
from splicebert_vep.plugins import load_plugins
from splicebert_vep.scoring import plan as scores_module
from splicebert_vep.scoring.plan import PlannedScorer, ScorePlan
from splicebert_vep_spec import (
    NEEDS_HIDDEN,
    NEEDS_MASKED,
    NEEDS_PAIRS,
    Backend,
    BackendOutput,
    FieldSpec,
    Scorer,
    Status,
)

GENOME = "ACGTTGCATC" * 120
REFERENCE = FakeReference({"c": GENOME})
GENES = FakeGenes([gene()])


class Failing(Backend):
    """Fail, in one way or another, whenever a batch holds a window with a certain base run."""

    info = NullBackend.info

    def __init__(self, how: str) -> None:
        self.how = how
        self.inner = NullBackend()

    def forward(self, tokens, positions) -> BackendOutput:
        a = tokens == 6
        bad = np.flatnonzero((a[:, :-2] & a[:, 1:-1] & a[:, 2:]).any(axis=1))  # AAA never occurs in the reference
        out = self.inner.forward(tokens, positions)
        if len(bad):
            if self.how == "raise":
                raise BackendError("the device went away")
            if self.how == "torch":
                raise RuntimeError("CUDA error:\n device assert")
            out.logits[torch.from_numpy(bad)] = float("nan")
        return out


def records():
    good = [FakeRecord("c", pos, GENOME[pos - 1], ("A" if GENOME[pos - 1] != "A" else "C",)) for pos in (601, 603, 705)]
    at = GENOME.index("CATC", 600)  # CATC -> AAAC in a window centred there
    return [*good[:2], FakeRecord("c", at + 1, "CAT", ("AAA",)), good[2]]


@pytest.mark.parametrize(
    ("how", "reason"),
    [("raise", "the device went away"), ("torch", "CUDA error: device assert"), ("nan", "not finite")],
)
def test_only_the_allele_that_the_model_fails_on_fails(how, reason, caplog):
    with caplog.at_level(logging.WARNING):
        reports = pipeline(REFERENCE, GENES, Failing(how)).report(records())
    outcomes = [report.alleles[0].contexts[0] for report in reports]
    assert [outcome.status for outcome in outcomes] == [Status.OK, Status.OK, Status.FAILED, Status.OK]
    assert reason in outcomes[2].reason
    assert outcomes[2].values == {}
    assert "FAILED c:" in caplog.text
    assert reason in caplog.text
    expected = pipeline(REFERENCE, GENES).report(records())
    for i in (0, 1, 3):
        assert outcomes[i].values == expected[i].alleles[0].contexts[0].values


class Short(NullBackend):
    """Have room for some windows in a call, and say so in the words of torch or Python where there are more."""

    def __init__(self, room: int, error: Exception) -> None:
        super().__init__()
        self.room, self.error, self.refused = room, error, 0

    def forward(self, tokens, positions) -> BackendOutput:
        if len(tokens) > self.room:
            self.refused += 1
            raise self.error
        return super().forward(tokens, positions)


SHORT = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried 9"),
]


@pytest.mark.parametrize("error", SHORT, ids=["Python", "CUDA", "CPU"])
def test_short_memory_makes_calls_smaller_and_no_allele_fails(error):
    reference, records = FakeReference({"c": RANDOM}), snvs(RANDOM, range(300, 340))
    backend = Short(2, error)
    found = pipeline(reference, GENES, backend).report(records)
    for one, wanted in zip(found, pipeline(reference, GENES).report(records), strict=True):
        assert one.alleles[0].contexts[0].status is Status.OK
        assert one.alleles[0].contexts[0].values == pytest.approx(wanted.alleles[0].contexts[0].values, abs=1e-6)
    assert backend.refused < 8  # the size that fits is kept, not sought again for each batch
    with pytest.raises(OutOfMemory) as told:
        pipeline(reference, GENES, Short(0, error)).report(records)
    assert told.value.exit_code == 3 and told.value.remedy


class Misshapen(NullBackend):
    def forward(self, tokens, positions):
        out = super().forward(tokens, positions)
        return BackendOutput(out.logits[:, :-1], out.hidden)


def test_a_backend_of_the_wrong_shape_ends_the_run():
    with pytest.raises(
        PluginError, match=r"Backend null of plugin builtin broke(.|\n)*logits of shape(.|\n)*register_backends"
    ):
        pipeline(REFERENCE, GENES, Misshapen()).report(records())


class Numpy(NullBackend):
    def forward(self, tokens, positions):
        out = super().forward(tokens, positions)
        return BackendOutput(out.logits.numpy(), out.hidden.numpy())


def test_a_backend_without_tensors_is_told():
    with pytest.raises(PluginError, match=r"torch tensor(.|\n)*ndarray"):
        pipeline(REFERENCE, GENES, Numpy()).report(records())


RANDOM = "".join(random.Random(5).choices("ACGT", k=1200))


def snvs(genome, positions):
    return [FakeRecord("c", pos, genome[pos - 1], ("A" if genome[pos - 1] != "A" else "C",)) for pos in positions]


def test_calls_keep_to_the_token_budget():
    backend = Counting(NullBackend())
    reference = FakeReference({"c": RANDOM})
    many = snvs(RANDOM, range(300, 340))
    pipeline(reference, GENES, backend, batch_tokens=202 * 10, scores=("KL_CTX",)).report(many)
    assert backend.windows == [10] * 8  # a REF and an ALT window for each allele
    backend.windows.clear()
    pipeline(reference, GENES, backend, batch_tokens=1, scores=("KL_CTX",)).report(many[:3])
    assert backend.windows == [1] * 6  # one window runs whatever it takes


def test_alts_of_a_site_share_its_ref_and_its_masked_window():
    backend = Counting(NullBackend())
    records = [FakeRecord("c", 500, RANDOM[499], tuple(set("ACGT") - {RANDOM[499]})) for _ in range(2)]
    pipeline(FakeReference({"c": RANDOM}), GENES, backend).report(records)
    assert sum(backend.windows) == 1 + 3 + 1


def test_a_window_that_nobody_needs_is_not_run():
    backend = Counting(NullBackend())
    pipeline(REFERENCE, GENES, backend, batch_tokens=202 * 20, scores=("LLR",)).report(snvs(GENOME, range(300, 340)))
    assert backend.windows == [10]  # the genome repeats every 10 nt: ten masked windows, no REF and no ALT window


def test_what_is_not_kept_is_run_again(monkeypatch):
    """Windows of alleles far apart in the order of work; the outcome is the same whatever is kept."""
    reference = FakeReference({"c": RANDOM})
    records = [
        record
        for pos in range(421, 441, 4)
        for record in (*snvs(RANDOM, [pos]), FakeRecord("c", pos, RANDOM[pos - 1 : pos + 15], (RANDOM[pos - 1],)))
    ]
    run = partial(pipeline, reference, GENES)
    expected = run().report(records)
    monkeypatch.setattr(engine_module, "_BATCH_BYTES", 1)
    monkeypatch.setattr(passes_module, "_CALLS_KEPT", 1)
    for found, wanted in zip(run().report(records), expected, strict=True):
        assert found.alleles[0].contexts[0].values == pytest.approx(wanted.alleles[0].contexts[0].values, abs=1e-6)


def test_a_batch_is_started_before_the_one_before_it_is_read_back(monkeypatch):
    """So that a GPU has work while the host waits; the same code runs on the CPU."""
    log = []

    class Logged(ReadBack):
        def wait(self):
            log.append("read")
            return super().wait()

    class Noted(NullBackend):
        def forward(self, tokens, positions):
            log.append("run")
            return super().forward(tokens, positions)

    monkeypatch.setattr(scores_module, "ReadBack", Logged)
    monkeypatch.setattr(engine_module, "_BATCH_BYTES", 1)
    run = pipeline(FakeReference({"c": RANDOM}), GENES, Noted(), batch_tokens=202, scores=("LLR",))
    run.report(snvs(RANDOM, range(421, 424)))
    once = ["run", "read", "read"]  # a masked window; what is finite, and the scores
    assert log == ["run", *once, *once, "read", "read"]


def test_scorers_never_see_what_is_not_finite():
    seen = []

    class Watching(Scorer):
        name, version = "watching", "1"
        fields = (FieldSpec("SEEN", "A", "Float", "Sum of all logits"),)

        def needs(self, fields):
            return frozenset((NEEDS_PAIRS, NEEDS_HIDDEN, NEEDS_MASKED))

        def score(self, batch, fields):
            parts = (batch.ref.logits, batch.ref.hidden, batch.alt.logits, batch.alt.hidden, batch.masked.logits)
            seen.append(all(bool(torch.isfinite(part).all()) for part in parts))
            return {"SEEN": batch.alt.logits.double().sum(dim=(1, 2))}

    pipe = pipeline(REFERENCE, GENES, Failing("nan"))
    origin = next(iter(load_plugins().origins("scorer").values()))
    planned = PlannedScorer(Watching(), frozenset(("SEEN",)), origin)
    plan = ScorePlan((planned,), Watching.fields, planned.needs())
    reports = replace(pipe, scoring=replace(pipe.scoring, plan=plan, choice_plan=plan)).report(records())
    assert seen == [True]
    statuses = [report.alleles[0].contexts[0].status for report in reports]
    assert statuses == [Status.OK, Status.OK, Status.FAILED, Status.OK]
