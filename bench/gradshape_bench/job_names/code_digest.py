"""What code can change the result of a job: the library's, the harness', and all of the user's that the job reaches.

Of the library all sources count. Of the harness those modules count that do jobs, send them to other processes and keep
their results: the engines, the jobs, the cache, and what these import; not protocols, records and pages. Of the
packages that compute, and of Python, the versions count. Of a user's component (an attack, a defence, a shaper, a
builder of models, a learner) these count:

* the file of its class, those of its base classes, and all files of the user's project that these import, however
  indirectly; of the installed packages that they import the versions;
* its functions and methods: their code, their defaults, and the values that they close over or read from their module
  and from modules of the user's project;
* its attributes that are not fields;
* the network or the estimator that is built, with its classes, settings and weights.

All this is read when it is first needed, once a session. What code reads from data files of its own is not seen.
"""

import hashlib
import sys
from collections.abc import Callable, Hashable, Iterable, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache, partial
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch import Tensor

import gradshape
from gradshape import _digest, learners, models
from gradshape.data import Dataset
from gradshape.training import Fit, Recipe
from gradshape_bench.job_names import source_files
from gradshape_bench.job_names.user_code import CodeName, code_name, warn

_HARNESS = (
    "gradshape_bench.engines",
    "gradshape_bench.engines.worker",
    # These are imported when they are asked for.
    "gradshape_bench.engines.on_ray",
    "gradshape_bench.engines.slurm",
    "gradshape_bench.jobs",
    "gradshape_bench.cache",
)
# What computes, by its distribution and by the package that is imported; torch says more of itself than its version.
_PACKAGES = {"torch": "torch", "numpy": "numpy", "scipy": "scipy", "scikit-learn": "sklearn", "opacus": "opacus"}
_PLAIN = {bool, int, float, str, bytes, Tensor}

_warned = set[Path]()
# What was named already, by identity, with what has that identity.
_named: dict[tuple[object, ...], tuple[object, CodeName]] = {}


@cache
def library_source() -> str:
    """Return the sha256 (hex) of the library's source files."""
    root = Path(gradshape.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


@cache
def harness_files() -> Mapping[str, str | None]:
    """Return the sha256 (hex) of the files of the harness that take part in results, by the names of their modules."""
    return source_files.reach(_HARNESS, lambda name: name.startswith("gradshape_bench.")).files


@cache
def harness_source() -> str:
    """Return the sha256 (hex) of the files of the harness that take part in results."""
    return _digest.name(tuple(sorted(harness_files().items())))


def code_of(content: object, dataset: Dataset | None) -> CodeName:
    """Name all code that can change what is made of ``content`` on ``dataset``.

    Code without a reliable name is warned of once; see :func:`gradshape_bench.job_names.user_code.code_name`.

    Args:
        content: a value that holds components, wherever they are nested.
        dataset: what networks are built for; ``None`` to build none.
    """
    found: dict[CodeName, None] = {}
    _note(content, dataset, found)
    versions = str(torch.__version__), *map(source_files.version, _PACKAGES), *sys.version_info[:2]
    return _whole((library_source(), harness_source(), versions), tuple(found))


@cache
def _whole(environment: Hashable, found: tuple[CodeName, ...]) -> CodeName:
    name = _digest.name((environment, tuple(sorted(code.name for code in found))))
    paths = frozenset(path for code in found for path in code.paths)
    return CodeName(name, all(code.reliable for code in found), paths)


def read(components: Iterable[object]) -> None:
    """Read the code of components now, as it was imported: later, somebody may have edited it."""
    for component in components:
        # A component that names no model, for example, fails when it is used, and not the cases beside it.
        with suppress(Exception):
            code_of(component, None)


def may_keep(code: CodeName) -> bool:
    """Say whether a result of some code may be found again by its name.

    It may not if the name is not reliable, or if a file was edited after it was read: a process that imports it only
    now runs other code. Files that were edited are warned of once.
    """
    edited = source_files.edited(code.paths)
    for path in edited:
        if path not in _warned:
            _warned.add(path)
            warn(f"{path} was edited during the run: results that depend on it are not kept in the cache")
    return code.reliable and not edited


def _note(value: Any, dataset: Dataset | None, found: dict[CodeName, None]) -> None:
    """Put the names of the user's code in a value into ``found``."""
    if value is None or type(value) in _PLAIN:
        return
    if isinstance(value, type | FunctionType):
        _note_code(value, found)
    elif is_dataclass(value):
        _note_code(type(value), found)
        for field in fields(value):
            _note(getattr(value, field.name), dataset, found)
        _note_beside(value, dataset, found)
        if isinstance(value, Recipe):
            _note_model(value.model, dataset, found)
        elif isinstance(value, Fit):
            _note_learner(value, found)
    elif isinstance(value, Enum):
        _note_code(type(value), found)
    elif isinstance(value, Mapping):
        for item in (*value.keys(), *value.values()):
            _note(item, dataset, found)
    elif isinstance(value, tuple | list | set | frozenset):
        for item in value:
            _note(item, dataset, found)
    elif isinstance(value, partial):
        _note((value.func, value.args, value.keywords), dataset, found)
    elif isinstance(value, MethodType):
        _note((value.__func__, value.__self__), dataset, found)
    elif isinstance(value, ModuleType):
        # Any function may read any of it.
        held = {name: held for name, held in vars(value).items() if type(held) in _PLAIN and not name.startswith("__")}
        found[_once((id(value),), value, lambda: code_name(value.__name__, value, held))] = None


def _note_beside(value: Any, dataset: Dataset | None, found: dict[CodeName, None]) -> None:
    beside = _digest.beside_fields(value)
    if beside:
        _note(beside, dataset, found)
        kind = type(value)
        name = f"{kind.__module__}.{kind.__qualname__}"
        own = _own(kind.__module__) or ()
        found[_once((id(value), "beside"), value, lambda: code_name(name, beside, own=own))] = None


def _note_code(value: type | FunctionType, found: dict[CodeName, None]) -> None:
    module = value.__module__ or ""
    if _own(module) is not None:
        name = f"{module}.{value.__qualname__}"
        found[_once((id(value),), value, lambda: code_name(name, value, own=_own(module) or ()))] = None


def _note_model(name: str, dataset: Dataset | None, found: dict[CodeName, None]) -> None:
    builder = models.builder(name)
    if name in models.registered():
        shape = () if dataset is None else (dataset.input_shape, dataset.num_classes)
        build = partial(models.build, name, *shape) if shape else None
        found[_once((id(builder), *shape), builder, lambda: _maker_code(f"model {name!r}", builder, build))] = None


def _note_learner(recipe: Fit, found: dict[CodeName, None]) -> None:
    learner = learners.learner(recipe.model)
    if recipe.model in learners.registered():
        build = partial(learners.build, recipe.model, dict(recipe.settings))
        kind = f"estimator {recipe.model!r}"
        stated = learner.penalty, learner.loss
        key = id(learner), recipe.settings
        found[_once(key, learner, lambda: _maker_code(kind, learner.factory, build, *stated))] = None


def _maker_code(component: str, maker: object, make: Callable[[], object] | None, *stated: object) -> CodeName:
    """Name what makes models or learners, one that it makes, and what is stated of it."""
    try:
        made = None if make is None else make()
    except Exception as error:
        # Whoever uses it meets the error, too.
        made = type(error).__name__
    own = _own(getattr(maker, "__module__", None) or type(maker).__module__)
    return code_name(component, maker, made, *stated, own=own or ())


@cache
def _own(module: str) -> tuple[str, ...] | None:
    """Return the package whose sources count for a component of this module; ``None`` if versions stand for it."""
    if not module:  # It was made by hand.
        return ()
    top = module.partition(".")[0]
    if top in (*source_files.LIBRARY, *_PACKAGES.values()):
        return None
    origin = source_files.find(module)
    return None if origin is not None and origin.standard else (top,)


def _once(key: tuple[object, ...], value: object, named: Callable[[], CodeName]) -> CodeName:
    if key not in _named:
        _named[key] = value, named()
    return _named[key][1]
