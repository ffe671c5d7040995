"""The two ways in which a data set fails to load: it is not there, or what is there is bad."""

import os
from pathlib import Path
from typing import Any

_FETCHED = "Replace this file, or remove it."
_OWN = "Save this file again with what is expected."


class DataError(ValueError):
    """A data file exists but its content is not what its format asks for.

    Attributes:
        path: the file.
        problem: what was found and what was expected.

    >>> print(DataError("toy/x.gz", "is empty: expected a gzip file"))
    toy/x.gz is empty: expected a gzip file. Replace this file, or remove it.
    >>> print(DataError("mine.npz", "lacks x_test"))
    mine.npz lacks x_test. Save this file again with what is expected.
    """

    def __init__(self, path: str | os.PathLike[str], problem: str) -> None:
        super().__init__(path, problem)
        self.path = Path(path)
        self.problem = problem

    def __str__(self) -> str:
        # Files with arrays are the user's own, and nobody can fetch them again.
        own = self.path.suffix == ".npz"
        return f"{self.path} {self.problem}. {_OWN if own else _FETCHED}"


class DataUnavailable(FileNotFoundError):
    """A data set is not on this machine and could not, or was not allowed to, be downloaded.

    Attributes:
        name: the data set.
        reason: where it was looked for and why that failed.
        command: the shell command that fetches it.

    >>> DataUnavailable("cifar10", "/data/cifar10 lacks cifar-10-binary.tar.gz").command
    'python -m gradshape.data fetch cifar10'
    """

    def __init__(self, name: str, reason: str, command: str | None = None) -> None:
        self.name = name
        self.reason = reason
        self.command = command or f"python -m gradshape.data fetch {name}"
        super().__init__(f"data set {name!r} is not available: {reason}. Fetch it with: {self.command}")

    # OSError would rebuild from the message alone; errors cross process boundaries under `-n 4`.
    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.name, self.reason, self.command)
