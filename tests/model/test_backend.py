"""Half precision: what the check at the start says, and when it is taken."""

import numpy as np
import pytest
import torch

from splicebert_vep.errors import SettingsError
from splicebert_vep.model import backend as module
from splicebert_vep.model.backend import Cores, TorchBackend, agreement, full_precision
from splicebert_vep_spec import CLS, SEP, A, BackendOptions, BackendOutput, T

WIDTH = 100


@pytest.fixture(scope="module")
def exact():
    return TorchBackend(BackendOptions("splicebert-mini", "cpu"))


def test_a_precision_agrees_with_itself(exact):
    assert agreement(exact.forward, exact.forward, WIDTH) == pytest.approx(1, abs=1e-12)


def test_noise_is_seen_and_nan_is_no_agreement(exact):
    def noisy(tokens, positions):
        out = exact.forward(tokens, positions)
        return BackendOutput(out.logits + 0.02 * torch.randn(out.logits.shape, generator=generator), out.hidden)

    def broken(tokens, positions):
        out = exact.forward(tokens, positions)
        logits = out.logits.clone()
        logits[0, 0, 6] = float("nan")
        return BackendOutput(logits, out.hidden)

    generator = torch.Generator().manual_seed(0)
    assert 0 < agreement(exact.forward, noisy, WIDTH) < 0.999
    assert agreement(exact.forward, broken, WIDTH) == 0


def test_a_cpu_computes_in_fp32_unless_told(exact):
    assert exact.info.precision == "fp32"
    half = TorchBackend(BackendOptions("splicebert-mini", "cpu", precision="bf16"))
    assert half.info.precision == "bf16"
    tokens, positions = np.full((2, 50), 6, dtype=np.uint8), np.array([[1, 20, 30]] * 2)
    tokens[:, 20:30] = 8
    out, wanted = half.forward(tokens, positions), exact.forward(tokens, positions)
    assert out.logits.dtype == out.hidden.dtype == torch.float32
    assert not torch.equal(out.logits, wanted.logits)
    torch.testing.assert_close(out.logits, wanted.logits, atol=0.2, rtol=0.05)


@pytest.mark.parametrize(
    ("agreements", "taken"),
    [({"fp16": 0.9995}, "fp16"), ({"fp16": 0.9, "bf16": 0.9995}, "bf16"), ({"fp16": 0.9, "bf16": 0.998}, "fp32")],
)
def test_a_gpu_takes_the_first_precision_that_ranks_the_same(monkeypatch, agreements, taken):
    """On the CPU, told that it is a GPU as far as the choice goes."""
    choose = module._candidates
    monkeypatch.setattr(module, "_candidates", lambda asked, _: choose(asked, torch.device("cuda")))
    asked = iter(agreements.values())
    monkeypatch.setattr(module, "agreement", lambda exact, half, width: next(asked))
    backend = TorchBackend(BackendOptions("splicebert-mini", "cpu"))
    assert backend.info.precision == taken
    weight = next(backend._model.parameters())
    assert weight.dtype == {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}[taken]


@pytest.mark.parametrize("before", ["tf32", "ieee", "none"])
def test_convolutions_of_a_gpu_are_exact_whatever_the_caller_set(before):
    """TF32, cuDNN's default for convolutions, rounds to 10 bits."""
    convolutions = torch.backends.cudnn.conv
    first = convolutions.fp32_precision
    try:
        convolutions.fp32_precision = before
        with full_precision(torch.device("cpu")):
            assert convolutions.fp32_precision == "ieee"
        assert convolutions.fp32_precision == before
    finally:
        convolutions.fp32_precision = first


def test_an_unknown_precision_is_told():
    with pytest.raises(SettingsError, match="auto, fp32, fp16, bf16"):
        TorchBackend(BackendOptions("splicebert-mini", "cpu", precision="int8"))


def test_work_is_shared_among_cores_of_one_thread_each_and_comes_in_order():
    cores = Cores(torch.device("cpu"), 3)
    found = cores.map(lambda item: (item, torch.get_num_threads(), torch.is_inference_mode_enabled()), range(20))
    assert found == [(item, 1, True) for item in range(20)]
    assert Cores(torch.device("cpu"), 1).map(abs, [-1, 2]) == [1, 2]

    def fail(item):
        raise RuntimeError(f"item {item}")

    with pytest.raises(RuntimeError, match="item 0"):
        cores.map(fail, range(3))


def test_rows_have_the_same_outputs_on_one_core_and_on_three():
    rng = np.random.default_rng(1)
    tokens = np.pad(rng.integers(A, T + 1, (5, 60)), ((0, 0), (1, 1)), constant_values=((0, 0), (CLS, SEP)))
    positions = np.tile(np.arange(1, 61), (5, 1))
    one, three = (
        TorchBackend.open(BackendOptions("splicebert-mini", "cpu", threads)).forward(tokens.astype(np.uint8), positions)
        for threads in (1, 3)
    )
    torch.testing.assert_close(one.logits, three.logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(one.hidden, three.hidden, atol=1e-5, rtol=0)
