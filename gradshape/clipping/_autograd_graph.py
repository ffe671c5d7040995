"""What the autograd graph tells about a forward pass that hooks do not see."""

from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.autograd.graph import Node

# Nodes that move rows to places that depend on values, which are others in the next batch.
_MOVING = ("Index", "Gather", "Sort", "Topk", "Take", "Scatter", "Argsort", "Put", "MaskedSelect", "MaskedScatter")


class AutogradGraph:
    """The autograd graph below some output.

    Args:
        output: the logits or the losses.

    Attributes:
        uses: how often each leaf tensor enters the graph, by the tensor's ``id``.
        moves_by_value: whether an operation in it moves rows to places that depend on values.
        converts: whether an operation in it computes in another dtype.
    """

    def __init__(self, output: Tensor) -> None:
        self.uses: Counter[int] = Counter()
        self.moves_by_value = self.converts = False
        self._nodes: dict[Node, int] = {}
        if output.grad_fn is None:
            self.uses[id(output)] += output.requires_grad
            return
        open_nodes = [output.grad_fn]
        self._nodes[output.grad_fn] = 0
        while open_nodes:
            node = open_nodes.pop()
            name = node.name()
            for below, _ in node.next_functions:
                if below is None:
                    continue
                leaf = _leaf(below)
                if leaf is not None:
                    self.uses[id(leaf)] += 1
                elif below not in self._nodes:
                    self._nodes[below] = len(self._nodes)
                    open_nodes.append(below)
            if name.startswith(_MOVING) or (name.startswith("Embedding") and not _looks_up_a_leaf(node)):
                self.moves_by_value = True
            if name.startswith("ToCopy"):
                self.converts = True

    def links(self, places: Mapping[int, int]) -> Hashable:
        """Return which operations there are, and how they are linked.

        ``places`` gives the number of a leaf by its ``id``.
        """
        described: list[Hashable] = []
        for node in self._nodes:
            described += [type(node), node.name(), len(node.next_functions)]
            for below, place in node.next_functions:
                leaf = None if below is None else _leaf(below)
                if leaf is not None:
                    described += [-1, places.get(id(leaf), -1)]
                else:
                    described += [-2 if below is None else self._nodes[below], place]
        return tuple(described)

    @property
    def settings(self) -> Hashable:
        """How the operations were called: sizes, axes and places.

        Two graphs with the same links and settings do the same to every row, but for what depends on the values of
        tensors.
        """
        return tuple(_hashable(getattr(node, name)) for node in self._nodes for name in _kind(type(node)).settings)


def _leaf(node: Any) -> Tensor | None:
    leaf: Tensor | None = node.variable if _kind(type(node)).is_leaf else None
    return leaf


def _looks_up_a_leaf(node: Any) -> bool:
    table = node.next_functions[0][0]
    return table is None or _leaf(table) is not None


@dataclass(frozen=True)
class _Kind:
    """What is known of a type of nodes: whether it is a leaf, and the attributes that say how it was called."""

    is_leaf: bool
    settings: tuple[str, ...]


_kinds: dict[type, _Kind] = {}


def _kind(of: type) -> _Kind:
    kind = _kinds.get(of)
    if kind is None:
        names = set(dir(of))
        # Tensors are saved under two names. Reading one may compute it again, and values do not count here.
        saved = (name for name in names if name.startswith("_saved_") and f"_raw{name}" not in names)
        kind = _kinds[of] = _Kind("variable" in names, tuple(sorted(saved)))
    return kind


def _hashable(setting: Any) -> Hashable:
    """Return what says which places an operation takes; not factors, which may be others at each step."""
    if isinstance(setting, int | str):
        return setting
    if isinstance(setting, tuple | list):
        return tuple(map(_hashable, setting))
    return None
