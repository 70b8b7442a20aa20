"""
The model as a site's workers hold it: each a whole one, or all of them together one (FSDP2).

The leader, at the first worker, sees and changes it through `Whole` or `Parts`. What several workers must do together
is in `gather` and `spread`, which all of them call after the same step.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist

from . import group, weights
from .weights import Held, Staged, Tensors

# Under the name that it has since PyTorch 2.13, or the one before.
REDUCE_SCATTER = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor
FIT_SHARE = 0.8  # Of a GPU's memory; activations want some, too.
BYTES = 16  # Of a parameter: itself, its gradient and two moments in float32.


def shard(model: torch.nn.Module, *, always: bool = False) -> torch.nn.Module:
    """
    Cut the parameters over the workers of the site (FSDP2), when the model does not fit one GPU, or `always`.

    Call it before the optimizer is made, at all workers. Each module of a ModuleList, then the whole, is gathered for
    its own forward and backward. Alone, or where there is one worker, the model stays as it is.
    """
    if not os.environ.get("GPUYARD_SITE_URL") or not dist.is_initialized() or dist.get_world_size() == 1:
        return model
    if not always and _fits(model):
        return model
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    device = next(model.parameters()).device.type
    mesh = init_device_mesh(device, (dist.get_world_size(),))
    group.copy_from_first([*model.parameters(), *model.buffers()])
    for module in model.modules():
        if isinstance(module, torch.nn.ModuleList):
            for block in module:
                fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model


def _fits(model: torch.nn.Module) -> bool:
    device = next(model.parameters()).device
    if device.type != "cuda":
        return True
    needed = BYTES * sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return needed <= FIT_SHARE * torch.cuda.get_device_properties(device).total_memory


def is_sharded(model: torch.nn.Module) -> bool:
    """Whether the parameters are cut over workers."""
    return bool(_cut(model))


def _cut(model: torch.nn.Module) -> list[Any]:
    """The modules that FSDP gathers. It is slow to import, and where nobody has imported it there are none."""
    fsdp = sys.modules.get("torch.distributed.fsdp")
    return [module for module in model.modules() if isinstance(module, fsdp.FSDPModule)] if fsdp else []


def seen(model: torch.nn.Module) -> Whole:
    """The model, as its leader works with it."""
    return Parts(model) if is_sharded(model) else Whole(model)


class Whole:
    """A model of which each worker has all."""

    is_sharded = False

    def __init__(self, model: torch.nn.Module) -> None:
        self._model = model

    def described(self) -> dict[str, dict[str, object]]:
        """Name to {shape, dtype} of the tensors that travel."""
        return weights.described(self._model)

    def taken(self) -> Tensors:
        """A copy of the parameters, float32 on the CPU."""
        return weights.taken(self._model)

    def held(self) -> Held:
        """A copy of the parameters, beside them."""
        return Held.of(self._model)

    def staged(self, by: Tensors) -> Staged:
        """What is to be added to the parameters, where they are."""
        return weights.staged(self._model, by)

    def load(self, tensors: Tensors) -> None:
        """Overwrite the parameters."""
        weights.load(self._model, tensors)

    def add(self, by: Staged) -> None:
        """Add to the parameters."""
        weights.add(self._model, by)

    def spread(self) -> None:
        """At all workers: take over what the leader has done to its parameters."""
        group.copy_from_first(list(self._model.parameters()))

    def gather(self) -> None:
        """At all workers: let the leader see the parameters; `taken` and `held` are of then."""

    def hand_out(self, *, counted: int, of: int) -> None:
        """The next backward is of a batch of which so many of the site's samples count here."""


class Parts(Whole):
    """A model that is cut over the workers. The leader has it whole on the CPU while it travels, and not otherwise."""

    is_sharded = True

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__(model)
        self._whole: dict[str, torch.Tensor] = {}
        self._to_do: tuple[str, dict[str, torch.Tensor]] | None = None
        self._mean = Mean()
        for module in _cut(model):
            module.set_custom_reduce_scatter(self._mean)

    def taken(self) -> Tensors:
        whole, self._whole = self._whole, {}
        return {name: tensor.to(torch.float32).numpy() for name, tensor in whole.items()}

    def held(self) -> Held:
        held, self._whole = Held(self._whole), {}
        return held

    def staged(self, by: Tensors) -> Staged:
        return {name: torch.from_numpy(by[name]) for name in weights.named(self._model)}

    def load(self, tensors: Tensors) -> None:
        self._to_do = ("load", {name: torch.from_numpy(tensors[name]) for name in weights.named(self._model)})

    def add(self, by: Staged) -> None:
        self._to_do = ("add", by)

    def spread(self) -> None:
        what, whole = self._to_do or ("", {})
        self._to_do = None
        what = group.told(what)
        _reshard(self._model)
        with torch.no_grad():
            for name, parameter in weights.named(self._model).items():
                part = self._part(parameter, whole.get(name)) if what else None
                if what == "load":
                    parameter.copy_(part)
                elif what == "add":
                    parameter.add_(part)

    def gather(self) -> None:
        _reshard(self._model)
        is_leader = dist.get_rank() == 0
        for name, parameter in weights.named(self._model).items():
            tensor = _whole(parameter)
            if is_leader:
                self._whole[name] = tensor.detach().to("cpu", copy=True)

    def hand_out(self, *, counted: int, of: int) -> None:
        self._mean.factor = counted / of * dist.get_world_size()

    @staticmethod
    def _part(parameter: torch.nn.Parameter, whole: torch.Tensor | None) -> torch.Tensor:
        """This worker's part of what the leader has."""
        shape, device = parameter.shape, parameter.device
        tensor = torch.empty(shape, device=device) if whole is None else whole.to(device)
        if is_part(parameter):
            from torch.distributed.tensor import distribute_tensor

            return distribute_tensor(tensor, parameter.device_mesh, parameter.placements).to(parameter.dtype)
        dist.broadcast(tensor, src=0)
        return tensor.to(parameter.dtype)


class Mean:
    """FSDP's reduce-scatter takes the mean of the workers' gradients; this one that of the samples'."""

    def __init__(self) -> None:
        self.factor = 1.0  # A worker's samples over the mean of them all.

    def allocate(self, size: Any, *, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        """A buffer, as FSDP asks for it."""
        return torch.empty(*size, dtype=dtype, device=device)

    def __call__(
        self, output_tensor: torch.Tensor, input_tensor: torch.Tensor, group: Any, op: Any, async_op: bool = False
    ) -> Any:
        """A worker whose samples are borrowed adds zeros, not 0 x gradient, which may be a NaN."""
        if self.factor == 0:
            input_tensor.zero_()
        elif self.factor != 1:
            input_tensor.mul_(self.factor)
        return REDUCE_SCATTER(output_tensor, input_tensor, group=group, op=op, async_op=async_op)


def apart(model: torch.nn.Module) -> Callable[[], None]:
    """Keep this worker's parameters, whole or a part; return what puts them back."""
    _reshard(model)
    kept = Held.of(model).tensors

    def restore() -> None:
        _reshard(model)
        with torch.no_grad():
            for name, parameter in weights.named(model).items():
                parameter.copy_(kept[name])

    return restore


def _reshard(model: torch.nn.Module) -> None:
    """After a forward without a backward, FSDP leaves the outermost parameters gathered."""
    for module in _cut(model):
        module.reshard()


def is_part(tensor: torch.Tensor) -> bool:
    """Whether this is a DTensor: each worker has a part of it."""
    return hasattr(tensor, "full_tensor")


def _whole(tensor: Any) -> torch.Tensor:
    return tensor.full_tensor() if is_part(tensor) else tensor  # type: ignore[no-any-return]


def whole_state(model: torch.nn.Module) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """
    The state_dict with whole tensors, at every worker: all of them must ask.

    Tied ones once, as safetensors.torch.save_model has it; the second says which name stands for which.
    """
    _reshard(model)
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    kept = {name: min(tied) for tied in names.values() for name in tied}
    state = {name: each for name, each in model.state_dict().items() if kept.get(name, name) == name}
    whole = {name: _whole(each).detach().to("cpu").contiguous() for name, each in state.items()}
    return whole, {name: other for name, other in kept.items() if name != other}
