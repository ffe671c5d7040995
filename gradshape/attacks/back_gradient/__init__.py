"""Muñoz-González et al. 2017: points that climb the loss of what gradient descent ends at, and the descent that is
traced back for their gradient.
"""
