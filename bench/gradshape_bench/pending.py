"""The cases that were selected and are not measured yet, which tell a complete run from a partial one."""

import json
from collections.abc import Iterable
from pathlib import Path

from filelock import FileLock

from gradshape_bench.store import write_atomically

Key = tuple[str, str]


class Pending:
    """Scale and id of each pending case, in a file beside the results file.

    A session adds the cases that it selects before it runs any, and removes those that it measured when it ends. A
    session that is killed leaves its cases here until they are run again; its finished jobs are then in the cache.

    Args:
        results: the results file.
    """

    def __init__(self, results: Path) -> None:
        self.path = results.with_name(f"{results.stem}.pending.json")
        self._lock = results.with_name(f"{results.name}.lock")

    def keys(self) -> set[Key] | None:
        """Return the pending cases; ``None`` if no session has ever added any.

        Raises:
            ValueError: the file is no list of cases.
        """
        try:
            return {(str(scale), str(case)) for scale, case in json.loads(self.path.read_text(encoding="utf-8"))}
        except FileNotFoundError:
            return None
        except (TypeError, ValueError) as error:
            raise ValueError(f"{self.path} is no list of cases: {error}: delete it and run the cases again") from error

    def add(self, keys: Iterable[Key]) -> None:
        """Add cases that are selected."""
        self._change(keys, ())

    def discard(self, keys: Iterable[Key]) -> None:
        """Remove cases that are measured."""
        self._change((), keys)

    def _change(self, more: Iterable[Key], fewer: Iterable[Key]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self._lock):
            left = ((self.keys() or set()) | set(more)) - set(fewer)
            write_atomically(self.path, [json.dumps(sorted(left), indent=0) + "\n"])
