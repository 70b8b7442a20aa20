"""The API from outside: who may, what a wrong request gets, and that asking twice is asking once."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from hashlib import sha256

import pytest
from django.db import OperationalError, connections
from django.test import Client
from django.urls import URLPattern, get_resolver
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema

from broker.identity.models import ApiKey
from broker.identity.operations import make_key, own_team
from offers.models import Quote
from tests.conftest import Caller, packed
from workloads import programs
from workloads.models import Workload

pytestmark = pytest.mark.django_db
OPEN = {"", "healthz", "dl/", "dl/<str:name>", "v1/schema", "v1/schema.json", "v1/agent/enrol"}  # What needs no key.
LINK = "v1/invitations/<str:token>"  # Who has it may read it.
FILL = {
    "<int:user>": "1",
    "<int:invitation>": "1",
    "<str:token>": "x",
    "<int:pk>": "1",
    "<str:digest>": "0" * 64,
    "<slug:provider>": "aws",
    "<int:version>": "0",
    "<str:name>": "x",
}


def addresses():
    for pattern in get_resolver().url_patterns:
        route = str(pattern.pattern)
        if route == "_allauth/":  # For people who are not signed in yet; test_people.py.
            continue
        assert isinstance(pattern, URLPattern)
        path = route
        for slot, value in FILL.items():
            path = path.replace(slot, value)
        yield route, f"/{path}"


def methods_of(route):
    if route.startswith(("v1/agent/programs", "v1/site/rounds")):
        return ["GET"]
    if route.startswith("v1/site/objects"):
        return ["GET", "PUT"]
    if route.startswith(("v1/agent", "v1/site")):
        return ["POST"]
    view = next(p.callback for p in get_resolver().url_patterns if str(p.pattern) == route)
    return [m for m in ("GET", "POST", "PUT", "PATCH", "DELETE") if hasattr(getattr(view, "cls", None), m.lower())]


@pytest.mark.parametrize("key", ["none", "wrong", "expired", "revoked", "agent of nobody"])
def test_every_address_but_the_open_ones_wants_a_key(client, ada, clock, key):
    good = ada.key
    _, old = make_key(
        membership=own_team(user=ada.user, now=clock.now), name="old", expires_at=clock.now, now=clock.now
    )
    headers = {
        "none": {},
        "wrong": {"HTTP_AUTHORIZATION": f"Bearer {good[:-2]}xx"},
        "expired": {"HTTP_AUTHORIZATION": f"Bearer {old}"},
        "revoked": {"HTTP_AUTHORIZATION": f"Bearer {good}"},
        "agent of nobody": {"HTTP_AUTHORIZATION": "Agent 1.secret"},
    }[key]
    if key == "revoked":
        ApiKey.objects.update(revoked_at=clock.now)
    seen = 0
    for route, path in addresses():
        if route in OPEN:
            continue
        for method in methods_of(route):
            if (route, method) == (LINK, "GET"):
                continue
            answer = client.generic(method, path, b"{}", content_type="application/json", **headers)
            assert answer.status_code == 401, (method, path, answer.status_code, answer.content[:200])
            assert answer.json()["error"]["code"] in ("no_key", "bad_key")
            seen += 1
    assert seen > 25


def test_a_key_without_the_scope_is_refused(make_caller, clock):
    reader = make_caller("reader", scopes=("read",))

    assert reader.refused("POST", "/v1/quotes", {}) == (403, "scope_missing")
    assert reader.refused("POST", "/v1/hosts", {}) == (403, "scope_missing")
    assert reader.refused("PUT", "/v1/catalogs/aws", raw=b"x") == (403, "scope_missing")
    assert reader.ok("GET", "/v1/me")["username"] == "reader"


def test_tenants_see_only_their_own(ada, make_caller, make_host, order_run):
    agent = make_host("one", "home/berlin")
    run = order_run(sites=1)
    quote = Quote.objects.get().pk
    eve = make_caller("eve")

    for path in ("", "/events", "/logs", "/metrics", "/rounds", "/artifacts", "/bill"):
        assert eve.refused("GET", f"/v1/workloads/{run}{path}") == (404, "not_found")
        ada.ok("GET", f"/v1/workloads/{run}{path}")
    assert eve.refused("POST", f"/v1/workloads/{run}/stop") == (404, "not_found")
    assert eve.refused("GET", f"/v1/quotes/{quote}") == (404, "not_found")
    assert eve.refused("POST", f"/v1/hosts/{agent.host}/reclaim", {}) == (404, "not_found")
    assert eve.ok("GET", "/v1/workloads")["results"] == []
    assert eve.ok("GET", "/v1/hosts")["results"] == []
    assert len(eve.ok("GET", "/v1/ledger")["results"]) == 1, "her own opening credit"


def test_the_key_is_kept_as_a_hash_only(ada):
    row = ApiKey.objects.get(membership__user=ada.user)

    assert ada.key not in json.dumps([row.prefix, row.sha256, row.name])
    assert row.sha256 == sha256(ada.key.encode()).hexdigest()


class TestQuotes:
    def test_an_unmet_need_says_which_constraint_excludes_how_many(self, ada, make_host):
        make_host("one", "home/berlin")

        answer = ada.call("POST", "/v1/quotes", {"accelerator": "H100"})

        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (422, "need_unmet")
        assert error["fields"]["excluded"] == [{"constraint": "accelerator: H100", "offers": 1}]
        assert "excludes 1" in error["message"]

    def test_what_would_be_possible_is_told_by_the_hour_where_the_run_s_length_is_not_known(self, ada, make_host):
        make_host("one", "home/berlin", usd="0.08")
        need = {"countries": ["FR"]}

        def hint(**work):
            return ada.call("POST", "/v1/quotes", need | work).json()["error"]["hint"]

        assert hint().endswith("it would cost 0.09 USD an hour")
        assert not hint(samples=36_000, samples_per_s=10).endswith("an hour")

    def test_a_budget_below_the_cheapest_names_the_cheapest(self, ada, make_host):
        make_host("one", "home/berlin", usd="10")
        need = {"samples": 36_000_000, "samples_per_s": 10, "budget_usd": "1"}

        answer = ada.call("POST", "/v1/quotes", need)

        error = answer.json()["error"]
        assert error["code"] == "budget_below_cheapest"
        assert Decimal(error["fields"]["cheapest_usd"]) > 10_000

    @pytest.mark.parametrize("body", [{"sites": "two"}, {"nonsense": 1}, [1]])
    def test_a_need_that_means_nothing_is_refused_by_field(self, ada, body):
        assert ada.refused("POST", "/v1/quotes", body) == (422, "invalid")

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({"min_accelerators_per_site": 0}, "min_accelerators_per_site"),
            ({"accelerators": 4, "min_accelerators_per_site": 4, "sites": 2}, "accelerators"),
        ],
    )
    def test_a_refused_need_names_the_field_for_who_drew_a_form_of_it(self, ada, body, field):
        error = ada.call("POST", "/v1/quotes", body).json()["error"]

        assert error["fields"] == {field: error["message"]}

    def test_a_body_that_is_no_json_is_refused(self, ada):
        answer = ada.client.post(
            "/v1/quotes", "{", content_type="application/json", HTTP_AUTHORIZATION=f"Bearer {ada.key}"
        )

        assert answer.status_code == 400
        assert "JSON" in answer.json()["error"]["message"]


class TestOrders:
    @pytest.fixture
    def body(self, ada, make_host):
        make_host("one", "home/berlin")
        raw = packed({"train.py": "pass\n"})
        digest = sha256(raw).hexdigest()
        ada.ok("PUT", f"/v1/programs/{digest}", raw=raw)
        quote = ada.ok("POST", "/v1/quotes", {"sites": 1})["quotes"][0]["id"]
        return {"quote": quote, "program": digest, "script": "train.py", "args": ["--x", " y "], "budget_usd": "5"}

    def test_the_same_idempotency_key_orders_once(self, ada, body):
        first = ada.call("POST", "/v1/workloads", body, idempotency_key="k1")
        second = ada.call("POST", "/v1/workloads", body, idempotency_key="k1")

        assert (first.status_code, second.status_code) == (201, 200)
        assert first.json()["id"] == second.json()["id"]
        assert Workload.objects.get().args == ["--x", " y "]
        changed = {**body, "args": []}
        assert ada.refused("POST", "/v1/workloads", changed, idempotency_key="k1") == (409, "idempotency_conflict")

    def test_a_quote_is_ordered_once(self, ada, body):
        ada.ok("POST", "/v1/workloads", body)

        assert ada.refused("POST", "/v1/workloads", body) == (409, "quote_taken")

    def test_an_expired_quote_is_refused_and_nothing_is_held(self, ada, body, clock):
        clock.forward(minutes=11)

        assert ada.refused("POST", "/v1/workloads", body) == (409, "quote_expired")
        assert ada.ok("GET", "/v1/me")["available_usd"] == "100.000000"

    def test_a_budget_above_the_credit_is_refused_and_nothing_starts(self, ada, body):
        assert ada.refused("POST", "/v1/workloads", {**body, "budget_usd": "101"}) == (402, "credit_exhausted")
        assert not Workload.objects.exists()

    def test_the_budget_is_set_aside(self, ada, body):
        ada.ok("POST", "/v1/workloads", body)

        me = ada.ok("GET", "/v1/me")
        assert (me["balance_usd"], me["available_usd"]) == ("100.000000", "95.000000")

    def test_another_tenants_quote_cannot_be_ordered(self, body, make_caller):
        eve = make_caller("eve")

        assert eve.refused("POST", "/v1/workloads", body) == (404, "not_found")

    def test_another_tenants_program_cannot_be_run(self, ada, body, make_caller):
        eve = make_caller("eve")
        quote = eve.ok("POST", "/v1/quotes", {"sites": 1})["quotes"][0]["id"]

        assert eve.refused("POST", "/v1/workloads", {**body, "quote": quote}) == (422, "program_unknown")

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ({"script": "absent.py"}, "script_missing"),
            ({"script": "../etc/passwd"}, "script_missing"),
            ({"budget_usd": "-1"}, "invalid"),
            ({"budget_usd": None}, "budget_needed"),
            ({"quote": "x"}, "invalid"),
            ({"program": "abc"}, "invalid"),
            ({"args": "not a list"}, "invalid"),
        ],
    )
    def test_a_wrong_order_says_what_is_wrong(self, ada, body, change, code):
        assert ada.refused("POST", "/v1/workloads", {**body, **change}) == (422, code)


class TestPrograms:
    def test_a_torn_upload_is_refused(self, ada):
        raw = packed({"train.py": "pass\n"})

        assert ada.refused("PUT", f"/v1/programs/{sha256(raw).hexdigest()}", raw=raw[:-1]) == (422, "hash_mismatch")

    @pytest.mark.parametrize(
        "raw",
        [b"not an archive", packed({"../evil.py": "x"}), packed({"/abs.py": "x"})],
        ids=["no archive", "climbs", "absolute"],  # An archive says when it was made.
    )
    def test_what_is_no_program_is_refused(self, ada, raw):
        assert ada.refused("PUT", f"/v1/programs/{sha256(raw).hexdigest()}", raw=raw) == (422, "not_a_program")

    def test_a_program_that_unpacks_to_too_much_is_refused(self, ada, monkeypatch):
        monkeypatch.setattr(programs, "UNPACKED_BYTES_MAX", 10)
        raw = packed({"train.py": "pass\n", "more.py": "pass\n"}), packed({"train.py": "pass\n", "more.py": "pass\n\n"})

        refused = [ada.call("PUT", f"/v1/programs/{sha256(one).hexdigest()}", raw=one).status_code for one in raw]

        assert refused == [201, 422]

    def test_the_same_program_twice_is_kept_once(self, ada):
        raw = packed({"train.py": "pass\n"})
        path = f"/v1/programs/{sha256(raw).hexdigest()}"

        assert [ada.call("PUT", path, raw=raw).status_code for _ in range(2)] == [201, 200]


class TestHosts:
    def test_a_token_enrols_one_agent_once(self, owner, client, clock):
        host = owner.ok("POST", "/v1/hosts", {"name": "one", "region": "home/berlin", "usd_per_hour": "0.05"})
        hardware = {"hostname": "h", "vcpus": 2, "accelerators": [{"kind": "CPU", "memory_gib": 8, "uuid": "c"}]}

        def enrol(secret, token=host["enrol_token"]):
            body = {
                "token": token,
                "key_sha256": sha256(secret).hexdigest(),
                "address": "127.0.0.9",
                "hardware": hardware,
            }
            return client.post("/v1/agent/enrol", json.dumps(body), content_type="application/json")

        assert enrol(b"mine").status_code == 200
        assert enrol(b"mine").status_code == 200, "the answer was lost, it asks again"
        assert enrol(b"a thief's").json()["error"]["code"] == "token_used"
        assert enrol(b"mine", token="yh_wrong").json()["error"]["code"] == "token_unknown"

    def test_an_old_token_enrols_nobody(self, owner, client, clock):
        host = owner.ok("POST", "/v1/hosts", {"name": "one", "region": "home/berlin", "usd_per_hour": "0.05"})
        clock.forward(hours=2)
        body = {"token": host["enrol_token"], "key_sha256": "0" * 64, "address": "a", "hardware": {"accelerators": []}}

        answer = client.post("/v1/agent/enrol", json.dumps(body), content_type="application/json")

        assert answer.json()["error"]["code"] == "token_expired"

    def test_a_lost_token_is_renewed_until_the_agent_is_in(self, owner, make_caller, client):
        host = owner.ok("POST", "/v1/hosts", {"name": "one", "region": "home/berlin", "usd_per_hour": "0.05"})
        path = f"/v1/hosts/{host['id']}/token"
        hardware = {"hostname": "h", "vcpus": 2, "accelerators": [{"kind": "CPU", "memory_gib": 8, "uuid": "c"}]}
        body = {"key_sha256": "0" * 64, "address": "127.0.0.9", "hardware": hardware}

        def enrol(token):
            raw = json.dumps({"token": token, **body})
            return client.post("/v1/agent/enrol", raw, content_type="application/json")

        fresh = owner.call("POST", path)

        assert (fresh.status_code, fresh.json()["id"]) == (201, host["id"])
        assert enrol(host["enrol_token"]).json()["error"]["code"] == "token_unknown"
        assert make_caller("eve", scopes=("supply",)).refused("POST", path) == (404, "not_found")
        assert enrol(fresh.json()["enrol_token"]).status_code == 200
        assert owner.refused("POST", path) == (409, "host_enrolled")

    @pytest.mark.parametrize(
        "change",
        [{"name": "a b"}, {"region": "berlin"}, {"usd_per_hour": "0"}, {"usd_per_hour": "x"}, {"country": "Germany"}],
    )
    def test_a_wrong_host_is_refused_by_field(self, owner, change):
        body = {"name": "one", "region": "home/berlin", "usd_per_hour": "0.05", **change}

        assert owner.refused("POST", "/v1/hosts", body) == (422, "invalid")

    def test_a_reclaimed_host_is_offered_again_on_request(self, owner, make_host, clock):
        host = make_host("one", "home/berlin").host

        assert owner.ok("POST", f"/v1/hosts/{host}/reclaim", {"notice_s": 0})["state"] == "reclaimed"
        assert owner.ok("POST", f"/v1/hosts/{host}/return")["state"] == "offered"

    def test_an_agent_that_says_nonsense_is_refused_not_broken(self, make_host):
        agent = make_host("one", "home/berlin")

        flying = {"address": "a", "hardware": agent.hardware, "nodes": [{"lease": 1, "phase": "flying"}]}
        for body in ({}, {"address": "a"}, {"address": "a", "hardware": {"accelerators": 3}}, flying):
            assert agent.post("/v1/agent/beat", body).status_code == 422


class TestLists:
    def test_offers_are_paged_without_gap_or_repetition(self, ada, make_host):
        for number in range(7):
            make_host(f"h{number}", "home/berlin", usd=f"0.0{1 + number % 3}")

        seen, cursor = [], None
        while True:
            page = ada.ok("GET", "/v1/offers?limit=3" + (f"&cursor={cursor}" if cursor else ""))
            seen += [offer["id"] for offer in page["results"]]
            cursor = page["next"]
            if cursor is None:
                break

        assert len(seen) == len(set(seen)) == 7

    @pytest.mark.parametrize("query", ["color=red", "sort=mood", "min_count=many", "limit=x", "cursor=zzz"])
    def test_a_wrong_query_is_refused(self, ada, query):
        assert ada.refused("GET", f"/v1/offers?{query}") == (422, "invalid")

    def test_an_imported_catalog_is_in_the_book(self, ada):
        text = (
            "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region\n"
            "p5,H100,8,192,2048,,98.32,,us-east-1\nbroken,H100,8,,,,free,,us-east-1\nm5,,,2,8,,0.1,,us-east-1\n"
        )

        report = ada.ok("PUT", "/v1/catalogs/aws", raw=text.encode())

        assert (report["rows"], report["loaded"], report["not_gpu"]) == (3, 1, 1)
        assert report["skipped"] == {"price is not a number": 1}
        (offer,) = ada.ok("GET", "/v1/offers?accelerator=H100-SXM")["results"]
        assert (offer["usd_per_gpu_hour"], offer["leasable"]) == ("12.290000", False)
        assert ada.refused("POST", "/v1/quotes", {"accelerator": "H100"}) == (422, "need_unmet")

    def test_what_is_no_catalog_is_refused(self, ada):
        assert ada.refused("PUT", "/v1/catalogs/aws", raw=b"a,b\n1,2\n") == (422, "not_a_catalog")


def test_the_schema_is_valid_and_describes_every_public_address(capsys):
    schema = SchemaGenerator().get_schema(request=None, public=True)

    validate_schema(schema)
    described = {(path, method.upper()) for path, methods in schema["paths"].items() for method in methods}
    private = ("v1/agent", "v1/site", "v1/schema")
    public = [route for route, _ in addresses() if route.startswith("v1/") and not route.startswith(private)]
    streams = [route for route in public if route.endswith("/stream")]
    assert len(described) == sum(len(methods_of(route)) for route in public) + len(streams)
    assert "Error" not in capsys.readouterr().err


@pytest.mark.parametrize("path", ["/v1/me", "/v1/agent/beat", "/healthz"])
def test_a_database_that_restarts_is_a_503_to_be_asked_again(ada, monkeypatch, path):
    def away(*args, **more):
        raise OperationalError("the database system is starting up")

    monkeypatch.setattr("django.db.backends.utils.CursorWrapper.execute", away)
    header = "Agent 1.x" if "agent" in path else f"Bearer {ada.key}"

    answer = ada.client.generic("POST" if "agent" in path else "GET", path, b"{}", HTTP_AUTHORIZATION=header)

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "database_away")
    assert answer["Retry-After"] == "1"


def test_an_unknown_address_gets_a_clear_answer(client, settings):
    settings.DEBUG = False

    answer = client.get("/v1/nothing")

    assert answer.json()["error"]["code"] == "not_found"


@pytest.mark.django_db(transaction=True)
def test_two_orders_in_the_same_moment_may_not_exceed_the_credit(ada, make_host):
    for number in range(4):
        make_host(f"h{number}", f"home/r{number}")
    raw = packed({"train.py": "pass\n"})
    digest = sha256(raw).hexdigest()
    ada.ok("PUT", f"/v1/programs/{digest}", raw=raw)
    quotes = [ada.ok("POST", "/v1/quotes", {"sites": 1})["quotes"][0]["id"] for _ in range(4)]
    start = threading.Barrier(4)

    def order(quote):
        body = {"quote": quote, "program": digest, "script": "train.py", "args": [], "budget_usd": "60"}
        start.wait()
        try:
            return Caller(Client(), ada.key, ada.user).call("POST", "/v1/workloads", body).status_code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        codes = sorted(pool.map(order, quotes))

    assert codes == [201, 402, 402, 402]
    assert Workload.objects.count() == 1


def test_a_used_key_says_when(ada, clock):
    clock.forward(hours=1)

    ada.ok("GET", "/v1/me")

    assert ApiKey.objects.get(membership__user=ada.user).last_used_at == clock.now
    assert isinstance(ada, Caller)
    assert clock.now - ApiKey.objects.get(membership__user=ada.user).created_at == timedelta(hours=1)
