"""What happens at each optimizer step: counting, averaging gradients inside the site, and agreeing to stop."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist


class StrangeOptimizer(ValueError):
    """The optimizer works on parameters that the model does not have."""


class Steps:
    """Hooks `optimizer.step`. All ranks of a site see the same counts and the same `stopping` after each step."""

    def __init__(self, *, model: torch.nn.Module, optimizer: torch.optim.Optimizer, world: int) -> None:
        self._parameters = _trained(model, optimizer)
        self.total = 0
        self.in_round = 0
        self.covered = 0  # Positions of the round whose gradients are in a step that was taken, at all ranks together.
        self.stopping = False
        self.stop_wanted = False
        self._handed_out = 0
        self._counted = 0
        self._hooks = [optimizer.register_step_post_hook(self._after)]
        if world > 1:
            self._hooks.append(optimizer.register_step_pre_hook(self._average))

    def close(self) -> None:
        """Let go of the optimizer."""
        for hook in self._hooks:
            hook.remove()

    def begin_round(self) -> None:
        """A new round of positions starts; gradients not yet stepped on stay with the researcher's loop."""
        self.in_round = self.covered = self._handed_out = 0

    def hand_out(self, *, positions: int, counted: int) -> None:
        """A batch goes to the loop: `positions` in the whole site, `counted` of them this rank's own."""
        self._handed_out += positions
        self._counted += counted

    def _after(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        self.total += 1
        self.in_round += 1
        self.covered = self._handed_out
        self._counted = 0

    def _average(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        """Replace each gradient by the mean over all samples of the step in the site, in one all-reduce.

        Layout of the vector: [gradients x own samples | which gradients exist | own samples | wish to stop]. A rank
        whose samples count 0 adds zeros, not 0 x gradient: its borrowed sample may have given a NaN.
        """
        parameters = self._parameters
        wide = any(parameter.dtype == torch.float64 for parameter in parameters)
        dtype, device = torch.float64 if wide else torch.float32, parameters[0].device
        sizes = [parameter.numel() for parameter in parameters]
        vector = torch.zeros(sum(sizes) + len(sizes) + 2, dtype=dtype, device=device)
        *pieces, exist, last = vector.split([*sizes, len(sizes), 2])
        if self._counted:
            for index, (parameter, piece) in enumerate(zip(parameters, pieces, strict=True)):
                if parameter.grad is not None:
                    piece.copy_(parameter.grad.reshape(-1)).mul_(self._counted)
                    exist[index] = 1
        last.copy_(torch.tensor([float(self._counted), float(self.stop_wanted)], dtype=dtype))
        dist.all_reduce(vector)
        samples, stop = last.tolist()
        self.stopping = stop > 0
        for parameter, piece, exists in zip(parameters, pieces, exist.tolist(), strict=True):
            if not exists:
                parameter.grad = None
            elif samples:
                mean = (piece / samples).view_as(parameter).to(parameter.dtype)
                if parameter.grad is None:
                    parameter.grad = mean
                else:
                    parameter.grad.copy_(mean)


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
