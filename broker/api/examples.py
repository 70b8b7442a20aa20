"""The programs in examples/, for who has none yet."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from django.conf import settings
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from broker.api.shapes import listed
from broker.api.workload_shapes import ExampleShape

EXAMPLES = settings.BASE_DIR / "examples"
# What is asked for unless its author says more: any broker has processors, and the point is several sites.
NEED: dict[str, Any] = {"accelerator": "CPU", "sites": 2, "budget_usd": "1.000000"}
NEEDS: dict[str, dict[str, Any]] = {}
REQUIREMENTS = "requirements.txt"


class Examples(APIView):
    """Programs to begin with."""

    scopes = {"GET": "read"}

    @extend_schema(operation_id="list_examples", responses=listed(ExampleShape))
    def get(self, request: Request) -> Response:
        """List them, with their files: pack these as a .tar.gz, PUT it as a program, and order it."""
        return Response({"results": ExampleShape(examples(EXAMPLES), many=True).data})


@cache
def examples(folder: Path) -> list[dict[str, Any]]:
    """Return the programs of a folder: files alone, and folders with a script of the folder's name or train.py."""
    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        root = path if path.is_dir() else path.parent
        script = next((one for one in _scripts(path) if one.is_file()), None)
        doc = ast.get_docstring(ast.parse(script.read_text())) if script else None
        if script is None or not doc:
            continue
        title, _, about = doc.partition("\n")
        files = [one for one in sorted(path.rglob("*")) if _is_text(one)] if path.is_dir() else [path]
        found.append(
            {
                "name": path.stem,
                "title": title.strip().removesuffix("."),
                "about": about.strip(),
                "script": str(script.relative_to(root)),
                "args": [],
                "requirements": (root / REQUIREMENTS).read_text() if (path / REQUIREMENTS).is_file() else None,
                "files": [{"path": str(one.relative_to(root)), "text": one.read_text()} for one in files],
                "need": NEEDS.get(path.stem, NEED),
            }
        )
    return found


def _scripts(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from (path / f"{path.name}.py", path / "train.py")
    elif path.suffix == ".py":
        yield path


def _is_text(path: Path) -> bool:
    return path.is_file() and path.suffix in (".py", ".txt", ".md", ".toml", ".json", ".yaml")
