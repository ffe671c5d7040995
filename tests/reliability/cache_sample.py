"""Small results of every kind, whether two are the same bit by bit, and the files of a cache."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path

import torch
from torch import Tensor

from gradshape.attacks import Aims, PoisonSet
from gradshape.training import Layers, OptimizerState, SubsetGradients, TrainingResult
from gradshape_bench.cache import Cache
from gradshape_bench.jobs import Finished

NAN, INF = float("nan"), float("inf")
KEY, OTHER_KEY = "ab" * 32, "ba" * 32

POISON = PoisonSet(
    torch.tensor([[0.25, 1.0], [0.0, 1 / 3]]),
    torch.tensor([1, 0]),
    source=torch.tensor([5, -1]),
    replaced=torch.tensor([7]),
    notes={"certified_bound": 0.25, "rows": 3},
    aims=Aims(torch.tensor([0, 3]), torch.tensor([9, 4]), torch.tensor([0.5, 1 / 3])),
)
_STATE = {"head.weight": torch.tensor([[0.1, -0.0]]), "head.bias": torch.tensor([NAN])}
_MEASURED = torch.tensor([[0.5, -INF, NAN, 1 / 3]], dtype=torch.float64)
TRAINED = TrainingResult(
    accuracy=torch.tensor([0.5, 1 / 3], dtype=torch.float64),
    predictions=torch.tensor([[0, -1, 1], [1, 1, 1]]),
    last=_STATE,
    best={name: tensor + 1 for name, tensor in _STATE.items()},
    diverged=2,
    mse=0.125,
    gradients=SubsetGradients(
        Layers.ALL,
        ("head.weight", "head.bias"),
        raw=torch.arange(4, dtype=torch.float64).reshape(1, 1, 1, 2, 2) / 3,
        shaped=torch.full((1, 1, 1, 2, 2), NAN, dtype=torch.float64),
        norms=_MEASURED,
        shaped_norms=-_MEASURED,
        rows=torch.tensor([[1, 2, 3, 4]]),
        batches=torch.tensor([[4, 3, 2, 1]]),
    ),
    last_optimizer=OptimizerState(12, (_STATE,)),
    best_optimizer=OptimizerState(3),
)
MASK = torch.tensor([True, False, True])
SAMPLES: Mapping[str, object] = {"poison": POISON, "training": TRAINED, "mask": MASK}


def same(one: object, other: object) -> bool:
    """Whether two results have the same types, dtypes, shapes and bits in all their parts."""
    if type(one) is not type(other):
        return False
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.dtype == other.dtype and one.shape == other.shape and _bits(one) == _bits(other)
    if is_dataclass(one) and not isinstance(one, type):
        return all(same(getattr(one, field.name), getattr(other, field.name)) for field in fields(one))
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(same(one[name], other[name]) for name in one)
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return repr(one) == repr(other)


def _bits(tensor: Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def kept(folder: Path, result: object, key: str = KEY) -> Path:
    """The file of a result that is stored under a key."""
    cache = Cache(folder)
    cache.put(key, Finished(result, 1.5))
    assert cache.faults.line() is None
    return folder / key[:2] / f"{key}.job"
