"""Suciu et al. 2018: rows that are given features of the target and do no harm to other rows."""
