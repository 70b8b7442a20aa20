"""One page of a workload as it lives: all that its addresses show, told when it changes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from rest_framework.renderers import JSONRenderer

from broker.api import growing, runs, sse
from broker.api.errors import Refused, plain
from broker.api.keys import reader_of
from broker.api.watch import PerLoop, Watch, aside
from offers.snapshots import Snapshot
from workloads import live
from workloads.models import Workload

LOOK_EVERY_S = 0.25
STATE_EVERY_S = 1.0  # The whole object is told at most so often,
MONEY_EVERY_S = 5.0  # and so often where only time and money went on.
GOES_ON = {"spent_usd", "forecast"}
QUIET_S = 3.0  # After the last word of a workload that is over.
END = "end"

watch_of_workloads = PerLoop(lambda: Watch(live.Lookout().look, LOOK_EVERY_S))


async def workload(request: HttpRequest, pk: int) -> HttpResponseBase:
    """`GET /v1/workloads/{id}/stream`: workload, event, metric, log, round; history and caught_up around what was."""
    try:
        start = sse.told_before(request)
        after = live.place(start) if start else None
        if start and start != END and after is None:
            raise sse.unknown(start)
        # Not on the request's own thread: its connection would be held as long as the stream lasts.
        request.auth = await aside(reader_of, request)  # type: ignore[attr-defined]  # As a view of DRF has it.
        await aside(runs.workload_of, request, pk)
    except Refused as error:
        return plain(error)
    if start == END:
        return HttpResponse(status=204)  # So that a browser does not come back again.
    return sse.answer(_Page(pk, after).events())


@dataclass(frozen=True, slots=True)
class _State:
    """The workload and its rounds as JSON. is_over: nothing can come any more."""

    workload: dict[str, Any]
    closed: list[tuple[int, str]]  # (version, the round)
    open: str
    is_over: bool


class _Page:
    """What one reader was told, and how it goes on."""

    def __init__(self, pk: int, after: live.Place | None) -> None:
        self.pk, self.place = pk, after
        self.watch = watch_of_workloads()
        self.clock = asyncio.get_running_loop().time
        self.workload: dict[str, Any] = {}  # As told last, and when.
        self.workload_at = 0.0
        self.open = ""
        self.mark: live.Mark | None = None  # As it was when the state was looked at last, and when that was.
        self.looked_at = float("-inf")
        self.is_over = False

    async def events(self) -> AsyncIterator[str]:
        """Tell what is, what was, and what comes, until it is over."""
        began = said = self.clock()
        with self.watch.of(self.pk):
            yield sse.opening(f"workload {self.pk}")
            mark: live.Mark | None = None
            has_caught_up = False
            while (now := self.clock()) - began < sse.LONGEST_S:
                async for text in self._told(mark):
                    yield text
                    said = self.clock()
                if not has_caught_up:
                    yield sse.event("caught_up", "{}", self.place or "")
                    has_caught_up = True
                if self.is_over and now - said > QUIET_S:
                    yield sse.event("end", "{}", END)
                    return
                if now - said > sse.SIGN_OF_LIFE_S:
                    yield sse.sign_of_life(self.place)
                    said = now
                mark = await self.watch.news(self.pk, mark, within_s=STATE_EVERY_S)

    async def _told(self, mark: live.Mark | None) -> AsyncIterator[str]:
        state = await self._state(mark)
        if state is not None and (text := self._workload(state)):
            yield text
        if self.place is None:
            texts, self.place = await aside(_history, self.pk)
            for text in texts:
                yield text
        while mark is not None and (self.place.until or mark.rows.is_after(self.place.seen)):
            ask = partial(_rows, self.pk, self.place, mark.rows)
            texts, self.place = await self.watch.together(("rows", self.pk, self.place, mark.rows), ask)
            for text in texts:
                yield text
        if state is not None:
            for text in self._rounds(state, self.place):
                yield text

    async def _state(self, mark: live.Mark | None) -> _State | None:
        """Look at what is told as a whole, where that is due; all who look in this turn get the same."""
        since_s = self.clock() - self.looked_at
        if since_s < STATE_EVERY_S or (mark == self.mark and since_s < MONEY_EVERY_S):
            return None
        self.mark, self.looked_at = mark, self.clock()
        round_ = self.place.round if self.place else None
        question = ("state", self.pk, round_, mark, self.looked_at // MONEY_EVERY_S)
        state = await self.watch.together(question, partial(_look, self.pk, round_))
        self.is_over = state.is_over
        return state

    def _workload(self, state: _State) -> str | None:
        before, now = self.workload, state.workload
        differing = {name for name in now if before.get(name) != now[name]}
        if not differing or (differing <= GOES_ON and self.clock() - self.workload_at < MONEY_EVERY_S):
            return None
        self.workload, self.workload_at = now, self.clock()
        return sse.event("workload", _text(now), self.place or "")

    def _rounds(self, state: _State, place: live.Place) -> Iterator[str]:
        for version, text in state.closed:
            self.place = place = replace(place, round=max(version, place.round))
            yield sse.event("round", text, place)
        if state.open and state.open != self.open:
            self.open = state.open
            yield sse.event("round", state.open, place)


def _look(pk: int, round_: int | None) -> _State:
    workload = Workload.objects.get(pk=pk)
    rows = live.open_round(pk)
    return _State(
        workload=json.loads(_text(runs.workload_json(workload))),
        closed=[(row.version, _text(growing.round_json(row))) for row in live.closed_rounds(pk, round_)],
        open=_text(growing.round_json(rows)) if rows else "",
        is_over=live.is_over(workload),
    )


def _history(pk: int) -> tuple[list[str], live.Place]:
    news, place, thinned = live.history(pk)
    return [sse.event("history", _text(thinned), ""), *_shown(pk, news)], place


def _rows(pk: int, place: live.Place, until: Snapshot) -> tuple[list[str], live.Place]:
    news, there = live.since(pk, place, until)
    return _shown(pk, news), there


def _shown(pk: int, news: list[live.News]) -> list[str]:
    names = growing.names_of_hosts(pk) if any(one.kind == "log" for one in news) else {}
    show: dict[str, Callable[[Any], Any]] = {
        "event": growing.event_json,
        "metric": growing.metric_json,
        "log": partial(growing.log_json, names),
    }
    return [sse.event(one.kind, _text(show[one.kind](one.row)), one.place or "") for one in news]


def _text(data: Any) -> str:
    return JSONRenderer().render(data).decode()
