"""Joining the results files of several shards, or machines, into one."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gradshape_bench.records.pending import Key, Pending, Sharded
from gradshape_bench.records.record import Record, Status
from gradshape_bench.records.store import LeftOut, ResultsFile, locked, replacing

# How many cases a message names.
_NAMED = 3
# Where a measurement is the same to the last digit whenever it is made.
_PLACE = ("source", "torch", "numpy", "platform", "device", "processor")


class Contradiction(ValueError):
    """Two files hold records of one case that cannot both be of the same run."""


@dataclass(frozen=True)
class _Found:
    """A record in one of the files.

    Attributes:
        path: the file.
        outdated: whether a later run of that file selected the case and has not measured it.
    """

    record: Record
    path: Path
    outdated: bool


@dataclass
class Merged:
    """What several results files hold together.

    Attributes:
        records: one of each case, sorted by scale and id.
        missing: cases that were selected, by any shard, and are not measured.
        unlisted: files without a list of open cases beside them, of which nobody knows whether they are complete.
        left_out: lines that are no records.
        sources: hashes of the library's source that measured cases, with the files that have them.
    """

    records: list[Record] = field(default_factory=list)
    missing: set[Key] = field(default_factory=set)
    unlisted: list[Path] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    sources: dict[str, list[Path]] = field(default_factory=dict)

    def write(self, output: Path, *, inputs: Iterable[Path]) -> None:
        """Write the records to ``output`` and the list of missing cases beside it, each at once.

        Args:
            output: the results file, which may be one of those that were merged.
            inputs: the files that were merged.

        Raises:
            ValueError: ``output`` holds cases that were not merged and would be lost.
            OSError: it cannot be written; what was there stays.
        """
        kept = {record.key for record in self.records}
        with locked(output):
            if not any(output.exists() and output.samefile(path) for path in inputs):
                lost = sorted({record.key for record in ResultsFile(output).read().records} - kept)
                if lost:
                    raise ValueError(
                        f"{output}: it holds {_named(lost)} that would be lost: merge it, too, or name another --output"
                    )
            # Before the records: at no moment does a run seem complete that is not.
            if self.unlisted:
                Pending(output).path.unlink(missing_ok=True)
            else:
                Pending(output).write(self.missing)
            with replacing(output) as file:
                file.writelines(record.to_json().encode() + b"\n" for record in self.records)


def merge(paths: Sequence[Path], *, later: bool = False) -> Merged:
    """Join results files. Of a case that several have, a measured record counts, and of these that of the last file.

    Args:
        paths: the files.
        later: whether that of the last file counts, too, where the definition of a case, its seeds or, on a machine of
            the same kind, what it measured are others there.

    Raises:
        Contradiction: they are, and ``later`` does not hold.
        OSError: a file is not there or cannot be read.
        ValueError: a list of cases beside one is none.
    """
    merged = Merged()
    found: dict[Key, _Found] = {}
    selected: set[Key] = set()
    for path in paths:
        contents = ResultsFile(path).read()
        pending, sharded = Pending(path).keys(), Sharded(path).keys()
        if pending is None:
            merged.unlisted.append(path)
        selected |= (pending or set()) | (sharded or set())
        merged.left_out += contents.left_out
        for source in sorted({str(record.environment.get("source")) for record in contents.records}):
            merged.sources.setdefault(source, []).append(path)
        for record in contents.records:
            one = _Found(record, path, record.key in (pending or ()))
            other = found.get(record.key)
            found[record.key] = one if other is None else _chosen(other, one, later=later)
    merged.records = [found[key].record for key in sorted(found)]
    merged.missing = selected - {key for key, one in found.items() if not one.outdated}
    return merged


def _chosen(earlier: _Found, later_one: _Found, *, later: bool) -> _Found:
    if earlier.outdated != later_one.outdated:
        return later_one if earlier.outdated else earlier
    differ = [
        f"{name} {_short(mine)} and {_short(theirs)}"
        for name in ("fingerprint", "seeds", "dataset_fingerprint")
        if _differ(mine := getattr(earlier.record, name), theirs := getattr(later_one.record, name))
    ] or _measured_otherwise(earlier.record, later_one.record)
    if differ and not later:
        scale, case = earlier.record.key
        raise Contradiction(
            f"{earlier.path} and {later_one.path} have records of {case} at {scale} scale that do not belong together: "
            f"{'; '.join(differ)}: leave one file out, or take the later one with --take-later"
        )
    measured = later_one.record.status is Status.OK or earlier.record.status is not Status.OK
    return later_one if measured or (differ and later) else earlier


def _differ(one: object, other: object) -> bool:
    # The rows of a case that was never measured are not known.
    return one is not None and other is not None and one != other


def _measured_otherwise(one: Record, other: Record) -> list[str]:
    """Say which metric differs first, where the same training would have given the same on both machines."""
    if not one.metrics or not other.metrics or any(one.environment.get(n) != other.environment.get(n) for n in _PLACE):
        return []
    for name in sorted({*one.metrics, *other.metrics}):
        mine, theirs = (repr(record.metrics.get(name)) for record in (one, other))
        if mine != theirs:
            values = (str(record.metrics.get(name, "nothing")) for record in (one, other))
            return [f"{name} {' and '.join(values)}, of trainings that differ in code that is not gradshape's"]
    return []


def _short(value: object) -> str:
    return value[:12] if isinstance(value, str) else str(value)


def _named(keys: Sequence[Key]) -> str:
    more = f" and {len(keys) - _NAMED:,} more" if len(keys) > _NAMED else ""
    return f"{len(keys):,} case{'s' * (len(keys) != 1)} ({', '.join(case for _, case in keys[:_NAMED])}{more})"
