"""Zhao et al. 2017: label flips that are chosen by gradient ascent."""
