"""The score store: every score of every allele once, in one SQLite file."""
