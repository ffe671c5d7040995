"""Jobs, and what became of them, on their way between the processes of one run.

The one place where anything is unpickled: what a process of the same run sent, and never a file.
"""

import io
import pickle
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any

import cloudpickle
from torch import Tensor

from gradshape import learners, models
from gradshape.attacks import Crafting
from gradshape.data import Dataset
from gradshape.training import Progress
from gradshape_bench.engines.base import Became, Failed
from gradshape_bench.jobs import AnyJob


@dataclass(eq=False)
class Sender:
    """Packs values for one worker process; a data set crosses once.

    Attributes:
        known: fingerprints of the data sets that the worker has.
    """

    known: set[str] = field(default_factory=set)

    def pack(self, value: Any) -> bytes:
        """``value`` with the models and estimators of the user's own that a recipe in it may name."""
        buffer = io.BytesIO()
        pickler = _Pickler(buffer, self.known)
        pickler.dump((models.registered(), learners.registered(), value))
        self.known |= pickler.sent
        return buffer.getvalue()


def unsendable(job: AnyJob) -> Exception | None:
    """Why a job cannot be sent, whatever else is sent with it; ``None`` if it can."""
    try:
        # Its data set is left out.
        Sender({job.dataset.fingerprint}).pack(job)
    except Exception as error:
        return error
    return None


@dataclass(eq=False)
class Receiver:
    """Unpacks what a :class:`Sender` packed, in another process."""

    datasets: dict[str, Dataset] = field(default_factory=dict)

    def unpack(self, packed: bytes) -> Any:
        """The value; models and estimators that came with it are registered."""
        builders, factories, value = _Unpickler(io.BytesIO(packed), self.datasets).load()
        models.restore(builders)
        learners.restore(factories)
        return value


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    def __init__(self, file: io.BytesIO, known: set[str]) -> None:
        super().__init__(file)
        self.known = known
        self.sent: set[str] = set()

    def persistent_id(self, value: Any) -> Any:
        if not isinstance(value, Dataset):
            return None
        # Its rows are sent where it is met first.
        name = value.fingerprint
        if name in self.known or name in self.sent:
            return name, None
        self.sent.add(name)
        return name, {each.name: getattr(value, each.name) for each in fields(value)}

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, type | FunctionType) and not _found_by_name(value.__module__):
            # Such as a class in a test file, which a new process cannot import.
            cloudpickle.register_pickle_by_value(sys.modules[value.__module__])
        if type(value) is Tensor and value.untyped_storage().nbytes() > value.numel() * value.element_size():
            # A few rows of a large tensor: all of its memory would go with them.
            return value.clone().__reduce_ex__(pickle.HIGHEST_PROTOCOL)
        return super().reducer_override(value)


@cache
def _found_by_name(name: str) -> bool:
    """Whether a new process with the same path would find the same module by its name."""
    origin = getattr(sys.modules.get(name), "__file__", None)
    if origin is None or name.partition(".")[0] in sys.stdlib_module_names:
        # Without a file it is built in, or the main script, which is sent by value anyway.
        return True
    places: Sequence[str] | None = None
    whole = ""
    for part in name.split("."):
        whole = f"{whole}.{part}" if whole else part
        found = (finder.find_spec(whole, places) for finder in sys.meta_path)
        spec = next((spec for spec in found if spec is not None), None)
        if spec is None:
            return False
        places = spec.submodule_search_locations
    return spec is not None and spec.origin is not None and Path(spec.origin) == Path(origin)


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, datasets: dict[str, Dataset]) -> None:
        super().__init__(file)
        self.datasets = datasets

    def persistent_load(self, name: Any) -> Dataset:
        fingerprint, rows = name
        if rows is not None:
            self.datasets[fingerprint] = Dataset(**rows)
        return self.datasets[fingerprint]


# What a worker tells: what became of a job, or how far its bundle is.
Told = Became | Progress | tuple[str, Crafting]


def tell(place: int, told: Told) -> bytes:
    """A worker's message, for :func:`hear`.

    Args:
        place: of the job in its bundle; -1 for all that are left, and for how far the bundle is.
        told: an error that cannot be packed, or not be unpacked, is told in words.
    """
    if isinstance(told, Failed):
        try:
            packed = _dumps((place, told))
            hear(packed)
            return packed
        except Exception:
            told = Failed(RuntimeError(f"{type(told.error).__name__}: {told.error}"))
    return _dumps((place, told))


def hear(packed: bytes) -> tuple[int, Told]:
    """What :func:`tell` packed."""
    place, told = pickle.loads(packed)
    return place, told


def _dumps(message: tuple[int, Told]) -> bytes:
    packed: bytes = cloudpickle.dumps(message)
    return packed
