"""What holds for every test."""

import multiprocessing
import os
from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

# The first example pays for imports, and machines differ: no property here is one of time. New examples are for those
# who can look at them: what runs unattended tries the same ones every time.
settings.register_profile("gradshape", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("gradshape")


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """The tests' tensors are small: more threads cost more time than they save."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def forked_workers() -> Iterator[None]:
    """Engines' worker processes, which have to import PyTorch otherwise, are forked from one that has it.

    They get what they work on as those of users do. Whole runs, as in ``tests/reliability``, start theirs as users' do.
    """
    multiprocessing.get_context("forkserver").set_forkserver_preload(
        ["gradshape_bench.engines.worker", "scipy.stats", "sklearn.ensemble", "sklearn.svm"]
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gradshape_bench.engines.worker_process._START", "forkserver")
        yield
