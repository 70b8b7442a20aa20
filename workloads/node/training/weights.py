"""A model's parameters as the float32 tensors that travel, and back. Buffers stay where they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import numpy as np
import torch

from .layout import Floats, Layout

Tensors = dict[str, np.ndarray]
Staged = dict[str, torch.Tensor]
_streams: dict[torch.device, torch.cuda.Stream] = {}  # One for each GPU: memory is kept apart by stream.


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


class Held:
    """
    A copy of the parameters as they are now, beside them.

    Making one of a model costs the loop a copy inside its device; bringing it to the CPU is for a thread. Where the
    device has no room for it, it is on the CPU at once.
    """

    def __init__(self, tensors: dict[str, torch.Tensor]) -> None:
        """tensors: copies, that nobody changes any more."""
        self.tensors = tensors
        self._made = [torch.cuda.current_stream(device).record_event() for device in _gpus(self.tensors)]

    @classmethod
    def of(cls, model: torch.nn.Module) -> Held:
        """Copy them now."""
        try:
            return cls({name: tensor.detach().clone() for name, tensor in named(model).items()})
        except torch.OutOfMemoryError:
            return cls({name: tensor.detach().to("cpu", copy=True) for name, tensor in named(model).items()})

    def missing(self, base: Floats, layout: Layout) -> Floats:
        """base - these parameters, float32: what a site contributes. [layout.size]."""
        delta = base.copy()
        with _aside(self.tensors, after=self._made):
            for name, part in layout.named(delta).items():
                part -= self.tensors[name].to("cpu", torch.float32).numpy()
        return delta


def staged(model: torch.nn.Module, by: Tensors) -> Staged:
    """What is to be added to the parameters, float32, beside them; on the CPU where the device has no room for it."""
    parameters = named(model)
    whole = {name: torch.from_numpy(by[name]) for name in parameters}
    try:
        with _aside(parameters):
            return {name: whole[name].to(parameter.device) for name, parameter in parameters.items()}
    except torch.OutOfMemoryError:
        return whole


def add(model: torch.nn.Module, by: Staged) -> None:
    """Add to the parameters in place, in float32, cast to the model's types."""
    with torch.no_grad():
        for name, parameter in named(model).items():
            parameter.add_(by[name].to(parameter.device))
            if by[name].is_cuda:  # Its memory is of another stream, and not to be used again before this is done.
                by[name].record_stream(torch.cuda.current_stream(parameter.device))


@contextmanager
def _aside(tensors: Mapping[str, torch.Tensor], after: Sequence[torch.cuda.Event] = ()) -> Iterator[None]:
    """Copies in here do not stand in the queue of the loop's own work on a GPU; at the end they are done."""
    with ExitStack() as entered:
        used = [_streams.setdefault(device, torch.cuda.Stream(device)) for device in _gpus(tensors)]
        for stream in used:
            entered.enter_context(torch.cuda.stream(stream))
            for event in after:
                stream.wait_event(event)
        yield
        for stream in used:
            stream.synchronize()


def _gpus(tensors: Mapping[str, torch.Tensor]) -> list[torch.device]:
    return sorted({tensor.device for tensor in tensors.values() if tensor.is_cuda}, key=str)
