"""A module is public if its package exports something from it; the name of every other module has an underscore."""

import ast
import importlib
import pkgutil
from pathlib import Path

import pytest

import gradshape

[ROOT] = map(Path, gradshape.__path__)
PACKAGES = sorted(found.name for found in pkgutil.iter_modules([str(ROOT)]) if found.ispkg)


def modules_without_underscore(package: str) -> set[str]:
    """Modules of which neither the name nor that of a package above them starts with an underscore."""
    paths = (path.relative_to(ROOT.parent).with_suffix("") for path in (ROOT / package).rglob("*.py"))
    return {".".join(path.parts) for path in paths if not any(part.startswith("_") for part in path.parts)}


def modules_exported_from(package: str) -> set[str]:
    """Modules of the package from which its ``__init__``, or that of a public room in it, takes names."""
    public = [path for path in (ROOT / package).rglob("__init__.py") if not path.parent.name.startswith("_")]
    taken = set().union(*map(_modules_of_exports, public))
    return {module for module in taken if module.startswith(f"gradshape.{package}.")}


def _modules_of_exports(init: Path) -> set[str]:
    """Modules that the names in ``__all__`` are imported from."""
    exports = getattr(importlib.import_module(".".join(init.parent.relative_to(ROOT.parent).parts)), "__all__", [])
    imports = [node for node in ast.parse(init.read_text()).body if isinstance(node, ast.ImportFrom)]
    return {node.module or "" for node in imports if any(alias.name in exports for alias in node.names)}


@pytest.mark.parametrize("package", PACKAGES)
def test_private_modules_have_an_underscore(package: str) -> None:
    assert not modules_without_underscore(package) - modules_exported_from(package)


@pytest.mark.parametrize("package", PACKAGES)
def test_exported_names_come_from_modules_without_an_underscore(package: str) -> None:
    assert not modules_exported_from(package) - modules_without_underscore(package)
