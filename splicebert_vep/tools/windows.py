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
        remedy = "write U as T, e.g. seqkit seq --rna2dna in.fa"
        raise SettingsError(f"The sequence of {contig} is written as RNA.", remedy=remedy)
    tokens = encode(bases)
    return reverse_complement(tokens) if strand == "-" else tokens


def check_width(length: int, width: int, model: str, where: str) -> None:
    """Raise SettingsError where a sequence is shorter than the only windows that a model takes."""
    if length < width:
        raise SettingsError(
            f"Model {model} takes windows of one length only, {width} nt, and {where} is shorter.",
            remedy="choose a model that takes shorter windows, or give the sequence with what surrounds it",
        )


def answers(ask: Callable[[], Any], where: str = "") -> Any:
    """Return a model's answer; a failure, or numbers that are not finite, are BackendError."""
    try:
        found = ask()
    except RuntimeError as error:
        found, remedy = " ".join(str(error).split()), "a smaller --batch-tokens needs less room"
        raise BackendError("The model failed.", found=found, where=where, remedy=remedy) from error
    if not np.isfinite(found).all():
        raise BackendError("The model answered with numbers that are not finite.", where=where)
    return found
