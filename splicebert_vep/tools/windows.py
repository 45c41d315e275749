"""Windows of a strand of the reference, and the model's answers for them; for tools that look beyond single alleles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import BackendError, SettingsError
from ..genome.reference import Reference
from ..sequence.tokens import Tokens, encode, reverse_complement


def strand_tokens(reference: Reference, contig: str, start: int, end: int, strand: str) -> Tokens:
    """Return the tokens of [start, end) of a contig, 5' to 3' of a strand.

    Raises:
        SettingsError: the sequence is RNA; the model would read U as N, and its answer would look right.
    """
    bases = reference.fetch(contig, start, end)
    if b"U" in bases:
        raise SettingsError(
            "A sequence is written as RNA.", needed="T in place of U", found="U", where=contig,
            remedy="write U as T, e.g. seqkit seq --rna2dna in.fa",
        )  # fmt: skip
    tokens = encode(bases)
    return reverse_complement(tokens) if strand == "-" else tokens


def check_width(length: int, width: int, model: str, where: str) -> None:
    """Raise SettingsError where a sequence is shorter than the only windows that a model takes."""
    if length < width:
        raise SettingsError(
            f"Model {model} takes windows of one length only, and a sequence is shorter.",
            needed=f"at least {width} nt",
            found=f"{length} nt",
            where=where,
            remedy="choose a model that takes shorter windows, or give the sequence with what surrounds it",
        )


def answers(ask: Callable[[], Any], where: str = "") -> Any:
    """Return a model's answer; a failure, or numbers that are not finite, are BackendError."""
    try:
        found = ask()
    except RuntimeError as error:
        raise BackendError(
            "The model failed.", found=" ".join(str(error).split()), where=where,
            remedy="a smaller --batch-tokens needs less room",
        ) from error  # fmt: skip
    if not np.isfinite(found).all():
        raise BackendError("The model answered with numbers that are not finite.", where=where)
    return found
