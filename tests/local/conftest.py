"""Short state directories and what the supervisor says."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.local.processes import Supervisor


@pytest.fixture
def state() -> Iterator[Path]:
    # pytest's own tmp_path can be too long for a socket, which is a case of its own.
    directory = Path(tempfile.mkdtemp(prefix="yard-"))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def supervisor(state: Path, said: list[str]) -> Iterator[Supervisor]:
    with Supervisor(state, say=said.append, cwd=state) as running:
        yield running
