"""Models and losses whose per-sample gradients are compared with those of a loop, by what is unusual in them."""
