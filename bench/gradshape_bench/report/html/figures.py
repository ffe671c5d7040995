"""The figures that lie beside the page, and which section each of them is of."""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = "figures"
# In the order in which they are preferred to be shown; the others are linked.
_ENDINGS = (".png", ".svg")
Group = tuple[str, str, str, str]


@dataclass(frozen=True)
class FigureFile:
    """A figure.

    Attributes:
        name: name of its files, without an ending.
        endings: endings of its files.
        section: place of the section that it is of; ``None`` if it is of several, or of none.
    """

    name: str
    endings: tuple[str, ...]
    section: int | None


def beside(page: Path) -> list[str]:
    """Return the names of the files in the folder of figures beside a page; none if there is no such folder."""
    folder = page.with_name(FOLDER)
    return [file.name for file in folder.iterdir() if file.is_file()] if folder.is_dir() else []


def matched(files: Iterable[str], groups: Sequence[Group]) -> list[FigureFile]:
    """Match names of files to groups of records, which are scale, data set, model and protocol.

    >>> matched(["heat_map-smoke-digits-lr-from_scratch.png"], [("smoke", "digits", "lr", "from_scratch")])
    [FigureFile(name='heat_map-smoke-digits-lr-from_scratch', endings=('.png',), section=0)]
    """
    found: dict[str, set[str]] = {}
    for file in files:
        path = Path(file)
        if path.suffix in _ENDINGS:
            found.setdefault(path.stem, set()).add(path.suffix)
    ends = [f"-{'-'.join(map(_safe, group))}-" for group in groups]
    return [
        FigureFile(name, tuple(ending for ending in _ENDINGS if ending in found[name]), _section(name, ends))
        for name in sorted(found)
    ]


def _section(name: str, ends: Collection[str]) -> int | None:
    fitting = [(len(end), -place) for place, end in enumerate(ends) if end in f"{name}-"]
    return -max(fitting)[1] if fitting else None


def _safe(part: str) -> str:
    # As names of figures spell it.
    return re.sub(r"[^A-Za-z0-9_.]+", "-", part).strip("-.")
