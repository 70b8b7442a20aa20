"""The workers of one site as a torch.distributed process group; a group of one costs nothing."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed import TCPStore

# A worker may wait as long as its leader waits for the broker, so the group's own limit must not fire: a worker that
# died is noticed by Ray, which ends the site.
FOREVER = timedelta(days=30)
_stores: list[TCPStore] = []


def listen(*, address: str, world: int) -> int:
    """Open the group's meeting point on this node, for rank 0. Returns the port the system gave it."""
    store = TCPStore(address, 0, world, is_master=True, timeout=FOREVER, wait_for_workers=False)
    _stores.append(store)
    return int(store.port)


def join(*, rank: int, world: int, address: str, port: int, cuda: bool) -> None:
    """Make the process group: gloo for tensors of the CPU, and with `cuda` NCCL for those of the GPU."""
    interface = _interface(os.environ.get("GPUYARD_ADDRESS", ""))
    if interface:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
        os.environ.setdefault("NCCL_SOCKET_IFNAME", interface)
    if not _stores:
        _stores.append(TCPStore(address, port, world, is_master=False, timeout=FOREVER))
    backend = "cpu:gloo,cuda:nccl" if cuda else "gloo"
    dist.init_process_group(backend, store=_stores[0], rank=rank, world_size=world, timeout=FOREVER)


def told(word: Any) -> Any:
    """Rank 0's `word`, at every rank."""
    if not dist.is_initialized():
        return word
    box = [word]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def copy_from_first(tensors: list[torch.Tensor]) -> None:
    """Overwrite the tensors of every rank by those of rank 0."""
    if dist.is_initialized():
        for tensor in tensors:
            data = tensor.detach().contiguous()
            dist.broadcast(data, src=0)
            if data.data_ptr() != tensor.data_ptr():
                tensor.detach().copy_(data)


def _interface(address: str) -> str | None:
    """The network interface that has `address`; any loopback address is at lo."""
    if address.startswith("127."):
        return "lo"
    import psutil  # Here, so that a session alone on a laptop does not need it.

    for name, addresses in psutil.net_if_addrs().items():
        if any(one.address == address for one in addresses):
            return str(name)
    return None
