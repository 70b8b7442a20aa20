"""A model's parameters as the float32 tensors that travel, and back. Buffers stay where they are."""

import numpy as np
import torch

from .layout import Floats, Layout

Tensors = dict[str, np.ndarray]


def named(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """The parameters, trainable and frozen, by name; tied ones once, under the first of their names."""
    return dict(model.named_parameters(remove_duplicate=True))


def described(model: torch.nn.Module) -> dict[str, dict[str, object]]:
    """Name to {shape, dtype} as the tensors are on the wire."""
    return {name: {"shape": list(tensor.shape), "dtype": "float32"} for name, tensor in named(model).items()}


def taken(model: torch.nn.Module) -> Tensors:
    """A copy of the parameters, float32 on the CPU."""
    return {name: tensor.detach().to("cpu", torch.float32, copy=True).numpy() for name, tensor in named(model).items()}


def load(model: torch.nn.Module, tensors: Tensors) -> None:
    """Overwrite the parameters in place, so that the optimizer keeps its hold on them; cast to the model's types."""
    with torch.no_grad():
        for name, parameter in named(model).items():
            parameter.copy_(torch.from_numpy(tensors[name]))


def shift(model: torch.nn.Module, by: Tensors) -> None:
    """Add to the parameters in place, in float32, cast to the model's types."""
    with torch.no_grad():
        for name, parameter in named(model).items():
            parameter.add_(torch.from_numpy(by[name]).to(parameter.device))


def difference(base: Floats, model: torch.nn.Module, layout: Layout) -> Floats:
    """base - the model's parameters, float32: what a site contributes. [layout.size]."""
    delta = base.copy()
    parameters = named(model)
    for name, part in layout.named(delta).items():
        part -= parameters[name].detach().to("cpu", torch.float32).numpy()
    return delta
