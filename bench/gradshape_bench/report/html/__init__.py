"""The leaderboard to browse: one HTML page that holds its records and asks nothing of a network.

Python sorts, judges and packs (:mod:`index`, :mod:`tables`, :mod:`changes`, :mod:`figures`), and :mod:`document` puts
the result into the template of the folder ``assets``, whose scripts draw what a reader asks for.
"""

from gradshape_bench.report.html.changes import Change, Earlier
from gradshape_bench.report.html.document import PAGE, render, write
from gradshape_bench.report.html.figures import FOLDER as FIGURES
from gradshape_bench.report.html.figures import beside as figures_beside

__all__ = ["FIGURES", "PAGE", "Change", "Earlier", "figures_beside", "render", "write"]
