"""What pytest shows of a case that failed: the reason first, the user's own lines, and none of the harness's."""

import pytest
from _pytest._code.code import ExceptionRepr

from gradshape_bench.session import ThresholdMissed, Unmeasured


def shorten(report: pytest.TestReport, item: pytest.Item, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
    """Show of a missed threshold its message, and of a case that could not be measured the lines that lead to the
    user's; in pytest's short summary the reason alone. ``--tb`` shows as much as it says.

    Args:
        report: the report of the test, which is changed.
        item: the test.
        excinfo: the error that ended it.
    """
    error = excinfo.value
    if not isinstance(error, ThresholdMissed | Unmeasured):
        return
    if item.config.option.tbstyle == "auto":
        style = "value" if isinstance(error, ThresholdMissed) else "short"
        report.longrepr = pytest.Item.repr_failure(item, excinfo, style=style)  # type: ignore[arg-type]
    shown = report.longrepr
    if isinstance(shown, ExceptionRepr):
        if item.config.option.tbstyle == "auto":
            _leave_out_kind(shown, type(error))
        if shown.reprcrash is not None:
            shown.reprcrash.message = "; ".join(error.reasons) if isinstance(error, ThresholdMissed) else str(error)


def _leave_out_kind(shown: ExceptionRepr, kind: type[BaseException]) -> None:
    """Leave out what the error is called, in the lines that show what it says."""
    name = f"{kind.__module__}.{kind.__qualname__}: "
    for entry in shown.reprtraceback.reprentries:
        if isinstance(entry.lines, list):
            entry.lines[:] = [
                line.replace(name, "", 1) if line.startswith(f"E   {name}") else line for line in entry.lines
            ]
