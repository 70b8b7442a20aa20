"""Bring the parameters of a workload home, at any version that its broker keeps, also while it runs.

A version is a snapshot and the updates since. They are fetched one by one, each verified, and added up here to the
very bits that the sites hold, which a fingerprint proves; adding up needs numpy and safetensors.
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from gpuyard import objects
from gpuyard.errors import HashMismatch, NotFound, PackageMissing
from gpuyard.pull import PATIENCE_S, Download, Progress, bring, not_writable, silent

if TYPE_CHECKING:
    from gpuyard.client import Client


def newest(client: "Client", workload_id: int) -> int:
    """The newest version. Raises: NotFound where there are no parameters yet."""
    found = client.versions(workload_id)["newest"]
    if found is None:
        raise NotFound(
            f"workload {workload_id} has left no model and has no parameters yet",
            code="no_artifact",
            hint=f"`yard show {workload_id}` tells how it fares",
        )
    return found


def pull(
    client: "Client",
    workload_id: int,
    version: int,
    *,
    to: Path,
    progress: Progress = silent,
    patience_s: Sequence[float] = PATIENCE_S,
) -> objects.Version:
    """The parameters at a version as the safetensors file `to`, which is replaced at the very end; what they are of.

    A call that broke off goes on with what it left in `to`.part and `to`.parts. As for `bring` otherwise.
    Raises: NotFound (it names the versions that can be had), PackageMissing, HashMismatch, GpuyardError.
    """
    way = client.version(workload_id, version)
    try:
        along(client, way, to=to, progress=progress, patience_s=patience_s)
    except NotFound as gone:
        if gone.code != "object_missing":
            raise
        way = client.version(workload_id, version)  # Retention has been by: this says so, or tells another way.
        along(client, way, to=to, progress=progress, patience_s=patience_s)
    return way


def along(client: "Client", way: objects.Version, *, to: Path, progress: Progress, patience_s: Sequence[float]) -> None:
    """Fetch what leads to a version and put it together. Raises: GpuyardError."""
    if not way["updates"]:
        bring(stored(client, way, way["snapshot"]), to=to, progress=progress, patience_s=patience_s)
        return
    assembly = assembler(way)
    parts = to.with_name(f"{to.name}.parts")
    total = sum(each["size_bytes"] for each in (way["snapshot"], *way["updates"]))
    done, paths = 0, []
    for each in (way["snapshot"], *way["updates"]):
        told = counted(progress, before=done, total=total)
        wanted = stored(client, way, each)
        paths.append(bring(wanted, to=parts / each["sha256"], progress=told, patience_s=patience_s))
        done += each["size_bytes"]
    draft = to.with_name(f"{to.name}.part")
    updates = list(zip(paths[1:], (each["fingerprint"] for each in way["updates"]), strict=True))
    try:
        assembly.assemble(way["tensors"], paths[0], updates, to=draft)
        os.replace(draft, to)
        shutil.rmtree(parts)
    except assembly.Strayed as strayed:
        shutil.rmtree(parts)  # Each was what it should be, so they would lead there again.
        raise HashMismatch(f"version {way['version']} of workload {way['workload']}: {strayed}") from strayed
    except OSError as error:
        raise not_writable(error, to) from error


def assembler(way: objects.Version) -> ModuleType:
    """The module that adds up. Raises: PackageMissing."""
    try:
        from gpuyard.node.training import assembly
    except ModuleNotFoundError as missing:
        at = way["snapshot"]["version"]
        raise PackageMissing(
            f"version {way['version']} is version {at} and {len(way['updates'])} updates, which {missing.name} adds up;"
            " it is not installed here",
            hint=f"pip install numpy safetensors; or take --version {at}, which needs nothing",
        ) from missing
    return assembly


def stored(client: "Client", way: objects.Version, each: objects.Stored) -> Download:
    """One of the objects that lead to a version."""
    what = f"{'snapshot' if each == way['snapshot'] else 'update'} {each['version']} of workload {way['workload']}"
    return Download(
        what,
        each["sha256"],
        each["size_bytes"],
        lambda start: client.object_content(way["workload"], each["sha256"], start=start),
    )


def counted(progress: Progress, *, before: int, total: int) -> Progress:
    """Progress of one file as that of several."""
    return lambda done, _: progress(before + done, total)
