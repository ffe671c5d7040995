"""Learners that are no networks, by their own ``fit``."""
