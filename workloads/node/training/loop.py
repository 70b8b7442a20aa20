"""What happens at each optimizer step: counting, averaging gradients inside the site, and a word to all its ranks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributed as dist


class StrangeOptimizer(ValueError):
    """The optimizer works on parameters that the model does not have."""


class Steps:
    """Hooks `optimizer.step`. A step of the session is one of the first optimizer."""

    def __init__(self, *, model: torch.nn.Module, optimizers: Sequence[torch.optim.Optimizer], world: int) -> None:
        self.total = 0
        self.said = 0  # Rank 0's word to all ranks, a small whole number; it travels with the gradients,
        self.heard = 0  # and here it is, at all ranks after the same step.
        self._averages = [_Average(self, _trained(model, one), is_first=not at) for at, one in enumerate(optimizers)]
        self._hooks = [optimizers[0].register_step_post_hook(self._count)]
        for optimizer, average in zip(optimizers, self._averages, strict=True):
            if world > 1:
                self._hooks.append(optimizer.register_step_pre_hook(_with_gradients(average)))

    def close(self) -> None:
        """Let go of the optimizers."""
        for hook in self._hooks:
            hook.remove()

    def hand_out(self, *, counted: int) -> None:
        """A batch goes to the loop; so many of its samples count, the others were borrowed."""
        for average in self._averages:
            average.counted += counted

    def _count(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        self.total += 1


class _Average:
    """
    Replaces each gradient of an optimizer by the mean over all samples of the step in the site, in one all-reduce.

    Layout of the vector: [gradients x own samples | which gradients exist | own samples | rank 0's word]. A rank whose
    samples count 0 adds zeros, not 0 x gradient: its borrowed sample may have given a NaN.
    """

    def __init__(self, steps: Steps, parameters: list[torch.nn.Parameter], *, is_first: bool) -> None:
        self._steps, self._parameters, self._is_first = steps, parameters, is_first
        self.counted = 0

    def __call__(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        parameters, steps = self._parameters, self._steps
        wide = any(parameter.dtype == torch.float64 for parameter in parameters)
        dtype, device = torch.float64 if wide else torch.float32, parameters[0].device
        sizes = [parameter.numel() for parameter in parameters]
        vector = torch.zeros(sum(sizes) + len(sizes) + 2, dtype=dtype, device=device)
        *pieces, exist, last = vector.split([*sizes, len(sizes), 2])
        if self.counted:
            for index, (parameter, piece) in enumerate(zip(parameters, pieces, strict=True)):
                if parameter.grad is not None:
                    piece.copy_(parameter.grad.reshape(-1)).mul_(self.counted)
                    exist[index] = 1
        last.copy_(torch.tensor([float(self.counted), float(steps.said)], dtype=dtype))
        dist.all_reduce(vector)
        samples, word = last.tolist()
        self.counted = 0
        if self._is_first:
            steps.heard = int(word)
        for parameter, piece, exists in zip(parameters, pieces, exist.tolist(), strict=True):
            if not exists:
                parameter.grad = None
            elif samples:
                mean = (piece / samples).view_as(parameter).to(parameter.dtype)
                if parameter.grad is None:
                    parameter.grad = mean
                else:
                    parameter.grad.copy_(mean)


def _with_gradients(average: _Average) -> Callable[[torch.optim.Optimizer, Any, Any], Any]:
    """The hook before a step; one that is given a closure, as by Lightning, has its gradients only from there."""

    def hook(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> Any:
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
        if closure is None:
            average(optimizer, args, kwargs)
            return None

        def averaged() -> Any:
            loss = closure()
            average(optimizer, args, kwargs)
            return loss

        return args[:1], {**kwargs, "closure": averaged}

    return hook


def _trained(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> list[torch.nn.Parameter]:
    """The parameters the optimizer changes, each once, in its order. Raises StrangeOptimizer."""
    own = {id(parameter) for parameter in model.parameters()}
    groups: list[dict[str, Any]] = optimizer.param_groups
    held = {id(parameter): parameter for group in groups for parameter in group["params"]}
    strangers = [parameter for key, parameter in held.items() if key not in own]
    if strangers:
        shapes = ", ".join(str(list(parameter.shape)) for parameter in strangers[:3])
        raise StrangeOptimizer(
            f"{len(strangers)} of the optimizer's {len(held)} parameters are not in the model (shapes {shapes}). "
            "Make the optimizer from the parameters of the model you give to session(), after moving it to its device"
        )
    return [parameter for parameter in held.values() if parameter.requires_grad]
