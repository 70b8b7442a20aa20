"""Price lists brought by hand, and quotes."""

from __future__ import annotations

import csv
from decimal import Decimal
from functools import partial
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import parsers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from broker.api import offer_shapes
from broker.api import quote_shapes as shapes
from broker.api.errors import Refused
from offers import operations, places, refusals
from offers.matching import need as needs
from offers.models import Quote
from providers.base import Rejected
from workloads.queries import machines_held, measured_speed, profile_of, reserved_in_use


class RawParser(parsers.BaseParser):
    """Any body as it is."""

    media_type = "*/*"

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        """Return the bytes."""
        return stream.read()


class Catalogs(APIView):
    """Price lists brought by hand."""

    scopes = {"PUT": "operate"}
    parser_classes = [RawParser]

    @extend_schema(
        operation_id="import_catalog",
        request={"text/csv": str},
        responses=offer_shapes.CatalogReportShape,
    )
    def put(self, request: Request, provider: str) -> Response:
        """Load one provider's list in the SkyPilot catalog schema."""
        text = request.data.decode("utf-8", errors="replace") if isinstance(request.data, bytes) else ""
        try:
            report, page = operations.import_catalog(
                provider=provider, lines=text.splitlines(keepends=True), now=timezone.now()
            )
        except (Rejected, csv.Error) as error:
            raise Refused(422, "not_a_catalog", str(error), "send a vms.csv in the SkyPilot catalog schema") from None
        return Response(
            {
                "provider": provider,
                "rows": report.rows,
                "loaded": report.loaded,
                "not_gpu": report.not_gpu,
                "skipped": dict(report.skipped),
                "examples": report.examples,
                "offers": page.lines,
                "changed": page.changed,
                "gone": page.gone,
                "quarantined": page.quarantined,
                "refused": dict(page.skipped),
                "unknown_accelerators": dict(page.unknown),
            }
        )


class Quotes(APIView):
    """Ask what a run would cost to finish."""

    scopes = {"POST": "run"}

    @extend_schema(
        operation_id="quote", request=shapes.NeedShape, responses={201: shapes.QuotesShape, 422: shapes.QuoteErrorShape}
    )
    def post(self, request: Request) -> Response:
        """Quote whole answers, best first."""
        try:
            need = needs.parse(request.data)
        except needs.NeedInvalid as error:
            fields = {error.field: str(error)} if error.field else {}
            raise Refused(422, "invalid", str(error), "correct the need and ask again", **fields) from None
        me = request.auth.team.pk
        program = {"owner_id": me, "program_sha256": need.program or ""}
        now = timezone.now()
        barred = refusals.barred(owner_id=me, now=now, held=partial(machines_held, owner_id=me))
        try:
            quotes, answer = operations.quote(
                owner_id=me,
                need=need,
                measured=measured_speed(**program),
                profile=profile_of(**program),
                now=now,
                barred=barred,
                held=reserved_in_use(me),
            )
        except operations.NeedUnmet as unmet:
            raise _unmet(unmet, need) from None
        except operations.BudgetBelowCheapest as error:
            raise Refused(
                422,
                "budget_below_cheapest",
                f"{error}, the budget is {need.budget_usd} USD",
                f"raise the budget to at least {error.cheapest_usd} USD or ask for less work",
                cheapest_usd=str(error.cheapest_usd),
            ) from None
        body = {
            "quotes": [quote_json(quote) for quote in quotes],
            "excluded": _excluded(answer.excluded),
            "offers_considered": answer.considered,
            "curve": quotes[0].curve,
        }
        return Response(shapes.QuotesShape(body).data, status=201)


def _unmet(unmet: operations.NeedUnmet, need: needs.Need) -> Refused:
    answer = unmet.answer
    excluded = _excluded(answer.excluded)
    if answer.too_late:
        excluded.insert(0, {"constraint": f"deadline_hours: {need.deadline_hours:g}", "offers": answer.too_late})
    parts = [f"{one['constraint']} excludes {one['offers']}" for one in excluded[:4]]
    message = f"none of {answer.considered} offers meets the need" + (f": {'; '.join(parts)}" if parts else "")
    hint = (
        "loosen the constraint that excludes most"
        if answer.considered
        else "no offer is open: `yard offers sources` tells what was read and what is stale"
    )
    loosened = [shapes.RelaxationShape(one).data for one in answer.relaxations]
    if loosened:
        hint = "; or ".join(f"{one['change']} it would cost {_cost(one)}" for one in loosened[:3])
    return Refused(
        422,
        "need_unmet",
        message,
        hint,
        excluded=excluded,
        offers_considered=answer.considered,
        relaxations=loosened,
    )


def _cost(relaxation: dict[str, Any]) -> str:
    """Of the whole run, or of an hour where its length is not known."""
    return f"{Decimal(relaxation['usd']):.2f} USD" + (" an hour" if relaxation["finish_s"] is None else "")


def _excluded(counts: Any) -> list[dict[str, Any]]:
    return [{"constraint": name, "offers": count} for name, count in counts]


class OneQuote(APIView):
    """One promised plan."""

    scopes = {"GET": "read"}

    @extend_schema(operation_id="get_quote", responses=shapes.QuoteShape)
    def get(self, request: Request, pk: int) -> Response:
        """Show a quote."""
        return Response(shapes.QuoteShape(quote_json(quote_of(request, pk))).data)


def quote_of(request: Request, pk: int) -> Quote:
    """Return the caller's quote. Raises Refused."""
    quote = Quote.objects.filter(pk=pk, owner=request.auth.team).first()
    if quote is None:
        raise Refused(404, "not_found", f"there is no quote {pk} of yours", "ask for a new one: `yard quote`")
    return quote


def place_json(provider: str, region: str, country: str) -> dict[str, Any]:
    """Return where a site is drawn on a map."""
    place = places.on_map(provider, region, country)
    return {"country": place.country, "latitude": place.latitude, "longitude": place.longitude}


def quote_json(quote: Quote) -> dict[str, Any]:
    """Return a quote as QuoteShape wants it."""
    lines = list(quote.lines.select_related("offer").order_by("id"))
    sites = [
        {
            **place_json(line.offer.provider, line.offer.region, line.offer.country),
            "site": line.offer.site,
            "provider": line.offer.provider,
            "region": line.offer.region,
            "market": line.offer.market,
            "instance_type": line.offer.machine_type,
            "accelerator": line.offer.accelerator,
            "accelerators": line.offer.accelerators * line.nodes,
            "nodes": line.nodes,
            "usd_per_hour": line.sell_usd_per_hour * line.nodes,
            "offer": line.offer_id,
        }
        for line in lines
    ]
    return {
        "id": quote.pk,
        "expires_at": quote.expires_at,
        "rank": quote.rank,
        "need": quote.need,
        "usd_per_hour": sum(site["usd_per_hour"] for site in sites),
        "cost_usd": quote.cost_usd,
        "finish_s": quote.finish_s,
        "speed": quote.speed,
        "sites": sites,
        "labels": quote.labels,
        "outcome": quote.outcome,
        "why": quote.why,
        "why_not": quote.why_not,
    }
