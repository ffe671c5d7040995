"""Zhao et al. 2017: labels that are chosen by gradient ascent."""
