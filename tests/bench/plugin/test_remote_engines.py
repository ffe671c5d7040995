"""Runs whose jobs are tasks elsewhere: what is recorded is the same, and the next run finds what they finished."""

from collections.abc import Sequence
from typing import Any

import pytest

from tests.bench.plugin.project import Project, Run

ENGINES = {
    "slurm": ("--engine", "slurm", "--slurm", "cluster=local", "--slurm", "tasks=2"),
    "ray": ("--engine", "ray", "--ray", "tasks=2"),
}
PACKAGES = {"slurm": "submitit", "ray": "ray"}


def measured(lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {line["case"]: (line["metrics"], line["thresholds"], line["status"]) for line in lines}


@pytest.mark.parametrize("engine", ENGINES)
def test_records_are_those_of_a_run_on_this_machine(engine: str, project: Project, serial: Run) -> None:
    pytest.importorskip(PACKAGES[engine], reason="it has no wheels for this Python or platform, or is not installed")
    run = project.run("test_small.py", "-k", "10-vanilla", *ENGINES[engine], into=engine)
    assert run.status == 0, run.output
    [record] = run.lines
    [alike] = [line for line in serial.lines if line["case"] == record["case"]]
    assert measured([record]) == measured([alike])
    assert record["environment"]["processor"] == alike["environment"]["processor"]
    again = project.run("test_small.py", "-k", "10-vanilla", into=engine)
    assert again.status == 0
    assert again.lines[0]["cached_jobs"] == again.lines[0]["jobs"]
    # What a run of tasks needs on the shared disk is gone.
    assert not list((run.results.parent / "slurm").glob("*"))
