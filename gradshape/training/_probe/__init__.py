"""A gradient probe at work."""
