"""The style of pictures: colours and markers that everybody can tell apart, and text without markup."""

import re
import textwrap
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache

import matplotlib.style
from matplotlib.font_manager import findfont, get_font

from gradshape_bench.report.markdown import one_line

# Okabe and Ito 2008, "Color universal design", for any colour vision. Yellow is last, as it is faint on white.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
BLACK, GREY = "#000000", "#777777"
# Triangles that point up or down mark bounds.
MARKERS = ("s", "D", "P", "X", "<", ">", "p", "h")
_LINES = ("-", "--", ":", "-.")
_FONT = "DejaVu Sans"
# Spaces after a number or a sign, and before a sign or the word that says the scale.
_TIED = re.compile(r"(?<=\d) (?!\()|(?<=[×=≤✓✗?†‡⊘–]) | (?=[%×=≤])| (?=scale\))")
_SETTINGS = {
    "font.family": _FONT,
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8,
    "figure.titlesize": 10,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 4.5,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e2e2e2",
    "grid.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "savefig.dpi": 150,
    # Letters drawn as outlines look the same wherever the file is opened.
    "svg.fonttype": "path",
    # Without a salt the ids in a file are random.
    "svg.hashsalt": "gradshape",
}


def style() -> AbstractContextManager[None]:
    """Return a context in which pictures look alike, whatever a user's own settings are; for drawing and saving."""
    return matplotlib.style.context(["default", _SETTINGS])


@dataclass(frozen=True)
class Look:
    """How one curve is drawn."""

    color: str
    marker: str
    line: str = "-"


REFERENCE = Look(BLACK, "o")


def looks(labels: Iterable[str], *, reference: str = "vanilla") -> Mapping[str, Look]:
    """Return a look for each label, in their order; the reference is black.

    >>> looks(["vanilla", "dp_adam_c8"])["dp_adam_c8"]
    Look(color='#0072B2', marker='s', line='-')
    """
    others = [label for label in dict.fromkeys(labels) if label != reference]
    found = {label: nth_look(place) for place, label in enumerate(others)}
    return {reference: REFERENCE} | found


def nth_look(place: int) -> Look:
    """Return the look of the curve at that place; hundreds of looks differ."""
    rounds = place // len(COLORS)
    return Look(COLORS[place % len(COLORS)], MARKERS[place % len(MARKERS)], _LINES[rounds % len(_LINES)])


def text(value: object) -> str:
    r"""Return ``value`` on one line for use in a picture: dollars start no formula, and every letter can be drawn.

    >>> print(text("a$b$\n c"))
    a\$b\$ c
    """
    letters = _letters()
    line = "".join(letter if ord(letter) in letters else "\N{REPLACEMENT CHARACTER}" for letter in one_line(value))
    escaped = line.replace("$", r"\$")
    # Legends leave out labels that start with an underscore.
    return f"\N{ZERO WIDTH SPACE}{escaped}" if escaped.startswith("_") else escaped


def wrapped(words: str, letters: int) -> str:
    """Return words in lines of so many letters; a number stays with its unit.

    >>> wrapped("data-dependent Steinhardt, 40 %", 30)
    'data-dependent Steinhardt,\\n40 %'
    """
    tied = _TIED.sub("\N{NO-BREAK SPACE}", words)
    return textwrap.fill(tied, max(1, letters), break_long_words=False).replace("\N{NO-BREAK SPACE}", " ")


@cache
def _letters() -> frozenset[int]:
    return frozenset(get_font(findfont(_FONT)).get_charmap())
