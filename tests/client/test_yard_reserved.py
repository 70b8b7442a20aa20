"""`yard reserved`: what is sent, and what is shown."""

from typing import Any

import pytest

from .contract_broker import ContractBroker, Reply, refusal

ONE: dict[str, Any] = {
    "id": 3,
    "offer": 812,
    "site": "aws/us-east-1",
    "provider": "aws",
    "region": "us-east-1",
    "instance_type": "p5.48xlarge",
    "accelerator": "H100-SXM",
    "accelerators": 8,
    "usd_per_hour": "55.040000",
    "machines": 4,
    "in_use": 1,
    "until": "2027-06-30T00:00:00Z",
}
ADD = ("add", "812", "--machines", "4", "--until", "2027-06-30")


@pytest.fixture
def world(logged_in: ContractBroker) -> ContractBroker:
    """A broker with one reservation."""
    logged_in.on("GET", "/v1/reservations", {"results": [ONE]})
    logged_in.on("POST", "/v1/reservations", Reply(201, ONE))
    logged_in.on("DELETE", "/v1/reservations/3", ONE)
    return logged_in


@pytest.mark.parametrize(
    ("line", "document"), [((), {"results": [ONE]}), (ADD, ONE), (("remove", "3"), ONE)], ids=["list", "add", "remove"]
)
def test_every_command_speaks_json_and_plain_text(
    world: ContractBroker, yard: Any, line: tuple[str, ...], document: Any
) -> None:
    as_json, plain = yard("reserved", *line, "--json"), yard("reserved", *line)

    assert (as_json.code, plain.code) == (0, 0)
    assert as_json.json == document
    assert plain.out.splitlines() == [
        "id  offer  site           instance type  accelerator   machines  in use  list $/h  until",
        " 3    812  aws/us-east-1  p5.48xlarge    8 x H100-SXM         4       1    $55.04  2027-06-30 00:00Z",
    ]


@pytest.mark.parametrize(
    ("until", "sent"),
    [
        ("2027-06-30", "2027-06-30T00:00:00Z"),
        ("2027-06-30T12:00", "2027-06-30T12:00:00Z"),
        ("2027-06-30T12:00:00Z", "2027-06-30T12:00:00Z"),
        ("2027-06-30T12:00:00+02:00", "2027-06-30T10:00:00Z"),
    ],
)
def test_add_sends_the_end_as_an_instant_in_utc(world: ContractBroker, yard: Any, until: str, sent: str) -> None:
    assert yard("reserved", "add", "812", "--machines", "4", "--until", until).code == 0

    (asked,) = world.calls("POST", "/v1/reservations")
    assert asked.body == {"offer": 812, "machines": 4, "until": sent}


@pytest.mark.parametrize(
    "line",
    [
        "add 812 --until 2027-06-30",
        "add 812 --machines 4",
        "add 812 --machines 0 --until 2027-06-30",
        "add 0 --machines 1 --until 2027-06-30",
        "add 812 --machines 4 --until soon",
        "add 812 --machines 4 --until 0001-01-01T00:00:00+23:00",
        "remove 0",
        "remove three",
    ],
)
def test_what_cannot_be_meant_is_a_usage_error_and_nothing_is_sent(world: ContractBroker, yard: Any, line: str) -> None:
    assert yard("reserved", *line.split()).code == 2
    assert not world.asked


def test_an_addition_whose_answer_is_lost_is_not_asked_twice(world: ContractBroker, yard: Any) -> None:
    world.drop = 1

    assert yard("reserved", *ADD).code == 1
    assert len(world.asked) == 1


def test_a_refusal_is_told_with_what_to_do(world: ContractBroker, yard: Any) -> None:
    world.on("POST", "/v1/reservations", refusal(422, "own_account_needed", hint="`yard providers add aws`"))

    said = yard("reserved", *ADD)

    assert said.code == 1
    assert "Hint: `yard providers add aws`" in said.err


def test_who_has_none_is_told_how_to_add_one(world: ContractBroker, yard: Any) -> None:
    world.on("GET", "/v1/reservations", {"results": []})

    assert "yard reserved add OFFER" in yard("reserved").out
