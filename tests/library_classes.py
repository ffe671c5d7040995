"""The classes that a package defines, for tests of what holds for all of them."""

import importlib
import pkgutil
from types import ModuleType


def classes_of(package: ModuleType) -> list[type]:
    """Import all modules of ``package``, and return the classes that they define."""
    names = [found.name for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]
    modules = [importlib.import_module(name) for name in names if not name.endswith("__main__")]
    return [
        kind
        for module in modules
        for kind in vars(module).values()
        if isinstance(kind, type) and kind.__module__ == module.__name__
    ]
