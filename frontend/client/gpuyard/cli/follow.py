"""`yard watch`, `yard logs`, `yard events`: what a workload does, as it does it. JSON shapes: see `gpuyard.watch`."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gpuyard import exits, objects
from gpuyard.cli.flags import JsonFlag, WorkloadId
from gpuyard.cli.output import Output, number, size
from gpuyard.cli.session import connect, follower
from gpuyard.cli.telling import Bytes, Teller, ending, event_line
from gpuyard.cli.times import moment
from gpuyard.errors import GpuyardError, NotFound

if TYPE_CHECKING:
    from gpuyard.cli.live import LiveTeller

PAGE = 500
Wait = Annotated[bool, typer.Option("--wait", help="Say nothing until it has ended.")]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on until the workload has ended.")]


def watch(
    workload: WorkloadId,
    pull: Annotated[Path | None, typer.Option(metavar="PATH", help="At the end, bring the model here.")] = None,
    wait: Wait = False,
    json: JsonFlag = False,
) -> None:
    """Follow a workload to its end, as `yard run` does; the exit code tells how it ended."""
    raise typer.Exit(attend(Output(json=json), workload, pull_to=pull, quiet=wait))


def attend(out: Output, workload_id: int, *, pull_to: Path | None, quiet: bool = False) -> int:
    """Follow to the end, then tell where the model is or bring it home. Returns the exit code. Raises: GpuyardError."""
    from gpuyard.watch import exit_code_of

    last: objects.Workload | None = None
    try:
        with teller_for(out, workload_id, quiet=quiet) as teller:
            for seen in follower(workload_id, out=out, notice=teller.notice).watch(teller.types):
                teller.tell(seen)
                last = seen["workload"] if seen["type"] == "workload" else last
        if last is None:
            raise NotFound(f"workload {workload_id} was never seen")
        out.line(ending(last))
        code = exit_code_of(last)
        artifact, path, error = bring_home(out, last, pull_to=pull_to)
    except KeyboardInterrupt:
        out.row({"type": "detached", "workload": workload_id})
        out.note(
            f"\nNo longer following. Workload {workload_id} goes on."
            f" Follow it again: yard watch {workload_id}. End it: yard stop {workload_id}."
        )
        return exits.INTERRUPTED
    code = code or (error.exit_code if error else 0)
    file = str(path) if path else None
    out.row({"type": "end", "workload": last, "artifact": artifact, "file": file, "exit_code": code})
    if error:
        out.row({"type": "error", "error": error.as_dict()})
        out.error(error.message)
        out.note(f"Hint: {error.hint or f'try again: yard pull {workload_id}'}")
    return code


def teller_for(out: Output, workload_id: int, *, quiet: bool) -> "Teller | LiveTeller":
    """The live view where it can be shown, else lines; with the quote that was ordered. Raises: AuthError."""
    from gpuyard.cli.live import LiveTeller, fits

    if quiet or not fits(out):
        return Teller(out, quiet=quiet)
    client = connect()
    try:
        quote = client.quote(client.workload(workload_id)["quote"])
    except GpuyardError:
        quote = None  # The view does without what was promised, and the follower says what is wrong.
    return LiveTeller(quote)


def bring_home(
    out: Output, workload: objects.Workload, *, pull_to: Path | None
) -> tuple[objects.Artifact | None, Path | None, GpuyardError | None]:
    """The artifact it left and, where wanted, the file it is in now; what went wrong does not hide how it ended."""
    from gpuyard.pull import choose

    client = connect()
    try:
        artifact = choose(client.artifacts(workload["id"]), workload_id=workload["id"])
    except NotFound as error:
        out.line("It left no model and no checkpoint.")
        return None, None, error if pull_to and workload["state"] == "succeeded" else None
    except GpuyardError as error:
        return None, None, error
    if pull_to is None:
        out.line(f"Its {described(artifact)} is at the broker. Take it home: yard pull {workload['id']}")
        return artifact, None, None
    try:
        return artifact, take(out, artifact, to=pull_to), None
    except GpuyardError as error:
        return artifact, None, error


def take(out: Output, artifact: objects.Artifact, *, to: Path | None) -> Path:
    """Download and verify one artifact, and say so. Raises: GpuyardError."""
    from gpuyard.pull import destination, pull

    if artifact["kind"] != "model":
        out.note(f"There is no model; this is the newest {artifact['kind']}, of version {artifact['version']}.")
    with Bytes(shown=out.is_terminal) as progress:
        path = pull(connect(), artifact, to=destination(artifact, wanted=to), progress=progress)
    out.line(f"{path}: {described(artifact)}, verified.")
    return path


def described(artifact: objects.Artifact) -> str:
    """An artifact in one phrase."""
    version, bytes_ = artifact["version"], size(artifact["size_bytes"])
    return f"{artifact['kind']} {artifact['name']} (version {version}, {bytes_}, sha256 {artifact['sha256'][:12]})"


def logs(workload: WorkloadId, follow: Follow = False, json: JsonFlag = False) -> None:
    """What the program and its nodes wrote."""
    list_or_follow("logs", workload, follow=follow, json=json)


def events(workload: WorkloadId, follow: Follow = False, json: JsonFlag = False) -> None:
    """Every move of the workload, its sites, machines and rounds, with the reason."""
    list_or_follow("events", workload, follow=follow, json=json)


def metrics(workload: WorkloadId, follow: Follow = False, json: JsonFlag = False) -> None:
    """What its sites reported at each step: loss, and whatever else the script says."""
    list_or_follow("metrics", workload, follow=follow, json=json)


def list_or_follow(what: str, workload_id: int, *, follow: bool, json: bool) -> None:
    """All rows so far, or one by one until the workload has ended. Ctrl-C ends it with 130."""
    out = Output(json=json)
    as_line: Callable[[Any], str] = {"logs": log_line, "events": event_line, "metrics": metric_line}[what]
    if follow:
        for row in follower(workload_id, out=out).follow(what):
            out.row(row)
            out.line(as_line(row))
        return
    rows = all_rows(what, workload_id)
    out.document({"results": rows})
    for row in rows:
        out.line(as_line(row))
    if not rows:
        out.note(f"No {what} yet.")


def all_rows(what: str, workload_id: int) -> list[Any]:
    """Every row so far."""
    client = connect()
    asks: dict[str, Callable[..., list[Any]]] = {
        "logs": client.logs,
        "events": client.events,
        "metrics": client.metrics,
    }
    rows: list[Any] = []
    while True:
        page = asks[what](workload_id, after=rows[-1]["id"] if rows else 0, limit=PAGE)
        rows += page
        if len(page) < PAGE:
            return rows


def metric_line(row: objects.MetricRow) -> str:
    """What one site reported at one step."""
    values = "  ".join(f"{name} {number(value)}" for name, value in row["values"].items())
    return f"{moment(row['at'])}  {row['site']} step {row['step']} version {row['version']}  {values}"


def log_line(line: objects.LogLine) -> str:
    """One line of a node, and which."""
    where = f"{line['site']} {line['host']}" if line["host"] else line["site"]
    return f"{moment(line['at'])}  {where} {line['stream']}| {line['text']}"
