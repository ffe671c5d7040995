"""Settings of a project, options that need not be given each time: ``[tool.gradshape]`` in ``pyproject.toml``."""

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gradshape import _validate
from gradshape_bench.plain_text import plain

_TABLE = "[tool.gradshape]"


def arguments(root: Path, flags: Mapping[str, bool]) -> list[str]:
    """Return the settings of a project as arguments of the command line, where what is given there comes after them.

    Args:
        root: folder that may hold a ``pyproject.toml``.
        flags: names of all options; whether each stands alone, without a value.

    Raises:
        ValueError: the file is no TOML, ``tool.gradshape`` is no table, a setting is unknown (near matches are listed),
            or its value is of another kind than its option takes.
    """
    path = root / "pyproject.toml"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        # What others make of the file is theirs to say.
        return []
    if "gradshape" not in text:
        return []
    try:
        project = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: {error}") from error
    tools = _table(f"{path}: tool", project.get("tool", {}))
    found: list[str] = []
    for key, value in _table(f"{path}: tool.gradshape", tools.get("gradshape", {})).items():
        name = key.replace("_", "-")
        if name not in flags:
            raise ValueError(f"{path}: {_validate.unknown(f'setting in {_TABLE}', name, flags)}")
        found += _option(f"{path}: {_TABLE}: {plain(key)}", name, value, alone=flags[name])
    return found


def _table(where: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{where} = {plain(repr(value))}: expected a table, {_TABLE}")
    return value


def _option(where: str, name: str, value: Any, *, alone: bool) -> Iterator[str]:
    option = f"--gradshape-{name}"
    if alone:
        if not isinstance(value, bool):
            raise ValueError(f"{where} = {value!r}: expected true or false")
        if value:
            yield option
        return
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, bool) or not isinstance(one, str | int | float):
            raise ValueError(f"{where} = {value!r}: expected text or a number")
        yield f"{option}={one}"
