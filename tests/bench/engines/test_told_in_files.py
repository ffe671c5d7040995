"""What tasks tell through files comes back as it was told, in whatever pieces the file is read."""

import unittest
from pathlib import Path

import pytest

from gradshape.attacks import Crafting
from gradshape.training import Progress
from gradshape.unsuitable import Unsuitable
from gradshape_bench import blame
from gradshape_bench.engines import Crashed, EndedByCode, Failed, TimedOut
from gradshape_bench.engines.told_in_files import Reader, tell
from gradshape_bench.engines.transport import Begun
from gradshape_bench.jobs import Finished


class Own(Exception):
    """An error of a user's."""


def told(folder: Path, error: Exception) -> Exception:
    tell(folder / "told.jsonl", 0, Failed(error))
    [(place, failed)] = Reader(folder / "told.jsonl").messages()
    assert place == 0
    assert isinstance(failed, Failed)
    return failed.error


def test_messages_come_back(tmp_path: Path) -> None:
    file = tmp_path / "told.jsonl"
    reader = Reader(file)
    assert reader.messages() == []
    progress = Progress(1, 2, 3, "lr", 4, 5)
    tell(file, -1, Begun("a machine"))
    tell(file, -1, progress)
    assert reader.messages() == [(-1, Begun("a machine")), (-1, progress)]
    tell(file, -1, ("label_flip_10", Crafting(1, 2, 0.5)))
    tell(file, 7, Finished("not in the file", 1.5, kept=True))
    [crafting, (place, finished)] = reader.messages()
    assert crafting == (-1, ("label_flip_10", Crafting(1, 2, 0.5)))
    assert isinstance(finished, Finished)
    assert (place, finished.result, finished.seconds, finished.kept) == (7, None, 1.5, True)
    assert reader.messages() == []


def test_half_a_message_is_waited_for(tmp_path: Path) -> None:
    whole, file = tmp_path / "whole", tmp_path / "told.jsonl"
    tell(whole, 3, Failed(ValueError("k=0: expected more")))
    line, reader = whole.read_bytes(), Reader(file)
    found = []
    for cut in range(len(line)):
        with file.open("ab") as opened:
            opened.write(line[cut : cut + 1])
        found.append(len(reader.messages()))
    assert found == [0] * (len(line) - 1) + [1]


@pytest.mark.parametrize(
    "error",
    [
        *(ValueError("k=0"), RuntimeError("no"), MemoryError("much"), Crashed("by SIGKILL"), TimedOut("1 s")),
        *(FileNotFoundError(2, "No such file"), unittest.SkipTest("not today"), EndedByCode("Skipped", "Skipped: no")),
        Unsuitable("regression"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_known_errors_keep_their_kind_and_words(error: Exception, tmp_path: Path) -> None:
    found = told(tmp_path, error)
    assert type(found) is type(error)
    assert str(found) == str(error)
    assert getattr(found, "kind", None) == getattr(error, "kind", None)


@pytest.mark.parametrize(
    "error", [Own("mine"), KeyError("key"), ExceptionGroup("two", [ValueError(), ValueError()])], ids=repr
)
def test_other_errors_come_back_in_words(error: Exception, tmp_path: Path) -> None:
    found = told(tmp_path, error)
    assert type(found) is RuntimeError
    assert str(found).startswith(f"{type(error).__name__}: ")


def test_the_users_line_comes_back(tmp_path: Path) -> None:
    try:
        raise Own("here")
    except Own as error:
        raised: Exception = error
    line = blame.users_line(raised)
    assert line is not None
    assert blame.users_line(told(tmp_path, raised)) == line


@pytest.mark.parametrize("line", ["{}", "[]", "[0]", '[0, {"unknown": 1}]', '["a", {"begun": ""}]', "[0, 1]", "x"])
def test_what_is_no_message_is_refused(line: str, tmp_path: Path) -> None:
    file = tmp_path / "told.jsonl"
    file.write_text(line + "\n")
    with pytest.raises(ValueError, match=r"told\.jsonl: no message of a task"):
        Reader(file).messages()
