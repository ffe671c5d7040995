"""What the engine on Ray is told: ``--ray KEY=VALUE``."""

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gradshape_bench.engines.key_values import key_values, number

_KEYS = ("address", "cpus", "gpus", "memory", "tasks")
_MOST_TASKS = 100_000
_MOST = 1024


@dataclass(frozen=True)
class RayOptions:
    """Checked options.

    Args:
        address: of the cluster, as ``ray.init`` takes it; ``None`` for that of ``RAY_ADDRESS``, or else for one of this
            machine's processors, which is started.
        cpus: processors that a task asks for, of which it uses one.
        gpus: GPUs that a task asks for; a fraction lets several tasks share one.
        memory: bytes that a task asks for; ``None`` for whatever there is.
        tasks: how many there are at once, at most; ``None`` for as many as the cluster has room for.
    """

    address: str | None = None
    cpus: float = 1.0
    gpus: float = 0.0
    memory: int | None = None
    tasks: int | None = None

    @classmethod
    def parse(cls, pairs: Sequence[str], *, size: Callable[[str], int]) -> "RayOptions":
        """Read ``KEY=VALUE`` pairs.

        Args:
            pairs: the pairs; keys are the names of the options.
            size: reads a number of bytes.

        Raises:
            ValueError: Ray is not installed, or a key or a value is none of these.
        """
        if importlib.util.find_spec("ray") is None:
            raise ValueError("Ray is not installed: pip install 'gradshape[ray]'")
        given = key_values(pairs, _KEYS)
        gpus = number("gpus", given.get("gpus", "0"), least=0, most=_MOST, whole=False)
        if gpus > 1 and gpus != int(gpus):
            raise ValueError(f"gpus={gpus:g}: expected a fraction of one GPU, or whole ones")
        tasks = given.get("tasks")
        return cls(
            address=given.get("address"),
            cpus=number("cpus", given.get("cpus", "1"), least=0, most=_MOST, whole=False),
            gpus=gpus,
            memory=None if "memory" not in given else size(given["memory"]),
            tasks=None if tasks is None else int(number("tasks", tasks, least=1, most=_MOST_TASKS, whole=True)),
        )
