"""What pytest shows of the combinations that are left out of the cases: how many, why and, with ``-v``, which."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from gradshape_bench.left_out import LeftOut, describe
from gradshape_bench.plain_text import plain

# Where a worker process tells the controller, which collects nothing, what is left out.
_FILE = "left-out.json"


class LeftOutReport:
    """Shows what is left out below the number of collected tests, and counts it again in the summary.

    Args:
        config: of this process.
        folder: scratch folder that all processes of the session share.
    """

    def __init__(self, config: pytest.Config, folder: Path) -> None:
        self._config = config
        self._file = folder / _FILE
        self._found: dict[LeftOut, None] = {}
        self._notes: list[str] = []
        self._shown = False

    def add(self, found: Iterable[LeftOut]) -> None:
        """Note what the matrices of one test leave out."""
        self._found.update(dict.fromkeys(found))

    def note(self, sentences: Iterable[str]) -> None:
        """Note what else is left out, in sentences: what was asked for and is not there."""
        self._notes += sentences

    def pytest_report_collectionfinish(self) -> list[str]:
        """Say what is left out, in the process whose terminal the user sees."""
        self._shown = True
        return self._lines() + [plain(f"gradshape: {note}") for note in self._notes]

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self) -> None:
        """Tell the controller, if this is the first of its workers."""
        worker: Any = getattr(self._config, "workerinput", None)
        if worker is not None and worker["workerid"] == "gw0" and self._found:
            self._file.write_text(json.dumps([asdict(one) for one in self._found]), encoding="utf-8")

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Count what is left out, and list it if the terminal has not shown it yet."""
        if self._file.exists():
            self.add(LeftOut(**one) for one in json.loads(self._file.read_text(encoding="utf-8")))
        if self._config.option.collectonly and self._shown:
            return
        for line in self._lines()[: 1 if self._shown else None]:
            terminalreporter.write_line(line.removesuffix(":") if self._shown else line)

    def _lines(self) -> list[str]:
        lines = describe(list(self._found), every_name=self._config.option.verbose > 0)
        return [plain(line) if place else f"gradshape: {line}" for place, line in enumerate(lines)]
