"""
Gradients become the mean over all samples of the site during `backward`, as in DistributedDataParallel: in buckets.

A bucket is under way as soon as its gradients are there, while backward goes on with the layers before them. Buckets go
in one order at all ranks, and each goes in every backward, so ranks may use different parts of the model. After
backward all ranks hold the same gradients, so clipping, scalers and optimizers do the same at each.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist

BUCKET = 6_500_000  # Numbers, 25 MB of float32, as DistributedDataParallel has it.


class GradientsComeTwice(RuntimeError):
    """A parameter got a gradient twice in one backward."""


class Averaging:
    """
    Hooks the backward of these parameters.

    The mean is weighted by `hand_out`, and of whole gradients: what earlier backwards left in them is the same at all
    ranks. A rank whose samples count 0 adds zeros, not 0 x gradient: its borrowed sample may have given a NaN.
    """

    def __init__(self, parameters: list[torch.nn.Parameter]) -> None:
        self.said = 0  # Rank 0's word to all ranks, a small whole number; it travels with the gradients,
        self.heard = 0  # and here it is, at all ranks after the same backward.
        self._share, self._counts = 0.0, False
        self._parameters = parameters[::-1]  # Backward comes to the last ones first, mostly.
        self._buckets = _cut(self._parameters)
        self._home = {id(parameter): at for at, bucket in enumerate(self._buckets) for parameter in bucket}
        self._hooks = [parameter.register_post_accumulate_grad_hook(self._ready) for parameter in parameters]
        self._left: list[set[int]] = []  # Of each bucket, whose gradients are to come; empty outside of backward.
        self._under_way: list[tuple[torch.Tensor, Any]] = []

    def close(self) -> None:
        """Let go of the parameters."""
        for hook in self._hooks:
            hook.remove()

    def hand_out(self, *, counted: int, of: int) -> None:
        """A batch goes to the loop: so many of the site's samples of this step count here, the others were borrowed."""
        self._share, self._counts = counted / of, counted > 0

    def _ready(self, parameter: torch.Tensor) -> None:
        if not self._left:
            self._left = [{id(one) for one in bucket} for bucket in self._buckets]
            self._under_way = []
            torch.autograd.Variable._execution_engine.queue_callback(self._finish)
        at = self._home[id(parameter)]
        if at < len(self._under_way):
            self._left = []
            raise GradientsComeTwice(
                "a parameter got a gradient twice in one backward, which a site of several workers cannot average; "
                "use torch.utils.checkpoint with use_reentrant=False"
            )
        self._left[at].discard(id(parameter))
        while len(self._under_way) < len(self._buckets) and not self._left[len(self._under_way)]:
            self._launch()

    def _launch(self) -> None:
        bucket = self._buckets[len(self._under_way)]
        wide = any(parameter.dtype == torch.float64 for parameter in bucket)
        dtype = torch.float64 if wide else torch.float32
        sizes = [parameter.numel() for parameter in bucket]
        vector = torch.zeros(sum(sizes), dtype=dtype, device=bucket[0].device)
        if self._counts:
            for parameter, piece in zip(bucket, vector.split(sizes), strict=True):
                if parameter.grad is not None:
                    piece.copy_(parameter.grad.reshape(-1)).mul_(self._share)
        self._under_way.append((vector, dist.all_reduce(vector, async_op=True)))

    def _finish(self) -> None:
        """At the end of backward: what no gradient came for goes as zeros, and all ranks take the means."""
        self._left = []
        while len(self._under_way) < len(self._buckets):
            self._launch()
        exists = [float(self._counts and parameter.grad is not None) for parameter in self._parameters]
        words = torch.tensor([*exists, float(self.said)])  # On the CPU, so that nobody waits for the GPU here.
        dist.all_reduce(words)
        *known, word = words.tolist()
        self.heard = int(word)
        for _, sending in self._under_way:
            sending.wait()
        pieces = [
            piece
            for (vector, _), bucket in zip(self._under_way, self._buckets, strict=True)
            for piece in vector.split([parameter.numel() for parameter in bucket])
        ]
        for parameter, piece, is_known in zip(self._parameters, pieces, known, strict=True):
            if not is_known:
                parameter.grad = None
            elif parameter.grad is None:
                parameter.grad = piece.view_as(parameter).to(parameter.dtype)
            else:
                parameter.grad.copy_(piece.view_as(parameter))
        self._under_way = []


def _cut(parameters: list[torch.nn.Parameter]) -> list[list[torch.nn.Parameter]]:
    """Cut into buckets of one device each."""
    buckets: list[list[torch.nn.Parameter]] = []
    size, device = 0, None
    for parameter in parameters:
        if not buckets or size + parameter.numel() > BUCKET or parameter.device != device:
            buckets.append([])
            size, device = 0, parameter.device
        buckets[-1].append(parameter)
        size += parameter.numel()
    return buckets
