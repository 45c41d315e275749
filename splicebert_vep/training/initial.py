"""What a model knows before its first step: where its neighbours are.

The function that a BERT computes of absolute positions has to be learned before any context can be used. Started at
random, a small model stays at the frequencies of single nucleotides for millions of tokens, and one started with
sinusoids still learns repeats long before splice sites, because its heads cannot tell one neighbour from the next. Here

- half of the hidden units begin as sinusoids of the position, the other half as the token, so neither blurs the other;
- the heads of the first layers begin as views of one neighbour each: the query of position i and the key of position
  j are sinusoids that agree best where j = i + offset.

All of it is an ordinary BERT's weights, trained on like the rest; nothing of the architecture is changed.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import nn

from splicebert_vep.model.bert import Layer, SpliceBert

_WEIGHT = 0.02  # standard deviation of BERT's weights (Devlin et al. 2019)
_EMBEDDING = 0.05  # of position and of token embeddings; the layer norm after them sees only their ratio
_FASTEST, _SLOWEST = 2.5, 0.003  # radians per nucleotide; one tells neighbours apart, the other 2,000 nt
_SHARPNESS = 2.0  # of a head's view: in heads of 16 units the next neighbour gets about exp(-SHARPNESS * 2.4)
_VALUE, _OUT = 0.09, 0.06  # larger than BERT's, so that what such a head sees weighs in the sum from the start


def initialise(model: SpliceBert, *, neighbour_layers: int, seed: int) -> None:
    """Set every weight in place; the same seed gives the same weights.

    Args:
        neighbour_layers: first layers whose heads begin as views of near neighbours. The heads of layer n see the
            offsets -1, 1, -2, 2, ..., beginning with the first that layer n - 1 does not see.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() == 2:
                weight.normal_(0.0, _WEIGHT, generator=generator)
            else:
                weight.fill_(1.0 if "norm.weight" in name else 0.0)
        frequencies = _set_embeddings(model, generator)
        for number, layer in enumerate(cast(list[Layer], list(model.layers))[:neighbour_layers]):
            _set_views(layer, _offsets(layer.heads, number), frequencies, generator)


def _set_embeddings(model: SpliceBert, generator: torch.Generator) -> list[float]:
    """Set the embeddings and return the frequencies, radians per nucleotide, of units 2k (cosine) and 2k + 1 (sine)."""
    positions, size = model.position_embeddings.weight.shape
    count = size // 4
    ratio = (_SLOWEST / _FASTEST) ** (1 / max(1, count - 1))
    frequencies = [_FASTEST * ratio**k for k in range(count)]
    angle = torch.arange(positions, dtype=torch.float64)[:, None] * torch.tensor(frequencies, dtype=torch.float64)
    waves = torch.stack([angle.cos(), angle.sin()], dim=2).flatten(1)  # (positions, size / 2)
    model.position_embeddings.weight.zero_()
    model.position_embeddings.weight[:, : 2 * count] = (waves * math.sqrt(2) * _EMBEDDING).float()
    token = model.token_embeddings.weight
    token.normal_(0.0, _EMBEDDING, generator=generator)
    token[:, : 2 * count] *= 0.04  # not 0: the decoder is tied, and its gradient would vanish there
    model.type_embeddings.weight.zero_()
    return frequencies


def _offsets(heads: int, layer: int) -> list[int]:
    """Return the neighbours that the heads of a layer see: -1, 1, -2, 2, ..."""
    return [(1 + rank // 2) * (-1 if rank % 2 == 0 else 1) for rank in range(layer * heads, (layer + 1) * heads)]


def _set_views(layer: Layer, offsets: list[int], frequencies: list[float], generator: torch.Generator) -> None:
    """Let head h attend to position i + offsets[h].

    With query q(i) = (cos wi, sin wi) and key k(j) the same turned back by w offset, q k = cos w(i + offset - j).
    """
    size = layer.query.weight.shape[1]
    width = size // layer.heads  # units of a head
    pairs = width // 2
    chosen = [k * len(frequencies) // pairs for k in range(pairs)]
    scale = math.sqrt(_SHARPNESS * math.sqrt(width) / 2)  # a unit has variance 1 here, so a wave has amplitude sqrt 2
    for head, offset in enumerate(offsets):
        rows = slice(head * width, (head + 1) * width)
        query, key = layer.query.weight[rows], layer.key.weight[rows]
        query.zero_()
        key.zero_()
        for pair, k in enumerate(chosen):
            turn = frequencies[k] * offset
            cosine, sine = 2 * k, 2 * k + 1
            query[2 * pair, cosine] = query[2 * pair + 1, sine] = scale
            key[2 * pair, cosine] = key[2 * pair + 1, sine] = scale * math.cos(turn)
            key[2 * pair, sine] = scale * math.sin(turn)
            key[2 * pair + 1, cosine] = -scale * math.sin(turn)
    nn.init.normal_(layer.value.weight, 0.0, _VALUE * math.sqrt(2), generator=generator)
    layer.value.weight[:, : 2 * len(frequencies)] = 0.0  # what a neighbour is, not where
    nn.init.normal_(layer.attention_out.weight, 0.0, _OUT, generator=generator)
