"""What is set beside SpliceBERT's scores: those of other programs, and which of the two calls an allele."""
