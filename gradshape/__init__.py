"""Per-sample gradient shaping, poison crafting and stacked victim training.

The subpackages are the interface: :mod:`gradshape.data`, :mod:`gradshape.models`,
:mod:`gradshape.clipping`, :mod:`gradshape.shaping`, :mod:`gradshape.training`,
:mod:`gradshape.learners`, :mod:`gradshape.constraints`, :mod:`gradshape.attacks`,
:mod:`gradshape.defenses`, :mod:`gradshape.metrics` and :mod:`gradshape.testing`.
"""

__version__ = "0.1.0"
