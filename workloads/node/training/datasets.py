"""Map-style datasets over packed tokens and over lines of text, read through memory maps."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from . import fetching
from .copies import ONE_VERSION
from .sources import DatasetChanged, DatasetError

# How llm.c's files begin (dev/data/data_common.py there): magic number and version, int32, say the type of the tokens
# after a header of 256 int32. The FineWeb samples on the Hugging Face hub are written so.
LLM_C = {(20240520, 1): "uint16", (20240801, 7): "uint32"}
LLM_C_HEADER_BYTES = 1024


class DatasetMisshapen(DatasetError):
    """The files are there and are not what this class reads."""


class _Files:
    """The files of one kind at an address, fetched, and whether they are still what was opened."""

    def __init__(
        self, address: str | Path, *, endings: tuple[str, ...], sha256: str | None, manifest: str | None
    ) -> None:
        path = fetching.fetch(address, sha256=sha256, manifest=manifest)
        self.paths = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.suffix in endings)
        if not self.paths:
            raise DatasetMisshapen(f"{path} has no files that end in {' or '.join(endings)}")
        self._root, self._seen = path, [fetching.state_of(file) for file in self.paths]

    @cached_property
    def fingerprint(self) -> str:
        """Of these files: see fetching.fingerprint."""
        if self.paths == [self._root]:
            return fetching.fingerprint(self._root)
        names = [file.relative_to(self._root).as_posix() for file in self.paths]
        prints = [fetching.fingerprint(file) for file in self.paths]
        return fetching.of_files([(name, None, each) for name, each in zip(names, prints, strict=True)])

    def check(self, number: int) -> None:
        """A file cut short under a memory map ends the process with SIGBUS, so look first. Raises DatasetChanged."""
        path = self.paths[number]
        if fetching.state_of(path) != self._seen[number]:
            raise DatasetChanged(f"{path} changed while it was trained on; {ONE_VERSION}")


class TokenWindows:
    """Packed tokens, cut into windows: sample i is (inputs, targets), each [context] int64, targets one token ahead.

    `address` as for `fetch`: a file, or a directory whose .bin and .npy files are read in the order of their names.
    A .bin is bare numbers of `dtype`, little-endian, as nanoGPT writes them; an .npy and a .bin of llm.c say their type
    themselves. Windows do not overlap (but for the one token) and do not reach from file to file. `dataset[i]` raises
    DatasetChanged when a file was written to since.
    """

    def __init__(
        self,
        address: str | Path,
        *,
        context: int,
        dtype: str = "uint16",
        sha256: str | None = None,
        manifest: str | None = None,
    ) -> None:
        """Fetch and open the files. Raises DatasetMisshapen, and as `fetch`."""
        if context < 1:
            raise DatasetMisshapen(f"context is {context}; it must be 1 or more")
        self._files = _Files(address, endings=(".bin", ".npy"), sha256=sha256, manifest=manifest)
        self._context = context
        self._tokens = [_opened(path, dtype) for path in self._files.paths]
        self._starts = _starts([max(0, len(tokens) - 1) // context for tokens in self._tokens])
        if not len(self):
            raise DatasetMisshapen(f"{address} has no {context + 1} tokens in a row, as one window needs")

    @property
    def fingerprint(self) -> str:
        """A SHA-256 of the files and of what makes samples of them: equal where sites train on the same."""
        types = ",".join(str(tokens.dtype) for tokens in self._tokens)
        return fetching.of_files([(f"tokens {self._context} {types}", None, self._files.fingerprint)])

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        number, place = _place(self._starts, index)
        self._files.check(number)
        start = place * self._context
        window = self._tokens[number][start : start + self._context + 1].astype(np.int64)
        return window[:-1], window[1:]


class Lines:
    """Lines of text: sample i is `parse(line)`, the line itself where `parse` is None. Empty lines do not count.

    `address` as for `fetch`: a file, or a directory whose .txt, .jsonl and .csv files are read in the order of their
    names. UTF-8. `dataset[i]` raises DatasetChanged when a file was written to since.
    """

    def __init__(
        self,
        address: str | Path,
        *,
        parse: Callable[[str], Any] | None = None,
        sha256: str | None = None,
        manifest: str | None = None,
    ) -> None:
        """Fetch the files and find their lines. Raises DatasetMisshapen, and as `fetch`."""
        self._files = _Files(address, endings=(".txt", ".jsonl", ".csv"), sha256=sha256, manifest=manifest)
        self._parse = parse
        self._raw = [_opened(path, "uint8") for path in self._files.paths]
        self._spans = [_lines_of(raw) for raw in self._raw]
        self._starts = _starts([len(spans) for spans in self._spans])
        if not len(self):
            raise DatasetMisshapen(f"{address} has no line that is not empty")

    @property
    def fingerprint(self) -> str:
        """A SHA-256 of the files, equal where sites train on the same. `parse` is not in it."""
        return fetching.of_files([("lines", None, self._files.fingerprint)])

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, index: int) -> Any:
        number, place = _place(self._starts, index)
        self._files.check(number)
        start, end = self._spans[number][place]
        line = self._raw[number][start:end].tobytes().decode().rstrip("\r")
        return self._parse(line) if self._parse else line


def _opened(path: Path, dtype: str) -> np.ndarray:
    """The file as numbers in a memory map: [count]. Raises DatasetMisshapen."""
    if path.suffix == ".npy":
        try:
            tokens = np.load(path, mmap_mode="r")
        except ValueError as strange:
            raise DatasetMisshapen(f"{path}: {strange}") from strange
        if tokens.ndim != 1 or tokens.dtype.kind not in "iu":
            raise DatasetMisshapen(f"{path} is {tokens.dtype} of shape {tokens.shape}; tokens are integers in one row")
        return tokens
    size, start = path.stat().st_size, 0
    first = tuple(np.fromfile(path, "<i4", count=2).tolist())
    if dtype != "uint8" and first in LLM_C:
        dtype, start = LLM_C[first], LLM_C_HEADER_BYTES
    kind = np.dtype(dtype).newbyteorder("<")
    if (size - start) % kind.itemsize:
        raise DatasetMisshapen(f"{path} is {size} bytes, which are no whole number of {dtype}")
    return np.memmap(path, dtype=kind, mode="r", offset=start) if size > start else np.empty(0, kind)


def _lines_of(raw: np.ndarray) -> np.ndarray:
    """Where the lines that are not empty start and end: [lines, 2], bytes."""
    piece = 64 << 20
    found = [np.flatnonzero(raw[at : at + piece] == ord("\n")) + at for at in range(0, len(raw), piece)]
    ends = np.concatenate([*found, [len(raw)]]).astype(np.int64)
    starts = np.concatenate([[0], ends[:-1] + 1]).astype(np.int64)
    return np.stack([starts, ends], axis=1)[ends > starts]


def _starts(counts: list[int]) -> list[int]:
    return [0, *np.cumsum(counts).tolist()]


def _place(starts: list[int], index: int) -> tuple[int, int]:
    """Which file, and which sample in it. Raises IndexError."""
    if not 0 <= index < starts[-1]:
        raise IndexError(f"sample {index} of {starts[-1]}")
    number = bisect_right(starts, index) - 1
    return number, index - starts[number]
