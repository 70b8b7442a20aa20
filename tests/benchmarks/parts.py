"""Benchmarks in parts, each a program of its own, so that none warms another's caches."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def run(commands: Mapping[str, list[str]], keys: Mapping[str, Sequence[str] | None]) -> int:
    """
    Run all parts, or those that the command line names; print what each found, and last one object with the keys.

    keys: of each part; None: all that it found.
    """
    found: dict[str, Any] = {}
    for part in sys.argv[1:] or commands:
        _say(f"== {part}")
        figures = _last_json(commands[part])
        _say(json.dumps(figures, indent=2))
        wanted = keys[part]
        found |= figures if wanted is None else {key: figures[key] for key in wanted if key in figures}
    _say(json.dumps(found))
    return 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _last_json(command: list[str]) -> dict[str, Any]:
    """Return the JSON object that a program's output ends with."""
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    text = done.stdout.strip()
    start = text.rfind("\n{")
    figures: dict[str, Any] = json.loads(text[start + 1 :])
    return figures
