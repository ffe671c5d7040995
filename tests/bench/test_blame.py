from pathlib import Path

import numpy as np
import pytest

from gradshape import metrics
from gradshape_bench import blame
from gradshape_bench.engines.base import Failed
from gradshape_bench.engines.transport import pack_message, unpack_message

HERE = Path(__file__)


def _caught(raise_it: object) -> BaseException:
    try:
        assert callable(raise_it)
        raise_it()
    except ValueError as error:
        return error
    raise AssertionError("it raised nothing")


def _users() -> None:
    metrics.relative_accuracy_drop(2, 0.5)


def _of_numpy() -> None:
    np.linalg.norm(np.ones((2, 2, 2)), ord="no such norm")  # type: ignore[call-overload]


@pytest.mark.parametrize("raise_it", [_users, _of_numpy])
def test_line_is_the_innermost_of_the_user(raise_it: object) -> None:
    error = _caught(raise_it)
    line = blame.users_line(error)
    assert line is not None
    text = HERE.read_text().splitlines()[line.number - 1]
    assert text.strip().startswith(("metrics.relative_accuracy_drop", "np.linalg.norm"))
    assert line.file == str(HERE)


def test_file_is_named_below_the_root_or_alone() -> None:
    error = _caught(_users)
    line = blame.users_line(error)
    assert line is not None
    assert blame.where(error, HERE.parents[2]) == f"tests/bench/test_blame.py:{line.number}: "
    assert blame.where(error, HERE.parent / "elsewhere") == f"test_blame.py:{line.number}: "


def test_error_without_a_line_of_the_user_names_none() -> None:
    assert blame.users_line(ValueError()) is None
    assert blame.where(ValueError(), HERE.parent) == ""
    assert blame.users_part(ValueError()) is None


def test_traceback_keeps_the_users_lines_only() -> None:
    files = []
    part = blame.users_part(_caught(_users))
    while part is not None:
        files.append(part.tb_frame.f_code.co_filename)
        part = part.tb_next
    assert files == [str(HERE), str(HERE)]


class Unsendable(ValueError):
    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("cannot be pickled")


def _unsendable() -> None:
    raise Unsendable("words")


@pytest.mark.parametrize("raise_it", [_users, _unsendable])
def test_line_is_known_in_another_process(raise_it: object) -> None:
    error = _caught(raise_it)
    assert isinstance(error, Exception)
    _, told = unpack_message(pack_message(0, Failed(error)))
    assert isinstance(told, Failed)
    assert told.error.__traceback__ is None
    assert blame.where(told.error, HERE.parent) == blame.where(error, HERE.parent) != ""
