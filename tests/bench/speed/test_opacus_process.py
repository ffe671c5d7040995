"""Opacus in a process of its own."""

import io

import pytest

from gradshape_bench.speed.opacus_process import OpacusProcess, start_opacus


def test_a_call_asks_once_and_waits_for_the_answer() -> None:
    requests = io.StringIO()
    process = OpacusProcess(requests, io.StringIO("6\n6\n"))
    process.take()
    assert (process.steps, requests.getvalue()) == (6, "\n")


@pytest.mark.parametrize("said", ["", "Traceback\n"], ids=["nothing", "something-else"])
def test_a_process_that_ends_is_an_error_and_no_time(said: str) -> None:
    with pytest.raises(RuntimeError, match="the process that runs Opacus said"):
        OpacusProcess(io.StringIO(), io.StringIO(said))


def test_the_process_takes_steps() -> None:
    with start_opacus("lr_784_k256", device="cpu") as process:
        process.take()
        assert process.steps >= 1
