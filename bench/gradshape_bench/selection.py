"""Which of pytest's items are cases, where their tests are, and which cases ``--case`` selects."""

import os
from collections.abc import Collection, Iterable, Iterator

import pytest

from gradshape_bench.case import Case, Scale
from gradshape_bench.case_names import unknown_case
from gradshape_bench.matrix import MARK, all_cases


def case_of(item: pytest.Item) -> Case | None:
    """Return the case that a test runs; ``None`` if it runs none."""
    callspec = getattr(item, "callspec", None)
    case = None if callspec is None else callspec.params.get("case")
    return case if isinstance(case, Case) else None


def file_of(item: pytest.Item) -> str:
    """Return the path of a test's file relative to the project's root, with ``/`` between folders."""
    return item.nodeid.partition("::")[0]


def path_of(item: pytest.Item) -> str:
    """Return the path of a test's file as it is seen from the folder that pytest was started in."""
    try:
        return os.path.relpath(item.path, item.config.invocation_params.dir)
    except ValueError:  # It lies on another drive.
        return str(item.path)


def problem(items: Iterable[pytest.Item], wanted: Collection[str], scale: Scale) -> str | None:
    """Return what is wrong with the ids that are wanted, in words; ``None`` if there is a case of each at ``scale``."""
    items = list(items)
    known = {case.id for item in items if (case := case_of(item)) is not None}
    unknown = [name for name in wanted if name not in known]
    if not unknown:
        return None
    for other in Scale:
        if other is not scale and unknown[0] in ids_at(items, other):
            return f"--case: {unknown[0]!r} is no case at {scale.value} scale: run it with --scale {other.value}"
    return f"--case: {unknown_case(unknown[0], known, where=f'at {scale.value} scale in the collected tests')}"


def keep(items: list[pytest.Item], wanted: Collection[str]) -> list[pytest.Item]:
    """Keep in ``items`` the cases that are wanted, and return the others."""
    left_out: list[pytest.Item] = []
    kept: list[pytest.Item] = []
    for item in items:
        case = case_of(item)
        (kept if case is not None and case.id in wanted else left_out).append(item)
    items[:] = kept
    return left_out


def ids_at(items: Iterable[pytest.Item], scale: Scale) -> set[str]:
    """Return the ids of all cases that the collected tests declare at ``scale``, whatever scale was collected at."""
    return set(_ids(items, scale))


def _ids(items: Iterable[pytest.Item], scale: Scale) -> Iterator[str]:
    marks = {id(mark): mark for item in items if (mark := item.get_closest_marker(MARK)) is not None}
    for mark in marks.values():
        yield from (case.id for case in all_cases(mark.args, scale, (0,)))
