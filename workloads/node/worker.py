"""One worker of a site, inside a Ray actor: joins the process group, then is the researcher's script."""

import contextlib
import os
import runpy
import sys
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

from . import notebook

DRAINED = 75  # EX_TEMPFAIL, sysexits.h: not finished, and worth another try elsewhere.
Outcome = dict[str, Any]


class Worker:
    """The program on one accelerator. Runs in the interpreter and environment of its own node."""

    def __init__(self, *, rank: int, world: int, drain_file: str) -> None:
        self._rank, self._world = rank, world
        self._directory = Path(os.environ["GPUYARD_LEASE_DIR"])
        os.environ["GPUYARD_DRAIN_FILE"] = drain_file  # Rank 0 looks for it, on the driver's machine.
        os.environ.update(GPUYARD_RANK=str(rank), GPUYARD_WORLD=str(world), RANK=str(rank), WORLD_SIZE=str(world))

    def listen(self, *, address: str) -> int:
        """Open the meeting point of the process group on rank 0's node. Returns its port."""
        from .training import group

        return group.listen(address=address, world=self._world)

    def run(self, *, script: str, args: list[str], meet_at: tuple[str, int] | None, cuda: bool) -> Outcome:
        """Run the script to its end. Returns {exit_code, error: {code, message} | None}."""
        self._speak_to_the_logs()
        if meet_at:
            from .training import group

            group.join(rank=self._rank, world=self._world, address=meet_at[0], port=meet_at[1], cuda=cuda)
        root = self._directory / "program"
        path = root / script
        os.chdir(root)
        sys.path[:0] = list(dict.fromkeys([str(path.parent), str(root)]))
        sys.argv = [script, *args]
        try:
            if path.suffix == ".ipynb":
                notebook.run(path)
            else:
                runpy.run_path(str(path), run_name="__main__")
        except SystemExit as left:
            return _left(left)
        except BaseException as raised:
            return _raised(raised, root=root)
        finally:
            with contextlib.suppress(ValueError, OSError):
                sys.stdout.flush()
                sys.stderr.flush()
            # What Ray prints while it is ended is not the program's.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
        return {"exit_code": 0, "error": None}

    def _speak_to_the_logs(self) -> None:
        """Point descriptors 1 and 2 at files the agent follows, so that what C libraries print is there too."""
        for number, name in ((1, "stdout"), (2, "stderr")):
            path = self._directory / "logs" / f"rank{self._rank}.{name}"
            path.parent.mkdir(exist_ok=True)
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.dup2(file, number)
            os.close(file)
            setattr(sys, name, os.fdopen(number, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False))


def _left(left: SystemExit) -> Outcome:
    code = left.code
    if code is None or code == 0:
        return {"exit_code": 0, "error": None}
    if not isinstance(code, int):  # sys.exit("why"), as Python does it: say why, exit with 1.
        sys.stderr.write(f"{code}\n")
        return {"exit_code": 1, "error": {"code": "script_error", "message": str(code)[:500]}}
    error = None if code == DRAINED else {"code": "script_error", "message": f"the script exited with code {code}"}
    return {"exit_code": code & 0xFF or 1, "error": error}


def _raised(raised: BaseException, *, root: Path) -> Outcome:
    """Print the traceback from the script's first frame on; the error names the last line of the program in it."""
    first, where = raised.__traceback__, ""
    while first and not _inside(first, root):
        first = first.tb_next
    raised.__traceback__ = first
    traceback.print_exception(raised)
    step = first
    while step:
        if _inside(step, root):
            where = f"{Path(step.tb_frame.f_code.co_filename).relative_to(root)}:{step.tb_lineno}: "
        step = step.tb_next
    if isinstance(raised, SyntaxError) and raised.filename and Path(raised.filename).is_relative_to(root):
        where = f"{Path(raised.filename).relative_to(root)}:{raised.lineno}: "
    last = traceback.format_exception_only(raised)[-1].strip()
    return {"exit_code": 1, "error": {"code": "script_error", "message": (where + last)[:1000]}}


def _inside(step: TracebackType, root: Path) -> bool:
    return Path(step.tb_frame.f_code.co_filename).is_relative_to(root)
