"""How work is divided among the threads of this process."""

import torch


def even_share(most: int) -> int:
    """Return the largest number up to ``most`` that torch's threads can share evenly, or ``most`` if they are more.

    Batched products are given to threads one by one: if some threads have one more, the others wait for them.
    """
    threads = torch.get_num_threads()
    return most - most % threads if most > threads else max(1, most)
