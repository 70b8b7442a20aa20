"""
AWS in front of moto: everything that moto does right is passed on to it, and what it lacks is answered here.

Written from the API references of EC2 and of the Price List Query API. moto knows the real instance types, images,
tags, filters and dry runs; it has no spot prices worth the name, no price list, no placement scores, no capacity, no
spot requests behind RunInstances, and buys two machines for one ClientToken.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

import requests
from moto import settings as moto_settings
from moto.server import ThreadedMotoServer

from tests.providers.cloud import LOSE_THE_ANSWER, Cloud, Reply, Request

KEY_ID, SECRET = "AKIAGPUYARDEXAMPLE00", "a-secret-of-forty-characters-for-tests-0"
ROLE_KEY_ID = "ASIA"  # What moto's STS hands out begins so.
IMAGE = "ami-dca37ea5"  # moto's "Deep Learning AMI Ubuntu Linux".
ARM_IMAGE = "ami-0e9271c829888680e"
NEURON_IMAGE = "ami-9b32e8e2"
DRIVER = "base-oss-nvidia-driver-gpu-ubuntu-22.04/latest/ami-id"
PARAMETERS = {
    f"/aws/service/deeplearning/ami/x86_64/{DRIVER}": IMAGE,
    f"/aws/service/deeplearning/ami/arm64/{DRIVER}": ARM_IMAGE,
    "/aws/service/neuron/dlami/multi-framework/ubuntu-22.04/latest/image_id": NEURON_IMAGE,
}
# Error codes with the status that EC2 sends (errors-overview).
TROUBLES = {
    "sold_out": ("InsufficientInstanceCapacity", 500),
    "quota": ("VcpuLimitExceeded", 400),
    "bad_request": ("InvalidParameterValue", 400),
    "auth": ("UnauthorizedOperation", 403),
    "money": ("Blocked", 403),
    "rate_limit": ("RequestLimitExceeded", 503),
    "outage": ("Unavailable", 503),
}
PAGE = 4  # Rows of a page: small, so that everything has pages.


@dataclass
class SpotPrice:
    """A price that holds from `at` on."""

    zone: str
    machine_type: str
    usd: str
    at: datetime
    product: str = "Linux/UNIX"

    @property
    def region(self) -> str:
        return "-".join(re.split(r"-|[a-z]$", self.zone)[:3])

    @property
    def zone_id(self) -> str:
        return zone_id(self.zone)


def zone_id(zone: str) -> str:
    """The id of a zone: the same letter is another building in another account, the id is not."""
    area, direction, rest, *local = zone.split("-")
    if local:
        return zone
    return f"{area}{direction[0]}{rest[0]}-az{'fedcba'.index(rest[1]) + 1}"


def product(region: str, machine_type: str, usd: str, reserved: dict[str, str] | None = None, **attributes: str) -> str:
    """A product as GetProducts returns it: a text that holds JSON."""
    own = {"instanceType": machine_type, "regionCode": region, "operatingSystem": "Linux", "tenancy": "Shared",
           "preInstalledSw": "NA", "capacitystatus": "Used", "marketoption": "OnDemand",
           "instanceFamily": "GPU instance", "operation": "RunInstances", **attributes}  # fmt: skip
    terms: dict[str, Any] = {"OnDemand": {"S.J": offer("Hrs", usd)}}
    if reserved:
        terms["Reserved"] = {
            f"S.{years}.{option}.{kind}": offer("Hrs", price, LeaseContractLength=years, PurchaseOption=option,
                                        OfferingClass=kind)
            for years, price in reserved.items()
            for option, kind, price in ((("No Upfront", "standard", price), ("No Upfront", "convertible", "9.9"),
                                         ("All Upfront", "standard", "0.0000000000")))
        }  # fmt: skip
        terms["Reserved"]["S.first"] = offer("Hrs", "0.5", LeaseContractLength="1yr", PurchaseOption="Partial Upfront",
                                             OfferingClass="standard")  # fmt: skip
    family = attributes.pop("productFamily", "Compute Instance")
    return json.dumps({"product": {"productFamily": family, "attributes": own, "sku": "S"}, "serviceCode": "AmazonEC2",
                       "terms": terms, "version": "20261120", "publicationDate": "2026-11-20T00:00:00Z"})  # fmt: skip


def offer(unit: str, usd: str, **attributes: str) -> dict[str, Any]:
    """A term's offer with its one price."""
    dimension = {"unit": unit, "endRange": "Inf", "beginRange": "0", "appliesTo": [], "rateCode": "S.J.6YS6EN2CT7",
                 "description": "", "pricePerUnit": {"USD": usd}}  # fmt: skip
    return {"priceDimensions": {"S.J.6YS6EN2CT7": dimension}, "sku": "S", "effectiveDate": "2026-11-01T00:00:00Z",
            "offerTermCode": "J", "termAttributes": attributes}  # fmt: skip


def disk(region: str, usd: str) -> str:
    """The product of a region's gp3 volumes."""
    attributes = {"regionCode": region, "volumeApiName": "gp3", "volumeType": "General Purpose"}
    terms = {"OnDemand": {"D.J": offer("GB-Mo", usd)}}
    return json.dumps({"product": {"productFamily": "Storage", "attributes": attributes, "sku": "D"}, "terms": terms})


@dataclass
class Call:
    """A request in the words of its API."""

    region: str
    service: str
    action: str
    asked: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.service}:{self.action}"

    def several(self, name: str) -> list[str]:
        return [value for key, value in self.asked.items() if re.fullmatch(rf"{name}\.\d+", key)]


class AwsCloud(Cloud):
    """`refusals` holds (action, error code, status): each is used up by the first call of that action."""

    def __init__(self, moto: ThreadedMotoServer) -> None:
        super().__init__()
        host, port = moto.get_host_and_port()
        self.moto_url = f"http://{host}:{port}"
        self.moto = requests.Session()
        self.moto.trust_env = False
        self.forget()

    def forget(self) -> None:
        """Make it a new cloud, without machines."""
        self.moto.post(f"{self.moto_url}/moto-api/reset", timeout=10).raise_for_status()
        self.refusals: list[tuple[str, str, int]] = []
        self.denied: set[str] = set()  # Permissions that the credential lacks, such as "ec2:RunInstances".
        self.regions_down: set[str] = set()
        self.products: list[str] = []
        self.spot: list[SpotPrice] = []
        self.scores: dict[str, int] = {}  # {zone: score}.
        self.marked: dict[str, datetime] = {}  # {machine's id: when it was marked for termination}.
        self.bought: dict[tuple[str, str], tuple[dict[str, Any], Reply]] = {}
        self.sees_late = False  # DescribeInstances lags behind, as it may.
        self.lists_instead: str | None = None  # What DescribeInstances says whatever there is.
        self.calls: list[Call] = []

    def made(self, action: str) -> list[Call]:
        return [call for call in self.calls if call.action == action]

    def answer(self, request: Request) -> Reply | str | None:  # type: ignore[override]
        call, key_id = _read(request)
        self.calls.append(call)
        for index, (action, code, status) in enumerate(self.refusals):
            if action == call.action:
                del self.refusals[index]
                if code == LOSE_THE_ANSWER:
                    self._answer(call, request)
                    return LOSE_THE_ANSWER
                return refusal(call, code, status)
        if key_id != KEY_ID and not key_id.startswith(ROLE_KEY_ID):
            return refusal(call, "AuthFailure" if call.service == "ec2" else "UnrecognizedClientException", 401)
        if call.region in self.regions_down and call.service == "ec2":
            return refusal(call, "Unavailable", 503)
        return self._lacking(call) or self._answer(call, request)

    def _lacking(self, call: Call) -> Reply | None:
        wanted = [call.name]
        if call.action == "RunInstances" and any(key.startswith("TagSpecification.") for key in call.asked):
            wanted.append("ec2:CreateTags")
        for name in wanted:
            if name in self.denied:
                said = (f"You are not authorized to perform this operation. User: arn:aws:iam::1:user/yard is not "
                        f"authorized to perform: {name} on resource: arn:aws:ec2:::* because no identity-based "
                        f"policy allows the {name} action")  # fmt: skip
                ec2 = call.service == "ec2"
                return refusal(call, "UnauthorizedOperation" if ec2 else "AccessDeniedException", 403, said)
        return None

    def _answer(self, call: Call, request: Request) -> Reply:
        own = {
            "ec2:DescribeSpotPriceHistory": self._spot_prices,
            "ec2:GetSpotPlacementScores": self._placement_scores,
            "ec2:DescribeSpotInstanceRequests": self._spot_requests,
            "pricing:GetProducts": self._get_products,
        }.get(call.name)
        if own and call.asked.get("DryRun") == "true":
            return refusal(call, "DryRunOperation", 412)
        if own:
            return own(call)
        if call.name == "ssm:GetParameter" and call.asked["Name"] in PARAMETERS:
            value = PARAMETERS[call.asked["Name"]]
            return Reply({"Parameter": {"Name": call.asked["Name"], "Type": "String", "Value": value, "Version": 1}})
        if call.name == "ec2:RunInstances" and call.asked.get("DryRun") != "true":
            return self._run(call, request)
        if call.name == "ec2:DescribeInstances" and (self.sees_late or self.lists_instead is not None):
            return xml(call, "<reservationSet/>" if self.lists_instead is None else self.lists_instead)
        return self._pass_on(request)

    def _pass_on(self, request: Request) -> Reply:
        raw = json.dumps(request.body).encode() if isinstance(request.body, dict) else request.body
        kept = ("authorization", "content-type", "x-amz-target", "x-amz-date", "x-amz-security-token")
        headers = {name: request.headers[name] for name in kept if name in request.headers}
        told = self.moto.request(request.method, self.moto_url + request.path, headers=headers, data=raw, timeout=30)
        return Reply(told.content, told.status_code, {"Content-Type": told.headers.get("Content-Type", "text/xml")})

    def _run(self, call: Call, request: Request) -> Reply:
        token = (call.region, call.asked["ClientToken"])
        if token in self.bought:
            asked, told = self.bought[token]
            return told if asked == call.asked else refusal(call, "IdempotentParameterMismatch", 400)
        if len(base64.b64decode(call.asked.get("UserData", ""))) > 16384:
            return refusal(call, "InvalidParameterValue", 400)
        if trouble := self._unaffordable(call):
            return trouble
        told = self._pass_on(request)
        if told.status == 200:
            self.bought[token] = (call.asked, told)
        return told

    def _unaffordable(self, call: Call) -> Reply | None:
        market = "InstanceMarketOptions."
        if call.asked.get(f"{market}MarketType") != "spot":
            return None
        if call.asked.get(f"{market}SpotOptions.SpotInstanceType") == "persistent":
            return refusal(call, "InvalidParameterCombination", 400)
        highest = Decimal(call.asked.get(f"{market}SpotOptions.MaxPrice", "1000"))
        if highest <= Decimal("0.001"):
            return refusal(call, "InvalidParameterValue", 400)
        zone = call.asked.get("Placement.AvailabilityZone")
        prices = [Decimal(row.usd) for row in self._holding(datetime.now(UTC)) if row.region == call.region
                  and row.machine_type == call.asked["InstanceType"] and zone in (None, row.zone)]  # fmt: skip
        if not prices:
            return refusal(call, "InsufficientInstanceCapacity", 500)
        return refusal(call, "SpotMaxPriceTooLow", 400) if min(prices) > highest else None

    def _holding(self, at: datetime) -> list[SpotPrice]:
        """The prices that hold at a moment."""
        last: dict[tuple[str, str, str], SpotPrice] = {}
        for row in sorted(self.spot, key=lambda row: row.at):
            if row.at <= at:
                last[row.zone, row.machine_type, row.product] = row
        return list(last.values())

    def _spot_prices(self, call: Call) -> Reply:
        """Newest first: the changes of the period and, of each line, the price that held when it began."""
        begin, end = (_moment(call.asked.get(name)) for name in ("StartTime", "EndTime"))
        rows = [row for row in self.spot if begin < row.at <= end] + self._holding(begin)
        types, products = call.several("InstanceType"), call.several("ProductDescription")
        rows = [row for row in rows if row.region == call.region and (not types or row.machine_type in types)
                and (not products or row.product in products)]  # fmt: skip
        rows.sort(key=lambda row: row.at, reverse=True)
        page, token = _page(rows, call.asked.get("NextToken"))
        items = "".join(
            f"<item><instanceType>{row.machine_type}</instanceType><spotPrice>{row.usd}</spotPrice>"
            f"<productDescription>{row.product}</productDescription><timestamp>{row.at:%Y-%m-%dT%H:%M:%S.000Z}"
            f"</timestamp><availabilityZone>{row.zone}</availabilityZone>"
            f"<availabilityZoneId>{row.zone_id}</availabilityZoneId></item>"
            for row in page
        )
        return xml(call, f"<spotPriceHistorySet>{items}</spotPriceHistorySet><nextToken>{token}</nextToken>")

    def _placement_scores(self, call: Call) -> Reply:
        if "TargetCapacity" not in call.asked or not call.several("InstanceType"):
            return refusal(call, "MissingParameter", 400)
        low = len(call.several("InstanceType")) < 3
        items = "".join(
            f"<item><region>{zone[:-1]}</region><availabilityZoneId>{zone_id(zone)}</availabilityZoneId>"
            f"<score>{1 if low else score}</score></item>"
            for zone, score in self.scores.items()
            if zone[:-1] in call.several("RegionName")
        )
        return xml(call, f"<spotPlacementScoreSet>{items}</spotPlacementScoreSet>")

    def _spot_requests(self, call: Call) -> Reply:
        assert (call.asked["Filter.1.Name"], call.asked["Filter.1.Value.1"]) == (
            "status-code",
            "marked-for-termination",
        )
        items = "".join(
            f"<item><spotInstanceRequestId>sir-1</spotInstanceRequestId><instanceId>{machine_id}</instanceId>"
            f"<state>active</state><status><code>marked-for-termination</code><message>Marked</message>"
            f"<updateTime>{at:%Y-%m-%dT%H:%M:%S.000Z}</updateTime></status></item>"
            for machine_id, at in self.marked.items()
        )
        return xml(call, f"<spotInstanceRequestSet>{items}</spotInstanceRequestSet>")

    def _get_products(self, call: Call) -> Reply:
        filters = {one["Field"]: one["Value"] for one in call.asked.get("Filters", [])}
        found = []
        for text in self.products:
            told = json.loads(text)["product"]
            said = {**told["attributes"], "productFamily": told["productFamily"]}
            if all(said.get(name) == value for name, value in filters.items()):
                found.append(text)
        page, token = _page(found, call.asked.get("NextToken"))
        return Reply({"FormatVersion": "aws_v1", "PriceList": page, **({"NextToken": token} if token else {})})


def start_moto() -> ThreadedMotoServer:
    """Start moto on a free port of loopback, with the checks that EC2 makes too."""
    moto_settings.EC2_ENABLE_INSTANCE_TYPE_VALIDATION = True
    moto_settings.ENABLE_AMI_VALIDATION = True
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    return moto


def refusal(call: Call, code: str, status: int, message: str = "") -> Reply:
    """An error in the form of the service's protocol."""
    said = message or f"{call.action} was refused."
    if call.service in ("pricing", "ssm"):
        return Reply({"__type": code, "message": said}, status)
    error = f"<Code>{code}</Code><Message>{escape(said)}</Message>"
    if call.service == "sts":
        return Reply(f"<ErrorResponse><Error>{error}</Error></ErrorResponse>", status, {"Content-Type": "text/xml"})
    body = f"<Response><Errors><Error>{error}</Error></Errors><RequestID>r</RequestID></Response>"
    return Reply(body, status, {"Content-Type": "text/xml"})


def xml(call: Call, inside: str) -> Reply:
    """An answer of EC2."""
    name = f"{call.action}Response"
    space = "http://ec2.amazonaws.com/doc/2016-11-15/"
    return Reply(
        f'<{name} xmlns="{space}"><requestId>r</requestId>{inside}</{name}>', 200, {"Content-Type": "text/xml"}
    )


def _read(request: Request) -> tuple[Call, str]:
    scope = re.search(r"Credential=([^/]+)/\d+/([^/]+)/([^/]+)/aws4_request", request.headers.get("authorization", ""))
    assert scope, "every request is signed"
    key_id, region, service = scope.groups()
    if target := request.headers.get("x-amz-target"):
        return Call(region, service, target.split(".")[1], request.body), key_id
    asked = dict(parse_qsl(request.body.decode(), keep_blank_values=True))
    return Call(region, service, asked.pop("Action"), asked), key_id


def _page(rows: list[Any], token: str | None) -> tuple[list[Any], str]:
    begin = int(token or 0)
    return rows[begin : begin + PAGE], str(begin + PAGE) if begin + PAGE < len(rows) else ""


def _moment(text: str | None) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if text else datetime.now(UTC)
