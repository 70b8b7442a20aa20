"""`yard providers`: what is sent, what is shown, and that no secret is said."""

from pathlib import Path
from typing import Any

import pytest

from .contract_broker import ContractBroker, Reply, refusal

SECRET = "s3cr3t-0123456789"
PROVIDER: dict[str, Any] = {
    "name": "aws",
    "credentials": {"access_key_id": True, "secret_access_key": True, "regions": False},
    "connected": "own",
    "hint": "WXYZ",
    "checked_at": "2026-11-22T10:00:00Z",
    "denied": [{"name": "ec2:RunInstances", "why": "not authorized"}],
    "source": {"seen_at": None, "stale": True, "failures": 1, "error": "no answer", "lines": 0},
}
OTHER = {**PROVIDER, "name": "vast", "credentials": {"api_key": True}, "connected": None, "hint": "",
         "checked_at": None, "denied": [], "source": None}  # fmt: skip
LOOK = {"name": "ec2:DescribeInstances", "granted": True, "why": ""}
RENT = {"name": "ec2:RunInstances", "granted": False, "why": "not authorized"}
SCORE = {"name": "ec2:GetSpotPlacementScores", "granted": None, "why": "only doing it would tell"}


@pytest.fixture
def world(logged_in: ContractBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ContractBroker:
    """A broker with an account whose permissions are all there, a file and a variable with the secret."""
    broker = logged_in
    broker.on("GET", "/v1/providers", {"results": [PROVIDER, OTHER]})
    broker.on("PUT", "/v1/providers/aws", PROVIDER)
    broker.on("POST", "/v1/providers/aws/check", checked(LOOK, SCORE))
    broker.on("DELETE", "/v1/providers/aws", {**PROVIDER, "connected": "broker"})
    (tmp_path / "key").write_text(f"{SECRET}\n")
    monkeypatch.setenv("AWS_SECRET", SECRET)
    monkeypatch.setenv("AWS_ID", "AKIA1234")
    return broker


def checked(*permissions: dict[str, Any]) -> dict[str, Any]:
    """The answer of a check."""
    return {"provider": "aws", "checked_at": "2026-11-22T10:00:00Z", "permissions": list(permissions)}


def sent(world: ContractBroker) -> list[dict[str, str]]:
    """The credentials that were handed over."""
    return [asked.body["credentials"] for asked in world.calls("PUT", "/v1/providers/aws")]


@pytest.mark.parametrize(
    ("line", "keys"),
    [
        ("add aws --from-env access_key_id=AWS_ID --from-file secret_access_key=key", {"provider", "permissions"}),
        ("check aws", {"provider", "checked_at", "permissions"}),
        ("list", {"results"}),
        ("remove aws --yes", set(PROVIDER)),
    ],
)
def test_every_command_speaks_json_and_plain_text(world: ContractBroker, yard: Any, line: str, keys: set[str]) -> None:
    as_json, plain = yard("providers", *line.split(), "--json"), yard("providers", *line.split())

    assert (as_json.code, plain.code) == (0, 0)
    assert set(as_json.json) == keys
    assert plain.out.strip()
    assert SECRET not in as_json.out + as_json.err + plain.out + plain.err


def test_add_sends_what_flags_files_and_variables_give_and_then_checks(world: ContractBroker, yard: Any) -> None:
    said = yard("providers", "add", "aws", "--set", "regions=us-east-1,eu-west-1", "--from-env", "access_key_id=AWS_ID",
                "--from-file", "secret_access_key=key")  # fmt: skip

    assert said.code == 0
    assert sent(world) == [
        {"regions": "us-east-1,eu-west-1", "access_key_id": "AKIA1234", "secret_access_key": f"{SECRET}\n"}
    ]
    assert said.out.splitlines() == [
        "The account at aws is kept, encrypted.",
        "permission                  granted  why",
        "ec2:DescribeInstances       yes      -",
        "ec2:GetSpotPlacementScores  unknown  only doing it would tell",
    ]
    assert "history" not in said.err


def test_a_secret_on_the_command_line_gets_one_note(world: ContractBroker, yard: Any) -> None:
    said = yard("providers", "add", "aws", "--set", f"secret_access_key={SECRET}", "--set", "access_key_id=AKIA1234")

    assert said.code == 0
    assert said.err.count("history") == 1
    assert SECRET not in said.out + said.err


def test_what_is_missing_is_asked_for_hidden_on_a_terminal(
    world: ContractBroker, yard: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, bool]] = []

    def prompt(text: str, *, hide_input: bool, err: bool) -> str:
        asked.append((text, hide_input))
        return SECRET

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.prompt", prompt)

    assert yard("providers", "add", "aws", "--from-env", "access_key_id=AWS_ID").code == 0

    assert asked == [("aws secret_access_key", True)]
    assert sent(world) == [{"access_key_id": "AKIA1234", "secret_access_key": SECRET}]


def test_what_is_missing_without_a_terminal_is_named_and_nothing_is_sent(world: ContractBroker, yard: Any) -> None:
    said = yard("providers", "add", "aws", "--set", "access_key_id=AKIA1234", "--json")

    assert said.code == 2
    assert said.json["error"]["code"] == "credentials_missing"
    assert "secret_access_key" in said.json["error"]["message"]
    assert "regions" not in said.json["error"]["message"]
    assert not sent(world)


@pytest.mark.parametrize(
    "flags",
    [
        ["--set", SECRET],
        ["--set", f"password={SECRET}"],
        ["--set", f"secret_access_key={SECRET}", "--from-env", "secret_access_key=AWS_SECRET"],
        ["--from-file", "secret_access_key=nowhere"],
        ["--from-file", "secret_access_key=."],
        ["--from-env", "secret_access_key=NOT_SET"],
    ],
)
def test_a_flag_that_cannot_be_meant_is_refused_without_its_value(
    world: ContractBroker, yard: Any, flags: list[str]
) -> None:
    said = yard("providers", "add", "aws", "--set", "access_key_id=AKIA1234", *flags)

    assert said.code == 2
    assert SECRET not in said.out + said.err
    assert not sent(world)


def test_a_cloud_that_nobody_knows_is_refused_with_those_that_are_known(world: ContractBroker, yard: Any) -> None:
    said = yard("providers", "add", "asw")

    assert said.code == 1
    assert "one of: aws, vast" in said.err


@pytest.mark.parametrize("line", ["check aws", "add aws --set access_key_id=A --from-env secret_access_key=AWS_SECRET"])
def test_a_denied_permission_is_exit_code_3_and_told_with_its_reason(
    world: ContractBroker, yard: Any, line: str
) -> None:
    world.on("POST", "/v1/providers/aws/check", checked(LOOK, RENT, SCORE))

    plain, as_json = yard("providers", *line.split()), yard("providers", *line.split(), "--json")

    assert plain.code == as_json.code == 3
    assert [row.split()[:2] for row in plain.out.splitlines()[-3:]] == [
        [LOOK["name"], "yes"], [RENT["name"], "no"], [SCORE["name"], "unknown"],
    ]  # fmt: skip
    assert "not authorized" in plain.out
    assert "Denied: ec2:RunInstances" in plain.err
    assert as_json.json["permissions"] == [LOOK, RENT, SCORE]


def test_an_account_that_could_not_be_checked_is_kept_and_the_error_told(world: ContractBroker, yard: Any) -> None:
    world.on("POST", "/v1/providers/aws/check", refusal(424, "provider_failed"))

    said = yard("providers", "add", "aws", "--set", "access_key_id=A", "--from-env", "secret_access_key=AWS_SECRET")

    assert said.code == 1
    assert "is kept, but was not checked: yard providers check aws" in said.err
    assert "about provider_failed" in said.err


@pytest.mark.parametrize("line", ["list", "check aws", "remove aws --yes",
                                  "add aws --set access_key_id=A --from-env secret_access_key=AWS_SECRET"])  # fmt: skip
def test_the_brokers_account_is_meant_only_where_it_is_said(world: ContractBroker, yard: Any, line: str) -> None:
    assert yard("providers", *line.split()).code == 0
    own = [asked.query for asked in world.asked]
    world.asked.clear()

    assert yard("providers", *line.split(), "--broker").code == 0

    assert not any(own)
    assert [asked.query for asked in world.asked] == [{"broker": "true"}] * len(own)


def test_remove_wants_a_yes_and_says_whose_account_is_used_from_now_on(world: ContractBroker, yard: Any) -> None:
    refused = yard("providers", "remove", "aws")

    assert refused.code == 2
    assert not world.calls("DELETE", ".*")
    assert "the broker's is used from now on" in yard("providers", "remove", "aws", "--yes").out


def test_a_removal_whose_answer_is_lost_is_not_asked_twice(world: ContractBroker, yard: Any) -> None:
    world.on("DELETE", "/v1/providers/aws", Reply(200, raw=b"", cut_at=0))
    world.drop = 1

    assert yard("providers", "remove", "aws", "--yes").code == 1

    assert len(world.calls("DELETE", "/v1/providers/aws")) == 1


def test_list_shows_whose_what_is_denied_and_how_reading_goes(world: ContractBroker, yard: Any) -> None:
    lines = yard("providers", "list").out.splitlines()

    assert lines[1].split()[:6] == ["aws", "own", "WXYZ", "2026-11-22", "10:00:00Z", "ec2:RunInstances"]
    assert "failing: no answer" in lines[1]
    assert lines[1].endswith("access_key_id, secret_access_key, [regions]")
    assert lines[2].split() == ["vast", "-", "-", "-", "-", "-", "api_key"]
