"""Lists that come in pages."""

from collections.abc import Callable, Iterator
from typing import Any

from gpuyard.objects import Page


def every(page: Callable[[str | None], Page], *, limit: int | None = None) -> Iterator[Any]:
    """The rows of all pages, at most `limit`: `every(lambda cursor: client.hosts(cursor=cursor))`."""
    cursor: str | None = None
    given = 0
    while True:
        answer = page(cursor)
        for row in answer["results"]:
            if limit is not None and given >= limit:
                return
            given += 1
            yield row
        cursor = answer.get("next")
        if not cursor:
            return
