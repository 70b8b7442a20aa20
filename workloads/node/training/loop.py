"""What happens at each step: counting, and averaging gradients inside the site, with a word to all its ranks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from .averaging import Averaging


class StrangeOptimizer(ValueError):
    """The optimizer works on parameters that the model does not have."""


class Steps:
    """Hooks `optimizer.step`. A step of the session is one of the first optimizer."""

    def __init__(self, *, model: torch.nn.Module, optimizers: Sequence[torch.optim.Optimizer], world: int) -> None:
        self.total = 0
        held = [_trained(model, one) for one in optimizers]
        self._hook = optimizers[0].register_step_post_hook(self._count)
        self.averaging = _averaging(held) if world > 1 else None

    def close(self) -> None:
        """Let go of the optimizers and the parameters."""
        self._hook.remove()
        if self.averaging:
            self.averaging.close()

    def _count(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        self.total += 1


def _averaging(held: Sequence[Sequence[torch.nn.Parameter]]) -> Averaging | None:
    """Of what every worker has whole; FSDP averages what is cut over them."""
    from .sharding import is_part

    parameters = {id(one): one for part in held for one in part if not is_part(one)}
    return Averaging(list(parameters.values())) if parameters else None


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
