"""Which cases a project declares, as pytest finds them, in a process of its own: it imports the project's code."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Generator, Sequence
from pathlib import Path

import pytest

from gradshape_bench.case import Scale
from gradshape_bench.commands.command import Refused
from gradshape_bench.selection import ids_at


def declared_cases(tests: Sequence[str]) -> set[tuple[str, str]]:
    """Return scale and id of all cases that some tests declare, at both scales.

    Args:
        tests: arguments for pytest: files, folders and options.

    Raises:
        Refused: pytest cannot collect all of them.
    """
    with tempfile.TemporaryDirectory(prefix="gradshape-") as folder:
        written = Path(folder) / "cases.json"
        command = [sys.executable, "-m", __name__, str(written), *tests]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or not written.exists():
            shown = (done.stdout + done.stderr).strip()
            raise Refused(f"{shown}\nit cannot be told which cases exist: pytest cannot collect {' '.join(tests)}")
        return {(scale, case) for scale, case in json.loads(written.read_text(encoding="utf-8"))}


class _Collector:
    """A plugin of pytest that notes the cases of the tests it collects."""

    def __init__(self, written: Path) -> None:
        self._written = written

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> Generator[None]:
        """Write down the cases before any is deselected: by the options of a project, say, which does declare it."""
        found = [(scale.value, case) for scale in Scale for case in sorted(ids_at(items, scale))]
        self._written.write_text(json.dumps(found), encoding="utf-8")
        return (yield)


def _main(written: str, *tests: str) -> int:
    # The short names of options may be another plugin's. Plain assertions: pytest warns of a plugin that is imported
    # already, which it can rewrite no more, and warnings may be errors.
    options = ["--collect-only", "-qq", "--assert=plain"]
    status = int(pytest.main([*options, *tests], plugins=[_Collector(Path(written))]))
    return 0 if status == pytest.ExitCode.NO_TESTS_COLLECTED else status


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
