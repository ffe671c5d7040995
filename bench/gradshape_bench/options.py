"""The command line options of the harness, and the settings that they give once they are checked."""

import argparse
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch

from gradshape import _validate
from gradshape_bench.case import Scale
from gradshape_bench.engines.ray_options import RayOptions
from gradshape_bench.engines.slurm_options import SlurmOptions
from gradshape_bench.plain_text import plain
from gradshape_bench.shard import Shard
from gradshape_bench.short_names import ShortNames

_DEFAULT_SEEDS = {Scale.SMOKE: 3, Scale.PAPER: 5}
# More repetitions than anybody has time for, and few enough to be listed.
_MOST_SEEDS = 10_000
_MOST_DIGITS = 10
_MOST_MEMORY = 2**60
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_TAKEN = "--gradshape-taken"
# Where results and finished jobs go in a project that says nothing else.
RESULTS, CACHE = Path("results", "results.jsonl"), Path(".gradshape")
Value = TypeVar("Value")


class EngineKind(Enum):
    """What runs jobs: threads, worker processes, whichever of these suits the selected cases, or other machines."""

    AUTO = "auto"
    THREADS = "threads"
    PROCESSES = "processes"
    SLURM = "slurm"
    RAY = "ray"

    @property
    def remote(self) -> bool:
        """Whether jobs run on other machines."""
        return self in (EngineKind.SLURM, EngineKind.RAY)


@dataclass(frozen=True)
class Settings:
    """The values of the options, checked; their help texts say what they mean."""

    scale: Scale
    seeds: tuple[int, ...]
    device: str
    _: KW_ONLY
    offline: bool
    require_data: bool
    results: Path
    cache_dir: Path
    use_cache: bool
    max_memory: int
    strict_verdicts: bool
    confidence: float = 0.95
    max_seeds: int | None = None
    tf32: bool = False
    engine: EngineKind = EngineKind.AUTO
    case_timeout: float | None = None
    baseline: Path | None = None
    fail_on: tuple[str, ...] = ()
    across_machines: bool = False
    cases: frozenset[str] = frozenset()
    shard: Shard | None = None
    slurm: SlurmOptions | None = None
    ray: RayOptions | None = None


def add_options(parser: pytest.Parser) -> Mapping[str, bool]:
    """Add the options to pytest: each as ``--gradshape-NAME``, and as ``--NAME`` unless another plugin wants that.

    Returns:
        The names, and whether each option stands alone, without a value.
    """
    group = parser.getgroup("gradshape", "gradshape: robustness benchmarks")
    names = ShortNames(parser, group)
    flags: dict[str, bool] = {}

    def add(name: str, *, dest: str | None = None, **attributes: Any) -> None:
        attributes["dest"] = f"gradshape_{(dest or name).replace('-', '_')}"
        flags[name] = attributes.get("action", "").startswith("store_")
        names.add(f"--gradshape-{name}", name, **attributes)

    add(
        "case",
        action="append",
        default=[],
        metavar="ID",
        help="run the case of exactly this id, and no other test; may be given several times",
    )
    add(
        "shard",
        metavar="I/N",
        help="run the I-th of N parts of the selected cases, for N machines; `gradshape merge` joins their results",
    )
    add(
        "scale",
        default=Scale.SMOKE.value,
        metavar="smoke|paper",
        help="size of the cases: 'smoke' takes minutes, 'paper' has the sizes of the paper (default: smoke)",
    )
    add("seeds", metavar="N", help="number of repetitions of every case (default: 3 at smoke scale, 5 at paper scale)")
    add("first-seed", metavar="S", default="0", help="seed of the first repetition; the others count on (default: 0)")
    add(
        "max-seeds",
        metavar="N",
        help="repeat a case of which a verdict is INCONCLUSIVE with twice the seeds, and again, up to N of them; the "
        "confidence is shared among the looks, so that it is kept however many there are (default: no more seeds)",
    )
    add(
        "confidence",
        metavar="P",
        default="0.95",
        help="confidence of intervals, by which verdicts are PASS, FAIL or INCONCLUSIVE (default: 0.95)",
    )
    add(
        "device",
        default="auto",
        metavar="auto|cpu|cuda[:i]",
        help="device that crafts poison and trains victims (default: auto, which takes a GPU if there is one)",
    )
    add(
        "tf32",
        action="store_true",
        help="let GPUs round the factors of float32 products to 10 bits (TF32), which is faster and less exact",
    )
    add("no-tf32", action="store_false", dest="tf32", help="compute float32 products in full precision (the default)")
    add("offline", action="store_true", help="use no network: skip cases whose data is missing")
    add("require-data", action="store_true", help="fail cases whose data is missing, instead of skipping them")
    add("results", metavar="FILE", help=f"file that records are appended to (default: {RESULTS})")
    add("cache-dir", metavar="DIR", help=f"folder that keeps finished jobs (default: {CACHE})")
    add("no-cache", action="store_true", help="neither use finished jobs of earlier runs nor keep those of this one")
    add(
        "max-memory",
        default="4G",
        metavar="SIZE",
        help="memory that all stacks of victims together may take, such as 800M or 4G (default: 4G)",
    )
    add(
        "engine",
        default=EngineKind.AUTO.value,
        metavar="auto|threads|processes|slurm|ray",
        help="what runs jobs: threads of this process; worker processes, any of which may crash without ending the "
        "run; tasks of Slurm (extra 'slurm') or of a Ray cluster (extra 'ray') (default: auto, which takes processes "
        "for several cases on several processors without a GPU)",
    )
    add(
        "slurm",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="with '--engine slurm': cluster=slurm|local|debug, tasks=N (at once; default: 16), or a parameter of "
        "submitit's executor, such as partition=gpu, timeout_min=60, mem_gb=8, gpus_per_node=1; may be repeated",
    )
    add(
        "ray",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="with '--engine ray': address=ADDRESS of the cluster, and what a task asks for: cpus=N, gpus=FRACTION, "
        "memory=SIZE; tasks=N for so many at once; may be repeated",
    )
    add(
        "case-timeout",
        metavar="SECONDS",
        help="end a job of a case, such as an attack or a training, that takes longer, and record the case as "
        "'timeout' (default: no limit). With '--engine processes' whatever it does; with threads at the next step of "
        "an attack or epoch of a training: a filter, or code that never returns, cannot be ended there",
    )
    add(
        "strict-verdicts",
        action="store_true",
        help="fail thresholds whose verdict is INCONCLUSIVE, even if the measured value meets them; with --baseline, "
        "also fail if an undecided metric looks worse than its rule allows",
    )
    add(
        "baseline",
        metavar="FILE",
        help="compare what this run measures with a baseline (`gradshape baseline`) or an earlier results file, and "
        "fail if a case got worse, or cannot be compared",
    )
    add(
        "fail-on",
        action="append",
        default=[],
        metavar="RULE",
        help="what counts as worse than the baseline: METRIC:+X, METRIC:+X%% or METRIC:+X,+Y%% (both), such as "
        "rad:+0.02; may be repeated (default: as for `gradshape compare`)",
    )
    add(
        "across-machines",
        action="store_true",
        help="compare with a baseline of another machine or of other versions of libraries",
    )
    # Not for users: it tells the rest of the plugin which short names are another plugin's.
    group.addoption(_TAKEN, dest="gradshape_taken", default=names.taken, action="append", help=argparse.SUPPRESS)
    return flags


def read(config: pytest.Config) -> Settings:
    """Read and check the values of the options.

    Raises:
        pytest.UsageError: a value is not valid; the message names option, value and expectation.
    """

    def checked(option: str, parse: Callable[[str], Value], text: str) -> Value:
        try:
            return parse(text)
        except ValueError as error:
            raise pytest.UsageError(f"{_called(config, option)}: {error}") from error

    scale = checked("--scale", Scale.parse, config.getoption("gradshape_scale"))
    seeds = config.getoption("gradshape_seeds")
    count = _DEFAULT_SEEDS[scale] if seeds is None else checked("--seeds", parse_count, seeds)
    first = checked("--first-seed", parse_seed, config.getoption("gradshape_first_seed"))
    most = config.getoption("gradshape_max_seeds")
    timeout = config.getoption("gradshape_case_timeout")
    baseline = config.getoption("gradshape_baseline")
    shard = config.getoption("gradshape_shard")
    offline = config.getoption("gradshape_offline") or os.environ.get("GRADSHAPE_OFFLINE", "") not in ("", "0")
    root = config.rootpath
    engine = _for_debugger(config, checked("--engine", parse_engine, config.getoption("gradshape_engine")))
    slurm, ray = config.getoption("gradshape_slurm"), config.getoption("gradshape_ray")
    if engine.remote and config.getoption("gradshape_no_cache"):
        raise pytest.UsageError(
            f"--no-cache: with --engine {engine.value} tasks hand over what they finish in the cache: name an empty "
            "folder by --cache-dir instead"
        )
    return Settings(
        scale=scale,
        seeds=tuple(range(first, first + count)),
        device=checked(
            "--device", partial(parse_device, elsewhere=engine.remote), config.getoption("gradshape_device")
        ),
        offline=offline,
        require_data=config.getoption("gradshape_require_data"),
        results=_path(config.getoption("gradshape_results"), root / RESULTS),
        cache_dir=_path(config.getoption("gradshape_cache_dir"), root / CACHE),
        use_cache=not config.getoption("gradshape_no_cache"),
        max_memory=checked("--max-memory", parse_size, config.getoption("gradshape_max_memory")),
        strict_verdicts=config.getoption("gradshape_strict_verdicts"),
        confidence=checked("--confidence", parse_confidence, config.getoption("gradshape_confidence")),
        max_seeds=None if most is None else checked("--max-seeds", partial(parse_most, least=count), most),
        tf32=config.getoption("gradshape_tf32"),
        engine=engine,
        case_timeout=None if timeout is None else checked("--case-timeout", parse_seconds, timeout),
        baseline=None if baseline is None else _path(baseline, root),
        fail_on=tuple(config.getoption("gradshape_fail_on")),
        across_machines=config.getoption("gradshape_across_machines"),
        cases=frozenset(config.getoption("gradshape_case")),
        shard=None if shard is None else checked("--shard", Shard.parse, shard),
        slurm=_listed("--slurm", SlurmOptions.parse, slurm) if engine is EngineKind.SLURM else None,
        ray=_listed("--ray", partial(RayOptions.parse, size=parse_size), ray) if engine is EngineKind.RAY else None,
    )


def _listed(option: str, parse: Callable[[Sequence[str]], Value], texts: Sequence[str]) -> Value:
    try:
        return parse(texts)
    except ValueError as error:
        raise pytest.UsageError(f"{option}: {error}") from error


def _called(config: pytest.Config, option: str) -> str:
    """Return the name by which a user can reach that option."""
    name = option.removeprefix("--")
    return f"--gradshape-{name}" if name in taken(config) else option


def taken(config: pytest.Config) -> list[str]:
    """Return the names of those options whose short form, ``--NAME``, is another plugin's."""
    names: list[str] = config.getoption("gradshape_taken")
    return names


def _for_debugger(config: pytest.Config, engine: EngineKind) -> EngineKind:
    """Keep jobs in pytest's process where its debugger is to see them, unless an engine was asked for."""
    debugged = config.getoption("usepdb", False) or config.getoption("trace", False)
    return EngineKind.THREADS if engine is EngineKind.AUTO and debugged else engine


def _path(given: str | None, default: Path) -> Path:
    return default if given is None else Path(given).expanduser().absolute()


def parse_count(text: str) -> int:
    """Parse the number of repetitions, a whole number of at least 1.

    Raises:
        ValueError: ``text`` is no such number, or one that nobody could mean.
    """
    # The length comes first: Python refuses to read a number of thousands of digits.
    if not text.isdecimal() or len(text) > _MOST_DIGITS or not 1 <= int(text) <= _MOST_SEEDS:
        shown = plain(text, longest=40)
        raise ValueError(f"{shown!r}: expected a whole number of at least 1 and at most {_MOST_SEEDS:,}")
    return int(text)


def parse_seed(text: str) -> int:
    """Parse a seed, a whole number of at least 0.

    Raises:
        ValueError: ``text`` is no such number, or too large for one.
    """
    if not text.isdecimal() or len(text) > _MOST_DIGITS:
        raise ValueError(f"{plain(text, longest=40)!r}: expected a whole number of at least 0, of at most 10 digits")
    return int(text)


def parse_most(text: str, *, least: int) -> int:
    """Parse the largest number of repetitions, of which there are at least ``least``.

    Raises:
        ValueError: ``text`` is no number of repetitions, or less than that.
    """
    count = parse_count(text)
    if count < least:
        raise ValueError(f"{text!r}: expected at least as many as there are seeds to begin with, {least}")
    return count


def parse_confidence(text: str) -> float:
    """Parse a confidence, a number between 0.5 and 1.

    Raises:
        ValueError: ``text`` is no such number.

    >>> parse_confidence("0.99")
    0.99
    """
    confidence = _number(text)
    if not 0.5 <= confidence < 1:
        raise ValueError(f"{text!r}: expected a number of at least 0.5 and less than 1")
    return confidence


def parse_size(text: str) -> int:
    """Parse a size in bytes: a number with K, M, G or T, with or without B.

    Raises:
        ValueError: ``text`` is no size, less than one byte, or more than any machine has.

    >>> parse_size("1.5G")
    1610612736
    """
    body = text.strip().upper().removesuffix("B").removesuffix("I")
    number, unit = (body[:-1], body[-1]) if body and body[-1] in _UNITS else (body, "")
    size = _number(number) * _UNITS[unit]
    if not math.isfinite(size) or not 1 <= size <= _MOST_MEMORY:
        raise ValueError(f"{text!r}: expected a size like 800M or 4G")
    return int(size)


def parse_seconds(text: str) -> float:
    """Parse a positive number of seconds.

    Raises:
        ValueError: ``text`` is no such number.

    >>> parse_seconds("1.5")
    1.5
    """
    seconds = _number(text)
    if not 0 < seconds < math.inf:
        raise ValueError(f"{text!r}: expected a positive number of seconds")
    return seconds


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def parse_engine(text: str) -> EngineKind:
    """Parse the name of an engine.

    Raises:
        ValueError: there is no such engine.

    >>> parse_engine("processes")
    <EngineKind.PROCESSES: 'processes'>
    """
    try:
        return EngineKind(text)
    except ValueError:
        raise _validate.unknown("engine", text, [kind.value for kind in EngineKind]) from None


def parse_device(text: str, *, elsewhere: bool = False) -> str:
    """Parse a device: ``cpu``, ``cuda`` or ``cuda:i``; ``auto`` is a GPU if there is one, another in each xdist worker.

    Args:
        text: the device.
        elsewhere: whether it is one of other machines, on which a task sees the GPUs alone that it is given: ``cuda``
            is the first of these, and ``auto`` is the CPU.

    Raises:
        ValueError: ``text`` is no device, or the device is not there.
    """
    if elsewhere and text.startswith("cuda:"):
        raise ValueError(f"{text!r}: tasks on other machines see only the GPUs that they are given: expected cuda")
    if elsewhere and text in ("auto", "cuda"):
        return "cpu" if text == "auto" else "cuda"
    if text == "auto":
        if not torch.cuda.is_available():
            return "cpu"
        worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
        return f"cuda:{worker % torch.cuda.device_count()}"
    kind, _, index = text.partition(":")
    if kind.lower() in ("gpu", "nvidia"):
        raise ValueError(f"unknown device {text!r}: did you mean {text.lower().replace(kind.lower(), 'cuda')!r}?")
    if kind == "cpu" and not index:
        return "cpu"
    if kind != "cuda" or (":" in text and not index.isdecimal()):
        raise _validate.unknown("device", text, ["auto", "cpu", "cuda", "cuda:0"])
    if not torch.cuda.is_available():
        raise ValueError(f"{text!r}: there is no GPU here: expected cpu")
    number = int(index or 0)
    if number >= torch.cuda.device_count():
        most = torch.cuda.device_count() - 1
        counted = "is 1 GPU: expected cuda" if most == 0 else f"are {most + 1} GPUs: expected cuda:0 to cuda:{most}"
        raise ValueError(f"{text!r}: there {counted}")
    return f"cuda:{number}"
