import itertools
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from gradshape_bench.__main__ import main
from gradshape_bench.records.pending import Pending
from gradshape_bench.records.store import ResultsFile
from tests.bench.sample import make


def write(path: Path, rad: float, first: int) -> Path:
    ResultsFile(path).append(make(rad=rad, seeds=(first, first + 1)))
    return path


def test_flips_exit_with_1_and_none_with_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [write(tmp_path / f"{place}.jsonl", rad, 10 * place) for place, rad in enumerate((0.01, 0.02, 0.3))]
    assert main(["flakiness", *map(str, files[:2])]) == 0
    assert "0 thresholds whose conclusive verdict differs" in capsys.readouterr().out
    assert main(["flakiness", *map(str, files)]) == 1
    assert "1 threshold whose conclusive verdict differs" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["one.jsonl"], ["one.jsonl", "none.jsonl"]])
def test_unusable_input_exits_with_2(arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("one.jsonl"), 0.01, 0)
    assert main(["flakiness", *arguments]) == 2


class Pytest:
    """Stands in for runs of pytest: each leaves a results file; the run of a given number is cut off."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.commands: list[list[str]] = []
        self.cut_off: int | None = None
        monkeypatch.setattr(subprocess, "call", self)

    def __call__(self, command: Sequence[str], **_: Any) -> int:
        self.commands.append(list(command[3:]))
        options = dict(itertools.pairwise(command))
        path, first = Path(options["--gradshape-results"]), int(options["--gradshape-first-seed"])
        pending = Pending(path)
        pending.add([make().key])
        if len(self.commands) == self.cut_off:
            return 2
        write(path, 0.01, first)
        pending.discard([make().key])
        return 0


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Pytest:
    monkeypatch.chdir(tmp_path)
    return Pytest(monkeypatch)


RUN = ["flakiness", "--run", "3", "--into", "often", "--", "suites/", "-k", "digits"]


def test_repetitions_are_run_with_seeds_of_their_own(runs: Pytest, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(RUN) == 0
    assert [command[:3] for command in runs.commands] == [["suites/", "-k", "digits"]] * 3
    seeds = [seed for path in sorted(Path("often").glob("*.jsonl")) for seed in ResultsFile(path).records()[0].seeds]
    assert len(seeds) == len(set(seeds)) == 6
    assert capsys.readouterr().out.startswith("3 repetitions, 1 threshold, 3 verdicts\n")


def test_what_was_cut_off_is_gone_on_with(runs: Pytest, capsys: pytest.CaptureFixture[str]) -> None:
    runs.cut_off = 2
    assert main(RUN) == 2
    assert "run the same command again to go on from here" in capsys.readouterr().err
    runs.cut_off = None
    assert main(RUN) == 0
    # The first repetition, the second one twice, and the third.
    assert len(runs.commands) == 4
    assert runs.commands[1] == runs.commands[2]


def test_repetitions_of_something_else_are_not_taken_for_these(
    runs: Pytest, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(RUN) == 0
    assert main([*RUN, "--scale", "paper"]) == 2
    assert "often holds repetitions of `pytest suites/ -k digits`" in capsys.readouterr().err
