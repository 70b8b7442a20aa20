"""Changes of the offer book as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from functools import partial

from django.http import HttpRequest, HttpResponseBase, QueryDict
from django.utils import timezone

from broker.api import sse
from broker.api.errors import Refused, plain
from broker.api.keys import reader_of
from broker.api.watch import PerLoop, Watch, aside
from offers import changes, search, snapshots
from offers.snapshots import Snapshot

LOOK_EVERY_S = 0.1
BOOK = 0  # There is one.


async def offers(request: HttpRequest) -> HttpResponseBase:
    """`GET /v1/offers/stream`: events `offer` (new or changed) and `gone`, each with the offer as its data."""
    wishes = _wishes(request.GET)
    try:
        start = sse.told_before(request)
        after = changes.place(start) if start else None
        if start and after is None:
            raise sse.unknown(start)
        await aside(reader_of, request)
        told, after = await aside(_since, after, wishes, None)
    except Refused as error:
        return plain(error)
    except search.SearchInvalid as wrong:
        return plain(Refused(422, "invalid", str(wrong), wrong.hint))
    return sse.answer(_events(told, after, wishes))


def _wishes(query: QueryDict) -> dict[str, str]:
    return {name: ",".join(query.getlist(name)) for name in query if name not in ("after", "team")}


def _since(
    after: changes.Place | None, wishes: dict[str, str], until: Snapshot | None
) -> tuple[list[changes.Change], changes.Place]:
    return changes.since(after or changes.here(), wishes, now=timezone.now(), until=until)


class _Book:
    """What the book's watch remembers: how far it looked, and the last look that found something."""

    def __init__(self) -> None:
        self.seen: Snapshot | None = None
        self.changed: Snapshot | None = None

    def look(self, keys: Collection[int]) -> dict[int, Snapshot]:
        """Return the snapshot that has the newest change."""
        seen, changed = changes.any_since(self.seen) if self.seen else (snapshots.now(), True)
        self.seen = seen
        if changed or self.changed is None:
            self.changed = seen
        return {BOOK: self.changed}


watch_of_the_book = PerLoop(lambda: Watch(_Book().look, LOOK_EVERY_S))


async def _events(told: list[changes.Change], after: changes.Place, wishes: dict[str, str]) -> AsyncIterator[str]:
    loop, watch = asyncio.get_running_loop(), watch_of_the_book()
    began = said = loop.time()
    key = tuple(sorted(wishes.items()))
    with watch.of(BOOK):
        yield sse.opening(f"from {after}")
        mark: Snapshot | None = None
        while loop.time() - began < sse.LONGEST_S:
            for change in told:
                yield sse.event("gone" if change.gone else "offer", change.text, change.place)
            if told:
                said = loop.time()
            if after.until is None:
                mark = await watch.news(BOOK, mark, within_s=sse.SIGN_OF_LIFE_S)
            if loop.time() - said > sse.SIGN_OF_LIFE_S:
                yield sse.sign_of_life(after)
                said = loop.time()
            told, after = await watch.together((key, after, mark), partial(_since, after, wishes, mark))
