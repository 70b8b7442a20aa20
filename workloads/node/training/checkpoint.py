"""The trained model as a file: safetensors of its state_dict, tied tensors once."""

import tempfile
from pathlib import Path

import safetensors.torch
import torch
from safetensors import safe_open


def write(model: torch.nn.Module, path: Path) -> None:
    """Write `model` to `path`, whole or not at all; safetensors.torch.load_model reads it."""
    draft = path.with_name(path.name + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_model(model, str(draft))
    draft.replace(path)


def packed(model: torch.nn.Module, whole: tuple[dict[str, torch.Tensor], dict[str, str]] | None = None) -> bytes:
    """The bytes that `write` would leave in a file. whole: of a model that has only parts, `sharding.whole_state`."""
    if whole is not None:
        return safetensors.torch.save(*whole)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "model.safetensors"
        write(model, path)
        return path.read_bytes()


def to_torch(source: Path, to: Path) -> None:
    """Write a safetensors file's tensors as torch.save does a state_dict, tied ones under each of their names.

    What came out is read by `torch.load(to, weights_only=True)`.
    """
    with safe_open(str(source), "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        tied = file.metadata() or {}  # {name: the name that was kept}, as safetensors.torch.save_model tells it.
    tensors |= {name: tensors[kept] for name, kept in tied.items() if kept in tensors and name not in tensors}
    draft = to.with_name(to.name + ".part")
    torch.save(tensors, draft)
    draft.replace(to)
