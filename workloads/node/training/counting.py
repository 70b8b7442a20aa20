"""
What a training step of a model is made of: FLOPs, bytes, and what stays in memory, counted while it runs.

FLOPs are torch's own formulas (`torch.utils.flop_counter`), with those of kernels that it leaves out. Bytes are those
of the tensors that an operation reads and writes, each once.
"""

from __future__ import annotations

from collections import Counter
from math import prod
from types import TracebackType
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count

# They read as much of their first tensor as they write, not all of it.
GATHERS = frozenset({"embedding", "index_select", "gather", "index", "take"})
# They move nothing, though they are no views to torch.
FREE = frozenset(
    {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "_unsafe_view", "lift_fresh"}
    | {"_local_scalar_dense", "_coalesced_", "_sparse_coo_tensor_with_dims_and_tensors"}
)
# Statistics over a batch need a pass of their own before the values can be used: these read their input twice.
TWO_PASSES = frozenset({"native_batch_norm", "_native_batch_norm_legit", "cudnn_batch_norm", "miopen_batch_norm"})
TWO_PASSES_BACK = frozenset(f"{name}_backward" for name in TWO_PASSES)
PRECISIONS = {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "fp32", torch.float64: "fp32"}


class Counting:
    """Counts what runs inside it: `with Counting() as counted: step()`. Costs time, changes no result."""

    def __init__(self) -> None:
        self.work: Counter[tuple[int, int]] = Counter()  # (FLOPs, bytes) of one operation -> how often.
        self.flops_by_precision: Counter[str] = Counter()
        self.kept: dict[int, int] = {}  # Storages that forward saved for backward -> bytes.
        self._mode = _Mode(self)
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._keep, _same)

    def __enter__(self) -> Counting:
        self._hooks.__enter__()
        self._mode.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._mode.__exit__(kind, raised, trace)
        self._hooks.__exit__(kind, raised, trace)

    def profile(
        self, *, model: torch.nn.Module, optimizer: torch.optim.Optimizer, batch_size: int, tokens: int | None = None
    ) -> dict[str, Any]:
        """The step that was counted, as `offers.matching.profile.parse` reads it."""
        parameters = list(model.parameters())
        own = {parameter.untyped_storage()._cdata for parameter in parameters}
        states = tree_leaves([list(state.values()) for state in optimizer.state.values()])
        precision = self.flops_by_precision.most_common(1)
        return {
            "work": [[flops, moved, calls] for (flops, moved), calls in sorted(self.work.items())],
            "batch_size": batch_size,
            "tokens_per_sample": tokens,
            "precision": precision[0][0] if precision else "fp32",
            "parameters": sum(parameter.numel() for parameter in parameters),
            "trainable": sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
            "parameter_bytes": sum(_bytes(parameter) for parameter in parameters),
            "optimizer_bytes": sum(_bytes(state) for state in states if isinstance(state, torch.Tensor)),
            "activation_bytes": sum(size for storage, size in self.kept.items() if storage not in own),
        }

    def count(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        """Add one operation that has run."""
        name = func._overloadpacket.__name__
        if getattr(func, "is_view", False) or name in FREE:
            return
        flops = _flops(func._overloadpacket, args, kwargs, out)
        self.work[flops, _moved(name, args, kwargs, out)] += 1
        if flops:
            self.flops_by_precision[_precision(name, args)] += flops

    def _keep(self, tensor: torch.Tensor) -> torch.Tensor:
        if tensor.layout == torch.strided:
            storage = tensor.untyped_storage()
            self.kept[storage._cdata] = storage.nbytes()
        return tensor


class _Mode(TorchDispatchMode):
    def __init__(self, counting: Counting) -> None:
        super().__init__()
        self._counting = counting

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if isinstance(func, torch._ops.OpOverload):
            self._counting.count(func, args, kwargs, out)
        return out


def _same(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


def _flops(packet: Any, args: Any, kwargs: Any, out: Any) -> int:
    if packet in flop_registry:
        return int(flop_registry[packet](*args, **kwargs, out_val=out))
    name = packet.__name__
    if name == "_scaled_dot_product_flash_attention_for_cpu":
        return int(sdpa_flop_count(*(one.shape for one in args[:3])))
    if name == "_scaled_dot_product_flash_attention_for_cpu_backward":
        return int(sdpa_backward_flop_count(*(one.shape for one in args[:4])))
    if name.startswith(("mkldnn_rnn_layer", "_cudnn_rnn", "_thnn_fused_lstm_cell")):
        return _recurrent(name, args)
    return 0


def _recurrent(name: str, args: Any) -> int:
    """Each weight meets each step of each sequence once, 2 FLOPs; backward twice."""
    weights = args[1] if isinstance(args[1], list | tuple) else [one for one in args[1:5] if one.dim() == 2]
    steps = prod(args[0].shape[:-1])
    return (4 if "backward" in name else 2) * steps * sum(one.numel() for one in weights)


def _moved(name: str, args: Any, kwargs: Any, out: Any) -> int:
    if name in GATHERS:
        return 3 * sum(_bytes(one) for one in tree_leaves(out) if isinstance(one, torch.Tensor))
    tensors = [one for one in tree_leaves((args, kwargs, out)) if isinstance(one, torch.Tensor)]
    sparse = [one for one in tensors if one.layout != torch.strided]
    if sparse:  # Only the rows that it names are touched: read, changed and written.
        return 3 * sum(_bytes(one) for one in sparse)
    again = args[: 1 if name in TWO_PASSES else 2 if name in TWO_PASSES_BACK else 0]
    return sum(_bytes(one) for one in (*tensors, *again))


def _bytes(tensor: torch.Tensor) -> int:
    """What it takes in memory; an expanded tensor takes no more than what it was expanded from."""
    if tensor.layout != torch.strided:
        return _bytes(tensor._indices()) + _bytes(tensor._values()) if tensor.is_sparse else 0
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())


def _precision(name: str, args: Any) -> str:
    dtype = next((one.dtype for one in tree_leaves(args) if isinstance(one, torch.Tensor)), torch.float32)
    precision = PRECISIONS.get(dtype, "fp32")
    if precision == "fp32" and torch.cuda.is_available():
        tf32 = torch.backends.cudnn.allow_tf32 if "conv" in name else torch.backends.cuda.matmul.allow_tf32
        return "tf32" if tf32 else "fp32"
    return precision
