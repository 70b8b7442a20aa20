"""The offer book: search, groups, price history, the sources behind it, and a stream of what changes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from broker.api import offer_shapes, openapi, paging
from broker.api.errors import Refused
from broker.api.shapes import listed, paged
from offers import history, pages, queries, search, tasks
from offers.models import Offer, Quarantined

CONTROLS = ("sort", "limit", "cursor", "group_by", "total")
TOTAL = OpenApiParameter("total", bool, description="true: the first page says how many fit, as `count`.")
FILTERS = [OpenApiParameter(one.name, str, description=one.help) for one in search.FILTERS.values()]
SORT = OpenApiParameter("sort", str, description=f"One of {', '.join(search.SORTS)}; -name is downwards.")
GROUPS = f"Of {', '.join(search.GROUPS)}, with commas between them."


def wishes_of(request: Request, controls: tuple[str, ...] = CONTROLS) -> dict[str, str]:
    """Return the filters of a query; one that is given several times means any of its values."""
    params = request.query_params
    return {name: ",".join(params.getlist(name)) for name in params if name not in controls}


def refused(wrong: search.SearchInvalid) -> Refused:
    """Return the error of a search that means nothing."""
    return Refused(422, "invalid", str(wrong), wrong.hint)


class Offers(APIView):
    """The offer book."""

    scopes = {"GET": "read"}

    @extend_schema(
        operation_id="list_offers",
        parameters=[*FILTERS, SORT, TOTAL, *openapi.CURSOR],
        responses=offer_shapes.OfferPageShape,
    )
    def get(self, request: Request) -> HttpResponse:
        """
        List offers, filtered and sorted. An answer may be a second old.

        With `group_by=...` the answer is that of /v1/offers/groups.
        """
        now = timezone.now()
        try:
            book = search.matching(wishes_of(request), now=now)
            if by := request.query_params.get("group_by"):
                return Response(_groups(book, by))
            sort = request.query_params.get("sort", search.SORTS[0])
            after, limit = paging.place_of(request), paging.limit_of(request)
            text, beyond = pages.page(book, sort=sort, after=after, limit=limit, now=now)
            total = search.flag("total", request.query_params.get("total", "false")) and not after
            count, is_exact = pages.count(book) if total else (0, True)
        except search.SearchInvalid as wrong:
            raise refused(wrong) from None
        cursor = f'"{paging.cursor_of(*beyond)}"' if beyond else "null"
        more = f',"count":{count},"count_is_exact":{str(is_exact).lower()}' if total else ""
        return HttpResponse(f'{{"results":{text},"next":{cursor}{more}}}', content_type="application/json")


class Groups(APIView):
    """The offer book, in groups."""

    scopes = {"GET": "read"}

    @extend_schema(
        operation_id="group_offers",
        parameters=[OpenApiParameter("group_by", str, required=True, description=GROUPS), *FILTERS],
        responses=paged(offer_shapes.OfferGroupShape),
    )
    def get(self, request: Request) -> Response:
        """Group the offers that fit; the cheapest group is first, and all are on one page."""
        try:
            book = search.matching(wishes_of(request), now=timezone.now())
            return Response(_groups(book, request.query_params.get("group_by", "")))
        except search.SearchInvalid as wrong:
            raise refused(wrong) from None


def _groups(book: QuerySet[Offer], by: str) -> dict[str, Any]:
    money = ("min_usd_per_gpu_hour", "median_usd_per_gpu_hour", "max_usd_per_gpu_hour")
    rows = [{**row, **{name: f"{row[name]:.6f}" for name in money}} for row in search.grouped(book, by)]
    return {"results": rows, "next": None}


class History(APIView):
    """What prices were."""

    scopes = {"GET": "read", "POST": "operate"}

    @extend_schema(
        operation_id="price_history",
        parameters=[
            OpenApiParameter("gpu", str, required=True, description="By name or family: H100 is every variant."),
            OpenApiParameter("days", float, description="So many days back; 30 if left out."),
            *(OpenApiParameter(name, str) for name in ("provider", "region", "market")),
            OpenApiParameter("by", str, description="A line for each provider, region or market."),
            OpenApiParameter("width", str, description="hour or day; by default what suits the time."),
        ],
        responses=listed(offer_shapes.ChartLineShape),
    )
    def get(self, request: Request) -> Response:
        """Return min, median and max per GPU-hour in buckets, ready for a chart."""
        params = request.query_params
        unknown = set(params) - {"gpu", "days", "provider", "region", "market", "by", "width"}
        if unknown or not params.get("gpu"):
            raise Refused(422, "invalid", f"{min(unknown, default='gpu')}: not understood or missing", "see /v1/schema")
        until = timezone.now()
        names = ("gpu", "provider", "region", "market", "by", "width")
        try:
            wish = history.Chart(
                since=until - timedelta(days=days_of(request, 30)),
                until=until,
                **{name: params.get(name, "") for name in names},
            )
            lines = history.chart(wish)
        except history.HistoryInvalid as wrong:
            raise Refused(422, "invalid", str(wrong), "see /v1/schema") from None
        return Response({"results": offer_shapes.ChartLineShape(lines, many=True).data})

    @extend_schema(
        operation_id="import_price_history",
        request=offer_shapes.NewHistoryShape,
        responses={202: offer_shapes.HistoryStartedShape},
    )
    def post(self, request: Request) -> Response:
        """Fetch the prices that a provider publishes of the last `days`; the work goes on after the answer."""
        body = request.data if isinstance(request.data, dict) else {}
        provider, days = body.get("provider"), body.get("days", 90)
        if provider not in queries.history_keepers():
            known = ", ".join(queries.history_keepers()) or "none is connected"
            raise Refused(422, "invalid", f"provider: {provider!r} publishes no history here", f"one of: {known}")
        if not isinstance(days, int) or isinstance(days, bool) or not 1 <= days <= offer_shapes.DAYS_MAX:
            raise Refused(422, "invalid", f"days: {days!r} is not a number of days", "1 to 3650")
        tasks.import_published.delay(provider, days)
        return Response({"provider": provider, "days": days, "started": True}, status=202)


def days_of(request: Request, default: float) -> float:
    """Return `?days=`. Raises Refused."""
    try:
        days = float(request.query_params.get("days", default))
    except ValueError:
        days = 0
    if not 0 < days <= offer_shapes.DAYS_MAX:
        raise Refused(422, "invalid", "days: a number of days is needed", "such as days=30")
    return days


class Sources(APIView):
    """Where the offers come from."""

    scopes = {"GET": "read"}

    @extend_schema(operation_id="list_sources", responses=listed(offer_shapes.SourceShape))
    def get(self, request: Request) -> Response:
        """Show every provider, feed and catalog: when it was read, what failed, what it could not say."""
        rows = queries.sources(now=timezone.now())
        return Response({"results": offer_shapes.SourceShape(rows, many=True).data})


class Quarantine(APIView):
    """Lines whose price cannot be right."""

    scopes = {"GET": "read"}

    @extend_schema(
        operation_id="list_quarantined", parameters=openapi.AFTER, responses=listed(offer_shapes.QuarantinedShape)
    )
    def get(self, request: Request) -> Response:
        """List the lines that are kept out of the book, each with its reason."""
        rows = Quarantined.objects.all()
        return Response(paging.grown(request, rows, lambda row: offer_shapes.QuarantinedShape(row).data))
