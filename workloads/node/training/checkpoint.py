"""The trained model as a file: safetensors of its state_dict, tied tensors once."""

import tempfile
from pathlib import Path

import safetensors.torch
import torch


def write(model: torch.nn.Module, path: Path) -> None:
    """Write `model` to `path`, whole or not at all; safetensors.torch.load_model reads it."""
    draft = path.with_name(path.name + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_model(model, str(draft))
    draft.replace(path)


def packed(model: torch.nn.Module) -> bytes:
    """The bytes that `write` would leave in a file."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "model.safetensors"
        write(model, path)
        return path.read_bytes()
