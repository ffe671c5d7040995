from pathlib import Path

import pytest

from gradshape_bench.records.pending import Pending

ONE, OTHER = ("smoke", "a"), ("paper", "a")


def test_nothing_is_known_before_a_session_selects(tmp_path: Path) -> None:
    assert Pending(tmp_path / "results.jsonl").keys() is None


def test_what_is_selected_is_open(tmp_path: Path) -> None:
    Pending(tmp_path / "results.jsonl").add([ONE])
    assert Pending(tmp_path / "results.jsonl").keys() == {ONE}


def test_what_is_measured_is_open_no_longer(tmp_path: Path) -> None:
    pending = Pending(tmp_path / "results.jsonl")
    pending.add([ONE, OTHER])
    pending.discard([OTHER])
    assert pending.keys() == {ONE}


def test_sessions_add_to_each_other(tmp_path: Path) -> None:
    pending = Pending(tmp_path / "results.jsonl")
    pending.add([ONE])
    pending.add([OTHER])
    assert pending.keys() == {ONE, OTHER}


def test_all_measured_is_not_nothing_known(tmp_path: Path) -> None:
    pending = Pending(tmp_path / "results.jsonl")
    pending.add([ONE])
    pending.discard([ONE])
    assert pending.keys() == set()


DOCUMENTS = ("{}", '{"ab": 1}', '"ab"', "null", '["ab"]', "[[]]", "[[1, 2]]", '[["smoke", null]]')


@pytest.mark.parametrize("text", ["", "{", "3", "[1]", '["abc"]', *DOCUMENTS])
def test_a_damaged_file_is_named(text: str, tmp_path: Path) -> None:
    pending = Pending(tmp_path / "results.jsonl")
    pending.path.write_text(text)
    with pytest.raises(ValueError, match=r"results\.pending\.json is no list of cases"):
        pending.keys()
