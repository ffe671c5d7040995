"""Pictures made from records alone. Drawing them needs matplotlib, the extra ``plots``."""

from gradshape_bench.report.plots.gallery import KINDS, MissingMatplotlib, PictureKind, pictures, write

__all__ = ["KINDS", "MissingMatplotlib", "PictureKind", "pictures", "write"]
