"""A user's project that is imported anew: its modules have the same names every time, whatever their files say."""

import importlib
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from gradshape import learners, models


@contextmanager
def imported(folder: Path, files: Mapping[str, str], module: str, **variables: str) -> Iterator[ModuleType]:
    """Write a project into a new folder and import ``module`` of it; forget it and what it registers afterwards.

    Args:
        folder: is made; must not have been used before.
        files: texts by path.
        module: name of the module.
        variables: environment variables to set meanwhile.
    """
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    before, registries = set(sys.modules), list[dict[str, Any]]((models._BUILDERS, learners.registry._LEARNERS))
    registered = [dict(registry) for registry in registries]
    environment = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield importlib.import_module(module)
    finally:
        sys.path.remove(str(folder))
        for name, value in environment.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", None) or folder).startswith(str(folder)):
                del sys.modules[name]
        for registry, content in zip(registries, registered, strict=True):
            registry.clear()
            registry.update(content)
