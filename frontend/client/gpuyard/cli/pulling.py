"""`yard pull`: the model, or the parameters at any version that is kept, in the form that one wants."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gpuyard import objects
from gpuyard.cli.flags import JsonFlag, WorkloadId
from gpuyard.cli.follow import described
from gpuyard.cli.output import Output
from gpuyard.cli.session import connect
from gpuyard.cli.telling import Bytes

if TYPE_CHECKING:
    from gpuyard import Client


class Format(StrEnum):
    """What becomes of the tensors."""

    safetensors = "safetensors"
    torch = "torch"
    huggingface = "huggingface"


def pull(
    workload: WorkloadId,
    version: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="The parameters as they were then, instead of the model.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="File or folder; here if not given.")
    ] = None,
    format: Annotated[
        Format, typer.Option(help="A file for torch.load, or a folder for from_pretrained of transformers.")
    ] = Format.safetensors,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where config.json and the tokenizer are, if not in the program."),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Bring the model home, or the newest parameters while there is no model.

    A download that breaks off goes on from what it left beside FILE. FILE appears only once its bytes are verified; it
    replaces what was there. A version that the broker keeps no more is answered with those that it keeps.
    """
    from gpuyard import export, versions
    from gpuyard.pull import pull as bring

    out, client = Output(json=json), connect()
    found = chosen(client, workload, version)
    if isinstance(found, int) and version is None:
        out.note(f"There is no model; these are the parameters of version {found}.")
    to = destination(workload, found, wanted=output, format=format)
    export.check(format)
    companions = companions_of(client, workload, config) if format is Format.huggingface else {}
    source = to
    if format is not Format.safetensors:
        source = to / "model.download" if format is Format.huggingface else to.with_name(f"{to.name}.download")
    with Bytes(shown=out.is_terminal) as progress:
        if isinstance(found, int):
            versions.pull(client, workload, found, to=source, progress=progress)
        else:
            bring(client, found, to=source, progress=progress)
    if source != to:
        export.convert(source, to, format=format, companions=companions)
    if format is Format.huggingface and not export.has_tokenizer(companions):
        out.note(f"{to} holds no tokenizer: there is none beside that config.json.")
    artifact = None if isinstance(found, int) else found
    out.document({"artifact": artifact, "version": found if artifact is None else artifact["version"],
                  "format": format.value, "file": str(to)})  # fmt: skip
    out.line(f"{to}: {f'version {found}' if artifact is None else described(artifact)}, verified.")


def chosen(client: "Client", workload_id: int, version: int | None) -> objects.Artifact | int:
    """The wanted version, or else the newest model, or else the newest version. Raises: NotFound."""
    from gpuyard import versions

    if version is not None:
        return version
    models = [each for each in client.artifacts(workload_id) if each["kind"] == "model"]
    return models[0] if models else versions.newest(client, workload_id)


def destination(workload_id: int, found: objects.Artifact | int, *, wanted: Path | None, format: Format) -> Path:
    """Where it goes: where it is wanted, or under its own name here or in the wanted folder."""
    from gpuyard import pull

    if isinstance(found, int):
        own = Path(f"run-{workload_id}-version-{found}.safetensors")
    else:
        own = pull.destination(found, wanted=None)
    if format is Format.huggingface:
        folder = wanted or Path(own.stem)
        if folder.is_file():
            raise typer.BadParameter(f"{folder} is a file; --format huggingface makes a folder")
        return folder
    own = own.with_suffix(".pt") if format is Format.torch else own
    return own if wanted is None else wanted / own.name if wanted.is_dir() else wanted


def companions_of(client: "Client", workload_id: int, folder: Path | None) -> dict[str, bytes]:
    """What belongs beside the weights: from a folder here, or else from the program. Raises: NoConfig, GpuyardError."""
    from gpuyard import export

    if folder is not None:
        return export.companions_in_folder(folder)
    return export.companions_in_program(client.program_of(workload_id))
