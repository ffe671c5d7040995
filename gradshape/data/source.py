"""What is known about a data set before it is loaded, and the registry of all of them."""

import re
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class PublishedFile:
    """One file as its publisher offers it.

    Attributes:
        name: its path below the folder of its data set.
        url: the address that it is downloaded from.
        hash: ``"md5:..."`` or ``"sha256:..."`` of the download. ``None`` if no hash is known: the first
            download then records its sha256 beside the file, and later downloads must match that.
        instead: files that together make this one unnecessary, such as its unpacked content.
    """

    name: str
    url: str
    hash: str | None
    _: KW_ONLY
    instead: tuple[str, ...] = ()

    def present(self, folder: Path) -> bool:
        """Return whether this file, or all files that may stand for it, are in ``folder``."""
        if (folder / self.name).exists():
            return True
        return bool(self.instead) and all((folder / name).exists() for name in self.instead)


@dataclass(frozen=True, eq=False)
class RawSplit:
    """Labelled rows as their file holds them, in its own number type, so that pictures stay bytes.

    Attributes:
        x: ``(N, *shape)`` numbers which, divided by the ``scale`` of their source, lie in [0, 1].
        y: ``(N,)`` integer class ids; for regression floats in [0, 1].
    """

    x: NDArray[Any]
    y: NDArray[np.integer[Any]] | NDArray[np.floating[Any]]


def _nothing_to_unpack(folder: Path) -> None:
    pass


@dataclass(frozen=True)
class Source:
    """A data set that can be loaded by name.

    Attributes:
        name: lower-case letters, digits and underscores, so that case ids can carry it.
        description: one line on what this is and where it comes from.
        read: reads the train and the test rows from the folder that holds the files. It may trust
            that the files exist, and nothing else about them: bad content is a ``DataError``.
        scale: the number that ``x`` is divided by: 255 for pixels in bytes.
        shape: shape of one row; ``None`` if only loading tells.
        num_classes: labels are in ``[0, num_classes)``; ``None`` if only loading tells; 0 for regression.
        rows: numbers of train and test rows; ``None`` if only loading tells.
        files: the published files; none for an embedded set, which needs neither file nor network.
        folder: its folder below the data root; empty if the folder has the name of the set.
        unpack: called once the files are present, to unpack an archive the first time.
        path: the file itself, for a set that was named by its path.
    """

    name: str
    description: str
    read: Callable[[Path], tuple[RawSplit, RawSplit]]
    _: KW_ONLY
    scale: int = 1
    shape: tuple[int, ...] | None = None
    num_classes: int | None = None
    rows: tuple[int, int] | None = None
    files: tuple[PublishedFile, ...] = ()
    folder: str = ""
    unpack: Callable[[Path], None] = _nothing_to_unpack
    path: Path | None = None

    @property
    def embedded(self) -> bool:
        """Whether it is generated or ships with a dependency."""
        return not self.files and self.path is None

    def location(self, root: Path) -> Path:
        """Return the folder that holds its files, or the file of a set that was named by its path."""
        return self.path if self.path is not None else root / (self.folder or self.name)

    def missing(self, root: Path) -> tuple[PublishedFile, ...]:
        """Return the published files that are not below ``root``."""
        return tuple(file for file in self.files if not file.present(self.location(root)))


_registry: dict[str, Source] = {}


def register(source: Source) -> Source:
    """Make ``source`` loadable by its name.

    Raises:
        ValueError: the name is taken, or has other characters than lower-case letters, digits and ``_``.
    """
    if not re.fullmatch(r"[a-z0-9_]+", source.name):
        raise ValueError(f"name={source.name!r}: expected lower-case letters, digits and underscores only")
    if source.name in _registry:
        raise ValueError(f"name={source.name!r}: expected a new name, this data set is registered already")
    _registry[source.name] = source
    return source


def registered() -> dict[str, Source]:
    """Return all registered sources by name, in the order of registration."""
    return dict(_registry)
