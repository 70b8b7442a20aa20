"""The dashboard's own checks and tests, and that what is shipped built is what its sources give."""

import filecmp
import gzip
import os
import re
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest

WEB = Path(__file__).parents[2] / "frontend" / "web"


def npm(*words):
    """Run npm there; what it said is told when it fails."""
    done = subprocess.run(["npm", *words], cwd=WEB, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"npm {' '.join(words)}\n{done.stdout}\n{done.stderr}"


@pytest.fixture(scope="module")
def _installed():
    """The libraries of the lock, once."""
    if shutil.which("npm") is None and not os.environ.get("CI"):
        pytest.skip("no Node here")
    locked, stamp = (WEB / "package-lock.json").read_bytes(), WEB / "node_modules" / ".locked"
    wanted = sha256(locked).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        npm("ci", "--no-fund", "--no-audit")
        stamp.write_text(wanted)


@pytest.mark.usefixtures("_installed")
def test_its_types_are_the_schemas_and_its_code_is_clean():
    npm("run", "check")


@pytest.mark.usefixtures("_installed")
def test_its_own_tests_pass():
    npm("test")


@pytest.mark.usefixtures("_installed")
def test_what_is_shipped_built_is_built_from_these_sources(tmp_path):
    npm("run", "build", "--", "--outDir", str(tmp_path), "--emptyOutDir")

    built = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    shipped = sorted(
        path.relative_to(WEB / "dist") for path in (WEB / "dist").rglob("*") if path.is_file() and path.suffix != ".gz"
    )
    assert built == shipped, "run `make web`, and commit frontend/web/dist"
    assert [path for path in built if not filecmp.cmp(tmp_path / path, WEB / "dist" / path, shallow=False)] == []


def test_the_first_page_is_light():
    """First route at most 190 KiB of JavaScript and 30 of CSS, each other at most 60 more; compressed."""

    def kib(paths):
        return sum(len(gzip.compress((WEB / "dist" / path).read_bytes(), 9)) for path in paths) / 1024

    page = (WEB / "dist" / "index.html").read_text()
    first = re.findall(r'(?:src|href)="/(assets/[^"]+\.js)"', page)
    style = re.findall(r'href="/(assets/[^"]+\.css)"', page)
    chunks = {path.name: f"assets/{path.name}" for path in (WEB / "dist" / "assets").glob("*.js")}
    offers = [path for name, path in chunks.items() if name.startswith("OffersPage-")]

    assert len(offers) == 1
    assert kib({*first, *offers}) <= 190
    assert kib(style) <= 30
    others = {name: kib([path]) for name, path in chunks.items() if path not in first}
    assert {name: size for name, size in others.items() if size > 60} == {}
