"""Both ends of a notebook's cell that runs as a script: what it names is there before it, what it leaves is kept.

`%%yard` writes that script: line 1, where the magic stood, calls `begin`, a line after the cell calls `finish`.
"""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from . import notebook, values

SCRIPT, NAMES = "notebook_cell.py", "notebook_names.py"  # The cell; the imports and definitions that it names.
VALUES, OBJECTS = "notebook_values.safetensors", "notebook_objects.pickle"
RESULTS = "results.safetensors"
UNASKED_BYTES_MAX = 64_000_000  # What nobody named comes home only as long as that takes no time.


def begin(namespace: dict[str, Any]) -> None:
    """Put into the script's namespace what the cell names: data, then imports and definitions, then objects."""
    directory = Path(namespace["__file__"]).parent
    namespace["display"] = notebook.display
    if (file := directory / VALUES).is_file():
        namespace |= values.read(file)[0]
    if (file := directory / NAMES).is_file():
        exec(compile(file.read_text("utf-8"), str(file), "exec", dont_inherit=True), namespace)
    if (file := directory / OBJECTS).is_file():
        # A pickle can run code. So can the script beside it, which comes from the same person in the same archive.
        namespace |= pickle.loads(file.read_bytes())


def finish(namespace: dict[str, Any], *, assigned: list[str], wanted: list[str]) -> None:
    """Keep what the cell leaves as the run's results: the names in `wanted`, and of `assigned` what is not large.

    Where the cell saved no model, that of its session is saved. Nothing here fails a run that has trained.
    """
    from .training.run import Run

    session = Run.latest
    if session is not None and session.saved is None:
        session.save(session.model)
    if session is None or session.rank != 0:
        return
    pack = values.Pack(exact=False, saved=session.saved)
    left: dict[str, str] = {}
    for name in dict.fromkeys([*wanted, *assigned]):
        value = namespace.get(name)
        if name not in namespace:
            left[name] = "the cell left no such name"
        elif name in wanted or not isinstance(value, ModuleType | FunctionType | BuiltinFunctionType | type | Run):
            try:
                pack.add(name, value, most_bytes=None if name in wanted else UNASKED_BYTES_MAX)
            except values.CannotTravel as error:
                left[name] = str(error)
    file = Path(RESULTS)
    pack.write(file, left=json.dumps(left))
    if session.placed and session.placed.leader:
        session.placed.leader.hand_over(name=RESULTS, raw=file.read_bytes(), metrics={}, kind="results")
    sys.stdout.write(f"gpuyard: kept {', '.join(pack.values) or 'nothing'}\n")
