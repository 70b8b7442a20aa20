"""`yard probe`: a minute of a script here, to know its speed and memory on chips that are for rent.

With --json one document: {"program", "profile" (offers.matching.profile), "memory_gib", "here", "chips", "stored"}.
"""

import json as jsons
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from gpuyard import config
from gpuyard.cli import flags
from gpuyard.cli.output import Output
from gpuyard.cli.session import connect
from gpuyard.errors import AuthError, GpuyardError

if TYPE_CHECKING:
    from gpuyard.matching.estimate import Speed
    from gpuyard.matching.profile import Profile
    from gpuyard.pack import Program

# The chips that people ask for, from the smallest on.
WELL_KNOWN = ("T4", "L4", "RTX4090", "RTX5090", "L40S", "A100-40GB", "A100-80GB", "H100-SXM", "H200", "B200", "MI300X")
START_MAX_S = 600.0  # To import, load data and reach the first batch.
P10, P90 = -1.2816, 1.2816


class ProbeFailed(GpuyardError):
    """The script ended, or took too long, before there was anything to measure."""

    exit_code: ClassVar[int] = 10
    default_code: ClassVar[str] = "probe_failed"
    default_hint: ClassVar[str] = "it must train inside `with gpuyard.train.session(...)` on batches of run.batches()"


def probe(
    script: Annotated[Path, typer.Argument(metavar="SCRIPT", help="The Python script that trains.")],
    args: Annotated[
        list[str] | None, typer.Argument(metavar="[-- ARGS...]", help="What the script gets, after a --.")
    ] = None,
    workdir: Annotated[Path | None, typer.Option(help="The folder that goes with it, as in `yard run`.")] = None,
    requirements: Annotated[Path | None, typer.Option(help="Packages that the script needs.")] = None,
    seconds: Annotated[float, typer.Option(min=1, max=600, help="So long from its first batch, at most.")] = 60.0,
    upload: Annotated[bool, typer.Option("--upload/--no-upload", help="Keep it at the broker, for quotes.")] = True,
    json: flags.JsonFlag = False,
) -> None:
    """Train for a minute here, and tell speed and memory on other chips.

    The script is ended after that and saves nothing. Exit code 10: it never reached a second batch.
    """
    from gpuyard.pack import pack

    out = Output(json=json)
    program = pack(script=script, workdir=workdir, requirements=requirements)
    seen = measured(script, args or [], seconds=seconds, quiet=json)
    from gpuyard.matching import estimate, profile

    read = profile.parse(seen)
    speed = estimate.Speed(source="probed", by_accelerator={}, profile=read)
    chips = [each for each in (predicted(name, speed, read) for name in WELL_KNOWN) if each]
    stored = upload and keep(out, program, seen)
    here = {"accelerator": read.accelerator, "samples_per_s": read.samples_per_s}
    parts = memory_parts(read)
    out.document(
        {
            "program": program.sha256,
            "profile": seen,
            "memory_gib": parts,
            "here": here,
            "chips": chips,
            "stored": stored,
        }
    )
    tell(out, read, chips)


def measured(script: Path, args: list[str], *, seconds: float, quiet: bool) -> dict[str, Any]:
    """Run the script until its session has seen enough. quiet: what it prints goes to standard error.

    Raises: ProbeFailed.
    """
    with tempfile.TemporaryDirectory(prefix="yard-probe-") as folder:
        path = Path(folder) / "profile.json"
        environment = {name: value for name, value in os.environ.items() if name != "GPUYARD_SITE_URL"}
        environment |= {"GPUYARD_PROBE": str(path), "GPUYARD_PROBE_S": str(seconds)}
        as_notebook = ["-m", "gpuyard.node.notebook"] if script.suffix == ".ipynb" else []
        command = [sys.executable, *as_notebook, str(script), *args]
        try:
            done = subprocess.run(
                command,
                env=environment,
                timeout=seconds + START_MAX_S,
                stdout=sys.stderr if quiet else None,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ProbeFailed(f"{script} trained nothing within {seconds + START_MAX_S:.0f} s") from None
        if not path.exists():
            raise ProbeFailed(f"{script} ended with exit code {done.returncode} and trained nothing")
        seen: dict[str, Any] = jsons.loads(path.read_text())
        if "samples_per_s" not in seen:
            raise ProbeFailed(f"{script} trained on too few batches to tell how fast it is", hint="give it more data")
        return seen


def predicted(name: str, speed: "Speed", read: "Profile") -> dict[str, Any] | None:
    """What to expect of a chip: the median, and from where to where 8 of 10 are; None when it cannot be said."""
    from gpuyard import gpus

    rate, chip = speed.rate(name), gpus.find(name)
    if rate is None or chip is None:
        return None
    return {
        "accelerator": name,
        "samples_per_s": rate.samples_per_s,
        "p10": rate.quantile(P10),
        "p90": rate.quantile(P90),
        "source": rate.source,
        "memory_gib": chip.memory_gib,
        "fits": read.memory.fits(chip.memory_gib),
    }


def memory_parts(read: "Profile") -> dict[str, float]:
    """GiB on each accelerator, and what they are for."""
    need = read.memory
    parts = {name: getattr(need, name) for name in ("parameters", "gradients", "optimizer", "activations", "context")}
    return {name: round(value, 3) for name, value in {**parts, "total": need.total}.items()}


def keep(out: Output, program: "Program", seen: dict[str, Any]) -> bool:
    """Hand program and profile to the broker, if one is known. Raises: GpuyardError."""
    try:
        config.load()
    except AuthError:
        out.note("No broker is known, so the profile was not kept: `yard login URL`.")
        return False
    client = connect()
    client.put_program(program.sha256, content=program.content)
    client.keep_profile(program.sha256, seen)
    return True


def tell(out: Output, read: "Profile", chips: list[dict[str, Any]]) -> None:
    """For people."""
    parts = memory_parts(read)
    out.line(f"Here ({read.accelerator}): {amount(read.samples_per_s or 0.0)} samples/s, batches of {read.batch_size}")
    out.line(f"A sample takes {read.flops_per_sample / 1e9:,.3g} GFLOP and moves {read.bytes_per_sample / 1e6:,.3g} MB")
    listed = ", ".join(f"{name} {value:.2f}" for name, value in parts.items() if name != "total")
    out.line(f"Memory on a GPU: {parts['total']:.2f} GiB ({listed})")
    cells = [
        [
            chip["accelerator"],
            amount(chip["samples_per_s"]),
            f"{amount(chip['p10'])} to {amount(chip['p90'])}",
            f"{chip['memory_gib']:g}",
            "yes" if chip["fits"] else "no",
        ]
        for chip in chips
    ]
    headers = ["chip", "samples/s", "8 of 10", "GiB", "fits"]
    out.table(headers, cells, right=["samples/s", "8 of 10", "GiB"])


def amount(value: float) -> str:
    """A rate for people: three figures."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
