"""Koh, Steinhardt and Liang 2018: a few distinct rows, repeated, against a linear learner behind filters.

Three attacks, the learner and the decoys that they share, and the rounding to whole counts.
"""
