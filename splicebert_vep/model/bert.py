"""The network: BERT for masked language modelling, written plainly.

Shapes at line ends: B windows in a batch, T tokens in a window ([CLS] x1..xW [SEP], so T = W + 2), P wanted
positions, H hidden size, F feed-forward size, A attention heads, V vocabulary size.

Architecture: Devlin et al. 2019 (10.18653/v1/N19-1423), post-layer-norm, with the sizes of SpliceBERT (Chen et al.
2024, 10.1093/bib/bbae163). Equality with ``transformers.BertForMaskedLM`` is held by a test.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ModelError, SettingsError

VOCABULARY = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "N", "A", "C", "G", "T")

OFFICIAL, OURS, MULTIMOLECULE = "official", "splicebert-vep", "multimolecule"

# The names of multimolecule's RNA vocabulary that are not ours.
_RNA_NAMES = {"[PAD]": "<pad>", "[UNK]": "<unk>", "[CLS]": "<cls>", "[SEP]": "<eos>", "[MASK]": "<mask>", "T": "U"}


_FIXED_LENGTH_POSITIONS = 512


@dataclass(frozen=True, slots=True)
class BertConfig:
    """The sizes that define the network; field names are those of an official ``config.json``.

    Args:
        max_trained_length: longest window in nucleotides that training covered; None when the file does not say.
    """

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int
    type_vocab_size: int
    layer_norm_eps: float
    max_trained_length: int | None

    @property
    def longest_window(self) -> int:
        """The longest window the model was trained for, in nucleotides."""
        return self.max_trained_length or self.max_position_embeddings - 2  # [CLS] and [SEP]

    @property
    def encoder_weights(self) -> int:
        """Number of weights without the head: matrices, biases, and two for each unit of a norm."""
        size, inner = self.hidden_size, self.intermediate_size
        layer = 4 * size * (size + 1) + inner * (size + 1) + size * (inner + 1) + 4 * size
        tables = self.vocab_size + self.max_position_embeddings + self.type_vocab_size
        return self.num_hidden_layers * layer + (tables + 2) * size

    @property
    def architecture(self) -> str:
        """The settings that the weights' digest does not cover: another number of heads fits the same shapes."""
        return (
            f"{self.num_hidden_layers}x{self.hidden_size} heads={self.num_attention_heads} ff={self.intermediate_size} "
            f"positions={self.max_position_embeddings} eps={self.layer_norm_eps}"
        )

    @property
    def fixed_length(self) -> bool:
        """True for a model that was trained on windows of one length only.

        The two official 510-nt models are, and nothing in their config says so but the 512 positions.
        """
        return self.max_trained_length is None and self.max_position_embeddings == _FIXED_LENGTH_POSITIONS


@dataclass(frozen=True, slots=True)
class Description:
    """The content of a ``config.json``.

    Args:
        config: of the network we build.
        layout: ``official``, ``splicebert-vep`` or ``multimolecule``.
        file_vocab_size: size of the vocabulary in the weights file.
        task: of ``finetune``, where the folder holds a fine-tuned model; else None.
    """

    config: BertConfig
    layout: str
    file_vocab_size: int
    task: str | None = None


def read_config(file: Path) -> Description:
    """Read a ``config.json`` and check every setting that changes the network's results.

    Raises:
        ModelError: not there, not JSON, or the config of another architecture.
    """
    raw = read_json(file)

    def error(key: str, needed: str, found: object) -> ModelError:
        shown = "nothing" if found is None else json.dumps(found)
        problem = f"The config does not describe a SpliceBERT: {key}."
        return ModelError(problem, needed=f"{key}: {needed}", found=shown, where=str(file))

    def expect(section: Mapping[str, object], key: str, wanted: object, default: object, prefix: str = "") -> None:
        if (value := section.get(key, default)) != wanted:
            raise error(prefix + key, json.dumps(wanted), value)

    def number(key: str) -> int:
        value = raw.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value < 1 << 31:
            raise error(key, f"a whole number from 1 to {(1 << 31) - 1:,}", value)
        return value

    layouts = {"splicebert": MULTIMOLECULE, "bert": OFFICIAL if raw.get("max_trained_length") is None else OURS}
    layout = layouts.get(str(raw.get("model_type")))
    if layout is None:
        raise error("model_type", "bert or splicebert", raw.get("model_type"))
    expect(raw, "hidden_act", "gelu", None)
    expect(raw, "position_embedding_type", "absolute", "absolute")  # transformers 5 no longer writes it
    expect(raw, "is_decoder", False, False)
    expect(raw, "add_cross_attention", False, False)
    eps = raw.get("layer_norm_eps")
    if not isinstance(eps, float) or not 0 < eps < 1:
        raise error("layer_norm_eps", "a number between 0 and 1", eps)
    vocab_size = number("vocab_size")
    if layout != MULTIMOLECULE:
        expect(raw, "vocab_size", len(VOCABULARY), None)
    else:
        # Their head has an epsilon of its own, 1e-12 unless the file says otherwise; ours is that of the whole network.
        given = raw.get("lm_head")
        head = given if isinstance(given, dict) else {}
        expect(head, "transform", "nonlinear", "nonlinear", "lm_head.")
        expect(head, "transform_act", "gelu", "gelu", "lm_head.")
        expect(head, "act", None, None, "lm_head.")
        expect(head, "bias", True, True, "lm_head.")
        expect(head, "layer_norm_eps", eps, 1e-12, "lm_head.")
    positions = number("max_position_embeddings")
    trained = number("max_trained_length") if raw.get("max_trained_length") is not None else None
    longest = positions - 2  # [CLS] and [SEP] take a position each
    if longest < 1 or (trained is not None and trained > longest):
        key = "max_trained_length" if trained is not None else "max_position_embeddings"
        raise error(key, f"room for [CLS] and [SEP] in {positions} positions", raw[key])
    size, heads = number("hidden_size"), number("num_attention_heads")
    if size % heads:
        raise error("num_attention_heads", f"a divisor of hidden_size, {size}", heads)
    config = BertConfig(
        len(VOCABULARY), size, number("num_hidden_layers"), heads, number("intermediate_size"), positions,
        number("type_vocab_size"), eps, trained,
    )  # fmt: skip
    section = raw.get("fine_tuned")
    task = str(section.get("task", "unknown")) if isinstance(section, dict) else None
    return Description(config, layout, vocab_size, task)


def official_config(config: BertConfig) -> dict[str, object]:
    """Return the ``config.json`` of a network in the official layout, with ``max_trained_length``."""
    return {
        "architectures": ["BertForMaskedLM"],
        "attention_probs_dropout_prob": 0.0,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "hidden_size": config.hidden_size,
        "initializer_range": 0.02,
        "intermediate_size": config.intermediate_size,
        "layer_norm_eps": config.layer_norm_eps,
        "max_position_embeddings": config.max_position_embeddings,
        "max_trained_length": config.max_trained_length,
        "model_type": "bert",
        "num_attention_heads": config.num_attention_heads,
        "num_hidden_layers": config.num_hidden_layers,
        "pad_token_id": VOCABULARY.index("[PAD]"),
        "position_embedding_type": "absolute",
        "type_vocab_size": config.type_vocab_size,
        "vocab_size": config.vocab_size,
    }


def vocabulary_rows(file: Path, described: Description) -> list[int] | None:
    """Return the row of each of the ten tokens in the file's embeddings; None when the rows are the tokens.

    Raises:
        ModelError: ``vocab.txt`` names other tokens, or is missing where it is needed.
    """
    remedy = "put back the vocab.txt that came with the weights"
    if not file.is_file():
        if described.layout != MULTIMOLECULE:
            return None
        raise ModelError("The vocabulary is missing.", needed="vocab.txt", where=str(file), remedy=remedy)
    tokens = [token.strip() for token in file.read_text(encoding="utf-8", errors="replace").rstrip().split("\n")]

    def error(needed: str, found: str) -> ModelError:
        problem = "The vocabulary is not that of SpliceBERT."
        return ModelError(problem, needed=needed, found=found, where=str(file), remedy=remedy)

    if described.layout != MULTIMOLECULE:
        if tuple(tokens) != VOCABULARY:
            raise error(" ".join(VOCABULARY), " ".join(tokens[:30]))
        return None
    if len(tokens) != described.file_vocab_size:
        raise error(f"{described.file_vocab_size} tokens, as config.json has it", f"{len(tokens)} tokens")
    wanted = [_RNA_NAMES.get(token, token) for token in VOCABULARY]
    if absent := [token for token in wanted if tokens.count(token) != 1]:
        raise error(f"{' '.join(wanted)}, once each", f"{' '.join(absent)} missing or doubled")
    return [tokens.index(token) for token in wanted]


def read_json(file: Path) -> dict[str, object]:
    """Return the object of a JSON file.

    Raises:
        ModelError: the file is not there, or is no JSON object.
    """
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(raw, dict):
            raise ValueError(f"{type(raw).__name__} instead of an object")
    except (OSError, ValueError, RecursionError) as error:
        found = getattr(error, "strerror", None) or str(error)
        remedy = "give the folder that holds config.json and the weights"
        raise ModelError("The model's config cannot be read.", found=found, where=str(file), remedy=remedy) from error
    return raw


class Encoded(NamedTuple):
    """Hidden states at P positions; P = T when no positions were asked for."""

    hidden: Tensor  # (B, P, H), after the last layer
    all_hidden: tuple[Tensor, ...] | None = None  # embeddings and every layer, (B, T, H) each; the last is `hidden`


class BertOutput(NamedTuple):
    """The network's answer at P positions; P = T when no positions were asked for."""

    logits: Tensor  # (B, P, V)
    hidden: Tensor  # (B, P, H), after the last layer, before the MLM head
    all_hidden: tuple[Tensor, ...] | None = None  # embeddings and every layer, (B, T, H) each; the last is `hidden`


_LEAST = 20_480  # elements of the input from which torch hands a convolution to oneDNN


class Linear(nn.Linear):
    """A linear layer that a CPU computes through oneDNN outside of training.

    As a convolution of width 1, channels last, oneDNN computes fp32 at twice the rate of MKL on AMD processors with
    AVX-512, of which MKL uses AVX2, and a tenth faster with AVX2.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, T, out) from (B, T, in)."""
        plain = x.device.type == "cpu" and x.dtype == torch.float32 and torch.is_inference_mode_enabled()
        if not plain or x.numel() <= _LEAST or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
            return super().forward(x)
        rows = x.reshape(1, -1, 1, x.shape[-1]).permute(0, 3, 1, 2)  # (1, in, B T, 1), channels last
        # Dilation changes nothing at width 1, but torch keeps such convolutions on one thread to itself without it.
        found = F.conv2d(rows, self.weight[:, :, None, None], self.bias, dilation=2)
        return found.permute(0, 2, 3, 1).reshape(*x.shape[:-1], -1)


class Layer(nn.Module):
    """One encoder layer: self-attention and feed-forward, each added to its input and then normalised."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        size, inner, eps = config.hidden_size, config.intermediate_size, config.layer_norm_eps
        self.heads = config.num_attention_heads
        self.query = Linear(size, size)
        self.key = Linear(size, size)
        self.value = Linear(size, size)
        self.attention_out = Linear(size, size)
        self.attention_norm = nn.LayerNorm(size, eps=eps)
        self.feed_in = Linear(size, inner)
        self.feed_out = Linear(inner, size)
        self.feed_norm = nn.LayerNorm(size, eps=eps)

    def forward(self, hidden: Tensor, positions: Tensor | None = None) -> Tensor:
        """Update tokens, (B, T, H), at positions (B, P), None for all; returns (B, P, H).

        Every position is computed on its own, so the last layer can answer at the wanted positions only.
        """
        # No mask: all windows of a batch have one length, so there is never a padded token to hide.
        key, value = self._split(self.key(hidden)), self._split(self.value(hidden))  # before pick: gradients add up so
        hidden = pick(hidden, positions)
        query = self._split(self.query(hidden))
        attended = F.scaled_dot_product_attention(query, key, value)  # (B, A, P, H/A)
        attended = attended.transpose(1, 2).flatten(2)  # (B, P, H)
        hidden = self.attention_norm(hidden + self.attention_out(attended))  # (B, P, H)
        inner = F.gelu(self.feed_in(hidden))  # (B, P, F); exact, not the tanh approximation
        updated: Tensor = self.feed_norm(hidden + self.feed_out(inner))  # (B, P, H)
        return updated

    def attention(self, hidden: Tensor, positions: Tensor) -> Tensor:
        """Return the weights with which positions (B, P) attend to all tokens, (B, T, H): (B, A, P, T), fp32.

        ``forward`` multiplies the values by these weights without storing them.
        """
        query = self._split(self.query(pick(hidden, positions))).float()
        key = self._split(self.key(hidden)).float()
        weights: Tensor = (query @ key.transpose(2, 3) / math.sqrt(query.shape[-1])).softmax(dim=-1)
        return weights

    def _split(self, projected: Tensor) -> Tensor:
        return projected.view(*projected.shape[:2], self.heads, -1).transpose(1, 2)  # (B, T, H) -> (B, A, T, H/A)


class Encoder(nn.Module):
    """BERT without a head, which a masked-language model and a fine-tuned classifier share. No dropout."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        size, eps = config.hidden_size, config.layer_norm_eps
        self.config = config
        self.token_embeddings = nn.Embedding(config.vocab_size, size)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, size)
        self.type_embeddings = nn.Embedding(config.type_vocab_size, size)
        self.embedding_norm = nn.LayerNorm(size, eps=eps)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))

    def encode(
        self,
        tokens: Tensor,
        positions: Tensor | None = None,
        *,
        output_hidden_states: bool = False,
        first_position: int = 0,
    ) -> Encoded:
        """Return hidden states at each wanted position of each window.

        Args:
            tokens: (B, T) int64, all windows of one length.
            positions: (B, P) int64, token indices to answer at, repeats allowed; None for all T in order.
            output_hidden_states: also return the embeddings and every layer's hidden states.
            first_position: position of token 0; other than 0 in training only.

        Raises:
            SettingsError: T is more than the model has positions for.
        """
        hidden = self.embed(tokens, first_position)  # (B, T, H)
        states = [hidden]
        *body, last = cast(list[Layer], self.layers)
        for layer in body:
            hidden = layer(hidden)  # (B, T, H)
            if output_hidden_states:
                states.append(hidden)
        hidden = last(hidden, positions)  # (B, P, H)
        return Encoded(hidden, (*states, hidden) if output_hidden_states else None)

    def attention(self, tokens: Tensor, positions: Tensor, layers: Sequence[int]) -> Tensor:
        """Return the weights with which tokens at some positions attend to all T: (layers, B, A, P, T), fp32.

        Args:
            tokens, positions: as for ``encode``.
            layers: numbers of the layers, from 1.
        """
        states = self.encode(tokens, output_hidden_states=True).all_hidden
        assert states is not None
        chosen = [(cast(Layer, self.layers[number - 1]), states[number - 1]) for number in layers]
        return torch.stack([layer.attention(entering, positions) for layer, entering in chosen])

    def embed(self, tokens: Tensor, first_position: int = 0) -> Tensor:
        """Return the input of the first layer: (B, T) int64 to (B, T, H).

        Raises:
            SettingsError: T is more than the model has positions for.
        """
        length = tokens.shape[1]
        if first_position + length > self.config.max_position_embeddings:
            needed = f"at most {self.config.max_position_embeddings} tokens, [CLS] and [SEP] included"
            found = f"{length} tokens from position {first_position}"
            raise SettingsError("The window is longer than the model can read.", needed=needed, found=found)
        places = self.position_embeddings.weight[first_position : first_position + length]  # (T, H)
        # Token types are all 0 in SpliceBERT, so the one row is the same for every token.
        normalised: Tensor = self.embedding_norm(
            self.token_embeddings(tokens) + places + self.type_embeddings.weight[0]
        )
        return normalised  # (B, T, H)


class SpliceBert(Encoder):
    """BERT with a masked-language-model head."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        size, eps = config.hidden_size, config.layer_norm_eps
        self.head_dense = Linear(size, size)
        self.head_norm = nn.LayerNorm(size, eps=eps)
        self.decoder_bias = nn.Parameter(torch.zeros(config.vocab_size))  # decoder weight: the token embeddings, tied

    def forward(
        self,
        tokens: Tensor,
        positions: Tensor | None = None,
        *,
        output_hidden_states: bool = False,
        first_position: int = 0,
    ) -> BertOutput:
        """Predict the token at each wanted position of each window; arguments and errors are those of ``encode``."""
        encoded = self.encode(
            tokens, positions, output_hidden_states=output_hidden_states, first_position=first_position
        )
        return BertOutput(self.predict(encoded.hidden), *encoded)

    def predict(self, hidden: Tensor) -> Tensor:
        """Turn last hidden states, (B, P, H), into logits over the vocabulary, (B, P, V)."""
        transformed = self.head_norm(F.gelu(self.head_dense(hidden)))  # (B, P, H)
        return F.linear(transformed, self.token_embeddings.weight, self.decoder_bias)  # (B, P, V)


def pick(hidden: Tensor, positions: Tensor | None) -> Tensor:
    """Pick tokens, (B, T, H), at positions (B, P); all of them for None."""
    if positions is None:
        return hidden
    return hidden.gather(1, positions.unsqueeze(-1).expand(-1, -1, hidden.shape[-1]))  # (B, P, H)
