"""Joins with what other programs have scored."""
