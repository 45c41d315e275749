"""Alleles, windows, tokens and the alignment of REF and ALT: pure numpy, no input or output."""
