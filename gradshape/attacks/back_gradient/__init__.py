"""Muñoz-González et al. 2017: points that climb the loss of a model through the gradient descent that trains it."""
