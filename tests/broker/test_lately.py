from __future__ import annotations

from typing import Any

from asgiref.sync import async_to_sync

from broker.lately import KEPT_MAX, Lately


class Counting:
    """An application that says how often it was asked."""

    def __init__(self, status: int = 200) -> None:
        self.asked, self.status = 0, status
        self.headers: list[tuple[bytes, bytes]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked += 1
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": b"answer ", "more_body": True})
        await send({"type": "http.response.body", "body": str(self.asked).encode()})


class World:
    def __init__(self, *, status: int = 200, keep_s: float = 1.0) -> None:
        self.now, self.inner = 100.0, Counting(status)
        self.app = Lately(self.inner, keep_s=keep_s, clock=lambda: self.now)

    def ask(
        self, *, path: str = "/v1/offers", query: bytes = b"gpu=H100", key: bytes = b"a", method: str = "GET",
        browser: dict[str, str] | None = None,
    ) -> str:  # fmt: skip
        said = []

        async def send(message: Any) -> None:
            said.append(message)

        scope = {"type": "http", "method": method, "path": path, "query_string": query,
                 "headers": [(b"authorization", key)]}  # fmt: skip
        if browser is not None:
            scope["headers"] = [(name.encode(), value.encode()) for name, value in browser.items()]
        async_to_sync(self.app)(scope, None, send)
        assert said[0]["status"] == self.inner.status
        return b"".join(message.get("body", b"") for message in said).decode()


def test_the_same_question_of_the_same_caller_gets_the_same_answer_for_a_moment():
    world = World()

    assert [world.ask(), world.ask()] == ["answer 1", "answer 1"]
    world.now += 1
    assert world.ask() == "answer 2"


def test_who_is_signed_in_is_told_apart_by_cookie_and_team():
    world = World()

    said = [
        world.ask(browser=browser)
        for browser in (
            {"cookie": "sessionid=a"},
            {"cookie": "sessionid=b"},
            {"cookie": "sessionid=a", "x-team": "2"},
            {"cookie": "sessionid=a"},
        )
    ]

    assert said == ["answer 1", "answer 2", "answer 3", "answer 1"]


def test_an_answer_that_brings_a_cookie_is_given_once():
    world = World()
    world.inner.headers = [(b"set-cookie", b"sessionid=b")]

    assert [world.ask(), world.ask()] == ["answer 1", "answer 2"]


def test_another_caller_or_question_gets_an_answer_of_its_own():
    world = World()
    world.ask()

    for other in ({"key": b"b"}, {"query": b"gpu=A100"}, {"path": "/v1/offers/sources"}):
        before = world.inner.asked
        world.ask(**other)
        assert world.inner.asked == before + 1


def test_what_is_not_the_book_or_not_a_question_or_refused_is_never_kept():
    for world, question in ((World(), {"path": "/v1/me"}), (World(), {"method": "POST"}), (World(status=401), {}),
                            (World(keep_s=0), {})):  # fmt: skip
        world.ask(**question)
        world.ask(**question)
        assert world.inner.asked == 2, question


def test_while_one_caller_waits_for_a_newer_answer_the_others_get_the_old_one():
    world = World()
    world.ask()
    world.now += 1.5
    seen = []

    async def slow(scope, receive, send):
        if not seen:
            seen.append("asked")
            seen.append(await _said(world.app))  # Another caller, in the middle of this one's answer.
        await Counting.__call__(world.inner, scope, receive, send)

    world.app.app = slow

    assert world.ask() == "answer 2"
    assert seen == ["asked", "answer 1"]
    world.now += 2
    assert world.ask() == "answer 3"


async def _said(app: Any) -> str:
    said = []

    async def send(message: Any) -> None:
        said.append(message)

    scope = {"type": "http", "method": "GET", "path": "/v1/offers", "query_string": b"gpu=H100",
             "headers": [(b"authorization", b"a")]}  # fmt: skip
    await app(scope, None, send)
    return b"".join(message.get("body", b"") for message in said).decode()


def test_it_does_not_grow_for_ever():
    world = World()
    for number in range(3 * KEPT_MAX):
        world.ask(query=str(number).encode())

    assert len(world.app._kept) <= KEPT_MAX


def test_what_takes_long_and_changes_little_is_kept_five_times_as_long():
    world = World()
    first = world.ask(path="/v1/offers/facets")
    world.now += 4.9

    assert world.ask(path="/v1/offers/facets") == first
    world.now += 0.2
    assert world.ask(path="/v1/offers/facets") != first
