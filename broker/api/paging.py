"""Lists: a cursor for what can be sorted, `after` for what only grows."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from django.db.models import Q, QuerySet
from rest_framework.request import Request

from broker.api.errors import Refused

LIMIT, LIMIT_MAX = 100, 1000


def limit_of(request: Request, default: int = LIMIT) -> int:
    """Return `?limit=`, at most LIMIT_MAX. Raises Refused."""
    return min(max(1, whole(request, "limit", default)), LIMIT_MAX)


def grown(request: Request, rows: QuerySet[Any], show: Callable[[Any], Any]) -> dict[str, Any]:
    """Return the rows with an id after `?after=`, oldest first."""
    page = rows.filter(pk__gt=whole(request, "after", 0)).order_by("pk")[: limit_of(request, 500)]
    return {"results": [show(row) for row in page]}


def keyset(request: Request, rows: QuerySet[Any], *, sort: str, show: Callable[[Any], Any]) -> dict[str, Any]:
    """Return one page sorted by (`sort`, id) and the cursor of the next: no page shifts when rows come and go."""
    down, column = sort.startswith("-"), sort.lstrip("-")
    if cursor := request.query_params.get("cursor"):
        value, pk = _decode(cursor)
        beyond, same = (
            ("lt", Q(**{column: value, "pk__lt": pk})) if down else ("gt", Q(**{column: value, "pk__gt": pk}))
        )
        rows = rows.filter(Q(**{f"{column}__{beyond}": value}) | same)
    limit = limit_of(request)
    page = list(rows[: limit + 1])
    last = page[limit - 1] if len(page) > limit else None
    return {
        "results": [show(row) for row in page[:limit]],
        "next": _encode(getattr(last, column), last.pk) if last is not None else None,
    }


def place_of(request: Request) -> tuple[Any, int] | None:
    """Return (value, id) of `?cursor=`, or None at the first page. Raises Refused."""
    cursor = request.query_params.get("cursor")
    return _decode(cursor) if cursor else None


def cursor_of(value: Any, pk: int) -> str:
    """Return the cursor of the page that begins after (value, id)."""
    return _encode(value, pk)


def _encode(value: Any, pk: int) -> str:
    shown = str(value) if isinstance(value, Decimal) else value
    return base64.urlsafe_b64encode(json.dumps([shown, pk]).encode()).decode()


def _decode(cursor: str) -> tuple[Any, int]:
    try:
        value, pk = json.loads(base64.urlsafe_b64decode(cursor))
        return value, int(pk)
    except (ValueError, TypeError):
        raise Refused(422, "invalid", "cursor: not one of ours", "take it from `next` of the page before") from None


def whole(request: Request, name: str, default: int) -> int:
    """Return a whole number of the query. Raises Refused."""
    try:
        return int(request.query_params.get(name, default))
    except ValueError:
        raise Refused(422, "invalid", f"{name}: a whole number is needed", "correct the query") from None
