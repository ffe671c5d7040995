"""What the autograd graph tells about a forward pass that hooks do not see."""

from collections import Counter

from torch import Tensor
from torch.autograd.graph import Node

# Nodes that can put the rows of a batch into another order.
_REORDERING = ("Index", "Gather", "Flip", "Roll", "Sort", "Topk", "Take", "Scatter", "Argsort")


class AutogradGraph:
    """The autograd graph below some outputs.

    Attributes:
        uses: how often each leaf tensor enters the graph, by the tensor's ``id``.
        may_reorder: whether any operation in it can put rows into another order.
    """

    def __init__(self, *outputs: Tensor) -> None:
        self.uses: Counter[int] = Counter()
        self.may_reorder = False
        self._seen: set[Node] = set()
        for output in outputs:
            self.extend(output)

    def extend(self, output: Tensor) -> None:
        """Add the graph below ``output``."""
        if output.grad_fn is None and output.requires_grad:
            self.uses[id(output)] += 1
        open_nodes: list[Node | None] = [output.grad_fn]
        while open_nodes:
            node = open_nodes.pop()
            if node is None or node in self._seen:
                continue
            self._seen.add(node)
            self.may_reorder = self.may_reorder or node.name().startswith(_REORDERING)
            for below, _ in node.next_functions:
                leaf = getattr(below, "variable", None)
                if leaf is not None:
                    self.uses[id(leaf)] += 1
                else:
                    open_nodes.append(below)
