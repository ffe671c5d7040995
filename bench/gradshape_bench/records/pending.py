"""The cases that were selected, and those not measured yet, which tell a complete run from a partial one."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from gradshape_bench.records.store import PATIENCE, locked, write_atomically

Key = tuple[str, str]


class CaseList:
    """Scale and id of some cases, in a file beside a results file.

    Args:
        results: the results file.
        name: what the cases are, in the name of their file.
    """

    def __init__(self, results: Path, name: str) -> None:
        self.path = results.with_name(f"{results.stem}.{name}.json")
        self._results = results

    def keys(self) -> set[Key] | None:
        """Return the cases; ``None`` if no session has ever added any.

        Raises:
            ValueError: the file is no list of cases.
            OSError: it cannot be read.
        """
        try:
            return set(_pairs(json.loads(self.path.read_text(encoding="utf-8"))))
        except FileNotFoundError:
            return None
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{self.path} is no list of cases: {error}: delete it and run the cases again") from error

    def add(self, keys: Iterable[Key]) -> None:
        """Add cases.

        Raises:
            ValueError: the file is no list of cases.
            OSError: it cannot be read or written, or not be locked in time.
        """
        self._change(keys, (), PATIENCE)

    def discard(self, keys: Iterable[Key], *, patience: float = PATIENCE) -> None:
        """Remove cases; raises as :meth:`add`.

        Args:
            keys: the cases.
            patience: seconds to wait for another run that changes the list.
        """
        self._change((), keys, patience)

    def write(self, keys: Iterable[Key]) -> None:
        """Write a list of these cases and no others, for somebody who holds the lock of the results file.

        Raises:
            OSError: it cannot be written; what was there stays.
        """
        write_atomically(self.path, [json.dumps(sorted(keys), indent=0) + "\n"])

    def _change(self, more: Iterable[Key], fewer: Iterable[Key], patience: float) -> None:
        with locked(self._results, patience=patience):
            self.write(((self.keys() or set()) | set(more)) - set(fewer))


class Pending(CaseList):
    """The pending cases: selected, and not measured yet.

    A session adds the cases that it selects before it runs any, and removes those that it measured when it ends. A
    session that is killed leaves its cases here until they are run again; its finished jobs are then in the cache.

    Args:
        results: the results file.
    """

    def __init__(self, results: Path) -> None:
        super().__init__(results, "pending")


class Sharded(CaseList):
    """The cases that all shards of a run together selected, in whichever of their results files one looks.

    A shard adds them before it runs its own, so that a shard that never began is missed all the same.

    Args:
        results: the results file.
    """

    def __init__(self, results: Path) -> None:
        super().__init__(results, "sharded")


def _pairs(document: object) -> Iterator[Key]:
    """Yield the pairs of texts in a list; whatever else a file holds must not pass for a list without cases."""
    if not isinstance(document, list):
        raise ValueError(f"it holds a {type(document).__name__}")
    for pair in document:
        match pair:
            case [str(scale), str(case)]:
                yield scale, case
            case _:
                raise ValueError(f"{pair!r:.100} is no pair of a scale and a case")
