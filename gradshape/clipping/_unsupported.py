"""Refusal of modules and parameters of kinds that no way of differentiating covers."""

import torch

from gradshape.clipping.structure import Structure

_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def refuse_unsupported(structure: Structure) -> None:
    """Raise ``ValueError`` for a compiled module with parameters, or a trainable parameter that is no real number."""
    for name, module in structure.modules.items():
        if isinstance(module, torch.jit.ScriptModule) and any(p.requires_grad for p in module.parameters()):
            raise ValueError(
                f"model: {name or 'it'} is a TorchScript module ({type(module).__name__}), whose layers cannot be "
                "watched: expected modules in Python; use the nn.Module that it was made from"
            )
    for name, parameter in structure.parameters.items():
        if parameter.dtype in _DTYPES:
            continue
        remedy = "convert it by .to(torch.bfloat16)"
        if parameter.is_complex():
            remedy = "keep its torch.view_as_real as the parameter, and join them in forward by torch.view_as_complex"
        raise ValueError(
            f"model: the parameter {name} has dtype {parameter.dtype}: expected trainable parameters of "
            f"{', '.join(str(dtype).removeprefix('torch.') for dtype in _DTYPES)}; {remedy}"
        )
