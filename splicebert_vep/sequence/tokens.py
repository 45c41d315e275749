"""Nucleotides as token ids: the SpliceBERT vocabulary ``[PAD] [UNK] [CLS] [SEP] [MASK] N A C G T``."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from splicebert_vep_spec import CLS, SEP, A, C, G, N, T

Tokens = NDArray[np.uint8]

Bases = TypeVar("Bases", str, bytes)

#: For ``translate`` of str and bytes: IUPAC codes in either case; N, S and W are their own complements.
COMPLEMENT = bytes.maketrans(b"ACGTRYKMBVDHacgtrykmbvdh", b"TGCAYRMKVBHDtgcayrmkvbhd")

#: Letters by token.
LETTERS = np.array(list("?????NACGT"))

_ENCODE = np.full(256, N, dtype=np.uint8)
for _letters in (b"ACGT", b"acgt"):
    _ENCODE[list(_letters)] = (A, C, G, T)


def encode(bases: bytes | NDArray[np.uint8]) -> Tokens:
    """Return the token of every base, (L,) uint8; whatever is not A, C, G or T (in any case) becomes N."""
    raw = np.frombuffer(bases, dtype=np.uint8) if isinstance(bases, bytes) else bases
    return _ENCODE[raw]


_IDS = _ENCODE.tobytes()


def ids(bases: str) -> tuple[int, ...]:
    """Return the token of every base as a number; see ``encode``, which takes longer for a few bases."""
    return tuple(bases.encode("ascii").translate(_IDS))


def letters(tokens: Tokens) -> str:
    """Return tokens (L,) as letters A, C, G, T or N; ? for any other token."""
    return "".join(LETTERS[tokens].tolist())


_TOKEN_COMPLEMENT = np.arange(len(LETTERS), dtype=np.uint8)
_TOKEN_COMPLEMENT[encode(b"ACGT")] = encode(b"ACGT".translate(COMPLEMENT))


def reverse_complement(tokens: Tokens) -> Tokens:
    """Return the tokens of the other strand, read 5' to 3'; the last axis is the sequence."""
    return _TOKEN_COMPLEMENT[tokens[..., ::-1]]


def other_strand(bases: Bases) -> Bases:
    """Return the letters of the other strand, read 5' to 3'; see ``COMPLEMENT``."""
    return bases.translate(COMPLEMENT)[::-1]


def with_special(tokens: Tokens) -> Tokens:
    """Frame windows (N, W) as the model expects them: ``[CLS] x1..xW [SEP]``, (N, W + 2)."""
    framed = np.empty((tokens.shape[0], tokens.shape[1] + 2), dtype=np.uint8)
    framed[:, 0] = CLS
    framed[:, 1:-1] = tokens
    framed[:, -1] = SEP
    return framed
