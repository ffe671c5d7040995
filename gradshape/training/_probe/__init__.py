"""Gradient probes: what one measures of a training, and one at work."""
