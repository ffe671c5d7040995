"""Tells from the sensors of a pump whether it is about to fail."""
