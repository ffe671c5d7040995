"""The command that runs the case of a record again, in any project and whatever its id holds."""

import shlex
from collections.abc import Collection

from gradshape_bench.records.record import Record

# Those options of pytest that it takes. Each has a long name, ``--gradshape-NAME``, that is surely the harness's.
OPTIONS = ("case", "scale", "seeds", "first-seed", "confidence", "tf32")
_CONFIDENCE = 0.95


def pytest_arguments(record: Record, *, test: str | None = None, taken: Collection[str] = ()) -> list[str]:
    """Return the arguments with which pytest runs exactly the record's case again, with its scale and seeds.

    Args:
        record: what was measured.
        test: path of the test's file as it is seen from where pytest is started; ``None`` for all tests that pytest
            finds there.
        taken: names among :data:`OPTIONS` that another plugin has, so that only the long ones select anything.
    """

    def option(name: str, *value: str) -> list[str]:
        option = f"--gradshape-{name}" if name in taken else f"--{name}"
        # A value like an option would be taken for one.
        return [f"{option}={value[0]}"] if value and value[0].startswith("-") else [option, *value]

    arguments = [] if test is None else [test]
    arguments += option("case", record.case) + option("scale", record.scale)
    if record.seeds:
        arguments += option("seeds", str(len(record.seeds)))
    if record.seeds and record.seeds[0]:
        arguments += option("first-seed", str(record.seeds[0]))
    if record.confidence != _CONFIDENCE:
        arguments += option("confidence", f"{record.confidence:g}")
    if record.environment.get("tf32") is True:
        arguments += option("tf32")
    return arguments


def pytest_command(record: Record, *, test: str | None = None, taken: Collection[str] = ()) -> str:
    """Return the same as one line for a shell; arguments as for :func:`pytest_arguments`."""
    return shlex.join(["pytest", *pytest_arguments(record, test=test, taken=taken)])


def has_consecutive_seeds(record: Record) -> bool:
    """Return whether the seeds count on from the first, as pytest's options have them."""
    return not record.seeds or record.seeds == tuple(range(record.seeds[0], record.seeds[0] + len(record.seeds)))
