"""Running one shard of the selected cases: ``--shard I/N``."""

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from gradshape_bench.case import Case
from gradshape_bench.options import Settings
from gradshape_bench.records.pending import Sharded
from gradshape_bench.records.store import write_atomically
from gradshape_bench.report.cells import count
from gradshape_bench.selection import case_of
from gradshape_bench.shard import Shard

_COUNTS = "shard.json"


class Sharding:
    """Keeps the tests of one shard, and says which part of the run that is.

    Of all tests that are left when every other option has selected, each is in one shard, whatever it is: cases by what
    they are called, other tests by their node ids. A shard without tests has done what it was asked for: the run
    succeeds, unless there is nothing in any other shard either.

    Args:
        shard: the part.
        settings: the options of the run.
        folder: scratch folder that all processes of the session share.
        first: whether this process tells the others, and other shards, what was selected.
    """

    def __init__(self, shard: Shard, settings: Settings, folder: Path, *, first: bool) -> None:
        self._shard = shard
        self._settings = settings
        self._counts = folder / _COUNTS
        self._first = first

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Keep this part of what is selected."""
        cases = {item: case for item in items if (case := case_of(item)) is not None}
        mine = self._shard.cases(cases.values())
        others = set(self._shard.of(sorted(item.nodeid for item in items if item not in cases)))
        kept, left_out = list[pytest.Item](), list[pytest.Item]()
        for item in items:
            case = cases.get(item)
            chosen = item.nodeid in others if case is None else _key(case) in mine
            (kept if chosen else left_out).append(item)
        if self._first:
            self._tell(config, {_key(case) for case in cases.values()}, len(mine), tests=(len(items), len(kept)))
        items[:] = kept
        if left_out:
            config.hook.pytest_deselected(items=left_out)

    def _tell(self, config: pytest.Config, selected: set[tuple[str, str]], mine: int, *, tests: Sequence[int]) -> None:
        write_atomically(self._counts, [json.dumps([len(selected), mine, *tests])])
        if selected and not config.option.collectonly:
            # A results file that cannot be written to is told of before any case runs.
            with suppress(OSError, ValueError):
                Sharded(self._settings.results).add(selected)

    def _told(self) -> tuple[int, int, int, int]:
        """Return how many cases all shards have and this one has, and how many tests."""
        try:
            cases, mine, tests, own = json.loads(self._counts.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return 0, 0, 0, 0
        return cases, mine, tests, own

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Let a shard without tests succeed if other shards have some."""
        _, _, tests, own = self._told()
        if session.exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and tests and not own:
            session.exitstatus = pytest.ExitCode.OK

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say which part of the run this was."""
        cases, mine, tests, own = self._told()
        if tests and not own:
            terminalreporter.write_line(
                f"gradshape: shard {self._shard} is empty: the other shards have all of {count(tests, 'test')}"
            )
        elif cases:
            terminalreporter.write_line(f"gradshape: shard {self._shard}: {mine} of {count(cases, 'selected case')}")


def _key(case: Case) -> tuple[str, str]:
    return case.scale.value, case.id
