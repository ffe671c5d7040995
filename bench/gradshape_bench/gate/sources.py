"""Where the gate's cases come from: results files and baselines."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gradshape_bench.gate import baseline
from gradshape_bench.gate.snapshot import Key, Snapshot, needed, snapshot
from gradshape_bench.records.pending import Pending
from gradshape_bench.records.record import Record, Status
from gradshape_bench.records.store import ResultsFile, described
from gradshape_bench.report.cells import count


@dataclass(frozen=True)
class Source:
    """The cases of a file.

    Attributes:
        cases: by scale and id.
        remarks: what a reader should know of the file, one sentence each.
    """

    cases: Mapping[Key, Snapshot]
    remarks: Sequence[str] = ()


def load(path: Path, metrics: Iterable[str], *, whole: bool = False) -> Source:
    """Load the cases of a results file or a baseline.

    Args:
        path: the file.
        metrics: those that are needed of a results file.
        whole: whether every line of it has to be a record: a case of a run to compare with is not lost silently.

    Raises:
        OSError: it is not there or cannot be read.
        ValueError: it is neither, it holds no case, or a line is no record although it has to be.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file: expected results of `pytest suites/`, or a baseline")
    if baseline.is_baseline(path):
        cases = baseline.read(path)
        if not cases:
            raise ValueError(f"{path}: it holds no case: write it anew with `gradshape baseline`")
        return Source(cases)
    wanted = list(metrics)
    of_record = needed(wanted)
    # Made at once, as whole records of ten thousand cases take much longer to keep.
    found, left_out = ResultsFile(path).latest(lambda line: snapshot(Record.from_json(line, only=of_record), wanted))
    if not found:
        raise ValueError(f"{path}: it holds no record: expected a results file of a run, or a baseline")
    remarks = []
    if left_out:
        if whole:
            raise ValueError(f"{described(left_out)}: to compare with this file, mend or delete them")
        remarks.append(described(left_out))
    return Source({case.key: case for case in found}, remarks)


def outdated(path: Path, cases: Collection[Key]) -> Collection[Key]:
    """Return those of a file's cases that a later run selected and has not measured: their records are of before it.

    Raises:
        OSError: the list of such cases beside the file cannot be read.
        ValueError: it is no list of cases.
    """
    return (Pending(path).keys() or set()) & set(cases)


def refuse_outdated(path: Path, cases: Collection[Key]) -> None:
    """Refuse cases of a file to compare with unless the latest run measured them that selected them.

    Raises:
        OSError: as :func:`outdated`.
        ValueError: as :func:`outdated`, or some are of before a run that was ended.
    """
    old = sorted(outdated(path, cases))
    if old:
        more = f" and {len(old) - 1} more" if len(old) > 1 else ""
        raise ValueError(
            f"{path}: a run selected {count(len(old), 'case')} ({old[0][1]}{more}) and was ended before it measured "
            "what it selected, so that the records may be of before it: run them again"
        )


def of_records(records: Iterable[Record], metrics: Iterable[str]) -> Mapping[Key, Snapshot]:
    """Return the snapshots of records, by scale and id."""
    wanted = list(metrics)
    return {record.key: snapshot(record, wanted) for record in records}


def freezable(source: Source) -> tuple[Sequence[Snapshot], Sequence[str]]:
    """Return the cases that a baseline can hold, and remarks on the others.

    Raises:
        ValueError: there are none.
    """
    unmeasured = [case for case in source.cases.values() if case.status is not Status.OK]
    measured = [case for case in source.cases.values() if case.status is Status.OK]
    kept = [case for case in measured if case.challenge is not None and case.rows is not None]
    remarks = []
    if unmeasured:
        remarks.append(f"left out, as they were not measured: {_named(unmeasured)}")
    if len(kept) < len(measured):
        old = [case for case in measured if case.challenge is None or case.rows is None]
        remarks.append(f"left out, as records of an older version hold too little: {_named(old)}")
    if not kept:
        raise ValueError("; ".join(["no case can be frozen", *remarks]))
    return kept, remarks


def _named(cases: Sequence[Snapshot]) -> str:
    more = f" and {len(cases) - 1} more" if len(cases) > 1 else ""
    return f"{count(len(cases), 'case')} ({cases[0].case}{more})"
