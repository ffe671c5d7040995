"""The labels of all cases that the suites declare."""

import importlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import suites
from gradshape_bench import Matrix, Scale
from gradshape_bench.case import Case
from gradshape_bench.matrix import MARK


@cache
def suite_cases() -> tuple[Case, ...]:
    """Return every case of the suites, at both scales."""
    return tuple(case for matrix in _matrices() for scale in Scale for case in matrix.cases(scale, (0,)))


def _matrices() -> Iterator[Matrix]:
    for path in sorted(Path(next(iter(suites.__path__))).glob("test_*.py")):
        module = importlib.import_module(f"suites.{path.stem}")
        for found in vars(module).values():
            yield from (
                matrix for mark in getattr(found, "pytestmark", ()) if mark.name == MARK for matrix in mark.args
            )


@cache
def suite_labels(part: str) -> tuple[str, ...]:
    """Return the different labels of one part of the cases: ``attack``, ``defense``, ``dataset`` and so on."""
    return tuple(sorted({str(case.labels[part]) for case in suite_cases()}))
