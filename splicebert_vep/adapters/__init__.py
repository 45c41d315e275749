"""Outputs: how a record's outcome is written, as INFO fields or as rows of a table."""
