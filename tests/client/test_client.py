"""The SDK asks what the contract says, asks again only where that is safe, and turns answers into errors."""

import json
import socket
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from gpuyard import Client, errors

from . import objects_of_a_broker as given
from .contract_broker import ContractBroker, Reply, refusal

ORDER: dict[str, Any] = {"quote": 7, "program": "ab" * 32, "script": "train.py"}


@pytest.mark.parametrize(
    ("status", "code", "kind", "exit_code"),
    [
        (401, "not_authenticated", errors.AuthError, 3),
        (403, "scope_missing", errors.ScopeMissing, 3),
        (402, "credit_exhausted", errors.CreditExhausted, 5),
        (404, "not_found", errors.NotFound, 1),
        (409, "already_ended", errors.Conflict, 1),
        (409, "quote_expired", errors.QuoteExpired, 1),
        (409, "quote_taken", errors.QuoteTaken, 1),
        (409, "idempotency_conflict", errors.IdempotencyConflict, 1),
        (422, "need_unmet", errors.NeedUnmet, 4),
        (422, "budget_below_cheapest", errors.BudgetBelowCheapest, 5),
        (422, "hash_mismatch", errors.HashMismatch, 1),
        (422, "not_a_program", errors.InvalidRequest, 1),
        (400, "invalid", errors.InvalidRequest, 1),
        (500, "internal", errors.BrokerFailed, 1),
        (403, "sign_in_needed", errors.SignInNeeded, 3),
        (409, "no_capacity", errors.NoCapacity, 4),
        (503, "busy", errors.BrokerUnreachable, 1),
    ],
)
def test_every_refusal_becomes_the_error_that_it_means(
    broker: ContractBroker, client: Client, status: int, code: str, kind: type[errors.GpuyardError], exit_code: int
) -> None:
    broker.on("POST", "/v1/quotes", refusal(status, code, hint="do this", fields={"sites": "must be positive"}))

    with pytest.raises(errors.GpuyardError) as caught:
        client.create_quotes({"sites": 0})

    assert type(caught.value) is kind
    assert caught.value.exit_code == exit_code
    assert (caught.value.code, caught.value.status) == (code, status)
    assert caught.value.hint == "do this"
    assert caught.value.fields == {"sites": "must be positive"}


@pytest.mark.parametrize("raw", [b"<html>Bad gateway</html>", b'{"error": "text"}', b"", b"[]"])
def test_an_error_in_another_language_is_told_by_its_status(broker: ContractBroker, client: Client, raw: bytes) -> None:
    broker.on("GET", "/v1/me", Reply(403, raw=raw))

    with pytest.raises(errors.ScopeMissing, match="GET /v1/me was answered with 403"):
        client.me()


def test_a_good_answer_that_is_not_json_is_no_broker(broker: ContractBroker, client: Client) -> None:
    broker.on("GET", "/v1/me", Reply(200, raw=b"<html>hello</html>"))

    with pytest.raises(errors.BrokerFailed, match="not with JSON"):
        client.me()


def test_a_redirect_is_told_and_the_key_does_not_follow_it(broker: ContractBroker, client: Client) -> None:
    broker.on("GET", "/v1/me", Reply(301, headers={"Location": f"{broker.url}/elsewhere"}))

    with pytest.raises(errors.InvalidRequest, match="elsewhere"):
        client.me()

    assert len(broker.asked) == 1


SAFE = {
    "a read": lambda client: client.me(),
    "a program": lambda client: client.put_program("ab" * 32, content=b"x"),
    "a catalog": lambda client: client.put_catalog("aws", csv=b"x"),
    "an order": lambda client: client.create_workload(**ORDER),
    "a stop": lambda client: client.stop_workload(12),
}
UNSAFE = {
    "a quote": lambda client: client.create_quotes({}),
    "a host": lambda client: client.create_host(name="a", region="home/b", usd_per_hour=Decimal(1)),
    "a reclaim": lambda client: client.reclaim_host(2),
    "a return": lambda client: client.return_host(2),
}


@pytest.mark.parametrize("what", SAFE)
@pytest.mark.parametrize("trouble", ["no answer", 502, 503, 504])
def test_what_is_safe_is_asked_again(broker: ContractBroker, client: Client, what: str, trouble: Any) -> None:
    if trouble == "no answer":
        broker.drop = 2
        broker.on("GET|POST|PUT", ".*", {})
    broker.on("GET", ".*", {})
    broker.on("PUT", ".*", {})
    broker.on("POST", ".*", {})
    if trouble != "no answer":
        for method in ("GET", "PUT", "POST"):
            broker.in_turn(method, ".*", Reply(trouble, {}), Reply(trouble, {}), {})

    SAFE[what](client)

    assert len(broker.asked) == 3


def test_an_answer_that_breaks_off_is_asked_for_again(broker: ContractBroker, client: Client) -> None:
    broker.in_turn("GET", "/v1/me", Reply(200, given.ME, cut_at=5), given.ME)

    assert client.me()["username"] == "ada"


@pytest.mark.parametrize("what", UNSAFE)
@pytest.mark.parametrize("trouble", ["no answer", 503])
def test_what_is_not_safe_is_asked_once(broker: ContractBroker, client: Client, what: str, trouble: Any) -> None:
    if trouble == "no answer":
        broker.drop = 9
    broker.on("POST", ".*", Reply(503, {}))

    with pytest.raises(errors.BrokerUnreachable):
        UNSAFE[what](client)

    assert len(broker.asked) == 1


@pytest.mark.parametrize("status", [400, 404, 409, 422, 500])
def test_a_refusal_is_not_asked_again(broker: ContractBroker, client: Client, status: int) -> None:
    broker.on("GET", "/v1/me", refusal(status, "no"))

    with pytest.raises(errors.GpuyardError):
        client.me()

    assert len(broker.asked) == 1


def test_an_order_that_is_asked_again_keeps_its_key_and_the_next_order_has_another(
    broker: ContractBroker, client: Client
) -> None:
    broker.on("POST", "/v1/workloads", Reply(201, given.workload()))
    broker.drop = 1

    client.create_workload(**ORDER)
    client.create_workload(**ORDER)

    keys = [asked.headers["Idempotency-Key"] for asked in broker.asked]
    assert len(keys[0]) == 36
    assert keys[0] == keys[1] != keys[2]


def test_nobody_there_says_so_without_the_layers_around_it() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        client = Client(url=url, api_key="k", backoff_s=())

        with pytest.raises(errors.BrokerUnreachable) as caught:
            client.me()

    assert caught.value.message == f"no answer from {url}: Connection refused"


def test_money_and_flags_travel_as_the_contract_says(broker: ContractBroker, client: Client) -> None:
    broker.on("GET", "/v1/offers", {"results": [], "next": None})
    broker.on("POST", "/v1/hosts", Reply(201, given.host()))

    client.offers(max_usd_per_gpu_hour=Decimal("2.5"), leasable=True, accelerator="H100-SXM")
    client.create_host(name="attic", region="home/berlin", usd_per_hour=Decimal("0.1"))

    assert broker.asked[0].query == {
        "max_usd_per_gpu_hour": "2.500000",
        "leasable": "true",
        "accelerator": "H100-SXM",
    }
    assert broker.asked[1].body == {"name": "attic", "region": "home/berlin", "usd_per_hour": "0.100000"}


def test_a_netrc_entry_does_not_take_the_place_of_the_key(
    broker: ContractBroker, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    broker.on("GET", "/v1/me", given.ME)

    assert client.me()["id"] == 1


def test_an_error_as_json_has_all_its_parts() -> None:
    error = errors.NeedUnmet("nothing fits", status=422)

    assert json.loads(json.dumps(error.as_dict())) == {
        "code": "need_unmet",
        "message": "nothing fits",
        "hint": "loosen the constraint that excludes most offers",
        "fields": {},
        "status": 422,
        "exit_code": 4,
    }
