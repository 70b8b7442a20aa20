"""A dataset of shards that are fetched when a sample of theirs is first wanted, and evicted. Read by litdata."""

from __future__ import annotations

import json
import os
from bisect import bisect_right
from pathlib import Path
from typing import Any

from . import fetching
from .copies import ONE_VERSION, CacheFull, Copy
from .datasets import DatasetMisshapen
from .sources import DatasetChanged, Entry, PackageMissing, is_local

INDEX = "index.json"


class Shards:
    """Shards that `litdata.optimize` wrote: sample i is what was put in, by number. Needs the package litdata.

    `address` is a directory as for `fetch`. Shards come through the same cache as `fetch`'s files, resumed and checked,
    when a sample of theirs is first wanted. `cache_gib` is how much of them stays (None: all, as the disk allows): a
    run's order is a permutation of all samples, so what does not fit is fetched again and again. Of litdata's options
    compression, encryption and token loaders are not read.

    `dataset[i]` raises DatasetChanged when the store has another version of a shard than when the dataset was opened.
    """

    def __init__(self, address: str | Path, *, cache_gib: float | None = None, manifest: str | None = None) -> None:
        """Fetch the index; no shard yet. Raises PackageMissing, DatasetMisshapen, and as `fetch`."""
        streaming, address = _litdata(), str(address)
        self._copy: Copy | None = None
        self._limit_bytes = None if cache_gib is None else int(cache_gib * 2**30)
        if is_local(address):
            directory = fetching.fetch(address, manifest=manifest)
            self.fingerprint = fetching.fingerprint(directory)
        else:
            self._copy = Copy(address)
            self._wanted = fetching.wanted_of(self._copy, sha256=None, manifest=manifest)
            self._entries = {entry.name: entry for entry in self._copy.entries}
            directory = self._copy.data
            self.fingerprint = fetching.of_files(
                [(e.name, e.size, self._wanted.get(e.name, e.version)) for e in self._copy.entries]
            )
        self._names, self._starts = self._index(directory, address)
        self._seen = {name: fetching.state_of(directory / name) for name in self._names} if not self._copy else {}
        self._directory = directory
        self._read = streaming(str(directory))

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        name = self._names[bisect_right(self._starts, index) - 1]
        if self._copy is None:
            if fetching.state_of(self._directory / name) != self._seen[name]:
                raise DatasetChanged(f"{self._directory / name} changed while it was trained on; {ONE_VERSION}")
            return self._read[index]
        shard = self._entries[name]
        if not (self._copy.data / shard.name).exists():
            self._make_room(self._copy, shard)
        with self._copy.using(shard, self._wanted.get(shard.name)):
            return self._read[index]

    def _index(self, directory: Path, address: str) -> tuple[list[str], list[int]]:
        """The shards' names, and the number of each one's first sample, with the count of all at the end."""
        path = directory / INDEX
        if self._copy and INDEX in self._entries:
            path = self._copy.bring(self._entries[INDEX], self._wanted.get(INDEX))
        if not path.exists():
            raise DatasetMisshapen(f"{address} has no {INDEX}: it is not what litdata.optimize writes")
        try:
            index = json.loads(path.read_text())
            chunks, config = index["chunks"], index["config"]
            names, starts = [chunk["filename"] for chunk in chunks], [0]
            for chunk in chunks:
                starts.append(starts[-1] + chunk["chunk_size"])
        except (ValueError, KeyError, TypeError) as strange:
            raise DatasetMisshapen(f"{address}: {INDEX} is not litdata's ({strange!r})") from strange
        options = [name for name in ("compression", "encryption") if config.get(name)]
        if options or config.get("item_loader") not in (None, "PyTreeLoader"):
            raise DatasetMisshapen(
                f"{address} was written with {options or config['item_loader']}; Shards reads what litdata.optimize "
                "writes without compression, encryption and item_loader"
            )
        there = self._entries if self._copy else {file.name for file in directory.iterdir()}
        if gone := [name for name in names if name not in there]:
            raise DatasetMisshapen(f"{address}: {INDEX} names {gone[0]}, which is not there ({len(gone)} such files)")
        return names, starts

    def _make_room(self, copy: Copy, shard: Entry) -> None:
        kept = [name for name in self._entries if name not in self._names]
        if self._limit_bytes is not None:
            copy.shrink(max(0, self._limit_bytes - (shard.size or 0)), keep=kept)
        try:
            copy.make_room([shard])
        except CacheFull:
            copy.shrink(0, keep=kept)
            copy.make_room([shard])


def _litdata() -> Any:
    # It would ask the package registry for a newer version of itself each time (litdata/helpers.py).
    os.environ.setdefault("LITDATA_DISABLE_VERSION_CHECK", "1")
    try:
        from litdata import StreamingDataset
    except ImportError as missing:
        raise PackageMissing(
            "yard.Shards needs the package litdata: pip install litdata, or name it in the run's requirements.txt"
        ) from missing
    return StreamingDataset
