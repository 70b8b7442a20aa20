"""Lighthouse, as a page that somebody is signed in at: scores of 0 to 100."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

TOOLS = Path(__file__).parent / "node_modules" / ".bin"


def scores(url: str, *, key: str, form: str, categories: tuple[str, ...]) -> dict[str, int]:
    """Return {category: score}. form: "desktop" or "mobile", which also says how slow machine and network are."""
    command = [
        str(TOOLS / "lighthouse"),
        url,
        "--quiet",
        "--output=json",
        "--output-path=stdout",
        f"--only-categories={','.join(categories)}",
        f"--extra-headers={json.dumps({'Authorization': f'Bearer {key}'})}",
        "--chrome-flags=--headless=new --no-sandbox",
        *(["--preset=desktop"] if form == "desktop" else []),
    ]
    env = os.environ | {"CHROME_PATH": str(shutil.which("chromium"))}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, f"{url} as {form}: {done.stderr[-2000:] or done.stdout[-2000:]}"
    report = json.loads(done.stdout)
    assert "runtimeError" not in report, report["runtimeError"]
    return {name: round(report["categories"][name]["score"] * 100) for name in categories}
