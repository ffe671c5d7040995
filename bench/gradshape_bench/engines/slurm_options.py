"""What the engine on submitit is told: ``--slurm KEY=VALUE``."""

import importlib.util
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from gradshape import _validate
from gradshape_bench.engines.base import processors
from gradshape_bench.engines.key_values import key_values, number
from gradshape_bench.plain_text import message_of

_OWN = ("cluster", "tasks")
_MOST_TASKS = 10_000
# Tasks at once where nothing else was asked for, and minutes that each may take.
_TASKS = 16
_MINUTES = 240
_PREFIX = "slurm_"
# Keys that would have a bundle run several times.
_REFUSED = ("nodes", "tasks_per_node", "slurm_ntasks_per_node", "slurm_nodes")


class Cluster(Enum):
    """Where submitit runs tasks: on Slurm, in processes of this machine, or in this process, one after another."""

    SLURM = "slurm"
    LOCAL = "local"
    DEBUG = "debug"


@dataclass(frozen=True)
class SlurmOptions:
    """Checked options.

    Args:
        cluster: where tasks run.
        tasks: how many there are at once, at most.
        parameters: what ``update_parameters`` of submitit's executor is given.
    """

    cluster: Cluster = Cluster.SLURM
    tasks: int = _TASKS
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, pairs: Sequence[str]) -> "SlurmOptions":
        """Read ``KEY=VALUE`` pairs. Keys are ``cluster``, ``tasks``, and submitit's, whose ``slurm_`` may be left out.

        Raises:
            ValueError: submitit is not installed, or a key or a value is none of these.
        """
        if importlib.util.find_spec("submitit") is None:
            raise ValueError("submitit is not installed: pip install 'gradshape[slurm]'")
        known = _parameters()
        given = key_values(pairs, [*_OWN, *known])
        cluster = _validate.member_called("cluster", Cluster, given.get("cluster", Cluster.SLURM.value))
        usual = {Cluster.SLURM: _TASKS, Cluster.LOCAL: processors(), Cluster.DEBUG: 1}[cluster]
        tasks = int(number("tasks", given.get("tasks", str(usual)), least=1, most=_MOST_TASKS, whole=True))
        parameters = {known[key]: _value(value) for key, value in given.items() if key not in _OWN}
        options = cls(cluster, tasks, {"name": "gradshape", "timeout_min": _MINUTES} | parameters)
        options._check_parameters()
        return options

    def executor(self, folder: Path) -> Any:
        """Return submitit's executor, whose files lie in ``folder``.

        Raises:
            Exception: it cannot be had here.
        """
        import submitit

        executor = submitit.AutoExecutor(folder=folder, cluster=self.cluster.value)
        executor.update_parameters(**self.parameters)
        return executor

    def check(self) -> None:
        """Check that there is such a cluster, before anything is computed.

        Raises:
            ValueError: there is none.
        """
        with tempfile.TemporaryDirectory() as folder:
            try:
                self.executor(Path(folder))
            except Exception as error:
                here = "; --slurm cluster=local runs tasks on this machine" if self.cluster is Cluster.SLURM else ""
                raise ValueError(f"--engine slurm: {message_of(error)}{here}") from error

    def _check_parameters(self) -> None:
        """Check the values wherever there is Slurm or not."""
        import submitit

        with tempfile.TemporaryDirectory() as folder:
            try:
                submitit.AutoExecutor(folder=folder, cluster=Cluster.LOCAL.value).update_parameters(**self.parameters)
            except (AssertionError, NameError, ValueError, TypeError) as error:
                raise ValueError(message_of(error)) from error


def _parameters() -> Mapping[str, str]:
    """Return submitit's parameters by the keys that they may be given by."""
    import submitit

    shared = sorted(submitit.AutoExecutor._valid_parameters() - set(_REFUSED))
    slurm = sorted(submitit.SlurmExecutor._valid_parameters())
    known = {name: name for name in shared} | {f"{_PREFIX}{name}": f"{_PREFIX}{name}" for name in slurm}
    for name in slurm:
        known.setdefault(name, f"{_PREFIX}{name}")
    return {key: name for key, name in known.items() if name not in _REFUSED and key not in _REFUSED}


def _value(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
