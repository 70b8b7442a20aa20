"""The ways to ask a broker, on which the SDK's methods stand."""

import uuid
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, cast

from gpuyard import __version__
from gpuyard.money import usd
from gpuyard.transport import BACKOFF_S, Call, Content, Transport


class Asking:
    """A broker's address and a key, and how they are used."""

    def __init__(self, *, url: str, api_key: str, backoff_s: Sequence[float] = BACKOFF_S) -> None:
        """`backoff_s`: the waits between attempts of what may be repeated. Raises: InvalidConfig."""
        self.transport = Transport(url=url, api_key=api_key, agent=f"gpuyard/{__version__}", backoff_s=backoff_s)

    @property
    def url(self) -> str:
        """The broker's address, without a slash at the end."""
        return self.transport.url

    def read(self, path: str, **query: Any) -> Any:
        """GET; asked again when nobody answers."""
        return self.transport.json(Call("GET", path, query=query, safe=True))

    def rows(self, path: str, **query: Any) -> list[Any]:
        """GET, only the rows of the list."""
        return cast(list[Any], self.read(path, **query)["results"])

    def content(self, path: str, *, start: int) -> Content:
        """GET, as raw bytes from offset `start` on, while they arrive; `gpuyard.pull` keeps and verifies them."""
        headers = {"Accept": "application/octet-stream", "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        return self.transport.content(Call("GET", path, headers=headers, safe=True))

    def create(self, path: str, body: Mapping[str, Any], *, key: str | None = None, safe: bool = False) -> Any:
        """POST with an idempotency key; `safe` where the broker promises to honour that key."""
        headers = {"Idempotency-Key": key or str(uuid.uuid4())}
        return self.transport.json(Call("POST", path, body=body, headers=headers, safe=safe))

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Any call, sent once (a GET: again when nobody answers), for what has no method of its own yet."""
        return self.transport.json(Call(method, path, body=body, safe=method == "GET"))


def sent(filters: Mapping[str, Any]) -> dict[str, Any]:
    """Filters as the query carries them."""
    return {
        name: usd(value) if isinstance(value, Decimal) else str(value).lower() if isinstance(value, bool) else value
        for name, value in filters.items()
    }


def flag(value: bool) -> str | None:
    """A switch of a query; None leaves it out."""
    return "true" if value else None
