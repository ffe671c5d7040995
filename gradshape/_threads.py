"""How work is divided among the threads of this process."""

import torch


def even_share(most: int) -> int:
    """``most``, or less, so that each of torch's threads has equally many of a batch's products; at least 1.

    Batched products are shared out one by one: where some threads have one more, the others wait for it.
    """
    threads = torch.get_num_threads()
    return most - most % threads if most > threads else max(1, most)
