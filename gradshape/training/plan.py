"""Which victims are trained together, and by which family."""

from collections.abc import Hashable, Iterator, Sequence

import torch

from gradshape.data import Dataset
from gradshape.training._dense.family import DenseFamily
from gradshape.training._estimators.family import EstimatorFamily
from gradshape.training._sharing import chunks
from gradshape.training._single.family import SingleFamily
from gradshape.training._vmapped.family import VmappedFamily
from gradshape.training.family import Family
from gradshape.training.network_family import NetworkFamily
from gradshape.training.victim import Victim
from gradshape.training.workload import Workload

# The first one that takes a victim trains it, and the first one that suits a network takes its single steps. The last
# of either list takes whatever the others do not.
NETWORK_FAMILIES: Sequence[NetworkFamily] = (DenseFamily(), VmappedFamily(), SingleFamily())
FAMILIES: Sequence[Family] = (*NETWORK_FAMILIES, EstimatorFamily())
# These train every victim on its own, as the reference for stacks.
ONE_BY_ONE: Sequence[Family] = (SingleFamily(), EstimatorFamily())


def family_of(dataset: Dataset, victim: Victim, device: torch.device, families: Sequence[Family] = FAMILIES) -> Family:
    """Return the family that trains this victim."""
    return next(family for family in families if family.takes(dataset, victim, device))


def stack_key(dataset: Dataset, victim: Victim, *, device: str | torch.device = "cpu") -> Hashable | None:
    """Return what victims have to share to be trained in one stack; ``None`` if this one is trained alone.

    The built-in families are asked, not those that :func:`train_victims` may be given. Victims of one stack share
    architecture, optimizer and how many steps it remembers, batch size, epochs, sampling, when they are scored,
    shuffle, train rows and private rows. Victims that ask for a common shuffle (``order_seed``) may have different
    private rows, if each has few.

    Plain ReLU networks are always stacked. Other models are if they draw no random numbers and all their layers have
    rules for per-sample gradients; on CPUs only where those are needed and a step is small. A victim with a probe is
    trained alone.
    """
    family = family_of(dataset, victim, torch.device(device))
    shared = family.shares(dataset, victim)
    return None if shared is None else (type(family).__name__, shared)


def plan(work: Workload, families: Sequence[Family] = FAMILIES) -> Iterator[tuple[Family, tuple[int, ...]]]:
    """Divide the victims into stacks: the family of each, and the numbers of its victims."""
    groups: dict[Hashable, tuple[Family, list[int]]] = {}
    for index, victim in enumerate(work.victims):
        family = family_of(work.dataset, victim, work.device, families)
        shared = family.shares(work.dataset, victim)
        key = index if shared is None else (family, shared)
        groups.setdefault(key, (family, []))[1].append(index)
    for family, group in groups.values():
        victims = [work.victims[index] for index in group]
        most = family.needs(work, victims).victims(work.max_memory) if len(group) > 1 else 1
        yield from ((family, tuple(members)) for members in chunks(group, most))
