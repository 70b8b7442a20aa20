"""A Google Cloud project of our own: token, price list, permissions and Compute Engine on one address."""

from __future__ import annotations

import base64
import json
import re
from functools import cache
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.providers.cloud import Cloud, Reply, Request

PROJECT = "yard-project"
EMAIL = f"broker@{PROJECT}.iam.gserviceaccount.com"
TOKEN = "ya29.a-token-that-nobody-may-read"
ZONES = ("us-central1-a", "us-central1-b", "europe-west4-a")
SPOT_ONLY = {"a3-highgpu-1g", "a4-highgpu-8g"}
HELD = {  # What the documentation's role holds.
    "compute.machineTypes.list", "compute.acceleratorTypes.list", "compute.instances.list", "compute.instances.create",
    "compute.instances.setMetadata", "compute.instances.setLabels", "compute.disks.create", "compute.subnetworks.use",
    "compute.subnetworks.useExternalIp", "compute.zoneOperations.get", "compute.instances.delete",
    "compute.advice.capacity", "compute.advice.capacityHistory",
}  # fmt: skip
RFC1035 = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
LABEL = re.compile(r"[a-z0-9_-]{0,63}")
SPOT_SUFFIX = " attached to Spot Preemptible VMs"


@cache
def private_key() -> rsa.RSAPrivateKey:
    """One key for all tests: making one takes long."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@cache
def key_json() -> str:
    """The key file that the console hands out."""
    pem = private_key().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return json.dumps({"type": "service_account", "project_id": PROJECT, "private_key_id": "1", "client_id": "2",
                       "private_key": pem.decode(), "client_email": EMAIL,
                       "token_uri": "https://oauth2.googleapis.com/token"})  # fmt: skip


def sku(description: str, usd: str, usage: str = "OnDemand", *, unit: str = "h", region: str = "us-central1") -> Any:
    """One line of the price list, as of Cloud Billing v1."""
    units, _, fraction = usd.partition(".")
    rate = {"currencyCode": "USD", "units": units, "nanos": int(f"{fraction:0<9}")}
    tiers = [{"startUsageAmount": 0, "unitPrice": rate}]
    expression = {"usageUnit": unit, "baseUnit": "s", "baseUnitConversionFactor": 3600, "displayQuantity": 1}
    return {"name": "services/6F81-5844-456A/skus/0000-0000-0000", "skuId": "0000-0000-0000",
            "description": description, "serviceRegions": [region], "serviceProviderName": "Google",
            "category": {"serviceDisplayName": "Compute Engine", "resourceFamily": "Compute", "usageType": usage},
            "pricingInfo": [{"summary": "", "effectiveTime": "2026-11-20T00:00:00Z", "currencyConversionRate": 1,
                             "pricingExpression": expression | {"tieredRates": tiers}}]}  # fmt: skip


def price_list() -> list[Any]:
    """Every way of selling an A3, spot and on-demand of the others, and what is easily mistaken for them."""
    spot, year, years = "Preemptible", "Commit1Yr", "Commit3Yr"
    ram: dict[str, str] = {"unit": "GiBy.h"}
    month: dict[str, str] = {"unit": "GiBy.mo"}
    return [
        sku("A3 Instance Core running in Americas", "0.03"),
        sku("A3 Instance Ram running in Americas", "0.0025", **ram),
        sku("Nvidia H100 80GB GPU running in Americas", "10.5"),
        sku("SSD backed Local Storage", "0.08", **month),
        sku("Balanced PD Capacity", "0.1", **month),
        sku("Spot Preemptible A3 Instance Core running in Americas", "0.01", spot),
        sku("Spot Preemptible A3 Instance Ram running in Americas", "0.001", spot, **ram),
        sku("Nvidia H100 80GB GPU attached to Spot Preemptible VMs running in Americas", "2.25", spot),
        sku("SSD backed Local Storage attached to Spot Preemptible VMs", "0.04", spot, **month),
        sku("Commitment v1: A3 Cpu in Americas for 1 Year", "0.02", year),
        sku("Commitment v1: A3 Ram in Americas for 1 Year", "0.002", year, **ram),
        sku("Commitment v1: Nvidia H100 80GB GPU running in Americas for 1 Year", "7", year),
        sku("Commitment v1: Local SSD in Americas for 1 Year", "0.05", year, **month),
        sku("Commitment v1: Nvidia H100 80GB GPU running in Americas for 3 Years", "5", years),
        sku("A4 Nvidia B200 (1 gpu slice) running in Americas", "16.11"),
        sku("Spot Preemptible A4 Nvidia B200 (1 gpu slice) running in Americas", "4.95", "OnDemand"),
        sku("N1 Predefined Instance Core running in Americas", "0.03"),
        sku("N1 Predefined Instance Ram running in Americas", "0.004", **ram),
        sku("Nvidia Tesla T4 GPU running in Americas", "0.35"),
        sku("G2 Instance Core running in Netherlands", "0.0275", region="europe-west4"),
        sku("G2 Instance Ram running in Netherlands", "0.0032", region="europe-west4", **ram),
        sku("Nvidia L4 GPU running in Netherlands", "0.61", region="europe-west4"),
        sku("Sole Tenancy A3 Instance Core running in Americas", "99"),
        sku("A3 Custom Instance Core running in Americas", "99"),
        sku("DWS Defined Duration A3 Instance Core running in Americas", "99"),
        sku("DWS Calendar Mode A4 Nvidia B200 (1 gpu slice) running in Americas", "99"),
        sku("Reserved Nvidia H100 80GB GPU in Americas", "0"),
        sku("Nvidia Tesla T4 Virtual Workstation GPU running in Americas", "99"),
        sku("Nvidia Tesla T4 GPU attached to Sole Tenancy VMs running in Americas", "99"),
        sku("Regional Balanced PD Capacity", "99", **month),
        sku("Commitment v1: Nvidia H100 80GB GPU running in Americas for 1 Year", "99", "OnDemand"),
    ]


def machine_type(zone: str, name: str, cpus: int, ram_gib: float, accelerator: str = "", count: int = 0,
                 ssds: int = 0) -> Any:  # fmt: skip
    """One row of machineTypes."""
    row: dict[str, Any] = {"kind": "compute#machineType", "id": "1", "name": name, "guestCpus": cpus, "zone": zone,
                           "memoryMb": int(ram_gib * 1024), "isSharedCpu": False, "architecture": "X86_64"}  # fmt: skip
    if accelerator:
        row["accelerators"] = [{"guestAcceleratorType": accelerator, "guestAcceleratorCount": count}]
    if ssds:
        row["bundledLocalSsds"] = {"defaultInterface": "NVME", "partitionCount": ssds}
    return row


class GcpCloud(Cloud):
    """`anonymous` lets a client in without a token, as vendors' SDKs do against emulators."""

    def __init__(self, *, anonymous: bool = False) -> None:
        super().__init__()
        self.anonymous = anonymous
        self.page_rows = 500
        self.skus = price_list()
        america = ("us-central1-a", "us-central1-b")
        self.machine_types = [
            *(machine_type(zone, "a3-highgpu-8g", 208, 1872, "nvidia-h100-80gb", 8, 16) for zone in america),
            machine_type("us-central1-a", "a3-highgpu-1g", 26, 234, "nvidia-h100-80gb", 1, 2),
            machine_type("us-central1-a", "a4-highgpu-8g", 224, 3968, "nvidia-b200", 8, 32),
            machine_type("us-central1-a", "n1-standard-8", 8, 30),
            machine_type("us-central1-a", "e2-standard-8", 8, 32),
            machine_type("us-central1-b", "a4x-highgpu-4g", 140, 884, "nvidia-gb200", 4, 32),
            machine_type("us-central1-b", "a2-highgpu-1g", 12, 85, "nvidia-tesla-a100", 1),
            machine_type("europe-west4-a", "g2-standard-4", 4, 16, "nvidia-l4", 1),
        ]
        self.accelerator_types = [
            {"name": name, "maximumCardsPerInstance": most, "zone": "us-central1-a"}
            for name, most in (("nvidia-tesla-t4", 4), ("nvidia-tesla-t4-vws", 4), ("nvidia-h100-80gb", 8))
        ]
        self.permissions = set(HELD)
        self.instances: dict[tuple[str, str], dict[str, Any]] = {}
        self.operations: dict[str, dict[str, Any]] = {}
        self.by_request: dict[str, str] = {}
        self.failures: list[str] = []  # Codes: each is what one insert's operation ends with.
        self.leaves_remains = False  # Whether an insert that failed leaves an instance behind.
        self.unreachable_zones: list[str] = []
        self.slow = False  # Whether operations are still running when a wait ends.

    def boot(self) -> None:
        """Whatever is on its way arrives."""
        for place, row in list(self.instances.items()):
            if row["status"] == "STOPPING":
                del self.instances[place]
            elif row["status"] == "PROVISIONING":
                row["status"] = "RUNNING"
                row["networkInterfaces"][0]["accessConfigs"][0]["natIP"] = "203.0.113.7"

    def answer(self, request: Request) -> Reply | None:
        if request.path == "/token":
            return self._token(request)
        if not self.anonymous and request.headers.get("authorization") != f"Bearer {TOKEN}":
            return _error(401, "authError", "Invalid Credentials")
        if request.path == "/v1/services/6F81-5844-456A/skus":
            return self._skus(request)
        if request.path == f"/v1/projects/{PROJECT}:testIamPermissions" and request.method == "POST":
            held = [name for name in request.body["permissions"] if name in self.permissions]
            return Reply({"permissions": held} if held else {})
        path = request.path.removeprefix(f"/compute/v1/projects/{PROJECT}/")
        verb = f"{request.method} {path}"
        for pattern, handle in (
            (r"GET aggregated/(\w+)", self._aggregated),
            (r"POST regions/([\w-]+)/advice/(\w+)", self._advice),
            (r"POST zones/([\w-]+)/instances", self._insert),
            (r"(GET|DELETE) zones/([\w-]+)/instances/([\w-]+)", self._instance),
            (r"(?:GET|POST) zones/([\w-]+)/operations/([\w-]+)(/wait)?", self._operation),
        ):
            if found := re.fullmatch(pattern, verb):
                return handle(request, *found.groups())
        return _error(404, "notFound", f"no such path: {path}")

    def _token(self, request: Request) -> Reply:
        form = parse_qs((request.body or b"").decode())
        if form.get("grant_type") != ["urn:ietf:params:oauth:grant-type:jwt-bearer"]:
            return Reply({"error": "unsupported_grant_type", "error_description": "Invalid grant_type"}, 400)
        head, claims, signature = form["assertion"][0].split(".")
        told = json.loads(_decoded(claims))
        try:
            private_key().public_key().verify(
                _decoded(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256()
            )
        except InvalidSignature:
            return Reply({"error": "invalid_grant", "error_description": "Invalid JWT Signature."}, 400)
        right = {"iss": EMAIL, "aud": "https://oauth2.googleapis.com/token",
                 "scope": "https://www.googleapis.com/auth/cloud-platform"}  # fmt: skip
        if {name: told[name] for name in right} != right or told["exp"] - told["iat"] > 3600:
            return Reply({"error": "invalid_grant", "error_description": "Invalid JWT"}, 400)
        return Reply({"access_token": TOKEN, "expires_in": 3599, "token_type": "Bearer"})

    def _skus(self, request: Request) -> Reply:
        start = _start(request)
        if start is None or int(request.query.get("pageSize", ["1"])[0]) > 5000:
            return _error(400, "badRequest", "Request contains an invalid argument.")
        end = start + min(self.page_rows, int(request.query.get("pageSize", ["5000"])[0]))
        return Reply({"skus": self.skus[start:end], "nextPageToken": str(end) if end < len(self.skus) else ""})

    def _aggregated(self, request: Request, kind: str) -> Reply:
        tables = {"machineTypes": self.machine_types, "acceleratorTypes": self.accelerator_types,
                  "instances": list(self.instances.values())}  # fmt: skip
        start = _start(request)
        try:
            chosen = [row for row in tables[kind] if _fits(row, request.query.get("filter", [""])[0])]
        except (KeyError, ValueError):
            return _error(400, "invalid", "Invalid value for field 'filter'.")
        if start is None:
            return _error(400, "invalid", "Invalid value for field 'pageToken'.")
        end = start + min(self.page_rows, int(request.query.get("maxResults", ["500"])[0]))
        items: dict[str, Any] = {}
        for zone in ZONES:
            rows = [row for row in chosen[start:end] if row["zone"].rpartition("/")[2] == zone]
            nothing = {"code": "NO_RESULTS_ON_PAGE", "message": f"There are no results for scope 'zones/{zone}'.",
                       "data": [{"key": "scope", "value": f"zones/{zone}"}]}  # fmt: skip
            items[f"zones/{zone}"] = {kind: rows} if rows else {"warning": nothing}
        more = {"nextPageToken": str(end)} if end < len(chosen) else {}
        gap = {"unreachables": self.unreachable_zones} if self.unreachable_zones else {}
        return Reply({"kind": f"compute#{kind}AggregatedList", "id": "x", "items": items, **more, **gap})

    def _advice(self, request: Request, region: str, question: str) -> Reply | None:
        body, records = request.body, []
        if question == "capacity":
            (selection,) = body["instanceFlexibilityPolicy"]["instanceSelections"].values()
            shard = {"zone": f"zones/{region}-a", "instanceCount": body["size"], "provisioningModel": "SPOT",
                     "machineType": selection["machineTypes"][0]}  # fmt: skip
            scores = {"obtainability": 0.7, "estimatedUptime": "3600s"}
            return Reply({"recommendations": [{"scores": scores, "shards": [shard]}]})
        if question != "capacityHistory":
            return None
        if body["instanceProperties"]["scheduling"] != {"provisioningModel": "SPOT"}:
            return _error(400, "invalid", "provisioningModel must be SPOT")
        if not re.match(r"a[2-4]-|g[24]-", body["instanceProperties"]["machineType"]):
            return _error(400, "invalid", "The machine type is not supported.")
        days = [f"2026-11-{day:02}T00:00:00-08:00" for day in (18, 19, 20)]
        intervals = [{"startTime": start, "endTime": end} for start, end in zip(days, days[1:], strict=False)]
        if "PREEMPTION" in body["types"]:
            records = [{"interval": one, "preemptionRate": rate}
                       for one, rate in zip(intervals, (0.36, 0.19), strict=True)]  # fmt: skip
            return Reply({"location": region, "preemptionHistory": records})
        for one, nanos in zip(intervals, (500_000_000, 250_000_000), strict=True):
            records.append({"interval": one, "listPrice": {"currencyCode": "USD", "units": "21", "nanos": nanos}})
        return Reply({"location": region, "priceHistory": records})

    def _insert(self, request: Request, zone: str) -> Reply:
        body, request_id = request.body, request.query.get("requestId", [""])[0]
        if request_id:
            UUID(request_id)
            if request_id in self.by_request:
                return Reply(self.operations[self.by_request[request_id]])
        if why := self._wrong(body, zone):
            return _error(400, "invalid", why)
        name, place = body["name"], (zone, body["name"])
        if place in self.instances:
            what = f"The resource 'projects/{PROJECT}/zones/{zone}/instances/{name}' already exists"
            return _error(409, "alreadyExists", what)
        self.instances[place] = json.loads(json.dumps(body)) | {
            "kind": "compute#instance", "id": str(1000 + len(self.operations)), "status": "PROVISIONING",
            "zone": f"https://www.googleapis.com/compute/v1/projects/{PROJECT}/zones/{zone}",
        }  # fmt: skip
        operation = self._begin(zone, "insert", name)
        if self.failures:
            operation["fails"] = self.failures.pop(0)
        if request_id:
            self.by_request[request_id] = operation["name"]
        return Reply(_told(operation))

    def _wrong(self, body: Any, zone: str) -> str:
        """Say what Compute Engine would refuse."""
        scheduling, host = body.get("scheduling") or {}, str(body.get("machineType")).rpartition("/")[2]
        is_spot = scheduling.get("provisioningModel") == "SPOT"
        disk = (body.get("disks") or [{}])[0]
        made = disk.get("initializeParams") or {}
        notice = scheduling.get("preemptionNoticeDuration")
        attached = body.get("guestAccelerators") or []
        rules = {
            "Invalid value for field 'resource.name'": RFC1035.fullmatch(str(body.get("name"))),
            "Invalid value for field 'resource.machineType'": str(body.get("machineType")).endswith(
                f"zones/{zone}/machineTypes/{host}")
                and any((row["zone"], row["name"]) == (zone, host) for row in self.machine_types),
            "Invalid value for field 'resource.labels'": all(
                LABEL.fullmatch(part) for pair in (body.get("labels") or {}).items() for part in pair),
            "At least one boot disk is needed": disk.get("boot") and made.get("sourceImage"),
            "The disk type lies in another zone": f"zones/{zone}/" in made.get("diskType", f"zones/{zone}/"),
            "The disk is too small": int(made.get("diskSizeGb", "10")) >= 10,
            "At least one network interface is required": body.get("networkInterfaces"),
            "Instances with guest accelerators do not support live migration": host.startswith("e2")
                or scheduling.get("onHostMaintenance") == "TERMINATE",
            "instanceTerminationAction is for Spot": is_spot or "instanceTerminationAction" not in scheduling,
            "preemptionNoticeDuration is for Spot": is_spot or notice is None,
            "preemptionNoticeDuration must be 0 or 120 seconds": str((notice or {}).get("seconds", 0)) in ("0", "120"),
            "Only N1 takes guestAccelerators": not attached or host.startswith("n1-"),
            "The accelerator is not in this zone": all(
                any(one["acceleratorType"] == f"zones/{zone}/acceleratorTypes/{row['name']}"
                    and row["zone"] == zone for row in self.accelerator_types) for one in attached),
            "This machine type is for Spot only": is_spot or host not in SPOT_ONLY,
        }  # fmt: skip
        return next((why for why, fine in rules.items() if not fine), "")

    def _instance(self, _request: Request, method: str, zone: str, name: str) -> Reply:
        row = self.instances.get((zone, name))
        if row is None:
            what = f"The resource 'projects/{PROJECT}/zones/{zone}/instances/{name}' was not found"
            return _error(404, "notFound", what)
        if method == "GET":
            return Reply(row)
        row["status"] = "STOPPING"
        return Reply(_told(self._begin(zone, "delete", name)))

    def _operation(self, request: Request, zone: str, name: str, _wait: str | None) -> Reply:
        operation = self.operations.get(name)
        if operation is None:
            return _error(404, "notFound", "The operation was not found")
        if not self.slow:
            operation |= {"status": "DONE", "progress": 100}
            if code := operation.pop("fails", ""):
                operation["error"] = {"errors": [{"code": code, "message": "The zone does not have enough of it."}]}
                if not self.leaves_remains:
                    self.instances.pop((zone, operation["targetLink"].rpartition("/")[2]), None)
        return Reply(_told(operation))

    def _begin(self, zone: str, kind: str, name: str) -> dict[str, Any]:
        number = len(self.operations)
        base = f"https://www.googleapis.com/compute/v1/projects/{PROJECT}/zones/{zone}"
        self.operations[f"operation-{number}"] = operation = {
            "kind": "compute#operation", "id": str(number), "name": f"operation-{number}", "operationType": kind,
            "status": "RUNNING", "progress": 0, "zone": base, "targetId": "7", "targetLink": f"{base}/instances/{name}",
            "selfLink": f"{base}/operations/operation-{number}", "insertTime": "2026-11-20T00:00:00.000-08:00",
        }  # fmt: skip
        return operation


def _told(operation: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in operation.items() if name != "fails"}


def _fits(row: dict[str, Any], chosen: str) -> bool:
    """Read the three forms of filter that we and the SDK's examples use."""
    if not chosen:
        return True
    if found := re.fullmatch(r'name ?= ?"?([^"]+)"?', chosen):
        return bool(row["name"] == found[1])
    if found := re.fullmatch(r'name eq "(.+)"', chosen):
        return re.fullmatch(found[1], row["name"]) is not None
    if found := re.fullmatch(r"labels\.([a-z0-9_-]+):\*", chosen):
        return found[1] in (row.get("labels") or {})
    raise ValueError(chosen)


def _start(request: Request) -> int | None:
    token = request.query.get("pageToken", ["0"])[0] or "0"
    return int(token) if token.isdecimal() and len(token) < 9 else None


def _error(code: int, reason: str, message: str, **more: Any) -> Reply:
    told = {"message": message, "domain": "global", "reason": reason}
    return Reply({"error": {"code": code, "message": message, "errors": [told], **more}}, code)


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
