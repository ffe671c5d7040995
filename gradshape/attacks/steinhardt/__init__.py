"""Steinhardt, Koh and Liang 2017: poison that passes a sphere-and-slab filter, fixed or dragged along by the poison."""
