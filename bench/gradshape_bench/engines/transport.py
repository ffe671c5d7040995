"""Sending jobs and their outcomes between the processes of one run.

Nothing is unpickled anywhere else, and here only what a process of the same run sent, never a file.
"""

import io
import pickle
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any

import cloudpickle
import numpy as np
import torch
from torch import Tensor

from gradshape import learners, models
from gradshape.data import Dataset, Split, Units
from gradshape_bench import blame
from gradshape_bench.engines.base import Bundle, Failed, JobOutcome
from gradshape_bench.job_names.source_files import find_spec
from gradshape_bench.jobs import AnyJob, JobProgress
from gradshape_bench.matmul_precision import tf32_settings
from gradshape_bench.plain_text import message_of


@dataclass(eq=False)
class Sender:
    """Packs values for one worker process; a data set is sent once, as long as every value has to do with it.

    Attributes:
        known: fingerprints of the data sets that the worker has: those of the last value.
    """

    known: Collection[str] = ()

    def pack(self, value: Any) -> bytes:
        """Pack ``value``, and the user's registered models and estimators, which a recipe in it may name."""
        packed, datasets = _packed((models.registered(), learners.registered(), value))
        new = {
            name: {each.name: getattr(dataset, each.name) for each in fields(dataset)}
            for name, dataset in datasets.items()
            if name not in self.known
        }
        # What the worker is to forget, it forgets before it reads the rows of others.
        message = b"".join([_packed(list(datasets))[0], _packed(new)[0], packed])
        self.known = set(datasets)
        return message


def pack_jobs(sender: Sender, jobs: Bundle) -> tuple[bytes, Bundle, Mapping[AnyJob, Exception]]:
    """Pack jobs of one bundle, with the precision of GPUs' products.

    Returns:
        What was packed, the jobs in it, and for each job that cannot be sent the error that keeps it from being sent.
    """
    try:
        return sender.pack((tf32_settings(), list(jobs))), jobs, {}
    except Exception:
        errors = {job: error for job in jobs if (error := unsendable(job)) is not None}
        sent = [job for job in jobs if job not in errors]
        return sender.pack((tf32_settings(), sent)), sent, errors


def unsendable(job: AnyJob) -> Exception | None:
    """Return the error that keeps a job from being sent, whatever is sent with it; ``None`` if there is none."""
    try:
        # Without its data set, which is large.
        Sender([job.dataset.fingerprint]).pack(job)
    except Exception as error:
        return error
    return None


@dataclass(eq=False)
class Receiver:
    """Unpacks, in another process, what a :class:`Sender` packed.

    Attributes:
        datasets: the data sets of the last value, by fingerprint.
    """

    datasets: dict[str, Dataset] = field(default_factory=dict)

    def unpack(self, packed: bytes) -> Any:
        """Return the value, after registering the models and estimators that came with it."""
        file = io.BytesIO(packed)
        mentioned = pickle.load(file)
        self.datasets = {name: dataset for name, dataset in self.datasets.items() if name in mentioned}
        self.datasets |= {name: Dataset(**rows) for name, rows in pickle.load(file).items()}
        builders, registered, value = _Unpickler(file, self.datasets).load()
        models.restore(builders)
        learners.restore(registered)
        return value


def rows_of(dataset: Dataset) -> tuple[dict[str, Any], dict[str, np.ndarray[Any, Any]]]:
    """Return a data set's name and the like, in values that JSON has, and its rows, for :func:`dataset_of`."""
    splits = {"train": dataset.train, "test": dataset.test}
    rows = {f"{name}_{part}": getattr(split, part).numpy() for name, split in splits.items() for part in ("x", "y")}
    described = {each.name: getattr(dataset, each.name) for each in fields(dataset) if each.name not in splits}
    units = None if dataset.units is None else asdict(dataset.units)
    return {**described, "units": units, "fingerprint": dataset.fingerprint}, rows


def dataset_of(described: Mapping[str, Any], rows: Mapping[str, np.ndarray[Any, Any]]) -> Dataset:
    """Return the data set that :func:`rows_of` took apart, with rows of its own, which those may not be.

    Raises:
        ValueError: these are other rows.
    """
    named = {name: value for name, value in described.items() if name != "fingerprint"}
    units = named["units"]
    if units is not None:
        # JSON has lists alone.
        low, high, shape = (tuple(units[part]) for part in ("low", "high", "shape"))
        named["units"] = Units(low, high, shape=shape, whole=units["whole"])
    train, test = (
        Split(torch.tensor(rows[f"{name}_x"]), torch.tensor(rows[f"{name}_y"])) for name in ("train", "test")
    )
    dataset = Dataset(train=train, test=test, **named)
    if dataset.fingerprint != described["fingerprint"]:
        raise ValueError(f"the rows of {dataset.name} are not those that were sent")
    return dataset


def _packed(value: Any) -> tuple[bytes, Mapping[str, Dataset]]:
    """Return ``value``, in which data sets are named by their fingerprints, and these data sets."""
    buffer = io.BytesIO()
    pickler = _Pickler(buffer)
    pickler.dump(value)
    return buffer.getvalue(), pickler.datasets


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.datasets: dict[str, Dataset] = {}

    def persistent_id(self, value: Any) -> str | None:
        if not isinstance(value, Dataset):
            return None
        self.datasets[value.fingerprint] = value
        return value.fingerprint

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, type | FunctionType) and not _found_by_name(value.__module__):
            # A new process cannot import it: a class in a test file, for example.
            cloudpickle.register_pickle_by_value(sys.modules[value.__module__])
        if type(value) is Tensor and value.untyped_storage().nbytes() > value.numel() * value.element_size():
            # A view of a large tensor would be sent with all of its memory.
            return value.clone().__reduce_ex__(pickle.HIGHEST_PROTOCOL)
        return super().reducer_override(value)


@cache
def _found_by_name(name: str) -> bool:
    """Return whether a new process with the same path would find the same module by its name."""
    origin = getattr(sys.modules.get(name), "__file__", None)
    if origin is None or name.partition(".")[0] in sys.stdlib_module_names:
        # A module without a file is built in, or is the main script, which is sent by value anyway.
        return True
    places: Sequence[str] | None = None
    whole = ""
    for part in name.split("."):
        whole = f"{whole}.{part}" if whole else part
        spec = find_spec(whole, places)
        if spec is None:
            return False
        places = spec.submodule_search_locations
    return spec is not None and spec.origin is not None and Path(spec.origin) == Path(origin)


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, datasets: dict[str, Dataset]) -> None:
        super().__init__(file)
        self.datasets = datasets

    def persistent_load(self, name: Any) -> Dataset:
        return self.datasets[name]


@dataclass(frozen=True)
class Begun:
    """A worker has received a bundle and begins with it.

    Attributes:
        machine: what is known of its machine, if that is another one.
    """

    machine: str = ""


# What a worker sends: that it begins, the outcome of a job, or how far its bundle is.
WorkerMessage = Begun | JobOutcome | JobProgress


def pack_message(place: int, told: WorkerMessage) -> bytes:
    """Pack a worker's message for :func:`unpack_message`.

    Args:
        place: place of the job in its bundle; -1 for all jobs that are left, and for what concerns the bundle.
        told: outcome of the job, that the bundle is begun, or how far it is. An error that cannot be packed or unpacked
            is replaced by one that has its words.
    """
    if isinstance(told, Failed):
        blame.carry(told.error)
        try:
            packed = _dumps((place, told))
            unpack_message(packed)
            return packed
        except Exception:
            told = Failed(RuntimeError(message_of(told.error)).with_traceback(told.error.__traceback__))
            blame.carry(told.error)
    return _dumps((place, told))


def unpack_message(packed: bytes) -> tuple[int, WorkerMessage]:
    """Return the place and the message that :func:`pack_message` packed."""
    place, told = pickle.loads(packed)
    return place, told


def _dumps(message: tuple[int, WorkerMessage]) -> bytes:
    packed: bytes = cloudpickle.dumps(message)
    return packed
