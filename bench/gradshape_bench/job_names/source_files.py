"""Source files: which of them make a module what it is, found by following its imports."""

import ast
import hashlib
import pkgutil
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from importlib.machinery import ModuleSpec
from pathlib import Path

from gradshape import _code
from gradshape_bench.job_names.imports import NO_IMPORTS, Computed, Imports, imports_of

# Their own sources are hashed apart from those of a user.
LIBRARY = ("gradshape", "gradshape_bench")


@dataclass(frozen=True)
class Origin:
    """Where a module comes from.

    Attributes:
        name: full name.
        path: its file; ``None`` if it has none: it is built in, made by hand, or a namespace package.
        package: what relative imports in it start from.
    """

    name: str
    path: Path | None
    package: str

    @property
    def standard(self) -> bool:
        """Whether it is part of Python."""
        return _top(self.name) in sys.stdlib_module_names if self.path is None else _code.is_standard(self.path)

    @property
    def installed(self) -> bool:
        """Whether it is part of an installed package that has a version."""
        if self.path is None or not _code.is_installed(self.path):
            return False
        return version(_top(self.name)) is not None


@dataclass(frozen=True)
class Reach:
    """What some modules import, directly and indirectly.

    Attributes:
        files: sha256 (hex) of the files that count, by the name of their module; ``None`` where there is none.
        paths: where these files are.
        installed: names of the installed packages that these import, whose versions stand for their files.
        missing: names of the modules that these try to import and that do not exist: one day they may.
        computed: what these import or run in a way that their texts do not tell, by module and file. What packages do
            that are installed is left out.
    """

    files: dict[str, str | None]
    paths: frozenset[Path]
    installed: frozenset[str]
    missing: frozenset[str]
    computed: frozenset[tuple[str, Path, Computed]]


@dataclass(frozen=True)
class _Text:
    # What a file says, and its size and time when it was read.
    sha256: str
    state: tuple[int, int]
    imports: Imports = NO_IMPORTS
    attributes: frozenset[str] = frozenset()


def is_of_user(name: str, *, own: Collection[str] = ()) -> bool:
    """Say whether a module is the user's: no version stands for its source.

    Args:
        name: full name of the module.
        own: installed packages that count as the user's.
    """
    if _top(name) in LIBRARY:
        return False
    if _top(name) in own:
        return True
    origin = find(name)
    return origin is None or not (origin.standard or origin.installed)


def reach(names: Iterable[str], counts: Callable[[str], bool]) -> Reach:
    """Follow the imports of some modules, also those inside functions, through all modules that count.

    Args:
        names: full names of the modules.
        counts: whether the file of a module of this name is hashed and its imports are followed.
    """
    files: dict[str, str | None] = {}
    paths = set[Path]()
    installed, missing, attributes = set[str](), set[str](), set[str]()
    computed = set[tuple[str, Path, Computed]]()
    seen, left = set[str](), set(names)
    while left:
        imported = set[str]()
        for name in left:
            origin = find(name)
            if origin is None:
                missing.add(name)
            elif counts(name):
                text = None if origin.path is None else _text(origin.path)
                files[name] = None if text is None else text.sha256
                if origin.path is not None and text is not None:
                    paths.add(origin.path)
                    attributes |= text.attributes
                    imported.update(_imported(origin, text))
                    if not _code.is_installed(origin.path):
                        computed.update((name, origin.path, found) for found in text.imports.computed)
            elif origin.installed:
                installed.add(_top(name))
        # Importing `a.b` runs `a` first, which then has those of its modules as attributes that anybody has imported.
        above = {name.rpartition(".")[0] for name in left} - {""}
        inside = {f"{package}.{name}" for package in files for name in _inside(package) & attributes}
        seen |= left
        left = (imported | above | inside) - seen
    return Reach(files, frozenset(paths), frozenset(installed), frozenset(missing), frozenset(computed))


def find(name: str) -> Origin | None:
    """Find a module without importing it; ``None`` if there is none of this name."""
    found = _places(name)
    return None if found is None else found[0]


@cache
def version(package: str) -> str | None:
    """Return the version of an installed package; ``None`` if it has none."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        said = getattr(sys.modules.get(package), "__version__", None)
    if said is not None:
        return str(said)
    # Its distribution has another name. To look for that takes seconds.
    names = sorted(set(_distributions().get(package, ())))
    return ", ".join(f"{name} {metadata.version(name)}" for name in names) or None


@cache
def _distributions() -> dict[str, list[str]]:
    return dict(metadata.packages_distributions())


def _top(name: str) -> str:
    return name.partition(".")[0]


def _places(name: str) -> tuple[Origin, list[str] | None] | None:
    # The module's origin, and where its submodules are if it is a package.
    module = sys.modules.get(name)
    if module is not None:
        path, places = getattr(module, "__file__", None), getattr(module, "__path__", None)
        return _origin(name, path, places is not None), None if places is None else list(places)
    above, _, last = name.rpartition(".")
    parent = _places(above) if above else None
    if above and (parent is None or parent[1] is None):
        return None
    searched = sys.path if parent is None else parent[1] or []
    spec = find_spec(name, None if parent is None else searched)
    if spec is None:
        return None
    if spec.has_location or spec.submodule_search_locations is None:
        inner = spec.submodule_search_locations
        return _origin(name, spec.origin if spec.has_location else None, inner is not None), inner
    # A namespace package cannot tell its folders before its parent is imported.
    return _origin(name, None, True), [str(Path(place, last)) for place in searched if Path(place, last).is_dir()]


def _inside(package: str) -> frozenset[str]:
    found = _places(package)
    return frozenset() if found is None or found[1] is None else _listed(tuple(found[1]))


@cache
def _listed(places: tuple[str, ...]) -> frozenset[str]:
    return frozenset(module.name for module in pkgutil.iter_modules(places))


def find_spec(name: str, places: Sequence[str] | None) -> ModuleSpec | None:
    """Find a module by its whole name, in ``places`` if it lies in a package, without importing anything."""
    found = (finder.find_spec(name, places) for finder in sys.meta_path)
    return next((spec for spec in found if spec is not None), None)


def _origin(name: str, path: str | None, is_package: bool) -> Origin:
    return Origin(name, None if path is None else Path(path), name if is_package else name.rpartition(".")[0])


def edited(paths: Iterable[Path]) -> list[Path]:
    """Return those of some files that are no longer what they were when :func:`reach` read them."""
    read = ((path, _text(path)) for path in paths)
    return [path for path, text in read if text is not None and _state(path) != text.state]


def _state(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


@cache
def _text(path: Path) -> _Text | None:
    # A file is read once a session: this process has imported it as it was.
    state = _state(path)
    try:
        content = path.read_bytes()
    except OSError:
        return None
    if state is None:
        return None
    sha256 = hashlib.sha256(content).hexdigest()
    if path.suffix != ".py":
        return _Text(sha256, state)
    try:
        nodes = list(ast.walk(ast.parse(content)))
    except (SyntaxError, ValueError):
        return _Text(sha256, state)
    attributes = frozenset(node.attr for node in nodes if isinstance(node, ast.Attribute))
    return _Text(sha256, state, imports_of(nodes), attributes)


def _imported(origin: Origin, text: _Text) -> Iterator[str]:
    for found in text.imports.named:
        module, *inside = found.of(origin.name, origin.package) or ("",)
        if module:
            yield module
        yield from (name for name in inside if find(name) is not None)
