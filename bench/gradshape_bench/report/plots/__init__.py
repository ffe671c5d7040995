"""Pictures made from records alone; they need matplotlib, the extra ``plots``."""

from gradshape_bench.report.plots.gallery import KINDS, Kind, MissingMatplotlib, pictures, write

__all__ = ["KINDS", "Kind", "MissingMatplotlib", "pictures", "write"]
