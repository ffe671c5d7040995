"""Tensors as arrays of NumPy."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def host_array(tensor: Tensor) -> NDArray[Any]:
    """Return the values of a tensor on any device, as float32 where NumPy has no such type.

    >>> host_array(torch.ones(2, dtype=torch.bfloat16))
    array([1., 1.], dtype=float32)
    """
    values = tensor.detach().cpu()
    known = not values.is_floating_point() or values.dtype in (torch.float16, torch.float32, torch.float64)
    return np.asarray((values if known else values.float()).numpy())
