"""The places that a run writes to, which are checked before anything is computed."""

import os
import re
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from gradshape_bench.options import Settings
from gradshape_bench.plain_text import plain
from gradshape_bench.records.pending import Pending, Sharded
from gradshape_bench.records.running import Running
from gradshape_bench.records.store import lock_file
from gradshape_bench.report.beside import LEADERBOARD, PAGES, board_folder, pages_beside

_PAGES = frozenset(page.name for page in PAGES)
_IGNORED = "# Written by gradshape, which makes all that is here again.\n*\n"


@dataclass(frozen=True)
class _Place:
    """A file or a folder that a run writes.

    Attributes:
        about: what it is, in words.
        path: where it is.
        folder: whether it is a folder, in which nothing else may lie.
    """

    about: str
    path: Path
    folder: bool = False

    def excludes(self, other: "_Place") -> bool:
        """Say whether the other one cannot lie where it does."""
        own, others = (Path(os.path.realpath(place.path)) for place in (self, other))
        # What is there already may have several names.
        same = own == others or (os.path.exists(own) and os.path.exists(others) and os.path.samefile(own, others))
        return same or (self.folder and own in others.parents)


def ignored_by_git(folders: Iterable[Path]) -> None:
    """Make folders that are not there yet, with a ``.gitignore`` that keeps all in them out of a user's commits.

    Where that fails, nothing is said: what can be written is checked by :func:`check_places`.
    """
    for folder in folders:
        with suppress(OSError):
            folder.mkdir()
            (folder / ".gitignore").write_text(_IGNORED)


def check_places(settings: Settings, others: Iterable[tuple[str, Path]] = ()) -> None:
    """Check that results and pages can be written and that finished jobs have a folder, before anything is computed.

    The folder of the results file is created. A cache that cannot be written to is no error: nothing is kept then.

    Args:
        settings: the options of the run.
        others: options of other plugins and the files that they have the run write.

    Raises:
        pytest.UsageError: a place is no good, or is needed for two things; the message names option, path and problem.
    """
    try:
        _check_results(settings.results)
        _check_apart(settings, others)
    except (OSError, ValueError) as error:
        raise _refused("--results", settings.results, error) from error
    try:
        if settings.use_cache:
            _check_folder(settings.cache_dir)
    except (OSError, ValueError) as error:
        raise _refused("--cache-dir", settings.cache_dir, error) from error


def _refused(option: str, path: Path, error: Exception) -> pytest.UsageError:
    problem = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return pytest.UsageError(plain(f"{option}: {path}: {problem}"))


def _check_apart(settings: Settings, others: Iterable[tuple[str, Path]]) -> None:
    """Raise ``ValueError`` if one of the files of the run would take the place of another."""
    results = settings.results
    places = [
        _Place("the results file", results),
        *(_Place(f"the page {about}", path) for about, path in pages_beside(results).items()),
        _Place("the folder of the leaderboard's pages", board_folder(results)),
        _Place("the list of open cases", Pending(results).path),
        _Place("the list of the cases of all shards", Sharded(results).path),
        _Place("the folder of what is running", Running(results).folder, folder=True),
        _Place("the lock of the results file", lock_file(results)),
        *(_Place(f"the file of {option}", path) for option, path in others),
    ]
    if settings.use_cache:
        places.append(_Place("the folder of finished jobs", settings.cache_dir / "jobs", folder=True))
    for place, one in enumerate(places):
        for other in places[place + 1 :]:
            if one.excludes(other) or other.excludes(one):
                raise ValueError(f"{one.about} and {other.about} would both be {other.path}: name another file")


def _check_results(results: Path) -> None:
    if results.exists():
        if not results.is_file():
            raise ValueError("expected a file, and this is none" if not results.is_dir() else "this is a folder")
        with results.open("ab"):
            pass
    if re.fullmatch(r"speed.*\.(json|md)", results.name):
        raise ValueError("files with such a name are the speed suite's: name another file")
    if results.name in _PAGES or results.name == Path(LEADERBOARD.name).stem:
        raise ValueError("pages beside a results.jsonl are called so: name another file")
    results.parent.mkdir(parents=True, exist_ok=True)
    # Pages are written beside it under another name and moved into place.
    with tempfile.TemporaryFile(dir=results.parent) as file:
        file.write(b"\n" * 4096)
        file.flush()
        os.fsync(file.fileno())


def _check_folder(folder: Path) -> None:
    for path in (folder, *folder.parents):
        if path.exists():
            if not path.is_dir():
                raise ValueError("expected a folder" if path == folder else f"{path} is no folder")
            return
