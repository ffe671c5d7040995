"""The gate at the end of a run of pytest: what the run measured against a baseline."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pytest

from gradshape_bench.gate import sources
from gradshape_bench.gate.comparison import Comparison, compare
from gradshape_bench.gate.outcome import ExitStatus, Outcome, outcome
from gradshape_bench.gate.rules import Rule, parse_rules
from gradshape_bench.gate.snapshot import Key, Snapshot
from gradshape_bench.gate.table import render
from gradshape_bench.options import Settings
from gradshape_bench.plain_text import plain
from gradshape_bench.records.record import Record
from gradshape_bench.report.cells import count
from gradshape_bench.reporter import RecordReporter

_STATUSES = {
    ExitStatus.FINE: pytest.ExitCode.OK,
    ExitStatus.REGRESSION: pytest.ExitCode.TESTS_FAILED,
    # Of pytest's own, the one that says that the fault is in what was asked for.
    ExitStatus.UNUSABLE: pytest.ExitCode.USAGE_ERROR,
}


def gate_of(settings: Settings, reporter: RecordReporter) -> "BaselineGate | None":
    """Return the gate that the options ask for; ``None`` if they ask for none.

    Raises:
        pytest.UsageError: the baseline or a rule is no good; said before anything is computed.
    """
    if settings.baseline is None:
        if settings.fail_on:
            raise pytest.UsageError("--fail-on: there is nothing to compare with: name it by --baseline")
        return None
    try:
        rules = parse_rules(settings.fail_on)
    except ValueError as error:
        raise pytest.UsageError(f"--fail-on: {error}") from error
    try:
        source = sources.load(settings.baseline, [rule.metric for rule in rules], whole=True)
        sources.refuse_outdated(settings.baseline, source.cases)
    except (OSError, ValueError) as error:
        raise pytest.UsageError(plain(f"--baseline: {error}")) from error
    return BaselineGate(settings, rules, source.cases, reporter)


class BaselineGate:
    """Compares the records of a run with a baseline, prints the verdict and changes the exit status.

    Only what the run selected is compared: a case of the baseline that was selected and has no record is missing. A run
    that selected no case has nothing to rely on.

    Args:
        settings: the options of the run.
        rules: what is looked at.
        base: the cases of the baseline.
        reporter: has the records of the run.
    """

    def __init__(
        self, settings: Settings, rules: Sequence[Rule], base: Mapping[Key, Snapshot], reporter: RecordReporter
    ) -> None:
        self._settings = settings
        self._rules = rules
        self._base = base
        self._reporter = reporter
        self._found: tuple[Comparison, Outcome] | None = None

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Compare, and change the exit status unless it says already that something is wrong."""
        if session.config.option.collectonly or exitstatus == pytest.ExitCode.USAGE_ERROR:
            return
        self._found = self._compared(self._reporter.records, self._reporter.selected)
        if session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = _STATUSES[self._found[1].status]

    def _compared(self, records: Collection[Record], selected: Collection[Key]) -> tuple[Comparison, Outcome]:
        base = {key: case for key, case in self._base.items() if key in selected}
        new = sources.of_records(records, [rule.metric for rule in self._rules])
        settings = self._settings
        found = compare(
            base, new, self._rules, confidence=settings.confidence, across_machines=settings.across_machines
        )
        demanded = self._rules if settings.fail_on else ()
        return found, outcome(found, strict=settings.strict_verdicts, demanded=demanded)

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print the verdict."""
        if self._found is None:
            return
        comparison, result = self._found
        terminalreporter.section(f"gradshape: compared with {self._settings.baseline}")
        for line in render(comparison, result).splitlines():
            terminalreporter.write_line(line)
        left = len(self._base.keys() - self._reporter.selected)
        if left:
            terminalreporter.write_line(f"{count(left, 'case')} of the baseline not selected by this run.")
