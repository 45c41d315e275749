"""Zero-shot splicing scores of a pre-mRNA language model for every allele of a VCF."""

__version__ = "0.1.0"
