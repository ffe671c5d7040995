"""Many models in one: what dense and other networks with a model axis have in common."""
