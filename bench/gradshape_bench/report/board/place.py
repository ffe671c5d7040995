"""Where the pages of a board are, and what they can link to."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import quote

from gradshape_bench.report.board.standings import Field
from gradshape_bench.report.file_names import file_name

LEGEND = "legend"
_NUMBERED = {"fig": "Fig.", "table": "Table"}


@dataclass(frozen=True)
class Figure:
    """A figure in the folder ``figures`` beside the overview.

    Attributes:
        kind: kind of picture.
        rest: what follows the task in its name: mostly a protocol, and what else tells it apart.
        name: name of its file.
    """

    kind: str
    rest: str
    name: str

    @property
    def link(self) -> str:
        """The link from a page in the folder of the board."""
        return f"../figures/{quote(self.name)}"

    @property
    def words(self) -> str:
        """What its name says, for a reader.

        >>> Figure("fig4_rad_vs_vanilla", "from_scratch", "x.png").words
        'Fig. 4: rad vs vanilla, from scratch'
        """
        kind = re.sub(r"^(fig|table)(\d+)_", lambda match: f"{_NUMBERED[match[1]]} {match[2]}: ", self.kind)
        return f"{kind}, {self.rest}".replace("_", " ").replace("-", ", ")

    def is_of(self, protocol: str) -> bool:
        """Return whether it shows records of that protocol."""
        return self.rest == protocol or self.rest.startswith(f"{protocol}-")


@dataclass(frozen=True)
class Place:
    """Where a board is. Its overview is ``<stem>.md``, and the other pages are in the folder ``<stem>`` beside it.

    Attributes:
        stem: name of the overview without its suffix.
        figures: names of the files in the folder ``figures`` beside the overview that pages may link to.
        ledger: whether the reproduction ledger is beside the overview.
        privacy: whether the page about privacy is.
    """

    stem: str = "leaderboard"
    figures: Collection[str] = ()
    ledger: bool = False
    privacy: bool = False

    def down(self, page: str) -> str:
        """Return the link from the overview to a page in the folder."""
        return f"{quote(self.stem)}/{quote(page)}.md"

    def beside(self, page: str) -> str:
        """Return the link from the overview to another page about the same results file, such as ``privacy.md``.

        >>> Place("leaderboard").beside("privacy.md"), Place("gpu-leaderboard").beside("privacy.md")
        ('privacy.md', 'gpu-privacy.md')
        """
        whose = self.stem.removesuffix("leaderboard")
        return quote(f"{whose}{page}" if whose.endswith("-") else page)

    @property
    def up(self) -> str:
        """The link from a page in the folder to the overview."""
        return f"../{quote(self.stem)}.md"

    def figures_of(self, scale: str, dataset: str, model: str) -> list[Figure]:
        """Return the figures of a task, in the order of their names."""
        task = f"-{file_name(scale, dataset, model)}-"
        found = (re.fullmatch(rf"(\w+?){re.escape(task)}(.+)\.png", name) for name in sorted(self.figures))
        return [Figure(match[1], match[2], match[0]) for match in found if match]


def task_page(scale: str, dataset: str, model: str) -> str:
    """Return the name of the page of a task."""
    return file_name(scale, dataset, model)


def page_of(field: Field) -> str:
    """Return the name of the page of a ranking."""
    victims = "fitted" if field.fitted else "trained"
    return file_name("ranking", field.scale, field.threat.value.replace(" ", "_"), field.metric, victims)
