"""Scores of REF against ALT: torch tensors in, one float64 tensor (B,) per field out; NaN is missing."""
