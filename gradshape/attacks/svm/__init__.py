"""Biggio, Nelson and Laskov 2012: points that climb the loss of a support vector machine, which is solved exactly so
that its gradient is.
"""
