"""Koh, Steinhardt and Liang 2018: a few distinct rows, repeated, against a linear learner behind filters."""
