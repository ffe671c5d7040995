import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from gradshape_bench.__main__ import main
from gradshape_bench.gate import baseline
from gradshape_bench.records.pending import Pending
from gradshape_bench.records.record import Record, Status
from gradshape_bench.records.store import ResultsFile
from tests.bench.gate.sample import WORSE, record
from tests.bench.sample import unmeasured

OTHER = record(attack="other")


@dataclass(frozen=True)
class Files:
    """Results files of an earlier and a later run."""

    folder: Path

    def save(self, name: str, records: Iterable[Record]) -> str:
        path = self.folder / name
        path.write_text("".join(f"{one.to_json()}\n" for one in records), encoding="utf-8")
        return str(path)

    def compare(self, base: Iterable[Record], new: Iterable[Record], *options: str) -> int:
        return main(["compare", self.save("base.jsonl", base), self.save("new.jsonl", new), *options])


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.mark.parametrize(
    ("new", "status"),
    [
        ([record(), OTHER], 0),
        ([record(WORSE), OTHER], 1),
        ([unmeasured(Status.CRASHED, "it died"), OTHER], 1),
        ([record()], 2),
        ([record(challenge="d" * 64), OTHER], 2),
        ([record(environment={"torch": "9.9"}), OTHER], 2),
        ([record(attack="new")], 2),
    ],
)
def test_exit_status_is_what_became_of_the_cases(files: Files, new: Sequence[Record], status: int) -> None:
    assert files.compare([record(), OTHER], new) == status


def test_verdict_is_markdown_on_stdout(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    files.compare([record()], [record(WORSE)])
    output = capsys.readouterr()
    assert output.out.startswith("**Regression**: 1 case: 1 worse.")
    assert output.err == ""


@pytest.mark.parametrize(
    ("options", "status"),
    [
        (["--fail-on", "rad:+0.05"], 1),
        (["--fail-on", "rad:+0.15"], 0),
        (["--fail-on", "rad:+50%"], 1),
        (["--fail-on", "rad:+150%"], 0),
        (["--fail-on", "rad:+0.05,+150%"], 0),
        (["--fail-on", "rad:+0.05", "--fail-on", "utility_loss:+0.1"], 1),
        (["--fail-on", "rad:+0.15", "--fail-on", "utility_loss:+0.1"], 2),
    ],
)
def test_rules_say_what_counts(files: Files, options: list[str], status: int) -> None:
    assert files.compare([record()], [record(WORSE)], *options) == status


@pytest.mark.parametrize(
    ("options", "status"),
    [(["-k", "other"], 0), (["-k", "label_flip"], 1), (["-k", "other", "-k", "label_flip"], 1), (["-k", "none"], 2)],
)
def test_only_what_is_selected_counts(files: Files, options: list[str], status: int) -> None:
    assert files.compare([record(), OTHER], [record(WORSE), OTHER], *options) == status


def test_selected_case_that_is_missing_is_not_fine(files: Files) -> None:
    assert files.compare([record(), OTHER], [OTHER], "-k", "label_flip") == 2
    assert files.compare([record(), OTHER], [OTHER], "-k", "other") == 0


def test_what_is_meant_can_be_allowed(files: Files) -> None:
    assert files.compare([record(), OTHER], [OTHER], "--allow", "missing") == 0
    changed = record(challenge="d" * 64)
    assert files.compare([record(), OTHER], [changed, OTHER], "--allow", "not-comparable") == 0
    assert files.compare([record(), OTHER], [changed], "--allow", "not-comparable") == 2


def test_across_machines_numbers_are_compared_when_asked_for(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    elsewhere = record(environment={**record().environment, "device": "cuda:0 (H200)"})
    assert files.compare([record()], [elsewhere]) == 2
    assert "measured elsewhere: device cpu, then cuda:0 (H200)" in capsys.readouterr().out
    assert files.compare([record()], [elsewhere], "--across-machines") == 0


def test_confidence_decides_what_is_sure(files: Files) -> None:
    doubtful = record((0.11, 0.14, 0.13, 0.11, 0.13))
    assert files.compare([record()], [doubtful], "--confidence", "0.9") == 1
    assert files.compare([record()], [doubtful], "--confidence", "0.9999") == 0
    assert files.compare([record()], [doubtful], "--confidence", "0.9999", "--strict") == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--fail-on", "rat:+0.1"], "--fail-on: unknown metric 'rat': did you mean 'rad'"),
        (["--fail-on", "rad"], "--fail-on: 'rad': expected METRIC:+X"),
        (["--confidence", "2"], "--confidence: '2': expected a number of at least 0.5"),
        (["--allow", "mising"], "--allow: unknown fault 'mising': did you mean 'missing'"),
    ],
)
def test_bad_usage_exits_with_2_and_says_what_is_expected(
    files: Files, options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        files.compare([record()], [record()], *options)
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, b"", b"no record\n", b'{"baseline": 7}', b"\xff\xfe\n"])
@pytest.mark.parametrize("side", [0, 1])
def test_unusable_input_exits_with_2_and_one_line(
    files: Files, content: bytes | None, side: int, capsys: pytest.CaptureFixture[str]
) -> None:
    bad, good = files.folder / "bad", files.save("good.jsonl", [record()])
    if content is not None:
        bad.write_bytes(content)
    assert main(["compare", *([str(bad), good] if side == 0 else [good, str(bad)])]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"error: {bad}")


def test_folder_is_unusable_input(files: Files) -> None:
    assert main(["compare", str(files.folder), str(files.folder)]) == 2


def test_damaged_line_of_the_earlier_run_is_unusable_input(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    base, new = files.save("base.jsonl", [record()]), files.save("new.jsonl", [record()])
    with Path(base).open("a", encoding="utf-8") as file:
        file.write('{"schema": 2, "case": "half\n')
    assert main(["compare", base, new]) == 2
    assert "1 line is left out" in capsys.readouterr().err


def test_record_of_before_a_run_that_was_ended_is_none_of_it(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    base, new = files.save("base.jsonl", [record(), OTHER]), files.save("new.jsonl", [record(), OTHER])
    Pending(Path(new)).add([OTHER.key])
    assert main(["compare", base, new]) == 2
    output = capsys.readouterr()
    assert "1 missing, 1 same" in output.out
    assert f"1 case of {new}: selected by a run that was ended" in output.err
    assert main(["compare", base, new, "-k", "label_flip"]) == 0
    assert main(["compare", new, base]) == 2
    assert f"error: {new}: a run selected 1 case ({OTHER.case})" in capsys.readouterr().err
    Pending(Path(new)).discard([OTHER.key])
    assert main(["compare", base, new]) == 0


def test_published_records_of_an_older_version_are_not_comparable(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    document = json.loads(record().to_json())
    for later in ("confidence", "looks", "planned_looks", "jobs", "cached_jobs", "challenge"):
        del document[later]
    del document["metrics"]["rad"]["values"], document["metrics"]["rad"]["method"]
    old = Record.from_json(json.dumps(document | {"schema": 1}))
    base = files.folder / "old.jsonl"
    base.write_text(json.dumps(document | {"schema": 1}))
    assert main(["compare", str(base), files.save("new.jsonl", [record()])]) == 2
    assert "the record of BASE is of an older version" in capsys.readouterr().out
    assert old.challenge is None


def test_baseline_takes_the_place_of_the_results(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    base, frozen = files.save("base.jsonl", [record(), OTHER]), files.folder / "baseline.json"
    assert main(["baseline", base, "--output", str(frozen)]) == 0
    assert capsys.readouterr().out == f"{frozen}\n"
    for new, status in (([record(), OTHER], 0), ([record(WORSE), OTHER], 1), ([OTHER], 2)):
        path = files.save("new.jsonl", new)
        assert main(["compare", str(frozen), path]) == main(["compare", base, path]) == status


def test_baseline_goes_to_the_tracked_reports(
    files: Files, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(files.folder)
    ResultsFile(Path("results/results.jsonl")).append(record())
    assert main(["baseline"]) == 0
    assert capsys.readouterr().out.strip() == str(Path("reports/baseline.json"))


def test_baseline_says_what_it_leaves_out(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    failed = unmeasured(Status.FAILED, "no such thing", attack="failed")
    path = files.save("base.jsonl", [record(), failed, record(attack="old", challenge=None)])
    Pending(Path(path)).add([("smoke", "open")])
    frozen = files.folder / "baseline.json"
    assert main(["baseline", path, "--output", str(frozen)]) == 0
    assert list(baseline.read(frozen)) == [record().key]
    error = capsys.readouterr().err
    assert "not measured: 1 case (digits-lr-failed-dp_adam_c4)" in error
    assert "older version hold too little: 1 case (digits-lr-old-dp_adam_c4)" in error
    assert "1 selected case not measured yet" in error


def test_baseline_of_nothing_is_an_error(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    path = files.save("base.jsonl", [unmeasured(Status.FAILED, "no such thing")])
    assert main(["baseline", path, "--output", str(files.folder / "b.json")]) == 1
    assert capsys.readouterr().err.startswith("error: no case can be frozen")


def test_baseline_never_takes_the_place_of_the_results(files: Files) -> None:
    path = files.save("base.jsonl", [record()])
    with pytest.raises(SystemExit) as caught:
        main(["baseline", path, "--output", path])
    assert caught.value.code == 2


def test_metric_that_the_baseline_does_not_hold_is_said(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    rule = "accuracy_poisoned:+0.01"
    more = {"accuracy_poisoned": record().metrics["rad"]}
    base, frozen = files.save("base.jsonl", [record(more=more)]), files.folder / "baseline.json"
    assert main(["baseline", base, "--output", str(frozen)]) == 0
    assert main(["compare", str(frozen), base, "--fail-on", rule]) == 2
    assert f"{rule}: no case that was compared has this metric" in capsys.readouterr().out
    assert main(["baseline", base, "--output", str(frozen), "--fail-on", rule]) == 0
    assert main(["compare", str(frozen), base, "--fail-on", rule]) == 0


def test_seeds_that_were_added_are_compared_where_both_have_them(files: Files) -> None:
    longer = replace(record((*WORSE, 0.2, 0.21)), seeds=(0, 1, 2, 3, 4, 5, 6))
    assert files.compare([record()], [longer]) == 1
