"""What the offer page shows beside the offers: small charts, and what can be filtered by."""

from __future__ import annotations

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from broker.api import offer_shapes, offers
from broker.api.errors import Refused
from offers import search, sparks

ID_MAX = 2**63 - 1
DAYS = 7


class Sparks(APIView):
    """Prices of many offers, a few instants each."""

    scopes = {"GET": "read"}

    @extend_schema(
        operation_id="list_sparks",
        parameters=[
            OpenApiParameter("offers", str, required=True, description="Ids, with commas between them; at most 200."),
            OpenApiParameter("days", float, description=f"So many days back; {DAYS} if left out."),
        ],
        responses=offer_shapes.SparksShape,
    )
    def get(self, request: Request) -> Response:
        """Return what each cost per GPU-hour at 24 instants, evenly over the last days; null: it was not offered."""
        words = [word for word in request.query_params.get("offers", "").split(",") if word]
        if not words or any(not (word.isascii() and word.isdecimal() and int(word) <= ID_MAX) for word in words):
            raise Refused(422, "invalid", "offers: ids with commas between them are needed", "such as offers=1,2,3")
        if len(words) > sparks.OFFERS_MAX:
            hint = "ask for those that are to be seen"
            raise Refused(422, "invalid", f"offers: {len(words)} are more than {sparks.OFFERS_MAX}", hint)
        found = sparks.sparks([int(word) for word in words], days=offers.days_of(request, DAYS), now=timezone.now())
        rows = [{"offer": pk, "usd_per_gpu_hour": usd} for pk, usd in found.usd.items()]
        return Response(offer_shapes.SparksShape({"at": found.at, "results": rows}).data)


class Facets(APIView):
    """What can be filtered by."""

    scopes = {"GET": "read"}

    @extend_schema(operation_id="offer_facets", parameters=offers.FILTERS, responses=offer_shapes.FacetsShape)
    def get(self, request: Request) -> Response:
        """Return the values that offers which fit have, and how many each; an answer may be five seconds old."""
        try:
            book = search.matching(offers.wishes_of(request), now=timezone.now())
        except search.SearchInvalid as wrong:
            raise offers.refused(wrong) from None
        return Response(search.facets(book))
