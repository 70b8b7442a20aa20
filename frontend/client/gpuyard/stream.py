"""Server-Sent Events from a broker: read for as long as one likes, taken up again where they broke off.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from gpuyard.errors import BrokerUnreachable
from gpuyard.transport import Call, Transport

SILENCE_S = 60.0  # The broker gives a sign of life every 15 s.
RETRY_S = 2.0


def events(
    transport: Transport, path: str, *, query: Mapping[str, Any], after: str | None = None
) -> Iterator[tuple[str, str]]:
    """(event, data), for ever. Raises: GpuyardError when the broker refuses; one that is away is waited for."""
    last, waits = after, 0
    while True:
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last} if last else {})}
        try:
            with transport.content(
                Call("GET", path, query=query, headers=headers, answer_timeout_s=SILENCE_S)
            ) as answer:
                for fields in blocks(answer.chunks()):
                    waits = 0
                    last = fields.get("id", last)
                    if "data" in fields:
                        yield fields.get("event", "message"), fields["data"]
        except BrokerUnreachable:
            waits += 1
            if waits > 5 and last is None:
                raise  # It was never there.
        time.sleep(RETRY_S)


def blocks(chunks: Iterator[bytes]) -> Iterator[dict[str, str]]:
    """The fields of each block; lines of data are joined, comments left out."""
    rest, fields = b"", {}
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for raw in lines:
            line = raw.decode().rstrip("\r")
            if not line:
                yield fields
                fields = {}
            elif not line.startswith(":"):
                name, _, value = line.partition(":")
                value = value.removeprefix(" ")
                fields[name] = f"{fields[name]}\n{value}" if name == "data" and "data" in fields else value
