"""Biggio, Nelson and Laskov 2012: points that climb the validation loss of an exactly solved support vector machine."""
