"""What a run left, brought into the notebook's namespace: named results, and the model's weights."""

import json
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gpuyard import objects
from gpuyard.cli.output import size
from gpuyard.client import Client
from gpuyard.errors import HashMismatch, PackageMissing
from gpuyard.node import values
from gpuyard.pull import destination, pull


@dataclass
class Home:
    """What came home. back: (name, what it is); left: name -> why it stayed there; missing: asked for, not there."""

    back: list[tuple[str, str]] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)
    model: objects.Artifact | None = None
    file: Path | None = None

    def told(self, wanted: Iterable[str]) -> list[tuple[str, str]]:
        """As notes of the page."""
        notes = []
        if self.back:
            notes.append(
                ("good", "Back in this notebook: " + ", ".join(f"{name} ({what})" for name, what in self.back))
            )
        if self.model:
            where = f", kept as {self.file}" if self.file else ""
            bytes_, digest = size(self.model["size_bytes"]), self.model["sha256"]
            notes.append(("soft", f"Model {self.model['name']}, {bytes_}, sha256 {digest}, verified{where}."))
        asked = set(wanted)
        if failed := {name: why for name, why in self.left.items() if name in asked}:
            notes.append(("warn", "Asked for and not back: " + ", ".join(f"{n}: {why}" for n, why in failed.items())))
        if others := {name: why for name, why in self.left.items() if name not in asked}:
            notes.append(
                (
                    "soft",
                    "Stayed there: "
                    + ", ".join(f"{name} ({why.removeprefix('it is ')})" for name, why in others.items()),
                )
            )
        return notes


def bring(client: Client, workload_id: int, namespace: dict[str, Any], *, model_to: Path | None = None) -> Home:
    """Put the results of a run into the namespace, each under its name. Raises: GpuyardError."""
    home = Home()
    artifacts = client.artifacts(workload_id)
    results = next((each for each in artifacts if each["kind"] == "results"), None)
    home.model = next((each for each in artifacts if each["kind"] == "model"), None)
    with TemporaryDirectory(prefix="gpuyard-") as folder:
        found: dict[str, Any] = {}
        if results:
            path = pull(client, results, to=Path(folder) / "results")
            try:
                found, texts = values.read(path)
            except ImportError as missing:
                raise PackageMissing(f"the results need {missing.name}, which is not installed here") from missing
            except values.CorruptValues as error:
                raise HashMismatch(
                    str(error), hint="the run wrote something else; `yard pull` has the model"
                ) from error
            home.left = {str(name): str(why) for name, why in json.loads(texts.get("left", "{}")).items()}
        weights = None
        if home.model and (model_to or any(getattr(each, "is_artifact", False) for each in found.values())):
            path = pull(client, home.model, to=Path(folder) / "model")
            if model_to:
                home.file = destination(home.model, wanted=model_to)
                home.file.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, home.file)
            weights = path
        for name, value in found.items():
            if not name.isidentifier() or name.startswith("__"):
                continue  # A stranger's machine wrote it.
            if isinstance(value, values.State):
                home.back.append((name, module(namespace, name, value, weights)))
            else:
                namespace[name] = value
                home.back.append((name, described(value)))
    return home


def module(namespace: dict[str, Any], name: str, state: values.State, weights: Path | None) -> str:
    """Load a state into the module of that name, or one of its class; else leave the state there. What became of it."""
    tensors = dict(state)
    if state.is_artifact:
        tensors = read_model(weights) if weights else {}
    torch = sys.modules.get("torch")
    target = namespace.get(name)
    if torch is None or not isinstance(target, torch.nn.Module):
        target = made(namespace.get(state.of), torch)
    if target is not None and fits(target, tensors):
        target.load_state_dict(tensors)
        namespace[name] = target
        return f"{type(target).__name__}, weights loaded"
    namespace[name] = tensors
    return f"state_dict of {values.article(state.of)}: build one, then load_state_dict({name})"


def made(kind: Any, torch: Any) -> Any:
    """A module of a class that is defined here and needs no arguments."""
    if torch is None or not isinstance(kind, type) or not issubclass(kind, torch.nn.Module):
        return None
    try:
        return kind()
    except TypeError:
        return None


def fits(target: Any, tensors: dict[str, Any]) -> bool:
    """Whether the state is one of this module: the same names and shapes."""
    own = target.state_dict()
    return own.keys() == tensors.keys() and all(own[name].shape == tensors[name].shape for name in own)


def read_model(path: Path) -> dict[str, Any]:
    """The tensors of a safetensors file, tied ones under each of their names."""
    from safetensors import safe_open

    with safe_open(str(path), "pt" if "torch" in sys.modules else "np") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        tied = file.metadata() or {}
    return tensors | {name: tensors[kept] for name, kept in tied.items() if kept in tensors and name not in tensors}


def described(value: Any) -> str:
    """A value in a word or two."""
    shape = getattr(value, "shape", None)
    kind = type(value).__name__
    if shape is not None and len(shape):
        return f"{kind} {' x '.join(str(each) for each in shape)}"
    if isinstance(value, list | tuple | dict | set | str):
        return f"{kind} of {len(value)}" if not isinstance(value, str) or len(value) > 40 else repr(value)
    return (
        f"{value:.6g}"
        if isinstance(value, float)
        else kind
        if shape is None and not isinstance(value, int)
        else str(value)
    )
