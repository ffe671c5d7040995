import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from gradshape_bench import options
from gradshape_bench.case import Scale
from gradshape_bench.engines.ray_options import RayOptions
from gradshape_bench.engines.slurm_options import Cluster
from gradshape_bench.options import EngineKind, Settings, parse_count, parse_device, parse_seconds, parse_size
from gradshape_bench.places import check_places
from gradshape_bench.shard import Shard


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRADSHAPE_OFFLINE", raising=False)


def read(*arguments: str, root: Path = Path("/root/of/project"), debugger: str = "") -> Settings:
    """The settings of a command line, with one of pytest's options for its debugger."""
    parser = pytest.Parser(_ispytest=True)
    options.add_options(parser)
    values = parser.parse(list(arguments))
    config: Any = SimpleNamespace(
        getoption=lambda name, default=None: getattr(values, name, name == debugger), rootpath=root
    )
    return options.read(config)


def gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


def test_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 0)
    root = Path("/root/of/project")
    assert read() == Settings(
        scale=Scale.SMOKE,
        seeds=(0, 1, 2),
        device="cpu",
        offline=False,
        require_data=False,
        results=root / "results" / "results.jsonl",
        cache_dir=root / ".gradshape",
        use_cache=True,
        max_memory=4 << 30,
        strict_verdicts=False,
    )


def test_a_time_limit_is_a_positive_number_of_seconds() -> None:
    assert read("--case-timeout", "2.5").case_timeout == read("--gradshape-case-timeout", "2.5").case_timeout == 2.5
    for text in ("0", "-1", "nan", "inf", "1m", ""):
        with pytest.raises(ValueError, match=re.escape(f"{text!r}: expected a positive number of seconds")):
            parse_seconds(text)
    with pytest.raises(pytest.UsageError, match="--case-timeout: 'soon'"):
        read("--case-timeout", "soon")


def test_jobs_stay_where_a_debugger_sees_them_unless_processes_are_asked_for() -> None:
    assert read().engine is EngineKind.AUTO
    assert read(debugger="usepdb").engine is read(debugger="trace").engine is EngineKind.THREADS
    assert read("--engine", "processes", debugger="usepdb").engine is EngineKind.PROCESSES


def test_paper_scale_has_five_seeds() -> None:
    assert read("--scale", "paper").seeds == (0, 1, 2, 3, 4)


def test_number_of_seeds_is_chosen() -> None:
    assert read("--scale", "paper", "--seeds", "2").seeds == (0, 1)
    assert read("--seeds", "2", "--first-seed", "7").seeds == (7, 8)
    assert (read().max_seeds, read("--max-seeds", "12").max_seeds) == (None, 12)


def test_confidence_is_chosen() -> None:
    assert (read().confidence, read("--confidence", "0.99").confidence) == (0.95, 0.99)


@pytest.mark.parametrize(
    ("flag", "name", "value"),
    [
        ("--offline", "offline", True),
        ("--require-data", "require_data", True),
        ("--no-cache", "use_cache", False),
        ("--strict-verdicts", "strict_verdicts", True),
        ("--tf32", "tf32", True),
        ("--no-tf32", "tf32", False),
    ],
)
def test_flags(flag: str, name: str, value: bool) -> None:
    assert getattr(read(flag), name) is value


def test_the_later_of_tf32_and_no_tf32_counts() -> None:
    assert read("--tf32", "--no-tf32").tf32 is False
    assert read("--no-tf32", "--tf32").tf32 is True
    assert read().tf32 is False


@pytest.mark.parametrize("option", ["results", "cache-dir"])
def test_paths_are_relative_to_the_working_directory(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert getattr(read(f"--{option}", "some/place"), option.replace("-", "_")) == tmp_path / "some" / "place"


def test_git_ignores_what_a_run_writes() -> None:
    ignored = (Path(__file__).parents[2] / ".gitignore").read_text(encoding="utf-8").splitlines()
    root = Path("/root/of/project")
    written = {read(root=root).results.parent, read(root=root).cache_dir}
    assert {f"/{path.relative_to(root)}/" for path in written} <= set(ignored)


def test_home_is_understood_in_paths() -> None:
    assert read("--results", "~/r.jsonl").results == Path.home() / "r.jsonl"


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--scale", "papr", "unknown scale 'papr': did you mean 'paper'? known: paper, smoke"),
        ("--scale", "huge", "unknown scale 'huge': known: paper, smoke"),
        ("--seeds", "0", "'0': expected a whole number of at least 1 and at most 10,000"),
        ("--seeds", "1000000000", "'1000000000': expected a whole number of at least 1 and at most 10,000"),
        ("--seeds", "9" * 5000, f"'{'9' * 40}... (4,960 characters left out)': expected a whole number"),
        ("--seeds", "-3", "'-3': expected a whole number of at least 1"),
        ("--seeds", "two", "'two': expected a whole number of at least 1"),
        ("--first-seed", "-1", "'-1': expected a whole number of at least 0"),
        ("--max-seeds", "2", "'2': expected at least as many as there are seeds to begin with, 3"),
        ("--max-seeds", "many", "'many': expected a whole number of at least 1"),
        ("--confidence", "95", "'95': expected a number of at least 0.5 and less than 1"),
        ("--confidence", "nan", "'nan': expected a number of at least 0.5 and less than 1"),
        ("--seeds", "1.5", "'1.5': expected a whole number of at least 1"),
        ("--device", "gpu", "unknown device 'gpu': did you mean 'cuda'"),
        ("--device", "GPU:1", "unknown device 'GPU:1': did you mean 'cuda:1'"),
        ("--device", "CUDA", "unknown device 'CUDA': did you mean 'cuda'"),
        ("--device", "cuda:9", "'cuda:9': there is no GPU here: expected cpu"),
        ("--scale", "Paper", "unknown scale 'Paper': did you mean 'paper'"),
        ("--scale", "SMOKE", "unknown scale 'SMOKE': did you mean 'smoke'"),
        ("--seeds", "three", "'three': expected a whole number of at least 1"),
        ("--engine", "process", "unknown engine 'process': did you mean 'processes'"),
        ("--engine", "THREADS", "unknown engine 'THREADS': did you mean 'threads'"),
        ("--device", "cdua", "unknown device 'cdua': did you mean 'cuda'"),
        ("--device", "cuda:x", "unknown device 'cuda:x': did you mean 'cuda:0'"),
        ("--device", "cuda:", "unknown device 'cuda:': did you mean 'cuda:0' or 'cuda'"),
        ("--device", "cpu:1", "unknown device 'cpu:1': did you mean 'cpu'"),
        ("--device", "cuda", "'cuda': there is no GPU here: expected cpu"),
        ("--device", "cuda:1", "'cuda:1': there is no GPU here: expected cpu"),
        ("--max-memory", "lots", "'lots': expected a size like 800M or 4G"),
        ("--max-memory", "0", "'0': expected a size like 800M or 4G"),
        ("--max-memory", "1e18T", "'1e18T': expected a size like 800M or 4G"),
        ("--max-memory", "-4G", "'-4G': expected a size like 800M or 4G"),
    ],
)
def test_bad_value_names_option_and_value_and_expectation(
    option: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus(monkeypatch, 0)
    with pytest.raises(pytest.UsageError, match=re.escape(f"{option}: {message}")):
        read(f"{option}={value}")


def check(folder: Path, results: str = "new/results.jsonl", cache: str = "new/cache", *more: str) -> None:
    arguments = [f"--results={folder / results}", f"--cache-dir={folder / cache}", *more]
    check_places(read(*arguments))


def test_places_that_can_be_written_are_fine_and_stay_empty(tmp_path: Path) -> None:
    check(tmp_path)
    assert list(tmp_path.rglob("*")) == [tmp_path / "new"]


@pytest.mark.parametrize(
    ("results", "cache", "message"),
    [
        ("file/results.jsonl", "cache", r"--results: .*/file/results\.jsonl: (File exists|Not a directory)"),
        ("folder", "cache", r"--results: .*/folder: this is a folder"),
        ("fifo", "cache", r"--results: .*/fifo: expected a file"),
        ("results.jsonl", "file", r"--cache-dir: .*/file: expected a folder"),
        ("results.jsonl", "file/below/it", r"--cache-dir: .*/file/below/it: .*/file is no folder"),
        ("x" * 300, "cache", r"--results: .*: File name too long"),
        ("results.jsonl", "x" * 300, r"--cache-dir: .*: File name too long"),
    ],
)
def test_places_that_are_none_are_named(results: str, cache: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not empty")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(pytest.UsageError, match=message) as caught:
        check(tmp_path, results, cache)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "file").read_text() == "not empty"


def test_without_cache_its_folder_may_be_anything(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    check(tmp_path, "results.jsonl", "file", "--no-cache")


def test_disk_without_room_for_results_is_an_error_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(pytest.UsageError, match=r"--results: .*: No space left on device"):
        check(tmp_path)


@pytest.mark.parametrize(("value", "offline"), [("1", True), ("yes", True), ("0", False), ("", False)])
def test_environment_forbids_the_network(value: str, offline: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADSHAPE_OFFLINE", value)
    assert read().offline is offline


def test_option_forbids_the_network_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADSHAPE_OFFLINE", "0")
    assert read("--offline").offline


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1),
        ("800M", 800 << 20),
        ("4G", 4 << 30),
        ("4g", 4 << 30),
        ("4GB", 4 << 30),
        ("4GiB", 4 << 30),
        ("1.5K", 1536),
        (" 2 T ", 2 << 40),
        ("1e3", 1000),
        ("512B", 512),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "G", "B", "4X", "nan", "inf", "infG", "0.5", "4 G 2", "--"])
def test_bad_sizes(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"{text!r}: expected a size like 800M or 4G")):
        parse_size(text)


@pytest.mark.parametrize(("text", "count"), [("1", 1), ("12", 12)])
def test_counts(text: str, count: int) -> None:
    assert parse_count(text) == count


@pytest.mark.parametrize("text", ["", " ", "²", "1e3", "+1", "1_0"])
def test_bad_counts(text: str) -> None:
    with pytest.raises(ValueError, match="expected a whole number of at least 1"):
        parse_count(text)


@pytest.mark.parametrize(
    ("text", "device"), [("auto", "cuda:0"), ("cpu", "cpu"), ("cuda", "cuda:0"), ("cuda:1", "cuda:1")]
)
def test_devices_with_gpus(text: str, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 2)
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    assert parse_device(text) == device


@pytest.mark.parametrize(("worker", "device"), [("gw0", "cuda:0"), ("gw1", "cuda:1"), ("gw2", "cuda:0")])
def test_workers_take_gpus_in_turn(worker: str, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 2)
    monkeypatch.setenv("PYTEST_XDIST_WORKER", worker)
    assert parse_device("auto") == device


def test_gpu_beyond_the_last_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 2)
    with pytest.raises(ValueError, match="'cuda:2': there are 2 GPUs: expected cuda:0 to cuda:1"):
        parse_device("cuda:2")


def test_every_option_has_a_long_name_and_a_short_one_that_no_other_plugin_has() -> None:
    parser = pytest.Parser(_ispytest=True)
    parser.addoption("--device")
    options.add_options(parser)
    given = parser.parse(
        ["--device", "theirs", "--gradshape-device", "cpu", "--seeds", "4", "--gradshape-scale", "paper"]
    )
    assert (given.device, given.gradshape_device, given.gradshape_seeds) == ("theirs", "cpu", "4")
    assert given.gradshape_scale == "paper"
    assert parser.parse(["--gradshape-seeds=5"]).gradshape_seeds == "5"


def test_a_number_that_a_single_gpu_does_not_have_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 1)
    with pytest.raises(ValueError, match=r"'cuda:9': there is 1 GPU: expected cuda$"):
        parse_device("cuda:9")


def test_a_shard_is_a_part_of_so_many() -> None:
    assert read("--shard", "2/3").shard == read("--gradshape-shard", "2/3").shard == Shard(2, 3)
    assert read().shard is None


def test_slurm_takes_parameters_of_submitit_with_or_without_its_prefix() -> None:
    pytest.importorskip("submitit", reason="submitit is not installed")
    given = ("cluster=local", "tasks=3", "partition=gpu", "slurm_qos=long", "mem_gb=8", "gpus_per_node=1")
    found = read("--engine", "slurm", *(text for pair in given for text in ("--slurm", pair))).slurm
    assert found is not None
    assert (found.cluster, found.tasks) == (Cluster.LOCAL, 3)
    asked = {"slurm_partition": "gpu", "slurm_qos": "long", "mem_gb": 8, "gpus_per_node": 1}
    assert asked.items() <= dict(found.parameters).items()


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        ("partitoin=gpu", "unknown key 'partitoin': did you mean 'partition'"),
        ("cluster=slrum", "unknown cluster 'slrum': did you mean 'slurm'"),
        ("tasks=0", "tasks=0: expected a whole number from 1 to 10000"),
        ("timeout_min=long", "timeout_min"),
        ("nodes=2", "unknown key 'nodes'"),
        ("partition", "'partition': expected KEY=VALUE"),
    ],
)
def test_slurm_refuses_what_submitit_does_not_know(pair: str, said: str) -> None:
    pytest.importorskip("submitit", reason="submitit is not installed")
    with pytest.raises(pytest.UsageError, match=re.escape("--slurm: ")) as caught:
        read("--engine", "slurm", "--slurm", pair)
    assert said in str(caught.value)


def test_ray_is_told_what_a_task_asks_for() -> None:
    pytest.importorskip("ray", reason="Ray has no wheels for this Python or platform, or is not installed")
    given = ("address=auto", "cpus=0.5", "gpus=0.25", "memory=2G", "tasks=7")
    found = read("--engine", "ray", *(text for pair in given for text in ("--ray", pair))).ray
    assert found == RayOptions(address="auto", cpus=0.5, gpus=0.25, memory=2 << 30, tasks=7)


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        ("gpu=1", "unknown key 'gpu': did you mean 'gpus'"),
        ("gpus=1.5", "gpus=1.5: expected a fraction of one GPU, or whole ones"),
        ("cpus=nan", "cpus=nan: expected a number from 0 to 1024"),
        ("memory=much", "expected a size like 800M or 4G"),
    ],
)
def test_ray_refuses_what_it_cannot_be_asked_for(pair: str, said: str) -> None:
    pytest.importorskip("ray", reason="Ray has no wheels for this Python or platform, or is not installed")
    with pytest.raises(pytest.UsageError, match=re.escape("--ray: ")) as caught:
        read("--engine", "ray", "--ray", pair)
    assert said in str(caught.value)


@pytest.mark.parametrize("kind", ["slurm", "ray"])
def test_an_engine_that_is_not_installed_says_how_to_install_it(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(pytest.UsageError, match=re.escape(f"pip install 'gradshape[{kind}]'")):
        read("--engine", kind)


def test_options_of_an_engine_that_was_not_chosen_wait_for_it() -> None:
    # A project's settings may hold them.
    found = read("--slurm", "cluster=local", "--ray", "tasks=2")
    assert (found.slurm, found.ray) == (None, None)


def test_other_machines_need_a_cache() -> None:
    with pytest.raises(pytest.UsageError, match="--no-cache: with --engine ray"):
        read("--engine", "ray", "--no-cache")


def test_tasks_elsewhere_may_have_a_gpu_where_there_is_none_here(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 0)
    assert parse_device("cuda", elsewhere=True) == "cuda"
    assert parse_device("auto", elsewhere=True) == "cpu"
    with pytest.raises(ValueError, match="see only the GPUs that they are given: expected cuda"):
        parse_device("cuda:1", elsewhere=True)
