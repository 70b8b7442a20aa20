"""`yard key` and `yard team`: asked as the contract says, told with what to do next."""

from datetime import UTC, datetime
from typing import Any

import pytest

from . import objects_of_a_broker as given
from .contract_broker import ContractBroker, Reply, refusal

KEY = {
    "id": 5,
    "name": "ci",
    "prefix": "yk_ab12",
    "scopes": ["read", "run"],
    "created_at": "2026-11-22T10:00:00Z",
    "expires_at": "2027-06-30T00:00:00Z",
    "revoked_at": None,
    "last_used_at": None,
    "made_by": "ada",
}
TEAM = {"id": 3, "name": "lab", "role": "owner"}
MEMBER = {"user": 8, "username": "bob", "email": "bob@lab.example", "role": "member", "created_at": "2026-11-22T10:00Z"}
INVITATION = {"id": 4, "email": "eve@lab.example", "role": "member", "expires_at": "2026-11-29T10:00:00Z"}


@pytest.fixture
def people(logged_in: ContractBroker) -> ContractBroker:
    """A broker with a key, a team, a member and an invitation."""
    broker = logged_in
    broker.on("GET", "/v1/me", given.ME | {"team": TEAM, "teams": [TEAM], "email": "ada@lab.example"})
    broker.on(
        "GET", "/v1/keys", {"results": [KEY, {**KEY, "id": 6, "revoked_at": "2026-11-23T00:00:00Z"}], "next": None}
    )
    broker.on("POST", "/v1/keys", Reply(201, {**KEY, "key": "yk_ab12_secret"}))
    broker.on("DELETE", "/v1/keys/5", {**KEY, "revoked_at": "2026-11-23T00:00:00Z"})
    broker.on("GET", "/v1/teams", {"results": [TEAM]})
    broker.on("POST", "/v1/teams", Reply(201, TEAM))
    broker.on("PATCH", "/v1/teams/3", {**TEAM, "name": "lab two"})
    broker.on("GET", "/v1/teams/3/members", {"results": [MEMBER]})
    broker.on("PATCH", "/v1/teams/3/members/8", {**MEMBER, "role": "viewer"})
    broker.on("DELETE", "/v1/teams/3/members/8", Reply(204, raw=b""))
    broker.on("GET", "/v1/teams/3/invitations", {"results": [INVITATION]})
    broker.on("POST", "/v1/teams/3/invitations", Reply(201, {**INVITATION, "link": "https://b/i/tok", "mailed": False}))
    broker.on("DELETE", "/v1/teams/3/invitations/4", Reply(204, raw=b""))
    broker.on("POST", "/v1/invitations/tok", TEAM)
    return broker


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("key make ci --scope read --scope run --expires 2027-06-30", "yk_ab12_secret"),
        ("key list", "revoked"),
        ("key revoke 5", "Key 5 opens nothing any more."),
        ("team list", "lab"),
        ("team make lab", "Team 3: lab"),
        ("team rename two", "lab two"),
        ("team members", "bob@lab.example"),
        ("team role 8 viewer", "User 8 is now viewer."),
        ("team remove 8", "User 8 does not belong"),
        ("team invite eve@lab.example", "hand them the link yourself. https://b/i/tok"),
        ("team invitations --team 3", "eve@lab.example"),
        ("team withdraw 4", "Invitation 4 is void."),
        ("team join tok", "You have joined lab."),
        ("team join https://b/invitations/tok", "You have joined lab."),
        ("me", "ada at http://127.0.0.1"),
    ],
)
def test_each_command_speaks_plainly_and_in_json(people: ContractBroker, yard: Any, line: str, said: str) -> None:
    plain, as_json = yard(*line.split()), yard(*line.split(), "--json")

    assert (plain.code, as_json.code) == (0, 0), plain.err
    assert said in plain.out
    assert isinstance(as_json.json, dict)


def test_a_key_is_made_as_the_flags_say(people: ContractBroker, yard: Any) -> None:
    said = yard("key", "make", "ci", "--scope", "run", "--expires", "2027-06-30T12:00:00+02:00")

    assert people.asked[0].body == {"name": "ci", "scopes": ["run"], "expires_at": "2027-06-30T10:00:00Z"}
    assert said.out == "yk_ab12_secret\n"  # Nothing else: KEY=$(yard key make ci)
    assert "shown this once" in said.err


def test_a_key_for_thirty_days_ends_in_thirty_days(people: ContractBroker, yard: Any) -> None:
    yard("key", "make", "ci", "--expires", "30d")

    until = datetime.fromisoformat(people.asked[0].body["expires_at"])
    assert abs((until - datetime.now(UTC)).total_seconds() - 30 * 86400) < 60


@pytest.mark.parametrize("when", ["soon", "30x", "9999999d", "2027-13-01"])
def test_a_time_that_is_none_is_refused_here(people: ContractBroker, yard: Any, when: str) -> None:
    assert yard("key", "make", "ci", "--expires", when).code == 2
    assert people.asked == []


def test_what_only_a_person_can_do_says_where(people: ContractBroker, yard: Any) -> None:
    people.on("POST", "/v1/keys", refusal(403, "sign_in_needed", hint="a person does it, signed in at the dashboard"))

    said = yard("key", "make", "ci")

    assert said.code == 3
    assert "signed in at the dashboard" in said.err


def test_a_key_of_no_team_asks_which(people: ContractBroker, yard: Any) -> None:
    people.on("GET", "/v1/me", given.ME)

    said = yard("team", "members")

    assert said.code == 1
    assert "--team" in said.err


def test_any_call_can_be_made_as_it_is(people: ContractBroker, yard: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    said = yard("api", "patch", "/v1/teams/3", "--data", '{"name": "lab two"}')

    assert said.json == {**TEAM, "name": "lab two"}
    assert people.asked[0].body == {"name": "lab two"}


@pytest.mark.parametrize(
    "line", ["api FETCH /v1/me", "api GET v1/me", "api POST /v1/teams -d {", "api POST /v1/teams -d @nowhere"]
)
def test_a_call_that_is_none_is_told(people: ContractBroker, yard: Any, line: str) -> None:
    assert yard(*line.split()).code == 2
    assert people.asked == []


@pytest.mark.parametrize("line", ["--explain team list", "team list --explain"])
def test_explain_tells_each_call_but_no_secret(people: ContractBroker, yard: Any, line: str) -> None:
    said = yard(*line.split())

    assert f"> GET {people.url}/v1/teams" in said.err
    assert "< 200 after" in said.err
    assert "yk_test_secret" not in said.err


def test_explain_hides_what_a_body_keeps_secret(people: ContractBroker, yard: Any) -> None:
    people.on("PUT", "/v1/providers/vast", refusal(422, "invalid"))

    said = yard("api", "PUT", "/v1/providers/vast", "-d", '{"credentials": {"api_key": "geheim"}}', "--explain")

    assert "> PUT" in said.err
    assert '{"credentials": "..."}' in said.err
    assert "geheim" not in said.err


def test_explain_after_the_dashes_is_the_scripts(people: ContractBroker) -> None:
    from gpuyard.cli import has, without

    words = ["run", "t.py", "--explain", "--", "--explain"]

    assert has("--explain", words)
    assert without("--explain", words) == ["run", "t.py", "--", "--explain"]
    assert not has("--explain", ["run", "t.py", "--", "--explain"])
