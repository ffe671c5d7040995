"""How many times as fast two workers of a Ray cluster on this machine are as one, which takes a quiet machine.

    python -m tests.bench.ray_speed [ROUNDS]

Both do the same bundles of trainings, in turns, so that how fast the machine is just then drops out of the ratio.
Workers have begun before anything is timed.
"""

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from itertools import count
from pathlib import Path

from gradshape.training import SGD, Recipe
from gradshape_bench.cache import Cache
from gradshape_bench.engines import Engine, Failed, processors
from gradshape_bench.engines.on_ray import RayEngine
from gradshape_bench.engines.ray_options import RayOptions
from gradshape_bench.jobs import Train
from tests.bench.engines.sample import MOONS

# A training of about two seconds, of which nothing is in the cache.
_RECIPE = Recipe("mlp", SGD(0.1), batch_size=16, epochs=240)
_BUNDLES = 8
_seeds = count()


def seconds(engine: Engine, bundles: int) -> float:
    """Return how long an engine takes for so many bundles of one training each."""
    jobs = [[Train(MOONS, "cpu", replace(_RECIPE), seed=next(_seeds))] for _ in range(bundles)]
    began = time.perf_counter()
    for job, became in engine.run(iter(jobs)):
        if isinstance(became, Failed):
            raise RuntimeError(f"{job.description} failed") from became.error
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rounds", type=int, nargs="?", default=5, metavar="ROUNDS")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        cache = Cache(Path(folder))
        # The first has the cluster; both leave it as it is until the end.
        one = RayEngine(options=RayOptions(tasks=1), cache=cache, max_memory=1 << 28)
        two = RayEngine(options=RayOptions(tasks=2), cache=cache, max_memory=1 << 28)
        seconds(two, 4)
        ratios = []
        for number in range(rounds):
            alone, both = seconds(one, _BUNDLES), seconds(two, _BUNDLES)
            ratios.append(alone / both)
            print(
                f"round {number + 1}: one {alone:.2f} s, two {both:.2f} s: {ratios[-1]:.2f} times as fast", flush=True
            )
        one.close()
    print(f"median of {rounds}: {statistics.median(ratios):.2f}, on {processors()} processors")


if __name__ == "__main__":
    main()
