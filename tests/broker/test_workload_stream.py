"""The stream of a workload: everything that its addresses show, once, whoever is cut off in between."""

from __future__ import annotations

import asyncio
import threading

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.core.handlers.asgi import ASGIHandler
from django.db import connection, connections, transaction
from django.test import AsyncClient

from broker.api import workload_stream
from offers import snapshots
from tests import contract
from tests.broker.streams import listen
from tests.workloads.test_rounds import close_round, sites  # noqa: F401 - `sites` is a fixture
from workloads import live, operations
from workloads.models import Lease, LogLine, Metric, Placement, Workload

pytestmark = pytest.mark.django_db(transaction=True)
COMPONENTS = {"workload": "Workload", "history": "StreamHistory", "event": "Event", "metric": "Metric",
              "log": "LogLine", "round": "Round"}  # fmt: skip


@pytest.fixture(autouse=True)
def _fast(monkeypatch):
    monkeypatch.setattr(workload_stream, "LOOK_EVERY_S", 0.02)
    monkeypatch.setattr(workload_stream, "STATE_EVERY_S", 0.05)
    monkeypatch.setattr(workload_stream, "MONEY_EVERY_S", 0.2)
    monkeypatch.setattr(workload_stream, "QUIET_S", 0.3)


@pytest.fixture
def run(sites):  # noqa: F811
    return Workload.objects.get()


@pytest.fixture
def page(ada, run):
    def open_(**more):
        return listen(ada.key, f"/v1/workloads/{run.pk}/stream", **more)

    return open_


def write(text, *, seq):
    lease = Lease.objects.order_by("id").first()
    LogLine.objects.create(
        workload=lease.placement.workload, lease=lease, seq=seq, at=lease.entered_at, stream="stdout", text=text
    )


def report(run, *, seq, **values):
    placement = Placement.objects.order_by("id").first()
    Metric.objects.create(
        workload=run, placement=placement, seq=seq, at=run.created_at, step=seq, version=0, values=values
    )


def of(told, kind):
    return [one for one in told if one.kind == kind]


def texts(told):
    return [one.data["text"] for one in of(told, "log")]


def test_a_reader_is_told_when_what_was_has_come_also_after_a_cut(page, run):
    write("before", seq=1)
    report(run, seq=1, loss=2.5)

    told = page(until=lambda told: bool(of(told, "caught_up")))
    again = page(last=told[-1].place, until=lambda told: bool(of(told, "caught_up")))

    assert told[-1].data == {}
    assert all(of(told, kind) for kind in ("workload", "event", "metric", "log", "round"))
    assert not of(again, "history")


def test_a_reader_gets_what_is_then_what_was(page, run, ada):
    write("before", seq=1)
    report(run, seq=1, loss=2.5)

    told = page(until=lambda told: bool(of(told, "round")))

    assert [one.kind for one in told[:2]] == ["workload", "history"]
    assert told[0].data["id"] == run.pk
    assert [one.data for one in of(told, "event")] == ada.ok("GET", f"/v1/workloads/{run.pk}/events")["results"]
    assert [one.data for one in of(told, "metric")] == ada.ok("GET", f"/v1/workloads/{run.pk}/metrics")["results"]
    assert [one.data for one in of(told, "log")] == ada.ok("GET", f"/v1/workloads/{run.pk}/logs")["results"]
    assert [one.data for one in of(told, "round")] == ada.ok("GET", f"/v1/workloads/{run.pk}/rounds")["results"]
    assert of(told, "round")[0].place, "from here on a reader can go on"


def test_what_comes_is_told_and_the_workload_with_it(page, run):
    def act(told):
        write("new", seq=2)
        report(run, seq=2, loss=1.25)

    told = page(
        act=act,
        act_when=lambda told: bool(of(told, "round")),
        until=lambda told: (
            bool(texts(told)) and bool(of(told, "metric")) and of(told, "workload")[-1].data["loss"] == 1.25
        ),
    )

    assert texts(told) == ["new"]
    assert of(told, "metric")[-1].data["values"] == {"loss": 1.25}


def test_every_event_is_as_the_schema_describes_it(page, run):
    write("new", seq=2)
    report(run, seq=2, loss=1.25)

    for one in page(until=lambda told: bool(of(told, "round"))):
        if one.kind in COMPONENTS:
            assert contract.fits({"$ref": f"#/components/schemas/{COMPONENTS[one.kind]}"}, one.data) == []


def test_a_round_is_told_while_it_is_open_and_when_it_closes(page, sites, clock):  # noqa: F811
    def act(told):
        for site in sites:
            site.give(site.lease()[1])
        close_round(clock)

    told = page(
        act=act,
        act_when=lambda told: bool(of(told, "round")),
        until=lambda told: len({one.data["version"] for one in of(told, "round")}) == 2,
    )

    rounds = [one.data for one in of(told, "round")]
    assert (rounds[0]["version"], rounds[0]["closed_at"]) == (0, None)
    closed = [one for one in rounds if one["closed_at"]]
    assert [one["version"] for one in closed] == [0]
    assert rounds[-1]["version"] == 1


@pytest.mark.parametrize("cut", [2, 3])
def test_who_comes_back_misses_nothing_and_gets_nothing_twice(page, cut):
    (*_, last) = page(until=lambda told: bool(of(told, "round")))
    with transaction.atomic():
        write("a", seq=1)
        write("b", seq=2)
        write("c", seq=3)
    write("d", seq=4)
    write("e", seq=5)

    first = page(last=last.place, until=lambda told: len(texts(told)) >= cut)
    first_logs = of(first, "log")[:cut]
    rest = page(last=first_logs[-1].place, until=lambda told: len(texts(told)) >= 5 - cut)

    assert texts(first_logs) + texts(rest) == ["a", "b", "c", "d", "e"]
    assert not of(rest, "history")


def test_a_line_that_is_committed_late_is_told_though_a_later_one_was(page):
    """Its id and its transaction are older than those of the line that a reader has already."""
    written, go_on = threading.Event(), threading.Event()

    def slow():
        try:
            with transaction.atomic():
                write("slow", seq=1)
                written.set()
                assert go_on.wait(20)
        finally:
            connections.close_all()

    thread = threading.Thread(target=slow)

    def act(told):
        thread.start()
        assert written.wait(20)
        write("quick", seq=2)

    told = page(act=act, act_when=lambda told: bool(of(told, "round")), until=lambda told: bool(texts(told)))
    assert texts(told) == ["quick"], "it does not wait for the other"
    slow_is_older = LogLine.objects.get(text="quick").pk
    go_on.set()
    thread.join()

    later = page(last=of(told, "log")[-1].place, until=lambda told: bool(texts(told)))

    assert texts(later) == ["slow"]
    assert LogLine.objects.get(text="slow").pk < slow_is_older


def test_an_open_transaction_in_the_middle_of_a_batch_is_not_lost_either(run):
    """By hand, look by look: one begins before the first look and ends after it, with others around it."""
    start = live.Place(snapshots.now())
    written, go_on = threading.Event(), threading.Event()

    def slow():
        try:
            with transaction.atomic():
                write("slow", seq=1)
                written.set()
                assert go_on.wait(20)
                with transaction.atomic():  # A savepoint: Postgres gives its rows a number of their own.
                    write("slow too", seq=2)
        finally:
            connections.close_all()

    thread = threading.Thread(target=slow)
    thread.start()
    assert written.wait(20)
    write("one", seq=3)
    first, place = live.since(run.pk, start, snapshots.now())
    write("two", seq=4)
    go_on.set()
    thread.join()
    second, place = live.since(run.pk, live.place(str(place)), snapshots.now())
    third, _ = live.since(run.pk, place, snapshots.now())

    shown = [[one.row.text for one in news if one.kind == "log"] for news in (first, second, third)]
    assert (shown[0], sorted(shown[1]), shown[2]) == (["one"], ["slow", "slow too", "two"], [])


def test_a_long_absence_is_caught_up_in_batches_cut_between_transactions(run, monkeypatch):
    monkeypatch.setattr(live, "AT_ONCE", 3)
    place = live.Place(snapshots.now())
    for number in range(5):
        with transaction.atomic():
            write(f"{number}a", seq=2 * number)
            write(f"{number}b", seq=2 * number + 1)

    until, seen, batches = snapshots.now(), [], 0
    while until.is_after(place.seen):
        news, place = live.since(run.pk, place, until)
        seen += [one.row.text for one in news]
        batches += 1

    assert seen == [f"{number}{letter}" for number in range(5) for letter in "ab"]
    assert batches == 5


def test_old_metrics_are_thinned_by_each_sites_own_count(run, monkeypatch):
    monkeypatch.setattr(live, "METRICS_WHOLE", 10)
    monkeypatch.setattr(live, "METRICS_FIRST", 30)
    monkeypatch.setattr(live, "METRICS_EACH", 10)
    one, two = Placement.objects.order_by("id")
    for seq in range(60):
        for placement in (one, two):
            Metric.objects.create(
                workload=run, placement=placement, seq=seq, at=run.created_at, step=seq, version=0, values={}
            )

    news, _, told = live.history(run.pk)

    steps = {
        pk: [n.row.step for n in news if n.kind == "metric" and n.row.placement_id == pk] for pk in (one.pk, two.pk)
    }
    assert told["metrics_one_in"] == 6
    assert steps[one.pk] == steps[two.pk] == [*range(0, 55, 6), *range(55, 60)]


def test_what_is_reported_seldom_is_told_whole_and_what_is_reported_often_is_thinned(run):
    site = Placement.objects.order_by("id").first()
    rows = [
        Metric(workload=run, placement=site, seq=seq, at=run.created_at, step=seq, version=0,
               values={"loss": 1.0, **({"val_loss": 2.0} if seq % 1000 == 7 else {})})
        for seq in range(20_000)
    ]  # fmt: skip
    Metric.objects.bulk_create(rows, batch_size=5000)

    news, _, told = live.history(run.pk)

    values = [one.row.values for one in news if one.kind == "metric"]
    assert told["metrics_one_in"] == 11
    assert sum("val_loss" in one for one in values) == 20
    assert 1_900 < len(values) <= live.METRICS_FIRST + 20


def test_it_ends_by_itself_when_nothing_can_come_any_more(page, run, ada, settle, clock):
    operations.request_stop(workload_id=run.pk, reason="asked", why="enough", now=clock.now)
    Placement.objects.update(state="closed")
    Lease.objects.update(state="released", closed_at=clock.now)
    Workload.objects.update(state="cancelled", ended_at=clock.now, end_reason="asked")

    told = page(until=lambda told: bool(of(told, "end")))

    assert told[-1].place == "end"
    again = async_to_sync(AsyncClient().get)(
        f"/v1/workloads/{run.pk}/stream",
        headers={"authorization": f"Bearer {ada.key}", "last-event-id": "end"},
    )
    assert again.status_code == 204


def test_it_is_its_owners_alone(run, ada, make_caller, client):
    eve = make_caller("eve")

    assert eve.refused("GET", f"/v1/workloads/{run.pk}/stream") == (404, "not_found")
    assert client.get(f"/v1/workloads/{run.pk}/stream").status_code == 401
    assert ada.refused("GET", "/v1/workloads/999999/stream") == (404, "not_found")
    assert ada.refused("POST", f"/v1/workloads/{run.pk}/stream") == (405, "method_not_allowed")
    assert ada.refused("GET", f"/v1/workloads/{run.pk}/stream?after=x") == (422, "invalid")


def test_a_hundred_readers_take_no_more_connections_than_a_few(run, ada):
    """Asked as a server asks: each request on a thread of its own, whose connection must not outlast the question."""
    scope = {"type": "http", "method": "GET", "path": f"/v1/workloads/{run.pk}/stream", "query_string": b"",
             "headers": [(b"authorization", f"Bearer {ada.key}".encode()), (b"host", b"testserver")]}  # fmt: skip

    def connections_now():
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
            return cursor.fetchone()[0]

    async def opened():
        line = ApplicationCommunicator(ASGIHandler(), scope)
        await line.send_input({"type": "http.request", "body": b""})
        assert (await line.receive_output(60))["status"] == 200
        while b"event: round" not in (await line.receive_output(60))["body"]:
            pass
        return line

    async def all_of_them():
        lines = await asyncio.gather(*(opened() for _ in range(100)))
        open_ = await sync_to_async(connections_now)()
        for line in lines:
            await line.send_input({"type": "http.disconnect"})
            await line.wait(60)
        return open_

    assert async_to_sync(all_of_them)() <= 6, "four of the streams, this one, and one to spare"
