"""Python values as one safetensors file: numbers, texts, lists, dicts, arrays, tensors, frames, modules' states.

It goes both ways between a notebook and a run. Nothing in such a file can run code, so a notebook may read what a
stranger's machine wrote. The file's metadata hold the values as JSON; arrays in it are named tensors of the file.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path, PurePath
from typing import Any

import numpy as np

DEPTH_MAX = 100


class CannotTravel(Exception):
    """A value that no file can hold; the message says what it is."""


class CorruptValues(Exception):
    """No file of values."""


class State(dict[str, Any]):
    """A module's state_dict. of: its class's name; is_artifact: the tensors are in the run's model instead."""

    of = ""
    is_artifact = False


class Pack:
    """Values on their way into a file. exact: refuse what would come back as another type, a list's subclass say."""

    def __init__(self, *, exact: bool, saved: Any = None) -> None:
        """saved: the module whose state is kept as the run's model already."""
        self._exact, self._saved = exact, saved
        self.values: dict[str, Any] = {}
        self.sizes: dict[str, int] = {}
        self._arrays: dict[str, Any] = {}

    def add(self, name: str, value: Any, *, most_bytes: int | None = None) -> None:
        """Take a value in. Raises CannotTravel."""
        arrays: dict[str, Any] = {}
        node = self._node(value, arrays, 0)
        size = len(json.dumps(node)) + sum(array.nbytes for array in arrays.values())
        if most_bytes is not None and size > most_bytes:
            raise CannotTravel(f"it is {size / 1e6:.0f} MB")
        self.values[name], self.sizes[name] = node, size
        self._arrays |= arrays

    def write(self, to: Path, **more: str) -> None:
        """Write the file. more: texts beside the values."""
        torch = sys.modules.get("torch")
        is_torch = any(not isinstance(array, np.ndarray) for array in self._arrays.values())
        metadata = {"values": json.dumps(self.values), "framework": "pt" if is_torch else "np", **more}
        if not is_torch or torch is None:
            from safetensors.numpy import save_file

            save_file({name: np.asarray(array, order="C") for name, array in self._arrays.items()}, to, metadata)
            return
        from safetensors.torch import save_file as save_tensors

        tensors = {
            name: torch.from_numpy(np.array(array, order="C")) if isinstance(array, np.ndarray) else array.contiguous()
            for name, array in self._arrays.items()
        }
        seen: set[int] = set()
        for name, tensor in tensors.items():
            if tensor.untyped_storage().data_ptr() in seen:  # Two names of one memory are refused.
                tensors[name] = tensor.clone()
            seen.add(tensor.untyped_storage().data_ptr())
        save_tensors(tensors, to, metadata)

    def _node(self, value: Any, arrays: dict[str, Any], depth: int) -> Any:
        if depth > DEPTH_MAX:
            raise CannotTravel("it is nested too deeply, or holds itself")
        if value is None or type(value) in (bool, int, float, str):
            return value
        if isinstance(value, np.ndarray | np.generic):
            return self._array(value, arrays)
        if (tensor := self._tensor(value, arrays)) is not None:
            return tensor
        if isinstance(value, bytes):
            return {"kind": "bytes", "value": base64.b85encode(value).decode()}
        if isinstance(value, PurePath):
            return {"kind": "path", "value": str(value)}
        for kind, several in (("list", list), ("tuple", tuple), ("set", set | frozenset)):
            if isinstance(value, several) and (type(value).__name__ == kind or not self._exact):
                nodes = [self._node(each, arrays, depth + 1) for each in value]
                return nodes if kind == "list" else {"kind": kind, "values": nodes}
        if isinstance(value, Mapping) and (type(value).__name__ in ("dict", "OrderedDict") or not self._exact):
            items = [
                [self._node(key, arrays, depth + 1), self._node(each, arrays, depth + 1)] for key, each in value.items()
            ]
            return {"kind": "dict", "items": items}
        if not self._exact and type(value).__module__.partition(".")[0] == "pandas" and hasattr(value, "to_numpy"):
            return self._frame(value, arrays, depth)
        raise CannotTravel(f"it is {article(type(value).__name__)}")

    def _array(self, value: Any, arrays: dict[str, Any]) -> dict[str, str]:
        array = np.asarray(value)
        if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
            raise CannotTravel(f"it is an array of dtype {array.dtype}")
        if self._exact and type(value) is not np.ndarray and not isinstance(value, np.generic):
            raise CannotTravel(f"it is {article(type(value).__name__)}")
        kind = "scalar" if isinstance(value, np.generic) else "array"
        return {"kind": kind, "at": self._named(array.astype(array.dtype.newbyteorder("=")), arrays)}

    def _tensor(self, value: Any, arrays: dict[str, Any]) -> dict[str, Any] | None:
        torch = sys.modules.get("torch")
        if torch is None:
            return None
        if isinstance(value, torch.nn.Module) and not self._exact:
            node: dict[str, Any] = {"kind": "module", "of": type(value).__name__}
            if value is self._saved:
                return {**node, "state": None}
            return {**node, "state": self._node(dict(value.state_dict()), arrays, 0)}
        if not isinstance(value, torch.Tensor):
            return None
        if self._exact and (type(value) is not torch.Tensor or value.requires_grad):
            raise CannotTravel(f"it is {article(type(value).__name__)} with a gradient")
        if value.layout is not torch.strided or value.is_complex() or value.is_quantized:
            raise CannotTravel(f"it is a tensor of layout {value.layout}, dtype {value.dtype}")
        return {"kind": "tensor", "at": self._named(value.detach().cpu(), arrays)}

    def _frame(self, value: Any, arrays: dict[str, Any], depth: int) -> dict[str, Any]:
        def column(values: Any) -> Any:
            is_number = getattr(values.dtype, "kind", "O") in "biuf"
            return self._node(values.to_numpy() if is_number else values.tolist(), arrays, depth + 1)

        index = column(value.index)
        if value.ndim == 1:
            return {"kind": "series", "name": self._node(value.name, arrays, depth), "index": index,
                    "values": column(value)}  # fmt: skip
        columns = [column(value.iloc[:, at]) for at in range(value.shape[1])]
        return {"kind": "frame", "names": column(value.columns), "index": index, "columns": columns}

    def _named(self, array: Any, arrays: dict[str, Any]) -> str:
        name = f"{len(self._arrays) + len(arrays)}"
        arrays[name] = array
        return name


def read(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The values of a file, and the texts beside them. Raises CorruptValues."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), "np") as file:
            texts = dict(file.metadata() or {})
        with safe_open(str(path), texts["framework"]) as file:
            found = {name: _value(node, file) for name, node in json.loads(texts.pop("values")).items()}
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptValues(f"{path.name} holds no values: {error!r}") from error
    return found, texts


def _value(node: Any, file: Any) -> Any:
    if isinstance(node, list):
        return [_value(each, file) for each in node]
    if not isinstance(node, dict):
        return node
    kind = node["kind"]
    if kind in ("array", "scalar"):
        array = np.asarray(file.get_tensor(node["at"]))
        return array[()] if kind == "scalar" else array
    if kind == "tensor":
        return file.get_tensor(node["at"])
    if kind == "bytes":
        return base64.b85decode(node["value"])
    if kind == "path":
        return Path(node["value"])
    if kind in ("tuple", "set"):
        return {"tuple": tuple, "set": set}[kind](_value(each, file) for each in node["values"])
    if kind == "dict":
        return {_value(key, file): _value(each, file) for key, each in node["items"]}
    if kind == "module":
        state = State(_value(node["state"], file) if node["state"] else {})
        state.of, state.is_artifact = str(node["of"]), node["state"] is None
        return state
    return _frame(node, file)


def _frame(node: dict[str, Any], file: Any) -> Any:
    pandas = import_module("pandas")
    index = _value(node["index"], file)
    if node["kind"] == "series":
        return pandas.Series(_value(node["values"], file), index=index, name=_value(node["name"], file))
    columns = [pandas.Series(_value(each, file), index=index) for each in node["columns"]]
    frame = pandas.concat(columns, axis=1) if columns else pandas.DataFrame(index=index)
    frame.columns = _value(node["names"], file)
    return frame


def article(name: str) -> str:
    """A type's name in a sentence."""
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
