"""The network equals transformers' BertForMaskedLM, and answers alike at some positions as at all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from splicebert_vep.errors import SettingsError
from splicebert_vep.model.bert import BertConfig, BertOutput, SpliceBert
from splicebert_vep.model.checkpoint import load_checkpoint
from splicebert_vep.model.registry import resolve_model
from splicebert_vep_spec import CLS, SEP, A

transformers = pytest.importorskip("transformers")

TOLERANCE = 1e-4  # fp32, on logits and hidden states


def windows(batch: int, length: int, seed: int = 0) -> torch.Tensor:
    """Return random windows of N, A, C, G and T between [CLS] and [SEP], (batch, length) int64."""
    tokens = torch.randint(A - 1, 10, (batch, length), generator=torch.Generator().manual_seed(seed))
    tokens[:, 0], tokens[:, -1] = CLS, SEP
    return tokens


@torch.inference_mode()
def run(model: SpliceBert, tokens: torch.Tensor, positions: torch.Tensor | None = None) -> BertOutput:
    output: BertOutput = model(tokens, positions, output_hidden_states=True)
    return output


def assert_equals_transformers(folder: Path, tokens: torch.Tensor) -> None:
    theirs = transformers.BertForMaskedLM.from_pretrained(folder, attn_implementation="eager").eval()
    with torch.inference_mode():
        wanted = theirs(tokens, output_hidden_states=True, output_attentions=True)
    model = load_checkpoint(folder).model
    got = run(model, tokens)
    assert got.logits.shape == wanted.logits.shape == (*tokens.shape, 10)
    assert (got.logits - wanted.logits).abs().max() < TOLERANCE
    assert got.all_hidden is not None
    assert len(got.all_hidden) == len(wanted.hidden_states)
    for ours, hidden in zip(got.all_hidden, wanted.hidden_states, strict=True):
        assert (ours - hidden).abs().max() < TOLERANCE
    assert torch.equal(got.all_hidden[-1], got.hidden)
    assert_attention_equals(model, tokens, wanted.attentions)


@torch.inference_mode()
def assert_attention_equals(model: SpliceBert, tokens: torch.Tensor, wanted: tuple[torch.Tensor, ...]) -> None:
    """Of every token in every layer, and of some tokens in some layers."""
    every = torch.arange(tokens.shape[1]).expand(len(tokens), -1)
    weights = model.attention(tokens, every, range(1, len(wanted) + 1))
    assert weights.shape == (len(wanted), len(tokens), model.config.num_attention_heads, *2 * tokens.shape[1:])
    for ours, layer in zip(weights, wanted, strict=True):
        assert (ours - layer).abs().max() < TOLERANCE
    at = torch.tensor([[5, 1, 5]]).expand(len(tokens), -1)
    some = model.attention(tokens, at, [2, 1])
    assert (some - torch.stack([wanted[1], wanted[0]])[:, :, :, [5, 1, 5]]).abs().max() < TOLERANCE


def test_bundled_model_equals_transformers() -> None:
    assert_equals_transformers(resolve_model("splicebert-mini"), windows(2, 512))


@pytest.mark.parametrize("positions", [1026, 512])
def test_official_size_equals_transformers(tmp_path: Path, positions: int) -> None:
    config = transformers.BertConfig(
        vocab_size=10, hidden_size=512, num_hidden_layers=6, num_attention_heads=16, intermediate_size=2048,
        max_position_embeddings=positions,
        initializer_range=0.08,  # wider than in training, so that attention and logits are far from flat
    )  # fmt: skip
    torch.manual_seed(positions)
    transformers.BertForMaskedLM(config).save_pretrained(tmp_path)
    assert_equals_transformers(tmp_path, windows(2, 512))


@pytest.fixture(scope="module")
def mini() -> SpliceBert:
    return load_checkpoint(resolve_model("splicebert-mini")).model


@pytest.mark.parametrize(
    "positions",
    [[[0, 1, 2, 63], [5, 6, 7, 8]], [[9, 9, 9, 9], [63, 0, 63, 0]], [[31], [12]]],
    ids=["different", "repeated, not in order", "one"],
)
def test_some_positions_equal_all(mini: SpliceBert, positions: list[list[int]]) -> None:
    tokens, wanted = windows(2, 64), torch.tensor(positions)
    full, some = run(mini, tokens), run(mini, tokens, wanted)
    rows = torch.arange(2).unsqueeze(1)
    assert some.logits.shape == (2, wanted.shape[1], 10)
    torch.testing.assert_close(some.logits, full.logits[rows, wanted], rtol=0, atol=1e-5)
    torch.testing.assert_close(some.hidden, full.hidden[rows, wanted], rtol=0, atol=1e-5)
    assert some.all_hidden is not None
    assert full.all_hidden is not None
    assert [state.shape[1] for state in some.all_hidden] == [64] * 6 + [wanted.shape[1]]
    for ours, state in zip(some.all_hidden[:-1], full.all_hidden[:-1], strict=True):
        assert torch.equal(ours, state)


def test_neighbours_in_a_batch_change_nothing(mini: SpliceBert) -> None:
    tokens = windows(5, 128)
    together = run(mini, tokens)
    for i in range(5):
        alone = run(mini, tokens[i : i + 1])
        torch.testing.assert_close(alone.logits[0], together.logits[i], rtol=0, atol=1e-4)


def test_window_longer_than_the_positions_is_refused() -> None:
    model = SpliceBert(BertConfig(10, 8, 1, 2, 16, 12, 2, 1e-12, None)).eval()
    assert run(model, windows(1, 12)).logits.shape == (1, 12, 10)
    with pytest.raises(SettingsError, match="at most 12 tokens"):
        run(model, windows(1, 13))


@pytest.mark.parametrize(
    ("positions", "trained", "fixed"), [(512, None, True), (512, 510, False), (1026, None, False), (1026, 510, False)]
)
def test_only_512_positions_without_a_word_are_fixed_length(positions: int, trained: int | None, fixed: bool) -> None:
    assert BertConfig(10, 8, 1, 2, 16, positions, 2, 1e-12, trained).fixed_length is fixed
