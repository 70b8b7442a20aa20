"""What this host can offer: its accelerators by NVML, or its CPU where there is no NVIDIA driver."""

import logging
import os
import platform
import shutil
import socket
from pathlib import Path
from typing import Any

import psutil
import pynvml

log = logging.getLogger(__name__)

GIB = 1 << 30


class AcceleratorsNotUnderstood(ValueError):
    """`--accelerators` is not `CPU:<count>`, or this is no CPU host."""


def discover(*, state: Path, accelerators: str | None = None) -> dict[str, Any]:
    """The host as the broker's `hardware` object. `accelerators` ("CPU:2") sets how many shares a CPU host offers.

    Raises AcceleratorsNotUnderstood.
    """
    vcpus, ram_gib = len(os.sched_getaffinity(0)), _ram_bytes() / GIB
    gpus = _gpus()
    if gpus and accelerators:
        raise AcceleratorsNotUnderstood("--accelerators is for hosts without GPUs; this one offers the GPUs it has")
    return {
        "hostname": socket.gethostname(),
        "accelerators": gpus or _cpu_shares(accelerators or "CPU:1", ram_gib=ram_gib),
        "vcpus": vcpus,
        "ram_gib": round(ram_gib, 1),
        "disk_free_gib": round(shutil.disk_usage(state).free / GIB, 1),
        "os": platform.platform(terse=True),
        "python": platform.python_version(),
    }


def own_address() -> str:
    """The address of the interface that leads outside; 127.0.0.1 on a machine without a way out. Sends nothing.

    Connecting a UDP socket only chooses a route. 192.0.2.1 is nobody's address (RFC 5737), so the default one.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def usage() -> dict[str, Any]:
    """How busy the host is now: {cpu_percent, ram_used_gib, accelerators: [{utilisation_percent, memory_used_gib}]}."""
    return {
        "cpu_percent": psutil.cpu_percent(interval=None),  # Since the last call.
        "ram_used_gib": round(psutil.virtual_memory().used / GIB, 1),
        "accelerators": _gpu_usage(),
    }


def _gpu_usage() -> list[dict[str, Any]]:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        return [
            {
                "utilisation_percent": int(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu),
                "memory_used_gib": round(int(pynvml.nvmlDeviceGetMemoryInfo(handle).used) / GIB, 1),
            }
            for handle in handles
        ]
    except pynvml.NVMLError as lost:
        log.warning("hardware.usage_unknown why=%s", lost)
        return []
    finally:
        pynvml.nvmlShutdown()


def _gpus() -> list[dict[str, Any]]:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:  # No driver library, or a driver without a device: a CPU host.
        return []
    try:
        found = [_gpu(index) for index in range(pynvml.nvmlDeviceGetCount())]
    finally:
        pynvml.nvmlShutdown()
    return [gpu for gpu in found if gpu]


def _gpu(index: int) -> dict[str, Any] | None:
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        return {
            "kind": str(pynvml.nvmlDeviceGetName(handle)),
            "memory_gib": round(int(pynvml.nvmlDeviceGetMemoryInfo(handle).total) / GIB, 1),
            "uuid": str(pynvml.nvmlDeviceGetUUID(handle)),
        }
    except pynvml.NVMLError as lost:  # A GPU that fell off the bus is not offered; the others still are.
        log.warning("hardware.gpu_lost index=%d why=%s", index, lost)
        return None


def _cpu_shares(accelerators: str, *, ram_gib: float) -> list[dict[str, Any]]:
    kind, _, count = accelerators.partition(":")
    if kind != "CPU" or not count.isdecimal() or not 1 <= int(count) <= 1024:
        raise AcceleratorsNotUnderstood(f"--accelerators {accelerators}: write CPU:<count>, for example CPU:1")
    share_gib = round(ram_gib / int(count), 1)
    return [{"kind": "CPU", "memory_gib": share_gib, "uuid": f"cpu-{index}"} for index in range(int(count))]


def _ram_bytes() -> int:
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:  # In a container the limit of the control group is what there is.
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        return physical
    return min(physical, int(limit)) if limit.isdecimal() else physical
