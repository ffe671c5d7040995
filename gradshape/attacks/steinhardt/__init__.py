"""Steinhardt, Koh and Liang 2017: poison that a sphere-and-slab filter keeps, where the filter is fixed and where it
follows the poison; with the certificate that bounds it.
"""
