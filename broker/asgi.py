"""The web process: Django under ASGI, and the note that heartbeats can reach us."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from asgiref.sync import sync_to_async
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "broker.settings")
os.environ.setdefault("GPUYARD_DB_POOL", "20")
django_application = get_asgi_application()

from django.conf import settings  # noqa: E402  Django must be set up before its settings and models are.
from django.db import DatabaseError, close_old_connections  # noqa: E402
from django.utils import timezone  # noqa: E402

from broker.dashboard import Dashboard  # noqa: E402
from broker.lately import Lately  # noqa: E402
from offers import marketplace  # noqa: E402

logger = logging.getLogger(__name__)
LISTEN_EVERY_S = 1.0
answering = Dashboard(Lately(django_application, keep_s=settings.OFFERS_PAGE_FOR_S))


async def application(scope: MutableMapping[str, Any], receive: Callable[[], Awaitable[Any]], send: Any) -> None:
    """Serve HTTP; while the server lives, note every second that we listen."""
    if scope["type"] != "lifespan":
        await answering(scope, receive, send)
        return
    listening: asyncio.Task[None] | None = None
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            listening = asyncio.create_task(_listen())
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            if listening is not None:
                listening.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await listening
            await send({"type": "lifespan.shutdown.complete"})
            return


async def _listen() -> None:
    woke = True
    while True:
        try:
            await sync_to_async(_note)(woke)
            woke = False
        except DatabaseError as error:
            logger.warning("listen.database-away error=%s", type(error).__name__)
        await asyncio.sleep(LISTEN_EVERY_S)


def _note(woke: bool) -> None:
    close_old_connections()
    marketplace.listen(timezone.now(), woke=woke)
