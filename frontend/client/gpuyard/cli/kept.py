"""`yard artifacts`, `yard versions`, `yard program`: what the broker keeps of a run."""

from pathlib import Path
from typing import Annotated

import typer

from gpuyard.cli.flags import JsonFlag, WorkloadId
from gpuyard.cli.output import Output, number, size
from gpuyard.cli.session import connect
from gpuyard.cli.times import moment


def artifacts(workload: WorkloadId, json: JsonFlag = False) -> None:
    """Models and checkpoints that a workload left, newest first."""
    out, rows = Output(json=json), connect().artifacts(workload)
    out.document({"results": rows})
    if not rows:
        out.line(f"Nothing yet. The parameters as they are now: yard pull {workload}")
        return
    cells = [
        [
            str(row["id"]),
            row["kind"],
            row["name"],
            str(row["version"]),
            size(row["size_bytes"]),
            moment(row["created_at"]),
            ", ".join(f"{name} {number(value)}" for name, value in row["metrics"].items()),
            row["sha256"][:12],
        ]
        for row in rows
    ]
    headers = ["id", "kind", "name", "version", "size", "made", "metrics", "sha256"]
    out.table(headers, cells, right=["id", "version", "size"])


def versions(workload: WorkloadId, json: JsonFlag = False) -> None:
    """Which versions of its parameters can be had: `yard pull ID --version N`."""
    out, found = Output(json=json), connect().versions(workload)
    out.document(found)
    if found["newest"] is None:
        out.line("No version yet.")
        return
    kept = ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in found["kept"])
    out.line(f"Newest {found['newest']}. Kept: {kept}.")


def program(
    workload: WorkloadId,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Here under its own name if not given.")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Bring the packed program home that a workload runs, hash-checked."""
    out = Output(json=json)
    to = output or Path(f"run-{workload}-program.tar.gz")
    content = connect().program_of(workload)
    to.write_bytes(content)
    out.document({"file": str(to), "size_bytes": len(content)})
    out.line(f"{to}: {size(len(content))}, verified.")
