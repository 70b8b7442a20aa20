"""A workload is followed by its stream where there is one, by looking where there is none; each row is told once."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from gpuyard import Client, errors
from gpuyard.watch import Follower

from . import objects_of_a_broker as given
from .contract_broker import Asked, ContractBroker, Reply, refusal

STREAM = "/v1/workloads/12/stream"


def sse(*events: tuple[str, str, Any]) -> Reply:
    """An answer of the stream: (kind, place, data) of each event."""
    text = "".join(f"event: {kind}\nid: {place}\ndata: {json.dumps(data)}\n\n" for kind, place, data in events)
    return Reply(raw=f": hello\nretry: 10\n\n{text}".encode(), headers={"Content-Type": "text/event-stream"})


def rows(broker: ContractBroker, what: str, known: list[dict[str, Any]]) -> None:
    """A list that honours `after`."""

    def answer(asked: Asked) -> Reply:
        return Reply(200, {"results": [row for row in known if row["id"] > int(asked.query.get("after", 0))]})

    broker.on("GET", f"/v1/workloads/12/{what}", answer)


@pytest.fixture
def running(broker: ContractBroker) -> ContractBroker:
    """A workload that runs, with one event and one row of metrics."""
    broker.on("GET", "/v1/workloads/12", given.workload("running"))
    rows(broker, "events", [given.event(1)])
    rows(broker, "metrics", [given.metric(3)])
    rows(broker, "logs", [])
    return broker


@pytest.fixture
def follow(client: Client) -> Any:
    """Follows workload 12; what it said of the broker is in `heard`."""

    class Follow:
        heard: list[str] = []

        def __call__(self, *types: str) -> Iterator[dict[str, Any]]:
            self.heard = []
            follower = Follower(client, 12, poll_s=0.01, notice=self.heard.append)
            return follower.watch(types or ("event", "metrics"))

    return Follow()


def ids(seen: list[dict[str, Any]], name: str) -> list[int]:
    return [each[name]["id"] for each in seen if each["type"] == name]


def test_what_the_stream_tells_is_told_once_and_in_its_order(running: ContractBroker, follow: Any) -> None:
    ended = given.workload("succeeded", version=4)
    running.on(
        "GET",
        STREAM,
        sse(
            ("event", "1", given.event(1)),
            ("event", "2", given.event(2)),
            ("metric", "3", given.metric(3)),
            ("metric", "4", given.metric(4)),
            ("log", "5", given.log_line(1)),
            ("round", "6", {"version": 1}),
            ("novelty", "7", {"anything": True}),
            ("workload", "8", ended),
            ("end", "9", ended),
        ),
    )
    running.in_turn("GET", "/v1/workloads/12", *[given.workload("running")] * 2, ended)

    seen = list(follow())

    assert ids(seen, "event") == [1, 2]
    assert ids(seen, "metrics") == [3, 4]
    assert [each["workload"]["state"] for each in seen if each["type"] == "workload"] == ["running", "succeeded"]
    assert {each["type"] for each in seen} == {"workload", "event", "metrics"}


def test_logs_are_told_to_who_asks_for_them(running: ContractBroker, follow: Any) -> None:
    running.on("GET", STREAM, sse(("log", "5", given.log_line(1)), ("workload", "8", given.workload("failed"))))

    assert ids(list(follow("log")), "log") == [1]


def test_a_stream_that_breaks_off_goes_on_from_where_it_was(running: ContractBroker, follow: Any) -> None:
    running.in_turn(
        "GET",
        STREAM,
        sse(("event", "7-1", given.event(2))),
        sse(("event", "7-2", given.event(3)), ("workload", "8", given.workload("cancelled"))),
    )

    seen = list(follow())

    assert ids(seen, "event") == [1, 2, 3]
    assert [asked.headers.get("Last-Event-ID") for asked in running.calls("GET", STREAM)] == [None, "7-1"]


def test_what_happened_while_the_stream_was_away_is_looked_up(running: ContractBroker, follow: Any) -> None:
    def again(asked: Asked) -> Reply:
        rows(running, "events", [given.event(1), given.event(2), given.event(3)])
        return sse(("workload", "8", given.workload("failed")))

    answers = [lambda asked: sse(("event", "7", given.event(2))), again]
    running.on("GET", STREAM, lambda asked: answers.pop(0)(asked))

    assert ids(list(follow()), "event") == [1, 2, 3]


@pytest.mark.parametrize("reply", [refusal(404, "not_found"), refusal(405, "method_not_allowed"), Reply(500, {})])
def test_without_a_stream_it_is_looked_at_again_and_again(running: ContractBroker, follow: Any, reply: Reply) -> None:
    running.on("GET", STREAM, reply)
    running.in_turn("GET", "/v1/workloads/12", *[given.workload("running")] * 3, given.workload("failed"))

    seen = list(follow())

    assert [each["workload"]["state"] for each in seen if each["type"] == "workload"] == ["running", "failed"]
    assert len(running.calls("GET", STREAM)) == 1


def test_a_stream_that_is_not_ours_is_given_up_for_looking(running: ContractBroker, follow: Any) -> None:
    running.on("GET", STREAM, Reply(raw=b"event: event\ndata: <html>\n\n"))
    running.in_turn("GET", "/v1/workloads/12", *[given.workload("running")] * 3, given.workload("failed"))

    assert ids(list(follow()), "event") == [1]


def test_a_key_that_is_revoked_under_way_ends_it(running: ContractBroker, follow: Any) -> None:
    running.on("GET", STREAM, refusal(401, "bad_key"))

    with pytest.raises(errors.AuthError):
        list(follow())


def test_an_absent_broker_is_told_once_and_so_is_its_return(running: ContractBroker, follow: Any) -> None:
    def dark(asked: Asked) -> Reply:
        running.drop = 4
        return sse(("event", "7", given.event(2)))

    answers = [dark, lambda asked: sse(("workload", "8", given.workload("failed")))]
    running.on("GET", STREAM, lambda asked: answers.pop(0)(asked))

    list(follow())

    assert len(follow.heard) == 2
    assert follow.heard[0].startswith("broker unreachable, waiting (")
    assert follow.heard[1] == "broker is back"


def test_a_silent_stream_does_not_hide_what_it_costs(
    running: ContractBroker, follow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpuyard.watch.LOOK_AFTER_S", 0)
    dearer = given.workload("running", spent_usd="0.500000")
    running.in_turn("GET", "/v1/workloads/12", *[given.workload("running")] * 2, dearer, given.workload("failed"))
    running.on("GET", STREAM, Reply(raw=b": hello\n\n: still here\nid: 7\n\n"))

    spent = [each["workload"]["spent_usd"] for each in follow() if each["type"] == "workload"]

    assert spent == ["0.420000", "0.500000", "0.420000"]


def test_a_stream_that_had_ended_already_is_not_asked_again(running: ContractBroker, client: Client) -> None:
    running.on("GET", STREAM, Reply(204, raw=b""))

    assert list(client.workload_stream(12, after="end")) == []
    assert len(running.asked) == 1


def test_the_sdk_gives_the_stream_as_objects_with_their_places(running: ContractBroker, client: Client) -> None:
    running.on("GET", STREAM, sse(("metric", "7", given.metric(3)), ("end", "8", given.workload("succeeded"))))

    told = list(client.workload_stream(12, after="5"))

    assert [(each.kind, each.place) for each in told] == [("metric", "7"), ("end", "8")]
    assert told[0].data["values"] == {"loss": 2.5}
    assert running.calls("GET", STREAM)[0].headers["Last-Event-ID"] == "5"
