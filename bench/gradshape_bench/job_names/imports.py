"""What a source text imports: by statements, and by calls that are given the name of a module.

A name may be written in parts, with ``__name__`` and ``__package__``, or with dots before it. What imports or runs code
in a way that the text does not tell is *computed*: a name that comes from elsewhere, ``eval``, ``exec``, files that are
run, and an importing function that is handed to somebody else.
"""

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import resolve_name

_PARAMETERS = {
    "import_module": ("name", "package"),
    "importorskip": ("modname", "minversion", "reason"),
    "__import__": ("name", "globals", "locals", "fromlist", "level"),
}
_BUILTINS = {"eval", "exec"}
_RUN_FILES = {
    *("run_path", "run_module", "exec_module", "load_module", "resolve_name"),
    *("spec_from_file_location", "SourceFileLoader"),
}
_Place = ast.expr | ast.stmt
# They stand for a module's own names, which its text does not tell.
_NAME, _PACKAGE = "\0name\0", "\0package\0"
_ABOUT_ITSELF = {"__name__": _NAME, "__package__": _PACKAGE}


@dataclass(frozen=True)
class Import:
    """An import as it is written.

    Attributes:
        name: of the module; dots before it make it relative.
        inside: names that are imported from it, which may be modules.
        package: what a relative name starts from.
    """

    name: str
    inside: tuple[str, ...] = ()
    package: str = _PACKAGE

    def of(self, name: str, package: str) -> tuple[str, ...]:
        """Return the full names of the module and of what may be modules in it.

        Args:
            name: full name of the module that imports it.
            package: what relative imports in that start from.
        """

        def whole(text: str) -> str:
            return text.replace(_NAME, name).replace(_PACKAGE, package)

        try:
            module = resolve_name(whole(self.name), whole(self.package))
        except ImportError:  # So it will be for whoever runs it.
            return ()
        return (module, *(f"{module}.{inner}" for inner in self.inside)) if module else ()


@dataclass(frozen=True)
class Computed:
    """What a text imports or runs in a way that it does not tell.

    Attributes:
        line: number of its line.
        text: what is written there.
        deferred: whether it stands in a function, so that it is done only if somebody calls that.
    """

    line: int
    text: str
    deferred: bool


@dataclass(frozen=True)
class Imports:
    """What a text imports: modules whose names it tells, and whatever else."""

    named: tuple[Import, ...] = ()
    computed: tuple[Computed, ...] = ()


NO_IMPORTS = Imports()


def imports_of(nodes: Sequence[ast.AST]) -> Imports:
    """Return what a text imports, all nodes of whose tree are given."""
    importers = _importers(nodes)
    bound = _bound(nodes)
    named, computed = list[Import](), list[ast.expr | ast.ImportFrom]()
    followed = set[ast.AST]()
    for node in nodes:
        if found := _statement(node):
            named += found
        elif isinstance(node, ast.Call | ast.Subscript):
            called = _called(node, importers)
            if called is not None:
                followed.add(called[0])
                try:
                    named.append(called[1]())
                except _Computed:
                    computed.append(node)
        elif isinstance(node, ast.Assign) and _refers(node.value, importers) and _single_name(node):
            followed.add(node.value)
    for node in nodes:
        otherwise = _refers(node, importers) or _runs_text(node, bound) or _asks_by_text(node)
        if otherwise and node not in followed and isinstance(node, ast.expr | ast.ImportFrom):
            computed.append(node)
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)]
    return Imports(tuple(named), tuple(_found(node, functions) for node in computed))


def _found(node: ast.expr | ast.ImportFrom, functions: Sequence[_Place]) -> Computed:
    start, end = _span(node)
    inside = any(first <= start and end <= last for first, last in map(_span, functions))
    return Computed(node.lineno, ast.unparse(node)[:80], inside)


def _span(node: _Place) -> tuple[tuple[int, int], tuple[int, int]]:
    return (node.lineno, node.col_offset), (node.end_lineno or node.lineno, node.end_col_offset or node.col_offset)


class _Computed(Exception):
    """A text is not told by the source."""


def _statement(node: ast.AST) -> list[Import]:
    match node:
        case ast.Import(names):
            return [Import(alias.name) for alias in names]
        case ast.ImportFrom(module, names, level):
            return [Import("." * (level or 0) + (module or ""), tuple(alias.name for alias in names))]
    return []


def _importers(nodes: Sequence[ast.AST]) -> dict[str, str]:
    """Return what importing functions are called in a text, and what they are."""
    found = {name: name for name in _PARAMETERS}
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            found |= {alias.asname: alias.name for alias in node.names if alias.asname and alias.name in _PARAMETERS}
    # An alias may be given another one, above or below.
    assigned = [node for node in nodes if isinstance(node, ast.Assign) and _single_name(node)]
    grown = True
    while grown:
        known = len(found)
        for node in assigned:
            kind = _refers(node.value, found)
            name = _single_name(node)
            if kind and name:
                found.setdefault(name, kind)
        grown = len(found) > known
    return found


def _single_name(node: ast.Assign) -> str | None:
    match node.targets:
        case [ast.Name(name)]:
            return name
    return None


def _refers(node: ast.AST, importers: dict[str, str]) -> str | None:
    """Return which importing function a node stands for, if it does for one."""
    match node:
        case ast.Name(name, ast.Load()):
            return importers.get(name)
        case ast.Attribute(_, name, ast.Load()) if name in _PARAMETERS:
            return name
    return None


def _bound(nodes: Sequence[ast.AST]) -> set[str]:
    """Return those of the builtins that run text whose names a text gives to something else."""
    found = set[str]()
    for node in nodes:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.Name(name, ast.Store()) | ast.arg(name):
                found.add(name)
            case ast.ImportFrom(module, names) if module != "builtins":
                found |= {alias.asname or alias.name for alias in names}
    return found & _BUILTINS


def _runs_text(node: ast.AST, bound: set[str]) -> bool:
    match node:
        case ast.Name(name, ast.Load()):
            return name in _RUN_FILES or (name in _BUILTINS and name not in bound)
        case ast.Attribute(ast.Name("builtins" | "__builtins__"), name, ast.Load()):
            return name in _BUILTINS
        case ast.Attribute(_, name, ast.Load()):
            return name in _RUN_FILES
        case ast.ImportFrom("builtins", names):
            return any(alias.name in _BUILTINS and alias.asname for alias in names)
    return False


def _asks_by_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value in {"import_module", "__import__", *_RUN_FILES}


def _called(node: ast.Call | ast.Subscript, importers: dict[str, str]) -> tuple[ast.AST, Callable[[], Import]] | None:
    """Return the part of a node that imports, and what reads which module it names; ``None`` if it imports none."""
    match node:
        case ast.Subscript(ast.Attribute(ast.Name("sys"), "modules"), name, ast.Load()):
            return node, lambda: Import(_text(name))
        case ast.Call(ast.Attribute(ast.Attribute(ast.Name("sys"), "modules"), "get"), [name, *_]):
            return node, lambda: Import(_text(name))
        case ast.Call(function) if kind := _refers(function, importers):
            return function, lambda: _import(kind, node)
    return None


def _import(kind: str, call: ast.Call) -> Import:
    parameters = _PARAMETERS[kind]
    given: dict[str | None, ast.expr] = dict(zip(parameters, call.args, strict=False))
    given |= {word.arg: word.value for word in call.keywords}
    starred = any(isinstance(argument, ast.Starred) for argument in call.args)
    if starred or None in given or parameters[0] not in given:
        raise _Computed
    name = _text(given[parameters[0]])
    if kind == "__import__":
        return Import("." * _level(given.get("level")) + name, _texts(given.get("fromlist")))
    package = given.get("package")
    if name.startswith(".") and package is not None:
        return Import(name, package=_text(package))
    return Import(name)


def _text(node: ast.AST) -> str:
    match node:
        case ast.Constant(str(text)):
            return text
        case ast.Name(name) if name in _ABOUT_ITSELF:
            return _ABOUT_ITSELF[name]
        case ast.Attribute(ast.Name("__spec__"), "name" | "parent" as what):
            return _NAME if what == "name" else _PACKAGE
        case ast.BinOp(left, ast.Add(), right):
            return _text(left) + _text(right)
        case ast.JoinedStr(parts):
            return "".join(map(_text, parts))
        case ast.FormattedValue(value, -1, None):
            return _text(value)
    raise _Computed


def _texts(node: ast.AST | None) -> tuple[str, ...]:
    match node:
        case None | ast.Constant(None):
            return ()
        case ast.List(items) | ast.Tuple(items):
            return tuple(map(_text, items))
    raise _Computed


def _level(node: ast.AST | None) -> int:
    match node:
        case None:
            return 0
        case ast.Constant(int(level)) if level >= 0:
            return level
    raise _Computed
