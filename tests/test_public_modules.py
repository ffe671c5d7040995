"""A module is public if its package exports something from it; the name of every other module has an underscore."""

import ast
import pkgutil
from pathlib import Path

import pytest

import gradshape

# Packages whose private modules are not marked yet: none is to be added.
UNMARKED = {"analysis", "clipping", "data", "shaping", "training"}
[ROOT] = map(Path, gradshape.__path__)
PACKAGES = sorted({found.name for found in pkgutil.iter_modules([str(ROOT)]) if found.ispkg} - UNMARKED)


def modules_without_underscore(package: str) -> set[str]:
    """Modules of which neither the name nor that of a package above them starts with an underscore."""
    paths = (path.relative_to(ROOT.parent).with_suffix("") for path in (ROOT / package).rglob("*.py"))
    return {".".join(path.parts) for path in paths if not any(part.startswith("_") for part in path.parts)}


def modules_exported_from(package: str) -> set[str]:
    """Modules of the package from which its ``__init__`` takes names."""
    tree = ast.parse((ROOT / package / "__init__.py").read_text())
    taken = {node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom)}
    return {module for module in taken if module.startswith(f"gradshape.{package}.")}


@pytest.mark.parametrize("package", PACKAGES)
def test_private_modules_have_an_underscore(package: str) -> None:
    assert not modules_without_underscore(package) - modules_exported_from(package)


@pytest.mark.parametrize("package", PACKAGES)
def test_exported_names_come_from_modules_without_an_underscore(package: str) -> None:
    assert not modules_exported_from(package) - modules_without_underscore(package)
