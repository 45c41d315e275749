"""An ALT computed by reach has the answers of a pass over the whole ALT sequence."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from splicebert_vep.errors import BackendError
from splicebert_vep.model.reach import Convolution, ResidualSpliceModel, ResidualStack, _Network, scale_and_shift
from splicebert_vep_spec import MASK, A, C, Edit, G, N, SpliceModelInfo, T
from splicebert_vep_spec.testing import SpliceModelConformance

INFO = SpliceModelInfo("tiny", "none", "BSD-3-Clause", "none", "", "cpu")
CHANNELS = 4
REACH = 2 * (1 + 1) + 2 * (4 + 4)  # of the units below


def tiny_stack(seed: int) -> ResidualStack:
    """A network of four units in two blocks: width 3, then width 5 with dilation 2."""
    rng = np.random.default_rng(seed)

    def convolution(out: int, into: int, width: int, dilation: int = 1) -> Convolution:
        kernel = rng.normal(0, 0.6 / np.sqrt(into * width), (out, into, width)).astype(np.float32)
        return Convolution(kernel, rng.normal(0, 0.1, out).astype(np.float32), dilation)

    units = [(3, 1), (3, 1), (5, 2), (5, 2)]
    return ResidualStack(
        stem=convolution(CHANNELS, 4, 1),
        norms=[
            (rng.uniform(0.5, 1.5, CHANNELS).astype(np.float32), rng.normal(0, 0.3, CHANNELS).astype(np.float32))
            for _ in range(2 * len(units))
        ],
        units=[(convolution(CHANNELS, CHANNELS, *one), convolution(CHANNELS, CHANNELS, *one)) for one in units],
        skips=[convolution(CHANNELS, CHANNELS, 1) for _ in range(3)],
        head=convolution(3, CHANNELS, 1),
    )


@pytest.fixture(scope="module")
def model() -> ResidualSpliceModel:
    return ResidualSpliceModel(INFO, [tiny_stack(1), tiny_stack(2)], torch.device("cpu"))


class Tiny(ResidualSpliceModel):
    name, version = "tiny", "1"


class TestResidualSpliceModel(SpliceModelConformance):
    model = Tiny(INFO, [tiny_stack(1), tiny_stack(2)], torch.device("cpu"))
    array = staticmethod(np.array)


def whole(model: ResidualSpliceModel, tokens: np.ndarray, edit: Edit) -> tuple[np.ndarray, np.ndarray]:
    """The answers that an edit asks for, from passes over the whole sequences."""
    alt = np.concatenate([tokens[: edit.start], np.array(edit.bases, dtype=np.uint8), tokens[edit.end :]])
    first = edit.start - edit.left - model.reach
    ref_count, alt_count = edit.left + edit.end - edit.start + edit.right, edit.left + len(edit.bases) + edit.right
    return model.along(tokens)[first : first + ref_count], model.along(alt)[first : first + alt_count]


def assert_near(pair, other, tolerance=1e-7):
    for answers, wanted in zip(pair, other, strict=True):
        np.testing.assert_allclose(answers, wanted, atol=tolerance)


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, list[Edit]]:
    length = draw(st.integers(110, 160))
    tokens = np.array(draw(st.lists(st.integers(N, T), min_size=length, max_size=length)), dtype=np.uint8)
    edits = []
    for _ in range(draw(st.integers(1, 5))):
        start = draw(st.integers(45, 60))
        gone = draw(st.integers(0, 12))
        bases = tuple(draw(st.lists(st.sampled_from([MASK, A, C, G, T]), max_size=12)))
        left = draw(st.integers(1, start - REACH))
        edits.append(Edit(start, start + gone, bases, left, draw(st.integers(0, length - REACH - start - gone))))
    return tokens, edits


@given(cases())
@settings(max_examples=150, deadline=None)
def test_every_edit_has_the_answers_of_the_whole_sequence(case):
    tokens, edits = case
    model = ResidualSpliceModel(INFO, [tiny_stack(1), tiny_stack(2)], torch.device("cpu"))
    assert model.reach == REACH
    for edit, pair in zip(edits, model.alternatives(tokens, edits), strict=True):
        assert_near(pair, whole(model, tokens, edit), 1e-6)


def test_an_answer_depends_on_what_lies_within_reach_only(model):
    rng = np.random.default_rng(5)
    tokens = rng.integers(A, T + 1, 200).astype(np.uint8)
    other = tokens.copy()
    other[100] = A if other[100] != A else T
    changed = np.flatnonzero(np.abs(model.along(tokens) - model.along(other)).max(axis=1))
    assert changed.min() + model.reach >= 100 - model.reach
    assert changed.max() + model.reach <= 100 + model.reach
    assert len(changed) > model.reach


def test_neighbours_and_the_size_of_a_batch_change_nothing(model):
    rng = np.random.default_rng(6)
    tokens = rng.integers(A, T + 1, 300).astype(np.uint8)
    edits = [Edit(at, at + 1, (int(tokens[at]) % 4 + A,), 30, 30) for at in range(100, 130)]
    for edit, pair in zip(edits, model.alternatives(tokens, edits), strict=True):
        assert_near(pair, model.alternatives(tokens, [edit])[0])


@pytest.mark.parametrize("count", [1, 2, 5])
def test_sequences_that_share_the_cores_have_the_answers_that_they_have_alone(count):
    model = ResidualSpliceModel(INFO, [tiny_stack(1), tiny_stack(2)], torch.device("cpu"), threads=2)
    assert model.at_once == 4
    rng = np.random.default_rng(count)
    sequences = [
        (rng.integers(A, T + 1, 150 + i).astype(np.uint8), [Edit(50, 51, (T,), 9, 9), Edit(60, 60 + i, (), 9, 9)])
        for i in range(count)
    ]
    for pairs, one in zip(model.each(sequences), sequences, strict=True):
        for pair, other in zip(pairs, model.alternatives(*one), strict=True):
            assert_near(pair, other)


def test_unknown_bases_are_zeros_and_answers_are_probabilities(model):
    ref = model.along(np.full(100, N, dtype=np.uint8))
    assert ref.shape == (100 - 2 * REACH, 2)
    np.testing.assert_allclose(ref, np.broadcast_to(ref[0], ref.shape), atol=1e-7)
    assert (ref >= 0).all() and (ref.sum(axis=1) <= 1).all()


def test_a_failing_pass_is_a_backend_error(model, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(torch.nn.functional, "conv2d", fail)
    with pytest.raises(BackendError):
        model.along(np.full(100, A, dtype=np.uint8))


def test_a_pass_leaves_nothing_on_the_cpu(monkeypatch):
    """On the device "meta", which refuses tensors of another one, as a GPU does; its answers cannot be read."""
    monkeypatch.setattr(_Network, "_answers", lambda self, taps: taps)
    network = _Network(tiny_stack(1), torch.device("meta"))
    values = network.values(np.full(120, A, dtype=np.uint8))
    edits = [
        [Edit(50, 51, (T,), 9, 9), Edit(60, 61, (C,), 9, 9)],
        [Edit(50, 50, (C, G), 9, 9)],
        [Edit(50, 53, (), 9, 9)],
    ]
    found = [tap for of in edits for tap in network.answers_by_reach(values, of)]
    assert {tensor.device.type for tensor in [*values, *network.answers_of(values), *found]} == {"meta"}


def test_a_batch_norm_becomes_a_scale_and_a_shift():
    parts = {name: np.array([value], dtype=np.float32) for name, value in
             {"mean": 2.0, "variance": 0.24, "gamma": 3.0, "beta": -1.0}.items()}  # fmt: skip
    scale, shift = scale_and_shift(parts, 0.01)
    assert scale == pytest.approx(6.0)  # 3 / sqrt(0.25)
    assert shift == pytest.approx(-13.0)  # -1 - 2 * 6
