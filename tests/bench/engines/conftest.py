"""Engines for the tests of what they promise."""

import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gradshape_bench.engines import Engine, ProcessEngine
from tests.bench.engines.forked_tasks import task_server
from tests.bench.engines.sample import ALL, Make, made

# Makes an engine of a kind.
MakeKind = Callable[..., Engine]


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """A cluster of two processors of this machine, which all engines on Ray share."""
    ray = pytest.importorskip("ray", reason="Ray has no wheels for this Python or platform, or is not installed")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=100 << 20)
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def forked_tasks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tasks of submitit's local executor are forked from a process that has PyTorch, as worker processes are."""
    local = pytest.importorskip("submitit.local.local", reason="submitit is not installed")

    def command(executor: Any) -> str:
        return f"{python} -u -m submitit.core._submit {shlex.quote(str(executor.folder))}"

    with task_server(tmp_path_factory.mktemp("server")) as python, pytest.MonkeyPatch.context() as patch:
        patch.setattr(local.LocalExecutor, "_submitit_command_str", property(command))
        yield


@pytest.fixture(scope="module")
def make_kind(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, forked_workers: None
) -> MakeKind:
    """Makes an engine of any kind, in a folder of its own unless it is given one; whoever has it closes it."""

    def make(kind: str, *, folder: Path | None = None, **named: Any) -> Engine:
        if kind == "ray":
            request.getfixturevalue("ray_cluster")
        if kind == "slurm":
            request.getfixturevalue("forked_tasks")
        return made(kind, folder or tmp_path_factory.mktemp(kind), **named)

    return make


@pytest.fixture(scope="module", params=ALL)
def shared(request: pytest.FixtureRequest, make_kind: MakeKind) -> Iterator[Engine]:
    """An engine that is none the worse for use."""
    engine = make_kind(request.param)
    yield engine
    engine.close()


@pytest.fixture(params=ALL)
def make(request: pytest.FixtureRequest, make_kind: MakeKind) -> Iterator[Make]:
    engines: list[Engine] = []

    def of_kind(**named: Any) -> Engine:
        engines.append(make_kind(request.param, **named))
        return engines[-1]

    yield of_kind
    for engine in engines:
        engine.close()


@pytest.fixture(scope="module")
def process(forked_workers: None) -> Iterator[ProcessEngine]:
    """An engine of one worker process, which may be killed: the next one takes its place."""
    engine = ProcessEngine(workers=1, max_memory=1 << 28)
    yield engine
    engine.close()
