"""The cache: results of finished jobs on disk, one checked file a job."""

import json
import logging
import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import BaseFileLock, FileLock, Timeout
from torch import Tensor

from gradshape.attacks import Aims, PoisonSet
from gradshape.training import Layers, OptimizerState, SubsetGradients, TrainingResult
from gradshape_bench.jobs import Finished

_log = logging.getLogger(__name__)

_OPTIMIZERS = ("last_optimizer", "best_optimizer")
# A damaged archive makes zipfile, numpy and json raise one of these, depending on the byte that is hit.
_DAMAGE = (OSError, ValueError, KeyError, TypeError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


class Cache:
    """A folder of finished jobs.

    Files are written under another name and moved into place, so a killed run leaves no partial entry. An entry
    is an uncompressed ``.npz``; its checksums show damage, and a damaged entry is reported and treated as missing.

    Args:
        folder: created when the first job is stored.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, key: str) -> Finished[Any] | None:
        """Return the finished job with that key; ``None`` if it is not stored or damaged."""
        path = self._path(key)
        try:
            # Opened here: numpy leaves a file that it cannot read open.
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            meta = json.loads(arrays.pop("meta").item())
            return Finished(_decode(meta, arrays), float(meta["seconds"]))
        except FileNotFoundError:
            return None
        except _DAMAGE as error:
            _log.warning("the cache entry %s is damaged and is computed again: %s", path, error)
            return None

    def put(self, key: str, finished: Finished[Any]) -> None:
        """Store a finished job. If it cannot be written, log a warning and go on."""
        path = self._path(key)
        meta, arrays = _encode(finished.result)
        document = json.dumps({**meta, "seconds": finished.seconds})
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                np.savez(file, allow_pickle=False, meta=np.array(document), **arrays)
            temporary.replace(path)
        except OSError as error:
            _log.warning("a finished job could not be kept in the cache %s: %s", self.folder, error)
        finally:
            temporary.unlink(missing_ok=True)

    def claim(self, name: str) -> "Claim | None":
        """Claim the jobs that ``name`` stands for against other processes; ``None`` while another one holds the claim.

        If the folder cannot hold a lock (the disk is full or read-only), log a warning and grant the claim: the jobs
        may be done twice.
        """
        lock = FileLock(self.folder / "locks" / f"{name[:32]}.lock", blocking=False, thread_local=False)
        try:
            (self.folder / "locks").mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout:
            return None
        except OSError as error:
            _log.warning("the cache %s cannot be locked against other processes: %s", self.folder, error)
        return Claim(lock)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.npz"


@dataclass(frozen=True)
class Claim:
    """The exclusive right to do some jobs, held until it is released or the process ends."""

    lock: BaseFileLock

    def release(self) -> None:
        """Release the claim."""
        self.lock.release()


def _encode(result: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    if isinstance(result, PoisonSet):
        tensors = {name: getattr(result, name) for name in ("x", "y", "source", "replaced")}
        if result.aims is not None:
            tensors |= {f"aims/{name}": tensor for name, tensor in vars(result.aims).items()}
        return {"kind": "poison", "notes": dict(result.notes)}, _arrays(tensors)
    if isinstance(result, TrainingResult):
        tensors = {"accuracy": result.accuracy}
        if result.predictions is not None:
            tensors["predictions"] = result.predictions
        for which in ("last", "best"):
            for name, tensor in (getattr(result, which) or {}).items():
                tensors[f"{which}/{name}"] = tensor
        meta: dict[str, Any] = {"kind": "training", "diverged": result.diverged, "mse": result.mse, "gradients": None}
        for which in _OPTIMIZERS:
            memory: OptimizerState | None = getattr(result, which)
            meta[which] = None if memory is None else [memory.steps, len(memory.slots)]
            for number, slot in enumerate(memory.slots if memory is not None else ()):
                tensors |= {f"{which}/{number}/{name}": tensor for name, tensor in slot.items()}
        if result.gradients is not None:
            measured = {name: value for name, value in vars(result.gradients).items() if isinstance(value, Tensor)}
            tensors |= {f"gradients/{name}": tensor for name, tensor in measured.items()}
            meta["gradients"] = {"layers": result.gradients.layers.value, "parameters": result.gradients.parameters}
        return meta, _arrays(tensors)
    if isinstance(result, Tensor):
        return {"kind": "mask"}, _arrays({"mask": result})
    raise TypeError(f"cannot store a {type(result).__name__}: expected a PoisonSet, a TrainingResult or a mask")


def _arrays(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    return {name: tensor.cpu().numpy() for name, tensor in tensors.items()}


def _decode(meta: Mapping[str, Any], arrays: Mapping[str, Any]) -> Any:
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    kind = meta["kind"]
    if kind == "poison":
        aims = _below("aims", tensors)
        own = {name: tensor for name, tensor in tensors.items() if not name.startswith("aims/")}
        return PoisonSet(**own, notes=meta["notes"], aims=Aims(**aims) if aims else None)
    if kind == "training":
        return TrainingResult(
            tensors["accuracy"],
            predictions=tensors.get("predictions"),
            last=_below("last", tensors) or None,
            best=_below("best", tensors) or None,
            diverged=meta["diverged"],
            mse=meta["mse"],
            gradients=_gradients(meta["gradients"], _below("gradients", tensors)),
            **{which: _optimizer(meta[which], _below(which, tensors)) for which in _OPTIMIZERS},
        )
    if kind == "mask":
        return tensors["mask"]
    raise ValueError(f"unknown kind of entry {kind!r}: expected poison, training or mask")


def _below(name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key.partition("/")[2]: tensor for key, tensor in tensors.items() if key.startswith(f"{name}/")}


def _optimizer(meta: Sequence[int] | None, tensors: Mapping[str, Tensor]) -> OptimizerState | None:
    if meta is None:
        return None
    steps, slots = meta
    return OptimizerState(steps, tuple(_below(str(number), tensors) for number in range(slots)))


def _gradients(meta: Mapping[str, Any] | None, tensors: Mapping[str, Tensor]) -> SubsetGradients | None:
    if meta is None:
        return None
    return SubsetGradients(Layers(meta["layers"]), tuple(meta["parameters"]), **tensors)
