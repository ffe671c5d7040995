"""Per-sample gradient shaping, poison crafting and stacked victim training.

The subpackages and modules are the interface: :mod:`gradshape.data`, :mod:`gradshape.models`,
:mod:`gradshape.features`, :mod:`gradshape.clipping`, :mod:`gradshape.shaping`, :mod:`gradshape.training`,
:mod:`gradshape.learners`, :mod:`gradshape.constraints`, :mod:`gradshape.attacks`, :mod:`gradshape.defenses`,
:mod:`gradshape.analysis`, :mod:`gradshape.metrics`, :mod:`gradshape.privacy` and :mod:`gradshape.testing`.
"""

__version__ = "0.1.0"
