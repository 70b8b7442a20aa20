"""A model comes home whole or not at all."""

import os
from pathlib import Path
from typing import Any

import pytest
from gpuyard import Client
from gpuyard.errors import BrokerUnreachable, HashMismatch, NotFound
from gpuyard.pull import choose, destination, pull

from . import objects_of_a_broker as given
from .contract_broker import ContractBroker, serving, sha256

CONTENT = os.urandom(700_000)
ARTIFACT: Any = given.artifact(sha256(CONTENT), len(CONTENT))
PATH = "/v1/artifacts/9/content"
QUICK = (0.01, 0.01)


def test_a_download_that_is_cut_goes_on_where_it_was(broker: ContractBroker, client: Client, tmp_path: Path) -> None:
    broker.on("GET", PATH, serving(CONTENT, cuts=[300_000, 200_000]))

    pull(client, ARTIFACT, to=tmp_path / "model", patience_s=QUICK)

    ranges = [asked.headers.get("Range") for asked in broker.asked]
    assert ranges[0] is None
    assert len(ranges) == 3
    assert all(int(str(each).removeprefix("bytes=").removesuffix("-")) > 0 for each in ranges[1:])
    assert (tmp_path / "model").read_bytes() == CONTENT
    assert os.listdir(tmp_path) == ["model"]


def test_a_later_call_goes_on_with_the_part(broker: ContractBroker, client: Client, tmp_path: Path) -> None:
    (tmp_path / "model.part").write_bytes(CONTENT[:1000])
    broker.on("GET", PATH, serving(CONTENT))

    pull(client, ARTIFACT, to=tmp_path / "model", patience_s=QUICK)

    assert [asked.headers["Range"] for asked in broker.asked] == ["bytes=1000-"]
    assert (tmp_path / "model").read_bytes() == CONTENT


def test_a_broker_that_ignores_the_range_starts_over(broker: ContractBroker, client: Client, tmp_path: Path) -> None:
    (tmp_path / "model.part").write_bytes(CONTENT[:1000])
    broker.on("GET", PATH, serving(CONTENT, honours_range=False))

    pull(client, ARTIFACT, to=tmp_path / "model", patience_s=QUICK)

    assert (tmp_path / "model").read_bytes() == CONTENT


@pytest.mark.parametrize("size_bytes", [1000, len(CONTENT), len(CONTENT) + 1])
def test_a_part_of_something_else_is_thrown_away(
    broker: ContractBroker, client: Client, tmp_path: Path, size_bytes: int
) -> None:
    (tmp_path / "model.part").write_bytes(b"?" * size_bytes)
    broker.on("GET", PATH, serving(CONTENT))

    pull(client, ARTIFACT, to=tmp_path / "model", patience_s=QUICK)

    assert (tmp_path / "model").read_bytes() == CONTENT


def test_wrong_bytes_never_get_the_name(broker: ContractBroker, client: Client, tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"what was here")
    broker.on("GET", PATH, serving(b"?" * len(CONTENT)))

    with pytest.raises(HashMismatch):
        pull(client, ARTIFACT, to=tmp_path / "model", patience_s=QUICK)

    assert (tmp_path / "model").read_bytes() == b"what was here"
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.parametrize("sent", [CONTENT + b"more", CONTENT[:-1]])
def test_a_wrong_size_never_gets_the_name(broker: ContractBroker, client: Client, tmp_path: Path, sent: bytes) -> None:
    broker.on("GET", PATH, serving(sent))

    with pytest.raises(HashMismatch, match="should be 700000 bytes"):
        pull(client, ARTIFACT, to=tmp_path / "model", patience_s=QUICK)

    assert os.listdir(tmp_path) == []


def test_a_broker_that_stays_away_leaves_the_part_for_later(
    broker: ContractBroker, client: Client, tmp_path: Path
) -> None:
    broker.on("GET", PATH, serving(CONTENT, cuts=[400_000, 0, 0, 0, 0, 0]))

    with pytest.raises(BrokerUnreachable):
        pull(client, ARTIFACT, to=tmp_path / "model", patience_s=QUICK)

    assert os.listdir(tmp_path) == ["model.part"]
    assert CONTENT.startswith((tmp_path / "model.part").read_bytes())


def test_what_is_there_already_is_not_fetched_again(broker: ContractBroker, client: Client, tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(CONTENT)

    pull(client, ARTIFACT, to=tmp_path / "model")

    assert broker.asked == []


def test_the_newest_model_is_chosen_before_any_checkpoint() -> None:
    checkpoint: Any = given.artifact("c", 1, id=11, kind="checkpoint")
    newest: Any = given.artifact("b", 1, id=10)

    assert choose([checkpoint, newest, ARTIFACT], workload_id=12)["id"] == 10
    assert choose([checkpoint], workload_id=12)["id"] == 11
    with pytest.raises(NotFound, match="no model and no checkpoint"):
        choose([], workload_id=12)


def test_a_name_from_the_broker_cannot_leave_the_folder(tmp_path: Path) -> None:
    evil: Any = given.artifact("a", 1, name="../../.ssh/authorized_keys")

    assert destination(evil, wanted=None) == Path("authorized_keys")
    assert destination(evil, wanted=tmp_path) == tmp_path / "authorized_keys"
