"""Short names of options, which give way to whoever else wants them, before or after."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import pytest


class ShortNames:
    """Adds options under a long and a short name; the short one is another plugin's as soon as that adds it.

    Plugins add their options one after the other, and conftests after all plugins. pytest knows of no option that gives
    way, so that what adds options is wrapped for the parser at hand.

    Args:
        parser: of pytest, to which nothing else was added by this plugin.
        group: of the options.

    Attributes:
        taken: the names without dashes that are others', in the order in which they were taken.
    """

    def __init__(self, parser: pytest.Parser, group: pytest.OptionGroup) -> None:
        self._parser = parser
        self._group = group
        self._options: dict[str, Any] = {}
        self.taken: list[str] = []
        get = parser.getgroup
        groups: set[int] = set()

        @wraps(get)
        def getgroup(*args: Any, **named: Any) -> pytest.OptionGroup:
            found = get(*args, **named)
            if found is not group and id(found) not in groups:
                groups.add(id(found))
                found.addoption = self._giving_way(found.addoption)  # type: ignore[method-assign]
            return found

        parser.getgroup = getgroup  # type: ignore[method-assign]
        parser.addoption = self._giving_way(parser.addoption)  # type: ignore[method-assign]

    def add(self, long: str, name: str, **attributes: Any) -> None:
        """Add an option as ``long``, and as ``--name`` unless that is taken."""
        if self._is_there(f"--{name}"):
            self.taken.append(name)
            self._group.addoption(long, **attributes)
        else:
            self._group.addoption(long, f"--{name}", **attributes)
            self._options[f"--{name}"] = self._group.options[-1]

    def _is_there(self, name: str) -> bool:
        groups = [self._parser._anonymous, *self._parser._groups]
        return any(name in option.names() for group in groups for option in group.options)

    def _giving_way(self, addoption: Callable[..., None]) -> Callable[..., None]:
        @wraps(addoption)
        def add(*names: str, **attributes: Any) -> None:
            for name in names:
                if name in self._options:
                    self._give(name, self._options.pop(name))
            addoption(*names, **attributes)

        return add

    def _give(self, name: str, option: Any) -> None:
        if hasattr(option, "_long_opts"):
            # pytest 8 makes argparse's options of these when it parses.
            option._long_opts.remove(name)
        else:
            option._action.option_strings.remove(name)
            del self._parser.optparser._option_string_actions[name]
        self.taken.append(name.removeprefix("--"))
