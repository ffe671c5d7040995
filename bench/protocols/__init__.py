"""Experiments around an attack."""
