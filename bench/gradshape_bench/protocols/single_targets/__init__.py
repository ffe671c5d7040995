"""Experiments on single targets: base models are trained, or trained further, with poison for one test row each."""
