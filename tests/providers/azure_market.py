"""What Azure's fake sells and tells: the retail price list, resource SKUs, Resource Graph, placement scores."""

from __future__ import annotations

import re
from typing import Any

from tests.providers.cloud import Cloud, Reply, Request


def error(status: int, code: str, message: str = "no") -> Reply:
    return Reply({"error": {"code": code, "message": message}}, status)


def item(sku: str, price: float, **more: Any) -> dict[str, Any]:
    """A row of the retail price list, with every field that the real one has."""
    name = sku.removeprefix("Standard_").replace("_", " ")
    return {
        "currencyCode": "USD", "tierMinimumUnits": 0.0, "retailPrice": price, "unitPrice": price,
        "armRegionName": "eastus", "location": "US East", "effectiveStartDate": "2024-05-01T00:00:00Z",
        "meterId": "0084b086-37bf-4bee-b27f-6eb0f9ee4954", "meterName": name, "productId": "DZH318Z0BQ4W",
        "skuId": "DZH318Z0BQ4W/00H3", "productName": f"Virtual Machines {name} Series", "skuName": name,
        "serviceName": "Virtual Machines", "serviceId": "DZH313Z7MMC8", "serviceFamily": "Compute",
        "unitOfMeasure": "1 Hour", "type": "Consumption", "isPrimaryMeterRegion": True, "armSkuName": sku, **more,
    }  # fmt: skip


H100, A100, T4, A10_PART = (
    "Standard_ND96isr_H100_v5", "Standard_NC24ads_A100_v4", "Standard_NC4as_T4_v3", "Standard_NV6ads_A10_v5",
)  # fmt: skip
ITEMS = [
    item(H100, 98.32),
    item(H100, 39.33, meterName="ND96isr H100 v5 Spot", skuName="ND96isr H100 v5 Spot"),
    item(H100, 20.0, meterName="ND96isr H100 v5 Low Priority", skuName="ND96isr H100 v5 Low Priority"),
    item(H100, 105.0, productName="Virtual Machines NDsr H100 v5 Series Windows"),
    item(H100, 551880.0, type="Reservation", reservationTerm="1 Year"),
    item(H100, 1134216.0, type="Reservation", reservationTerm="3 Years"),
    item(A100, 3.673),
    item(A100, 3.9, effectiveStartDate="2023-01-01T00:00:00Z"),
    item(A100, 1.0, effectiveStartDate="2999-01-01T00:00:00Z"),
    item(A100, 4.1, armRegionName="westeurope", location="EU West"),
    item(A100, 1.469, meterName="NC24ads A100 v4 Spot", skuName="NC24ads A100 v4 Spot"),
    item(T4, 0.526),
    item(A10_PART, 0.454),
    item("Standard_NZ1_v9", 1.0),
    item("Standard_D2s_v5", 0.096),
    *(
        item("", price, serviceName="Storage", productName="Standard SSD Managed Disks", skuName="E10 LRS",
             meterName=meter, unitOfMeasure=unit, armRegionName=region)
        for region in ("eastus", "westeurope")
        for meter, unit, price in (("E10 LRS Disk", "1/Month", 9.6), ("E10 LRS Disk Operations", "10K", 0.002))
    ),
]  # fmt: skip


def sku(name: str, location: str, *, vcpus: int, memory: int, zones: list[str], **more: Any) -> dict[str, Any]:
    told = {"vCPUs": vcpus, "MemoryGB": memory, "LowPriorityCapable": "True"}
    return {
        "resourceType": "virtualMachines", "name": name, "tier": "Standard", "size": name.removeprefix("Standard_"),
        "family": "standardNFamily", "locations": [location],
        "locationInfo": [{"location": location, "zones": zones, "zoneDetails": []}],
        "capabilities": [{"name": key, "value": str(value)} for key, value in told.items()], "restrictions": [], **more,
    }  # fmt: skip


def restriction(kind: str, location: str, zones: list[str] | None = None) -> dict[str, Any]:
    info = {"locations": [location]} | ({"zones": zones} if zones else {})
    code = "NotAvailableForSubscription"
    return {"type": kind, "values": [location], "restrictionInfo": info, "reasonCode": code}


class AzureMarket(Cloud):
    """`page` is the length of a page of a list, `graph_page` of a Resource Graph answer."""

    def __init__(self) -> None:
        super().__init__()
        self.items = list(ITEMS)
        self.skus = [
            sku(H100, "eastus", vcpus=96, memory=1900, zones=["1", "2", "3"]),
            sku(A100, "eastus", vcpus=24, memory=220, zones=["1"], restrictions=[restriction("Zone", "eastus", ["1"])]),
            sku(A100, "westeurope", vcpus=24, memory=220, zones=["1", "2"],
                restrictions=[restriction("Zone", "westeurope", ["1"])]),
            sku(T4, "eastus", vcpus=4, memory=28, zones=[], restrictions=[restriction("Location", "eastus")]),
            {"resourceType": "disks", "name": "Premium_LRS", "locations": ["eastus"]},
        ]  # fmt: skip
        self.evictions = {(H100, "eastus"): "20+", (A100, "eastus"): "0-5"}
        self.history = {
            (A100, "eastus"): [("2026-11-20T00:00:00.0000000Z", 1.469), ("2026-10-01T00:00:00.0000000Z", 1.6)],
            (H100, "westeurope"): [("2026-11-01T00:00:00Z", 40.0)],
        }
        self.scores = {(H100, "eastus"): "Low", (A100, "eastus"): "High"}
        self.may_score = True
        self.page = 1000
        self.graph_page = 1

    def _prices(self, request: Request) -> Reply:
        query = request.query["$filter"][0]
        if "authorization" in request.headers:
            return Reply({"Message": "a key where none is wanted"}, 400)
        rows = [row for row in self.items if all(_holds(row, clause) for clause in query.split(" and "))]
        skip = int(request.query.get("$skip", ["0"])[0])
        part = rows[skip : skip + self.page]
        more = f"https://prices.azure.com:443/api/retail/prices?$skip={skip + self.page}"
        return Reply({
            "BillingCurrency": "USD", "CustomerEntityId": "Default", "CustomerEntityType": "Retail", "Items": part,
            "NextPageLink": more if skip + self.page < len(rows) else None, "Count": len(part),
        })  # fmt: skip

    def _graph(self, request: Request) -> Reply:
        body = request.body
        if not isinstance(body, dict) or not isinstance(body.get("query"), str):
            return error(400, "BadRequest", "Please provide below info when asking for support")
        query, options = body["query"], body.get("options") or {}
        rows: list[dict[str, Any]] = []
        if "subscriptions" in body:
            pass  # SpotResources belongs to no subscription.
        elif "skuspotevictionrate" in query:
            rows = [_spot_row(*key, rate=rate) for key, rate in self.evictions.items()]
        elif "skuspotpricehistory" in query:
            rows = [
                _spot_row(*key, spotPrices=[{"effectiveDate": at, "priceUSD": usd} for at, usd in points])
                for key, points in self.history.items()
            ]
        if places := re.search(r"location in~ \((.*?)\)", query):
            rows = [row for row in rows if f"'{row['location']}'" in places[1]]
        if not re.fullmatch(r"\d*", options.get("$skipToken", "")):
            return error(400, "BadRequest", "The skip token is not valid.")
        skip = int(options.get("$skipToken") or 0)
        part = rows[skip : skip + self.graph_page]
        # Only a query that names `id` is paged.
        more = skip + self.graph_page < len(rows) and "project id" in query
        answer = {"totalRecords": len(rows), "count": len(part), "facets": [], "data": part,
                  "resultTruncated": "true" if skip + self.graph_page < len(rows) else "false"}  # fmt: skip
        return Reply(answer | ({"$skipToken": str(skip + self.graph_page)} if more else {}))

    def _skus(self, request: Request) -> Reply:
        query = request.query.get("$filter", [""])[0]
        only = re.fullmatch(r"location eq '(\w+)'", query)
        if query and not only:
            return error(400, "InvalidFilter", "Only location may be filtered.")
        return self._list(request, [one for one in self.skus if not only or only[1] in one["locations"]])

    def _placement(self, request: Request) -> Reply:
        if not self.may_score:
            return error(403, "AuthorizationFailed", "The client does not have authorization to perform action")
        body = request.body
        if len(body["desiredLocations"]) > 8 or len(body["desiredSizes"]) > 5 or body["desiredCount"] < 1:
            return error(400, "InvalidParameter", "too many")
        scores = [
            {"sku": size["sku"], "region": region, "availabilityZone": None, "isQuotaAvailable": True,
             "score": self.scores.get((size["sku"], region), "DataNotFoundOrStale")}
            for size in body["desiredSizes"]
            for region in body["desiredLocations"]
        ]  # fmt: skip
        return Reply({**body, "placementScores": scores})

    def _list(self, request: Request, rows: list[Any]) -> Reply:
        skip = int(request.query.get("$skiptoken", ["0"])[0])
        answer: dict[str, Any] = {"value": rows[skip : skip + self.page]}
        if skip + self.page < len(rows):
            kept = "&".join(f"{key}={values[0]}" for key, values in request.query.items() if key != "$skiptoken")
            answer["nextLink"] = f"{self.url}{request.path}?{kept}&$skiptoken={skip + self.page}"
        return Reply(answer)


def _holds(row: dict[str, Any], clause: str) -> bool:
    """Whether a row fits one clause of $filter; the names are case-sensitive as in the real list."""
    if same := re.fullmatch(r"(\w+) eq '([^']*)'", clause):
        return bool(row[{"priceType": "type"}.get(same[1], same[1])] == same[2])
    part = re.fullmatch(r"contains\((\w+), '([^']*)'\)", clause)
    assert part, f"a filter that the price list does not know: {clause}"
    return part[2] in row[part[1]]


def _spot_row(name: str, location: str, **more: Any) -> dict[str, Any]:
    return {"id": f"/{name}/{location}", "skuName": name.lower(), "location": location, **more}
