"""The door to the network, against real HTTP on loopback."""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from typing import Any

import pytest

from providers import http
from providers.base import NoCapacity, Reason, Rejected, Unreachable
from tests.providers.cloud import LOSE_THE_ANSWER, Cloud, Reply, Request

DROPS = 300
KEY = "sk-4711-abcdefgh"


class Clock:
    """Stands in for the time module: whoever sleeps is told the time that it wanted."""

    def __init__(self) -> None:
        self.now, self.slept = 1000.0, []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Echo(Cloud):
    """Answers every path with `reply`, or with what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.reply: Reply | None = None
        self.accepted = 0

    def answer(self, request: Request) -> Reply:
        return self.reply or Reply({"method": request.method, "path": request.path, "body": request.body})

    def __enter__(self):
        super().__enter__()
        accept = self._server.get_request

        def counted():
            self.accepted += 1
            return accept()

        self._server.get_request = counted
        return self


@pytest.fixture
def cloud() -> Iterator[Echo]:
    with Echo() as cloud:
        yield cloud


@pytest.fixture(autouse=True)
def clock(monkeypatch) -> Iterator[Clock]:
    clock = Clock()
    monkeypatch.setattr(http, "time", clock)
    yield clock
    for session in http._local.__dict__.pop("sessions", {}).values():
        session.close()


@pytest.fixture
def client(cloud) -> http.Client:
    return http.Client(provider="echo", base_url=cloud.url, headers={"Authorization": f"Bearer {KEY}"})


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        (302, Rejected, Reason.BAD_REQUEST),
        (400, Rejected, Reason.BAD_REQUEST),
        (401, Rejected, Reason.AUTH),
        (402, Rejected, Reason.MONEY),
        (403, Rejected, Reason.AUTH),
        (404, Rejected, Reason.BAD_REQUEST),
        (408, Unreachable, Reason.RATE_LIMIT),
        (429, Unreachable, Reason.RATE_LIMIT),
        (500, Unreachable, Reason.OUTAGE),
        (503, Unreachable, Reason.OUTAGE),
    ],
)
def test_a_status_is_told_apart_as_one_of_the_errors(cloud, client, status, kind, reason):
    cloud.reply = Reply({"error": {"message": "so it is"}}, status)

    with pytest.raises(kind, match="so it is") as caught:
        client.get("/x")

    assert type(caught.value) is kind
    assert (caught.value.reason, caught.value.status) == (reason, status)
    assert caught.value.body == {"error": {"message": "so it is"}}


def test_what_a_body_explains_goes_before_its_status(cloud, client):
    client.explain = lambda status, body: NoCapacity(reason=Reason.SOLD_OUT) if body == {"code": "full"} else None
    cloud.reply = Reply({"code": "full"}, 400)

    with pytest.raises(NoCapacity, match="400 full") as caught:
        client.get("/x")

    assert (caught.value.reason, caught.value.status) == (Reason.SOLD_OUT, 400)


def test_an_answer_that_is_no_json_is_rejected(cloud, client):
    cloud.reply = Reply("<html>maintenance</html>")

    with pytest.raises(Rejected, match="not JSON"):
        client.get("/x")


def test_nobody_there_is_unreachable():
    with pytest.raises(Unreachable) as caught:
        http.call("GET", "http://127.0.0.1:9")

    assert caught.value.reason is Reason.OUTAGE


class TestRepeating:
    def test_a_get_whose_answer_was_lost_is_sent_again(self, cloud, client, clock):
        cloud.trouble = [("GET", "/x", LOSE_THE_ANSWER)]

        assert client.get("/x")["path"] == "/x"

        assert len(cloud.requests) == 2
        assert len(clock.slept) == 1

    def test_a_post_whose_answer_was_lost_is_not_sent_again(self, cloud, client):
        cloud.trouble = [("POST", "/x", LOSE_THE_ANSWER)]

        with pytest.raises(Unreachable):
            client.call("POST", "/x", body={})

        assert len(cloud.requests) == 1

    def test_a_post_that_may_be_repeated_is_sent_again(self, cloud, client):
        cloud.trouble = [("POST", "/x", LOSE_THE_ANSWER)]

        assert client.call("POST", "/x", body={"name": "one"}, again=True)["body"] == {"name": "one"}

        assert [request.body for request in cloud.requests] == [{"name": "one"}] * 2

    def test_a_get_that_may_not_be_repeated_is_sent_once(self, cloud, client):
        cloud.trouble = [("GET", "/x", LOSE_THE_ANSWER)]

        with pytest.raises(Unreachable):
            client.ask("GET", "/x", again=False)

        assert len(cloud.requests) == 1

    def test_a_post_that_came_too_early_is_sent_again(self, cloud, client):
        cloud.trouble = [("POST", "/x", Reply("slow down", 429))]

        assert client.call("POST", "/x")["method"] == "POST"

    def test_a_post_that_failed_inside_is_not_sent_again(self, cloud, client):
        cloud.trouble = [("POST", "/x", Reply(None, 503))]

        with pytest.raises(Unreachable):
            client.call("POST", "/x")

    def test_what_was_refused_is_not_asked_again(self, cloud, client):
        cloud.reply = Reply(None, 404)

        with pytest.raises(Rejected):
            client.get("/x")

        assert len(cloud.requests) == 1

    def test_it_gives_up_after_some_tries(self, cloud, client, clock):
        cloud.reply = Reply(None, 500)

        with pytest.raises(Unreachable):
            client.get("/x")

        assert len(cloud.requests) == http.TRIES
        assert all(0 <= pause <= http.FIRST_PAUSE_S * 2**tried for tried, pause in enumerate(clock.slept))


class TestRetryAfter:
    def test_seconds_are_waited_for(self, cloud, client, clock):
        cloud.trouble = [("GET", "/x", Reply(None, 429, {"Retry-After": "7"}))]

        client.get("/x")

        assert 7 <= clock.slept[0] <= 7 + http.FIRST_PAUSE_S

    def test_a_date_is_waited_for(self, cloud, client, clock):
        at = format_datetime(datetime.now(UTC) + timedelta(seconds=15), usegmt=True)
        cloud.trouble = [("GET", "/x", Reply(None, 503, {"Retry-After": at}))]

        client.get("/x")

        assert 10 < clock.slept[0] <= 15 + http.FIRST_PAUSE_S

    def test_who_wants_too_long_a_pause_is_left_alone(self, cloud, client, clock):
        cloud.reply = Reply("plain words", 429, {"Retry-After": "3600"})

        with pytest.raises(Unreachable, match="plain words") as caught:
            client.get("/x")

        assert caught.value.retry_after_s == 3600
        assert caught.value.reason is Reason.RATE_LIMIT
        assert (len(cloud.requests), clock.slept) == (1, [])

    @pytest.mark.parametrize("junk", ["soon", "-5", "nan", "inf", "1e999", "Wed, 99 Foo 2026", "\t"])
    def test_junk_is_not_waited_for(self, cloud, client, clock, junk):
        cloud.trouble = [("GET", "/x", Reply(None, 503, {"Retry-After": junk}))]

        client.get("/x")

        assert clock.slept[0] <= http.FIRST_PAUSE_S


class TestPace:
    def test_requests_keep_their_distance(self, cloud, client, clock):
        client.every_s, client.identity = 2.0, "distance"

        for _ in range(3):
            client.get("/x")

        assert clock.slept == [2.0, 2.0]

    def test_all_clients_of_an_account_share_it(self, cloud, clock):
        for _ in range(2):
            http.Client(provider="echo", base_url=cloud.url, identity="shared", every_s=3.0).get("/x")
        http.Client(provider="echo", base_url=cloud.url, identity="another", every_s=3.0).get("/x")

        assert clock.slept == [3.0]

    def test_a_kind_of_request_has_its_own(self, cloud, clock):
        client = http.Client(provider="echo", base_url=cloud.url, identity="kinds")

        client.ask("POST", "/launch", every_s=12.0)
        client.get("/x")
        client.ask("POST", "/launch", every_s=12.0)

        assert clock.slept == [12.0]

    def test_threads_take_turns(self, clock):
        pace = http.Pace(1.0)
        threads = [threading.Thread(target=pace.wait) for _ in range(5)]

        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert clock.now >= 1004.0


class TestConnections:
    def test_one_connection_serves_many_requests(self, cloud, client):
        for _ in range(5):
            client.get("/x")

        assert cloud.accepted == 1

    def test_an_error_answer_does_not_cost_the_connection(self, cloud, client):
        cloud.trouble = [("GET", "/x", Reply({"error": "no"}, 404))]

        with pytest.raises(Rejected):
            client.get("/x")
        client.get("/x")

        assert cloud.accepted == 1

    def test_a_redirect_does_not_take_the_key_along(self, cloud, client):
        with Echo() as other:
            cloud.reply = Reply(None, 302, {"Location": f"{other.url}/stolen"})

            with pytest.raises(Rejected):
                client.get("/x")

            assert other.requests == []

    def test_a_netrc_does_not_replace_the_key(self, cloud, client, tmp_path, monkeypatch):
        netrc = tmp_path / "netrc"
        netrc.write_text("machine 127.0.0.1 login somebody password else\n")
        netrc.chmod(0o600)
        monkeypatch.setenv("NETRC", str(netrc))

        client.get("/x")
        http.call("GET", f"{cloud.url}/y")

        assert cloud.requests[0].headers["authorization"] == f"Bearer {KEY}"
        assert "authorization" not in cloud.requests[1].headers

    def test_a_cookie_is_not_kept(self, cloud, client):
        cloud.reply = Reply({}, 200, {"Set-Cookie": "session=1"})

        client.get("/x")
        client.get("/x")

        assert "cookie" not in cloud.requests[1].headers

    @pytest.mark.parametrize(
        "link",
        [
            "http://127.0.0.2:9/x",
            "https://127.0.0.1/x",
            "http://127.0.0.1:9@evil.invalid/x",
            "@127.0.0.2:9/x",
            ".evil.invalid/x",
            "9/x",
            "HTTP://127.0.0.2:9/x",
            "x",
            "http://[::1/x",
            "http://127.0.0.1:99999/x",
        ],
    )
    def test_a_link_to_another_host_is_refused(self, cloud, client, link):
        with pytest.raises(Rejected, match="another host"):
            client.get(link)

        assert cloud.requests == []

    def test_a_link_to_the_same_host_is_followed(self, cloud, client):
        assert client.get(f"{cloud.url}/page?cursor=2")["path"] == "/page"

        assert cloud.requests[0].query == {"cursor": ["2"]}


class TestRequests:
    def test_a_query_leaves_out_what_is_none(self, cloud, client):
        client.get("/x", one=1, none=None)

        assert cloud.requests[0].query == {"one": ["1"]}

    def test_headers_are_made_anew_for_every_request(self, cloud):
        tokens = iter(["first", "second"])
        client = http.Client(
            provider="echo", base_url=cloud.url, authorize=lambda: {"Authorization": f"Bearer {next(tokens)}"}
        )

        client.get("/x")
        client.get("/x")

        assert [request.headers["authorization"] for request in cloud.requests] == ["Bearer first", "Bearer second"]

    def test_a_decimal_is_sent_as_a_number(self, cloud, client):
        assert client.call("POST", "/x", body={"max": Decimal("1.25")})["body"] == {"max": Decimal("1.25")}

        assert cloud.requests[0].headers["content-type"] == "application/json"

    def test_a_form_is_sent_as_a_form(self, cloud, client):
        cloud.reply = Reply({})

        client.call("POST", "/x", form={"grant_type": "client credentials"})

        assert cloud.requests[0].body == b"grant_type=client+credentials"


class TestErrorsNameNoSecret:
    @pytest.mark.parametrize(
        "words",
        [
            f"invalid token: {KEY}",
            f"Bearer {KEY} is unknown",
            f"Incorrect API key provided: {KEY}",
            f"{KEY} is not a key",
            f"no such user {KEY}.",
        ],
    )
    def test_whatever_the_provider_says_back(self, cloud, client, words):
        cloud.reply = Reply({"error": words}, 401)

        with pytest.raises(Rejected) as caught:
            client.get("/x")

        assert KEY not in str(caught.value)
        assert "***" in str(caught.value)

    def test_nor_what_stood_in_the_query(self, cloud, client):
        cloud.reply = Reply(None, 404)

        with pytest.raises(Rejected) as caught:
            client.get("/x", api_key=KEY)

        assert KEY not in str(caught.value)

    @pytest.mark.parametrize(
        "text",
        [
            '{"api_key":"hush-hush-hush"}',
            "token=hush-hush-hush&x=1",
            "Authorization: Basic hush-hush-hush",
            "secretAccessKey: hush-hush-hush",
            "password = hush-hush-hush",
        ],
    )
    def test_words_that_announce_a_credential_are_enough(self, text):
        assert "hush-hush-hush" not in http.redacted(text)

    def test_long_words_are_cut_short_and_on_one_line(self):
        assert http.redacted("a\n\nb" * 1000) == ("a b" * 1000)[:300]


class TestAnswers:
    def test_an_empty_answer_is_none(self, cloud, client):
        cloud.reply = Reply(None, 200)

        assert client.get("/x") is None

    def test_a_text_is_a_text(self, cloud, client):
        cloud.reply = Reply("line\nline", 200, {"X-Total": "2"})

        answer = client.ask("GET", "/x", text=True)

        assert (answer.body, answer.headers["x-total"]) == ("line\nline", "2")

    def test_html_is_told_without_its_tags(self, cloud, client):
        cloud.reply = Reply("<html><h1>Bad gateway</h1></html>", 502)

        with pytest.raises(Unreachable, match="502 Bad gateway$"):
            client.call("POST", "/x")

    def test_a_decimal_number_is_a_decimal(self, cloud, client):
        cloud.reply = Reply('{"usd": 0.1, "whole": 3}')

        body = client.get("/x")

        assert repr(body) == "{'usd': Decimal('0.1'), 'whole': 3}"

    @pytest.mark.parametrize("raw", ["NaN", "[Infinity]", "[" * 100_000, '{"a": -Infinity}', "9" * 5000, b"\xff"])
    def test_what_is_not_json_is_refused(self, cloud, client, raw: Any):
        cloud.reply = Reply(raw)

        with pytest.raises(Rejected, match="not JSON"):
            client.get("/x")

    def test_a_packed_answer_is_unpacked(self, cloud, client):
        cloud.reply = Reply(gzip.compress(b'{"a": 1}' + b" " * 200_000), 200, {"Content-Encoding": "gzip"})

        assert client.get("/x") == {"a": 1}

    @pytest.mark.parametrize("packed", [False, True])
    def test_too_large_an_answer_is_refused(self, cloud, client, monkeypatch, packed):
        monkeypatch.setattr(http, "ANSWER_BYTES_MAX", 1000)
        raw = b" " * 2_000_000
        headers = {"Content-Encoding": "gzip"} if packed else {}
        cloud.reply = Reply(gzip.compress(raw) if packed else raw, 200, headers)

        with pytest.raises(Unreachable):
            client.ask("GET", "/x", again=False)

    def test_an_answer_that_was_packed_badly_is_unreachable(self, cloud, client):
        cloud.reply = Reply(b"not gzip at all", 200, {"Content-Encoding": "gzip"})

        with pytest.raises(Unreachable):
            client.ask("GET", "/x", again=False)

    def test_an_answer_that_ends_early_is_unreachable(self):
        with raw_server(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}") as url, pytest.raises(Unreachable):
            http.call("GET", url, again=False)

    @pytest.mark.parametrize("how", ["Content-Length: 100000", "Transfer-Encoding: chunked", "X-Until: closed"])
    def test_an_answer_that_drips_for_ever_is_cut_off(self, clock, monkeypatch, how):
        drop = b"1\r\n \r\n" if "chunked" in how else b" "
        monkeypatch.setattr(http, "WHOLE_S", 5)
        monkeypatch.setattr(clock, "monotonic", lambda: setattr(clock, "now", clock.now + 1) or clock.now)

        server = raw_server(f"HTTP/1.1 200 OK\r\n{how}\r\n\r\n".encode(), drop)
        with server as url, pytest.raises(Unreachable) as caught:
            http.Client(provider="drip", base_url=url, timeout_s=(2, 2)).ask("GET", "/", again=False)

        assert caught.value.reason is Reason.OUTAGE
        assert server.drops < DROPS


class raw_server:
    """Sends `head` to whoever connects, then DROPS times `drop`, one every 10 ms, until nobody wants it any more."""

    def __init__(self, head: bytes, drop: bytes = b"") -> None:
        self.head, self.drop, self.done = head, drop, threading.Event()
        self.drops = 0

    def __enter__(self) -> str:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()
        return f"http://127.0.0.1:{self.socket.getsockname()[1]}"

    def _serve(self) -> None:
        connection, _ = self.socket.accept()
        with connection:
            try:
                connection.recv(65536)
                connection.sendall(self.head)
                while self.drop and self.drops < DROPS and not self.done.wait(0.01):
                    connection.sendall(self.drop)
                    self.drops += 1
            except OSError:
                pass  # It went away, as it should.

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.thread.join()
        self.socket.close()
