"""Server-Sent Events from a broker: read for as long as one likes, taken up again where they broke off.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import json
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gpuyard.errors import BrokerFailed, BrokerUnreachable
from gpuyard.transport import Call, Transport

SILENCE_S = 60.0  # The broker gives a sign of life every 15 s.
RETRY_S = 2.0
OPEN, ALIVE, END = "open", "alive", "end"
Away = Callable[[BrokerUnreachable | None], None]


@dataclass(frozen=True)
class Told:
    """One event: its kind, its object, and its place in the stream, from which one can go on (`after`)."""

    kind: str
    data: Any
    place: str | None


def told(transport: Transport, path: str, *, query: Mapping[str, Any], after: str | None = None) -> Iterator[Told]:
    """The events until `end`, without word of the connection. Raises: GpuyardError when the broker refuses."""
    return (each for each in events(transport, path, query=query, after=after) if each.kind not in (OPEN, ALIVE))


def events(
    transport: Transport,
    path: str,
    *,
    query: Mapping[str, Any],
    after: str | None = None,
    retry_s: float | None = None,
    away: Away = lambda error: None,
) -> Generator[Told, None, None]:
    """The events until `end`; `open` at each connection, `alive` at a sign of life between them.

    A broker that is away is waited for; `away` hears the error each time, and None when it is back.
    Raises: GpuyardError when the broker refuses.
    """
    last, waits = after, 0
    headers = {"Accept": "text/event-stream", "Accept-Encoding": "identity"}
    while True:
        resumed = {"Last-Event-ID": last} if last else {}
        call = Call("GET", path, query=query, headers=headers | resumed, answer_timeout_s=SILENCE_S)
        try:
            with transport.content(call) as answer:
                away(None)
                if answer.response.status_code == 204:
                    return  # It had ended already: nobody is to come back.
                yield Told(OPEN, None, last)
                for fields in blocks(answer.chunks()):
                    waits = 0
                    last = fields.get("id", last)
                    yield read(fields, last)
                    if fields.get("event") == END:
                        return
        except BrokerUnreachable as error:
            waits += 1
            if waits > 5 and last is None:
                raise  # It was never there.
            away(error)
        time.sleep(RETRY_S if retry_s is None else retry_s)


def read(fields: Mapping[str, str], place: str | None) -> Told:
    """One block as an event. Raises: BrokerFailed when its data is no JSON."""
    if "data" not in fields:
        return Told(fields.get("event", ALIVE), None, place)
    try:
        return Told(fields.get("event", "message"), json.loads(fields["data"]), place)
    except ValueError as error:
        raise BrokerFailed(f"an event of the stream is no JSON: {fields['data'][:80]!r}", code="not_json") from error


def blocks(chunks: Iterator[bytes]) -> Iterator[dict[str, str]]:
    """The fields of each block; lines of data are joined, comments left out."""
    rest, fields = b"", dict[str, str]()
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
