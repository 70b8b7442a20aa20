"""Every address, asked by a stranger about a team's things: they are not there for him."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.urls import URLPattern, get_resolver
from django.utils import timezone

from billing.operations import grant
from broker.identity import operations, teams
from broker.identity.models import User
from offers.models import Account, Offer, Quote, Reservation
from tests.broker.browser import signed_up
from tests.conftest import Site
from tests.offers.test_benchmarks import PROFILE
from workloads.models import Artifact, Lease, Training, Workload

pytestmark = pytest.mark.django_db
NAME = "zaphod"  # Stands in all that is the team's: no answer to a stranger may hold it.
NOT_OF_A_TEAM = ("v1/agent", "v1/site", "v1/schema", "v1/catalogs")
SHARED = {
    ("v1/programs/<str:digest>", "PUT"),  # Who has the bytes may upload them, and has then a program of his own.
    ("v1/invitations/<str:token>", "GET"),  # Who has the link may read it: test_teams.py.
    ("v1/invitations/<str:token>", "POST"),
    ("v1/offers/history", "POST"),  # Scope `operate`.
}
BODIES = {
    "v1/programs/<str:digest>/profile": PROFILE.as_json(),
    "v1/workloads": {"script": "train.py", "args": []},
    "v1/teams/<int:pk>": {"name": "mine"},
    "v1/teams/<int:pk>/members/<int:user>": {"role": "owner"},
    "v1/teams/<int:pk>/invitations": {"email": "eve@example.com"},
}


@pytest.fixture
def theirs(make_caller, make_host, order_run, settle, client, clock):
    """A team with some of everything; what the slots of our addresses mean for it."""
    one = make_caller(NAME)
    agent = make_host(f"{NAME}-1", "home/berlin", by=one)
    run = order_run(sites=1, by=one)
    Workload.objects.update(name=NAME)
    settle(agent, seconds=5)
    site = Site(client, next(iter(agent.orders.values())))
    site.hello()
    site.give(site.lease()[1])
    site.report(1, clock.now, loss=1.0)
    artifact = site.save()
    agent.post("/v1/agent/logs", {"lease": Lease.objects.get().pk, "first_seq": 0,
                                  "lines": [{"at": clock.now.isoformat(), "stream": "out", "text": NAME}]})  # fmt: skip
    account = Account.objects.create(owner=one.team, provider="aws", sealed=b"", hint=NAME, created_at=clock.now)
    assert account.pk
    until = clock.now + timedelta(days=1)
    reservation = Reservation.objects.create(owner=one.team, offer=Offer.objects.first(), machines=1, until=until)
    made, _ = teams.invite(team=one.team, email=f"{NAME}@example.com", role="member", by=one.user, now=clock.now)
    key, _ = operations.make_key(
        membership=operations.own_team(user=one.user, now=clock.now), name=NAME, scopes=("read",), now=clock.now
    )
    program = Workload.objects.get().program.sha256
    assert Artifact.objects.get(pk=artifact).workload_id == run
    one.slots = {
        "v1/quotes": {"<int:pk>": Quote.objects.first().pk},
        "v1/programs": {"<str:digest>": program},
        "v1/workloads": {"<int:pk>": run, "<int:version>": 0,
                         "<str:digest>": Training.objects.get().snapshot_sha256},
        "v1/artifacts": {"<int:pk>": artifact},
        "v1/reservations": {"<int:pk>": reservation.pk},
        "v1/hosts": {"<int:pk>": agent.host},
        "v1/providers": {"<slug:provider>": "aws"},
        "v1/keys": {"<int:pk>": key.pk},
        "v1/teams": {"<int:pk>": one.team.pk, "<int:user>": one.user.pk, "<int:invitation>": made.pk},
        "v1/invitations": {"<str:token>": "x"},
    }  # fmt: skip
    return one


@pytest.fixture
def eve(theirs):
    """A stranger at the dashboard, with credit."""
    person = signed_up("eve@example.com")
    own = operations.own_team(user=User.objects.get(username="eve"), now=timezone.now())
    grant(team_id=own.team_id, amount_usd=100, source="eve", now=timezone.now())
    return person


@pytest.fixture
def program_of_eve(make_caller, theirs):
    return make_caller("eve", scopes=("read", "run", "supply"))


def asked(theirs):
    """Yield every address of ours about the team's things, with each method that it has."""
    for pattern in get_resolver().url_patterns:
        route = str(pattern.pattern)
        if not isinstance(pattern, URLPattern) or not route.startswith("v1/") or route.startswith(NOT_OF_A_TEAM):
            continue
        path = "/" + route
        for slot, value in theirs.slots.get("/".join(route.split("/")[:2]), {}).items():
            path = path.replace(slot, str(value))
        assert "<" not in path, f"what does {route} mean here?"
        view = getattr(pattern.callback, "cls", None)
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            if hasattr(view, method.lower()) and (route, method) not in SHARED:
                yield route, method, path


def text_of(answer):
    return b"".join(answer.streaming_content) if answer.streaming else answer.content


def body_of(route, theirs):
    body = BODIES.get(route, {})
    if route == "v1/workloads":
        return body | {"quote": theirs.slots["v1/quotes"]["<int:pk>"],
                       "program": theirs.slots["v1/programs"]["<str:digest>"]}  # fmt: skip
    return body


@pytest.mark.parametrize("stranger", ["eve", "program_of_eve"])
def test_a_strangers_questions_find_nothing(theirs, stranger, request):
    caller, seen = request.getfixturevalue(stranger), 0

    for route, method, path in asked(theirs):
        answer = caller.call(method, path, body_of(route, theirs) if method != "GET" else None)
        text = text_of(answer).decode()
        assert NAME not in text, (method, path, text)
        if "<" in route and not route.startswith("v1/providers"):
            wanted = (404, 403) if (stranger, method) == ("program_of_eve", "DELETE") else (404,)
            assert answer.status_code in wanted, (method, path, answer.status_code, text)
        assert answer.status_code < 500, (method, path, text)
        seen += 1

    assert seen > 40


def test_the_team_itself_finds_all_of_it(theirs):
    for route, method, path in asked(theirs):
        if method == "GET" and "<" in route:
            answer = theirs.call("GET", path)
            wanted = (403,) if route.endswith("/invitations") else (200,)
            assert answer.status_code in wanted, (path, answer.content)
    for path in ("workloads", "hosts", "keys", "teams", "providers", f"teams/{theirs.team.pk}/members"):
        assert NAME in json.dumps(theirs.ok("GET", f"/v1/{path}")), path


def test_nobody_changes_what_is_anothers(theirs, eve):
    kept = [model.objects.count() for model in (Account, Reservation, Workload, Quote)]

    for route, method, path in asked(theirs):
        if method != "GET":
            eve.call(method, path, body_of(route, theirs))

    assert [model.objects.count() for model in (Account, Reservation, Workload, Quote)] == kept
    assert Workload.objects.get().stop_requested_at is None
    assert theirs.ok("GET", "/v1/me")["team"] == {"id": theirs.team.pk, "name": NAME, "role": "owner"}


def test_a_team_of_others_cannot_be_asked_for(theirs, eve):
    for route, method, path in asked(theirs):
        refused = eve.refused(method, path, body_of(route, theirs) if method != "GET" else None,
                              x_team=str(theirs.team.pk))  # fmt: skip
        assert refused == (403, "not_a_member"), (route, method)
