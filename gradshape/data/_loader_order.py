"""Which rows a ``DataLoader`` takes of its data set, and in which order."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SubsetRandomSampler

from gradshape._randomness import process_randomness


def batches_of(loader: DataLoader[Any]) -> list[Any]:
    """Return the places of the rows that a loader takes in one pass: a list for each batch, or one for each row.

    A sampler that shuffles rows takes them in their order, and a last batch that is too small is there whatever
    ``drop_last`` says: other rows are in it in every pass.
    """
    batches = loader.batch_sampler
    if batches is None:
        return _places(loader.sampler)
    if type(batches) is not BatchSampler:
        return list(batches)
    places, size = _places(batches.sampler), batches.batch_size
    return [places[start : start + size] for start in range(0, len(places), size)]


def _places(sampler: Any) -> list[Any]:
    if type(sampler) is SubsetRandomSampler:
        return list(sampler.indices)
    if type(sampler) is RandomSampler and not sampler.replacement:
        rows = len(sampler.data_source)
        if sampler.num_samples == rows:
            return list(range(rows))
    return list(sampler)


@contextmanager
def always_the_same(loader: DataLoader[Any]) -> Iterator[None]:
    """Let a loader's samplers, data set and ``collate_fn`` draw the same numbers at every call, and put back theirs."""
    samplers = (loader.sampler, loader.batch_sampler, getattr(loader.batch_sampler, "sampler", None))
    generators = [getattr(sampler, "generator", None) for sampler in samplers]
    states = [(each, each.get_state()) for each in generators if isinstance(each, torch.Generator)]
    with process_randomness(torch.device("cpu")):
        try:
            yield
        finally:
            for generator, state in states:
                generator.set_state(state)
