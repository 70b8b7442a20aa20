"""The OpenAPI schema: names without our suffix, the error that every address may answer, and the streams."""

from __future__ import annotations

from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter

from broker.api.shapes import ErrorShape

LIMIT = OpenApiParameter("limit", int, description="At most so many rows.")
AFTER = [OpenApiParameter("after", int, description="The last id that you have."), LIMIT]
CURSOR = [OpenApiParameter("cursor", str, description="`next` of the page before."), LIMIT]
BYTES: dict[Any, Any] = {
    (200, "application/octet-stream"): bytes,
    (206, "application/octet-stream"): bytes,
    416: None,
}


class Schema(AutoSchema):
    """How drf-spectacular reads our views."""

    def get_serializer_name(self, serializer: Any, direction: Any) -> str:
        """Return OfferShape's name as Offer."""
        return str(super().get_serializer_name(serializer, direction)).removesuffix("Shape")

    def get_operation(self, *args: Any, **kwargs: Any) -> Any:
        """Add what every address may answer: a 4xx with an error."""
        operation = super().get_operation(*args, **kwargs)
        if operation is not None:
            operation["responses"]["4XX"] = self._get_response_for_code(ErrorShape, "4XX") | {"description": "Refused."}
        return operation


# How much of what was before a stream tells.
HISTORY = ("metrics_one_in", "logs_at_most", "rounds_at_most")
STREAMS = {
    "/v1/offers/stream": (
        "stream_offers",
        "Events `offer` (new or changed) and `gone`, each with an Offer as its data. Any filter of /v1/offers.",
    ),
    "/v1/workloads/{id}/stream": (
        "stream_workload",
        "Events `workload`, `event`, `metric`, `log` and `round`, each with what its own address shows as its data;"
        " `history` before what is older, `caught_up` after it, `end` when nothing can come any more.",
    ),
}


def complete(result: Any, generator: Any, **kwargs: Any) -> Any:
    """Add what is no view of REST framework's: the streams. And where a component may have more than is named."""
    schemas = result["components"]["schemas"]
    schemas["StreamHistory"] = {
        "type": "object",
        "description": "The event `history` of a workload's stream.",
        "properties": {name: {"type": "integer"} for name in HISTORY},
        "required": list(HISTORY),
    }
    schemas["QuoteRefusalFields"]["additionalProperties"] = {}  # What is wrong with a need is told by its names.
    for path, (name, what) in STREAMS.items():
        resumes = [
            {"in": "header", "name": "Last-Event-ID", "schema": {"type": "string"}},
            {"in": "query", "name": "after", "schema": {"type": "string"}, "description": "The same, as a parameter."},
        ]
        slots = (
            [{"in": "path", "name": "id", "required": True, "schema": {"type": "integer"}}] if "{id}" in path else []
        )
        events = {"text/event-stream": {"schema": {"type": "string"}}}
        refused = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
        result["paths"][path] = {
            "get": {
                "operationId": name,
                "description": f"Server-Sent Events. {what}",
                "parameters": [*slots, *resumes],
                "tags": [path.split("/")[2]],
                "security": [{"apiKey": []}],
                "responses": {
                    "200": {"content": events, "description": ""},
                    "204": {"description": "All was told before, and nothing can come any more."},
                    "4XX": {"content": refused, "description": "Refused."},
                },
            }
        }
    return result
