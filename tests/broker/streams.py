"""A reader of a stream of Server-Sent Events, for tests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from asgiref.sync import async_to_sync, sync_to_async
from django.test import AsyncClient


@dataclass(frozen=True)
class Told:
    """One event as it came; `place` is its id."""

    kind: str
    data: Any
    place: str


def listen(
    key: str,
    path: str,
    *,
    until: Callable[[list[Told]], bool],
    act: Callable[[list[Told]], object] | None = None,
    act_when: Callable[[list[Told]], bool] = lambda told: True,
    last: str = "",
) -> list[Told]:
    """Open a stream, do something in between, once it is time, and return what came until it was enough."""

    async def run() -> list[Told]:
        headers = {"authorization": f"Bearer {key}"} | ({"last-event-id": last} if last else {})
        answer = await AsyncClient().get(path, headers=headers)
        assert answer.status_code == 200, answer.content
        told: list[Told] = []
        acted = act is None
        async with asyncio.timeout(20):
            async for part in answer.streaming_content:
                told += _read(part.decode())
                if not acted and act_when(told):
                    acted = True
                    await sync_to_async(act)(told)
                if acted and until(told):
                    break
        return told

    return async_to_sync(run)()


def _read(part: str) -> list[Told]:
    fields = dict(line.split(": ", 1) for line in part.split("\n") if line and line[0] != ":" and ": " in line)
    return [Told(fields["event"], json.loads(fields["data"]), fields.get("id", ""))] if "data" in fields else []
