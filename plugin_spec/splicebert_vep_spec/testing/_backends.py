"""What every backend has to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._backends import (
    CLS,
    MASK,
    SEP,
    A,
    AttentiveBackend,
    BackendFactory,
    BackendInfo,
    BackendOptions,
    BackendOutput,
    LayeredBackend,
    LocalBackend,
    T,
)
from ._named import check_named, subject

_TOLERANCE = 1e-4


class BackendConformance:
    """Subclass it, set ``factory = MyFactory()`` and ``array = staticmethod(numpy.array)``, and ``options``."""

    factory: BackendFactory
    array: Callable[[Any], Any]
    options: BackendOptions = BackendOptions("none")

    def test_it_has_a_name_and_says_who_computes(self) -> None:
        check_named(self._factory())
        info = self._factory().open(self.options).info
        assert isinstance(info, BackendInfo), f"info is {info!r}; needed a BackendInfo"
        assert info.model and info.weights_sha256 and info.precision and info.device, f"a part of {info} is empty"
        assert info.fixed_window is None or info.fixed_window <= info.max_window, "fixed_window exceeds max_window"

    def test_it_answers_in_the_shape_asked_for(self) -> None:
        backend = self._factory().open(self.options)
        out = self._forward(backend, 3)
        for name, found in (("logits", out.logits), ("hidden", out.hidden)):
            assert hasattr(found, "isfinite"), f"{name} is a {type(found).__name__}; needed a torch tensor"
        logits, hidden = tuple(out.logits.shape), tuple(out.hidden.shape)
        assert logits == (3, 4, T + 1), f"logits have shape {logits}; needed (N, P, V) = (3, 4, {T + 1})"
        needed = (3, 4, backend.info.hidden_size)
        assert hidden == needed, f"hidden has shape {hidden}; needed (N, P, H) = {needed}"

    def test_a_window_has_the_same_answer_in_any_batch(self) -> None:
        backend = self._factory().open(self.options)
        together = self._forward(backend, 3)
        alone = self._forward(backend, 1)
        for name in ("logits", "hidden"):
            rows = _flat(getattr(together, name).tolist()[0]), _flat(getattr(alone, name).tolist()[0])
            worst = max(abs(a - b) for a, b in zip(*rows, strict=True))
            assert worst <= _TOLERANCE, f"{name} of a window differ by {worst} between batches of 3 and of 1"

    def test_a_position_asked_twice_has_one_answer(self) -> None:
        out = self._forward(self._factory().open(self.options), 2)
        for row in out.logits.tolist():
            assert row[1] == row[3], "positions may repeat, and the repeated one has another answer"

    def test_an_update_of_all_positions_is_a_pass(self) -> None:
        backend = self._factory().open(self.options)
        if not isinstance(backend, LocalBackend):
            return
        array = subject(self, "array", "staticmethod(numpy.array)")
        windows, positions = self._windows(backend, 2)
        _, memory = backend.remember(array(windows), array(positions))
        changed = [list(windows[1]), list(windows[1])]
        changed[0][5] = changed[1][7] = MASK
        every = [list(range(len(changed[0])))] * 2
        updated = backend.update(memory, array([1, 1]), array(every), array(changed), array(positions))
        whole = backend.forward(array(changed), array(positions))
        for name in ("logits", "hidden"):
            values = _flat(getattr(updated, name).tolist()), _flat(getattr(whole, name).tolist())
            worst = max(abs(a - b) for a, b in zip(*values, strict=True))
            assert worst <= _TOLERANCE, f"{name} of an update of all positions differ by {worst} from those of forward"

    def test_the_last_layer_is_what_forward_answers(self) -> None:
        backend = self._factory().open(self.options)
        if not isinstance(backend, LayeredBackend):
            return
        array = subject(self, "array", "staticmethod(numpy.array)")
        tokens, positions = self._windows(backend, 2)
        layers = backend.layers
        states = backend.hidden_states(array(tokens), array(positions), (0, layers)).tolist()
        assert len(states) == 2, f"{len(states)} layers came; 2 were asked for"
        values = _flat(states[1]), _flat(backend.forward(array(tokens), array(positions)).hidden.tolist())
        worst = max(abs(a - b) for a, b in zip(*values, strict=True))
        assert worst <= _TOLERANCE, f"layer {layers} of hidden_states differs by {worst} from hidden of forward"

    def test_attention_weights_of_a_token_sum_to_one(self) -> None:
        backend = self._factory().open(self.options)
        if not isinstance(backend, AttentiveBackend):
            return
        array = subject(self, "array", "staticmethod(numpy.array)")
        tokens, positions = self._windows(backend, 2)
        weights = backend.attention(array(tokens), array(positions), (1, backend.layers))
        needed, found = (2, 2, backend.heads, 4, len(tokens[0])), tuple(weights.shape)
        assert found == needed, f"attention has shape {found}; needed (layers, N, heads, P, W + 2) = {needed}"
        assert min(_flat(weights.tolist())) >= 0, "an attention weight is negative"
        worst = max(abs(total - 1) for total in _flat(weights.sum(-1).tolist()))
        assert worst <= _TOLERANCE, f"attention weights of a token sum to 1 but for {worst}"
        repeated = weights[:, :, :, 1], weights[:, :, :, 3]
        assert _flat(repeated[0].tolist()) == _flat(repeated[1].tolist()), "a position asked twice has two answers"

    def _factory(self) -> BackendFactory:
        factory: BackendFactory = subject(self, "factory", "MyFactory()")
        return factory

    def _forward(self, backend: Any, windows: int) -> BackendOutput:
        array = subject(self, "array", "staticmethod(numpy.array)")
        tokens, positions = self._windows(backend, windows)
        out: BackendOutput = backend.forward(array(tokens), array(positions))
        return out

    def _windows(self, backend: Any, windows: int) -> tuple[list[list[int]], list[list[int]]]:
        """Return windows of as many nucleotides as fit, and four positions to ask for, one of them twice."""
        width = backend.info.fixed_window or min(60, backend.info.max_window)
        tokens = [[CLS, *(A + (i * i + row) % 4 for i in range(width)), SEP] for row in range(windows)]
        return tokens, [[1, width // 2, width, width // 2] for _ in range(windows)]


def _flat(value: Any) -> list[float]:
    return [number for part in value for number in _flat(part)] if isinstance(value, list) else [value]
