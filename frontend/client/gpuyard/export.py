"""A model's file in other forms: as torch.save writes it, and as a Hugging Face directory."""

import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Any

from gpuyard.errors import GpuyardError, PackageMissing
from gpuyard.pull import not_writable

CONFIG = "config.json"
TOKENIZER = ("tokenizer.json", "vocab.json", "vocab.txt", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model")
# What from_pretrained of transformers looks for beside the weights (save_pretrained of its classes writes them).
COMPANIONS = frozenset({
    CONFIG, *TOKENIZER, "generation_config.json", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "merges.txt", "chat_template.jinja", "preprocessor_config.json", "processor_config.json",
})  # fmt: skip
HEADER_MAX_BYTES = 100_000_000  # https://huggingface.co/docs/safetensors: what its readers take.


class NoConfig(GpuyardError):
    """There is no config.json to go with the weights."""

    default_code = "no_config"


def check(format: str) -> None:
    """See that the packages are here that the form needs. Raises: PackageMissing."""
    if format == "torch":
        torch_writer()


def convert(source: Path, to: Path, *, format: str, companions: Mapping[str, bytes]) -> None:
    """Turn a safetensors file into `to` and remove it. format: torch or huggingface. Raises: GpuyardError."""
    try:
        if format == "torch":
            torch_writer()(source, to)
        else:
            as_huggingface(source, to, companions)
        source.unlink()
    except OSError as error:
        raise not_writable(error, to) from error


def torch_writer() -> Callable[[Path, Path], None]:
    """What writes a safetensors file anew as `torch.save` does a state_dict; it needs as much memory.

    Raises: PackageMissing.
    """
    try:
        from gpuyard.node.training import checkpoint
    except ModuleNotFoundError as missing:
        raise PackageMissing(
            f"a file for torch.load is written by torch; {missing.name} is not installed here",
            hint="pip install 'gpuyard[train]'; or take --format safetensors, which needs nothing",
        ) from missing
    return checkpoint.to_torch


def has_tokenizer(companions: Mapping[str, bytes]) -> bool:
    """Whether a tokenizer is among them."""
    return any(name in companions for name in TOKENIZER)


def as_huggingface(source: Path, to: Path, companions: Mapping[str, bytes]) -> None:
    """Make the folder `to`: model.safetensors and its companions, as `from_pretrained` reads them. Raises: OSError."""
    to.mkdir(parents=True, exist_ok=True)
    for name, content in companions.items():
        (to / name).write_bytes(content)
    draft = to / "model.safetensors.part"
    with source.open("rb") as old, draft.open("wb") as new:
        header = read_header(old)
        # transformers refuses a file that does not say for which framework it is.
        header["__metadata__"] = {**header.get("__metadata__", {}), "format": "pt"}
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        new.write(len(text).to_bytes(8, "little") + text)
        shutil.copyfileobj(old, new, 1 << 20)
    os.replace(draft, to / "model.safetensors")


def read_header(file: IO[bytes]) -> dict[str, Any]:
    """The header of an open safetensors file, which is then at its numbers. Raises: GpuyardError."""
    length = int.from_bytes(file.read(8), "little")
    try:
        if length > HEADER_MAX_BYTES:
            raise ValueError(f"a header of {length} bytes")
        header: dict[str, Any] = json.loads(file.read(length))
        return dict(header)
    except (ValueError, TypeError) as broken:
        raise GpuyardError(f"{file.name} is not a safetensors file: {broken}", code="not_safetensors") from broken


def companions_in_folder(folder: Path) -> dict[str, bytes]:
    """{name: content} of what belongs beside the weights. Raises: NoConfig."""
    found = {each.name: each.read_bytes() for each in folder.iterdir() if each.name in COMPANIONS and each.is_file()}
    if not is_config(found.get(CONFIG)):
        raise NoConfig(f"{folder} has no {CONFIG} with a model_type", hint="config.save_pretrained(FOLDER) writes one")
    return found


def companions_in_program(content: bytes) -> dict[str, bytes]:
    """The same from a packed program: those of the one folder in it with a configuration. Raises: NoConfig."""
    folders: dict[PurePosixPath, dict[str, bytes]] = {}
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as packed:
        for member in packed:
            place = PurePosixPath(member.name)
            if place.name in COMPANIONS and member.isfile() and (file := packed.extractfile(member)):
                folders.setdefault(place.parent, {})[place.name] = file.read()
    configured = {place: files for place, files in folders.items() if is_config(files.get(CONFIG))}
    if len(configured) == 1:
        return next(iter(configured.values()))
    many = ", ".join(sorted(str(place / CONFIG) for place in configured))
    raise NoConfig(
        f"the program has several configurations: {many}" if many else f"the program has no {CONFIG} with a model_type",
        hint="name a folder that has it and the tokenizer's files with --config FOLDER (config.save_pretrained(FOLDER)"
        " writes them); the weights alone: --format safetensors",
    )


def is_config(content: bytes | None) -> bool:
    """Whether it is a configuration of transformers, which names the kind of model."""
    try:
        told = json.loads(content or b"")
    except ValueError:
        return False
    return isinstance(told, dict) and isinstance(told.get("model_type"), str)
