"""The SDK has a method for every operation of the API, and each asks just that operation."""

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from gpuyard import Client

from .contract_broker import ContractBroker, Reply

ROOT = Path(__file__).parents[2]
ORDER: dict[str, Any] = {"quote": 7, "program": "ab" * 32, "script": "train.py"}
OTHER_CONVERSATIONS = ("/v1/agent/", "/v1/site/")
# What the SDK does in another way.
DONE_BY = {
    ("GET", "/v1/offers/groups"): "offer_groups: /v1/offers with group_by gives the same answer",
    ("GET", "/v1/schema"): "schema",
    ("GET", "/v1/schema.json"): "offer_filters reads it",
}
CALLS = {
    "me": (lambda client: client.me(), "GET", "/v1/me"),
    "schema": (lambda client: client.schema(), "GET", "/v1/schema"),
    "prometheus": (lambda client: client.prometheus(), "GET", "/metrics"),
    "offers": (lambda client: client.offers(), "GET", "/v1/offers"),
    "offer_groups": (lambda client: client.offer_groups(by="gpu"), "GET", "/v1/offers"),
    "offer_facets": (lambda client: client.offer_facets(gpu="H100"), "GET", "/v1/offers/facets"),
    "offer_sparks": (lambda client: client.offer_sparks([1, 2]), "GET", "/v1/offers/sparks"),
    "offers_stream": (lambda client: next(client.offers_stream(), None), "GET", "/v1/offers/stream"),
    "price_history": (lambda client: client.price_history("H100"), "GET", "/v1/offers/history"),
    "fetch_price_history": (lambda client: client.fetch_price_history("aws"), "POST", "/v1/offers/history"),
    "sources": (lambda client: client.sources(), "GET", "/v1/offers/sources"),
    "quarantined": (lambda client: client.quarantined(), "GET", "/v1/offers/quarantine"),
    "put_catalog": (lambda client: client.put_catalog("a/b", csv=b""), "PUT", "/v1/catalogs/a%2Fb"),
    "create_quotes": (lambda client: client.create_quotes({}), "POST", "/v1/quotes"),
    "quote": (lambda client: client.quote(7), "GET", "/v1/quotes/7"),
    "providers": (lambda client: client.providers(), "GET", "/v1/providers"),
    "put_account": (lambda client: client.put_account("aws", credentials={}), "PUT", "/v1/providers/aws"),
    "check_account": (lambda client: client.check_account("aws"), "POST", "/v1/providers/aws/check"),
    "remove_account": (lambda client: client.remove_account("aws"), "DELETE", "/v1/providers/aws"),
    "reservations": (lambda client: client.reservations(), "GET", "/v1/reservations"),
    "create_reservation": (
        lambda client: client.create_reservation(offer=1, machines=2, until="2027-01-01T00:00:00Z"),
        "POST",
        "/v1/reservations",
    ),
    "remove_reservation": (lambda client: client.remove_reservation(3), "DELETE", "/v1/reservations/3"),
    "examples": (lambda client: client.examples(), "GET", "/v1/examples"),
    "put_program": (lambda client: client.put_program("ab", content=b"x"), "PUT", "/v1/programs/ab"),
    "program": (lambda client: client.program("ab", verify=False), "GET", "/v1/programs/ab"),
    "keep_profile": (lambda client: client.keep_profile("ab", {}), "PUT", "/v1/programs/ab/profile"),
    "create_workload": (lambda client: client.create_workload(**ORDER), "POST", "/v1/workloads"),
    "workloads": (lambda client: client.workloads(state="running"), "GET", "/v1/workloads"),
    "workload": (lambda client: client.workload(12), "GET", "/v1/workloads/12"),
    "stop_workload": (lambda client: client.stop_workload(12), "POST", "/v1/workloads/12/stop"),
    "events": (lambda client: client.events(12), "GET", "/v1/workloads/12/events"),
    "decisions": (lambda client: client.decisions(12), "GET", "/v1/workloads/12/decisions"),
    "logs": (lambda client: client.logs(12), "GET", "/v1/workloads/12/logs"),
    "metrics": (lambda client: client.metrics(12), "GET", "/v1/workloads/12/metrics"),
    "rounds": (lambda client: client.rounds(12), "GET", "/v1/workloads/12/rounds"),
    "workload_stream": (lambda client: next(client.workload_stream(12), None), "GET", "/v1/workloads/12/stream"),
    "artifacts": (lambda client: client.artifacts(12), "GET", "/v1/workloads/12/artifacts"),
    "artifact": (lambda client: client.artifact(9), "GET", "/v1/artifacts/9"),
    "artifact_content": (lambda client: client.artifact_content(9), "GET", "/v1/artifacts/9/content"),
    "versions": (lambda client: client.versions(12), "GET", "/v1/workloads/12/versions"),
    "version": (lambda client: client.version(12, 3), "GET", "/v1/workloads/12/versions/3"),
    "object_content": (lambda client: client.object_content(12, "ab"), "GET", "/v1/workloads/12/objects/ab"),
    "bill": (lambda client: client.bill(12), "GET", "/v1/workloads/12/bill"),
    "supplier": (lambda client: client.supplier(), "GET", "/v1/suppliers/me"),
    "create_host": (
        lambda client: client.create_host(name="a", region="home/b", usd_per_hour=Decimal(1)),
        "POST",
        "/v1/hosts",
    ),
    "hosts": (lambda client: client.hosts(), "GET", "/v1/hosts"),
    "host_earnings": (lambda client: client.host_earnings(2), "GET", "/v1/hosts/2/earnings"),
    "reclaim_host": (lambda client: client.reclaim_host(2), "POST", "/v1/hosts/2/reclaim"),
    "renew_host_token": (lambda client: client.renew_host_token(2), "POST", "/v1/hosts/2/token"),
    "return_host": (lambda client: client.return_host(2), "POST", "/v1/hosts/2/return"),
    "ledger": (lambda client: client.ledger(), "GET", "/v1/ledger"),
    "wheel": (lambda client: client.wheel(), "GET", "/dl/"),
    "wheel_content": (lambda client: client.wheel_content("/dl/g-1.whl"), "GET", "/dl/g-1.whl"),
    "keys": (lambda client: client.keys(), "GET", "/v1/keys"),
    "create_key": (lambda client: client.create_key("ci", scopes=["read"]), "POST", "/v1/keys"),
    "revoke_key": (lambda client: client.revoke_key(5), "DELETE", "/v1/keys/5"),
    "teams": (lambda client: client.teams(), "GET", "/v1/teams"),
    "create_team": (lambda client: client.create_team("lab"), "POST", "/v1/teams"),
    "team": (lambda client: client.team(3), "GET", "/v1/teams/3"),
    "change_team": (lambda client: client.change_team(3, name="x"), "PATCH", "/v1/teams/3"),
    "members": (lambda client: client.members(3), "GET", "/v1/teams/3/members"),
    "change_member": (lambda client: client.change_member(3, 8, role="viewer"), "PATCH", "/v1/teams/3/members/8"),
    "remove_member": (lambda client: client.remove_member(3, 8), "DELETE", "/v1/teams/3/members/8"),
    "invitations": (lambda client: client.invitations(3), "GET", "/v1/teams/3/invitations"),
    "invite": (lambda client: client.invite(3, email="e@x", role="member"), "POST", "/v1/teams/3/invitations"),
    "withdraw_invitation": (
        lambda client: client.withdraw_invitation(3, 4),
        "DELETE",
        "/v1/teams/3/invitations/4",
    ),
    "invitation": (lambda client: client.invitation("tok"), "GET", "/v1/invitations/tok"),
    "accept_invitation": (lambda client: client.accept_invitation("tok"), "POST", "/v1/invitations/tok"),
}
# Built of the calls above.
BUILT = {"from_config", "url", "offer_filters", "program_of", "read", "rows", "content", "create", "ask"}


@pytest.mark.parametrize("name", CALLS)
def test_each_method_asks_its_call(broker: ContractBroker, client: Client, name: str) -> None:
    ask, method, path = CALLS[name]
    done = Reply(200, raw=b"event: end\n\n") if path.endswith("stream") else Reply(200, {"results": [], "next": None})
    broker.on(method, re.escape(path), done)

    ask(client)

    assert [(asked.method, asked.path) for asked in broker.asked] == [(method, path)]


def test_every_method_is_tried_above() -> None:
    public = {name for name in dir(Client) if not name.startswith("_")}

    assert public - BUILT == set(CALLS)


def operations() -> list[tuple[str, str]]:
    """(method, path) of every operation of the API, from its schema."""
    kept = ROOT / "docs" / "openapi.json"
    if kept.exists():
        schema = json.loads(kept.read_text())
    else:
        from drf_spectacular.generators import SchemaGenerator

        schema = SchemaGenerator().get_schema(request=None, public=True)
    methods = ("get", "post", "put", "patch", "delete")
    return [(method.upper(), path) for path, each in schema["paths"].items() for method in each if method in methods]


def test_every_operation_of_the_api_has_a_method() -> None:
    found = [each for each in operations() if not each[1].startswith(OTHER_CONVERSATIONS)]
    asked = [(method, path) for _, method, path in CALLS.values()]

    lacking = [
        (method, path)
        for method, path in found
        if (method, path) not in DONE_BY
        and not any(how == method and re.fullmatch(re.sub(r"\{[^}]+\}", "[^/]+", path), at) for how, at in asked)
    ]

    assert len(found) > 30
    assert lacking == []
