"""The files of a project that declare cases."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

_DECLARES = re.compile(rb"^\s*@[\w.]*benchmark_cases\(", re.MULTILINE)
# Folders that hold other people's code, or what was made of one's own.
_PASSED_OVER = {"node_modules", "build", "dist", "venv", "site-packages", "__pycache__"}


def find_test(test: str, results: Path) -> str | None:
    """Return the path of a test's file as it is seen from the current folder; ``None`` if it is not found.

    Args:
        test: path relative to the project's root, as a record has it.
        results: results file of the record. The root is the current folder, that of the file, or one above these.
    """
    here = Path.cwd()
    for folder in dict.fromkeys((here, *here.parents, *results.resolve().parents)):
        path = folder / test
        if path.is_file():
            return os.path.relpath(path, here)
    return None


def files_with_cases(root: Path) -> list[str]:
    """Return the test files below ``root`` that declare cases, as they are seen from the current folder, sorted."""
    return sorted(os.path.relpath(path, Path.cwd()) for path in _tests(root) if _DECLARES.search(_content(path)))


def _tests(root: Path) -> Iterator[Path]:
    for folder, inside, files in os.walk(root):
        # What a virtual environment is called is up to its owner.
        inside[:] = [
            name
            for name in inside
            if name not in _PASSED_OVER and name[0] != "." and not Path(folder, name, "pyvenv.cfg").exists()
        ]
        for name in files:
            if name.endswith(".py") and (name.startswith("test_") or name.endswith("_test.py")):
                yield Path(folder, name)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
