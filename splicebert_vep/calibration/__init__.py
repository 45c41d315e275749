"""Percentiles: where a score stands among those of random SNVs of the same region class."""
