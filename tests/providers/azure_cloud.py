"""Azure over HTTP on loopback: sign-in and ARM with its machines, networks, addresses and disks."""

from __future__ import annotations

import base64
import re
import string
import uuid
from copy import deepcopy
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs

from providers.azure import Azure
from tests.providers.azure_market import AzureMarket, error
from tests.providers.cloud import Cloud, Reply, Request

TENANT, CLIENT, SECRET, SUBSCRIPTION = "tenant-1", "client-1", "s3cr3t~value", "11111111-2222-3333-4444-555555555555"
GROUP = "gpuyard"
EXTRAS = Decimal("0.013151") + Decimal("0.005")  # 9.60 USD of disk in 730 hours, and the address.
VERSION = re.compile(r"20\d\d-\d\d-\d\d(-preview)?")
RESOURCE = re.compile(
    r"(?i)^/subscriptions/(?P<subscription>[^/]+)/resourceGroups/(?P<group>[^/]+)"
    r"/providers/(?P<kind>Microsoft\.\w+/\w+)(?:/(?P<name>[^/]+))?(?:/(?P<child>subnets)/(?P<child_name>[^/]+))?$"
)
EVERYTHING = [{"actions": ["*"], "notActions": [], "dataActions": [], "notDataActions": []}]


def connected(cloud: Cloud, **more: Any) -> Azure:
    """The adapter with the right credentials."""
    own = {"tenant_id": TENANT, "client_id": CLIENT, "client_secret": SECRET, "subscription_id": SUBSCRIPTION}
    return Azure(**own | more, base_url=cloud.url, login_url=cloud.url, prices_url=cloud.url)


class AzureCloud(AzureMarket):
    """
    Machines are Creating until `boot()`. `doom` is the error code that the next machine fails with after it was
    accepted, at the first look when `fast`, else when `boot()` is called.
    """

    def __init__(self) -> None:
        super().__init__()
        self.token = "header.payload.signature"
        self.sign_ins = 0
        self.resources: dict[str, dict[str, Any]] = {}  # {path in lower case: resource}
        self.operations: dict[str, str] = {}  # {id: path in lower case}
        self.groups = {GROUP}
        self.permissions = EVERYTHING
        self.doom: str | None = None
        self.fast = False

    # What a test does to the cloud.

    def boot(self) -> None:
        for path in list(self.resources):
            self._settle(path)

    def vm(self, name: str) -> dict[str, Any] | None:
        return self.resources.get(self._id("Microsoft.Compute/virtualMachines", name).lower())

    def kinds(self) -> list[str]:
        """The kinds of resources that exist, networks aside."""
        return sorted(one["type"].split("/")[1] for one in self.resources.values() if "Networks" not in one["type"])

    def evict(self, name: str, *, policy: str = "Delete") -> None:
        """Take a machine away; with Deallocate it stays, stopped."""
        path = self._id("Microsoft.Compute/virtualMachines", name).lower()
        if policy == "Delete":
            self._remove(path)
        else:
            self.resources[path]["_power"] = "deallocated"

    def add_stranger(self, name: str = "somebody-elses-vm", group: str = GROUP) -> None:
        self.groups.add(group)
        path = self._id("Microsoft.Compute/virtualMachines", name, group)
        self.resources[path.lower()] = self._new(path, "Microsoft.Compute/virtualMachines", name, {
            "location": "eastus", "properties": {"provisioningState": "Succeeded", "vmId": str(uuid.uuid4())},
        }) | {"_power": "running"}  # fmt: skip

    # What the cloud answers.

    def answer(self, request: Request) -> Reply | None:
        path = request.path
        if path.endswith("/oauth2/v2.0/token"):
            return self._sign_in(request)
        if path == "/api/retail/prices":
            return self._prices(request)
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return error(401, "InvalidAuthenticationToken", "The access token is invalid.")
        version = request.query.get("api-version", [""])[0]
        if not VERSION.fullmatch(version):
            return error(400, "MissingApiVersionParameter", "The api-version query parameter is required.")
        if path.lower() == "/providers/microsoft.resourcegraph/resources":
            return self._graph(request)
        if path.startswith("/operations/"):
            return self._operation(path.removeprefix("/operations/"))
        if not path.lower().startswith(f"/subscriptions/{SUBSCRIPTION}"):
            return error(404, "SubscriptionNotFound", "The subscription could not be found.")
        if path.endswith("/providers/Microsoft.Authorization/permissions"):
            return self._missing_group(path) or self._list(request, self.permissions)
        below = path.removeprefix(f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Compute")
        if below == "/skus":
            return self._skus(request)
        if below == "/virtualMachines":
            return self._all_machines(request)
        if below.endswith("/placementScores/spot/generate"):
            return self._placement(request)
        found = RESOURCE.match(path)
        return self._resource(request, **found.groupdict()) if found else None

    def _sign_in(self, request: Request) -> Reply:
        form = {name: values[0] for name, values in parse_qs((request.body or b"").decode()).items()}
        if not request.path.startswith(f"/{TENANT}/"):
            told = "AADSTS90002: Tenant not found."
            return Reply({"error": "invalid_request", "error_description": told, "error_codes": [90002]}, 400)
        if form.get("grant_type") != "client_credentials" or not form.get("scope", "").endswith(".default"):
            return Reply({"error": "invalid_request", "error_description": "AADSTS900144"}, 400)
        if form.get("client_id") != CLIENT or form.get("client_secret") != SECRET:
            told = "AADSTS7000215: Invalid client secret provided."
            return Reply({"error": "invalid_client", "error_description": told, "error_codes": [7000215]}, 401)
        self.sign_ins += 1
        return Reply({"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": self.token})

    def _all_machines(self, request: Request) -> Reply:
        only = request.query.get("statusOnly", ["false"])[0] == "true"
        rows = []
        for one in self._of("Microsoft.Compute/virtualMachines"):
            seen = _shown(one, view=only)
            if only:  # The run time status, and nothing that tells one machine from another but its id.
                seen = {key: seen[key] for key in ("id", "name", "type", "location")} | {
                    "properties": {"instanceView": seen["properties"]["instanceView"]}
                }
            rows.append(seen)
        return self._list(request, rows)

    def _resource(
        self, request: Request, *, subscription: str, group: str, kind: str, name: str | None,
        child: str | None, child_name: str | None,
    ) -> Reply | None:  # fmt: skip
        if refused := self._missing_group(request.path):
            return refused
        if name is None:
            return self._group_list(request, group, kind)
        path = request.path.lower()
        if child:
            return self._subnet(path, child_name or "")
        if request.method == "GET":
            return self._get(request, path)
        if request.method == "DELETE":
            return self._delete(path)
        return self._put(request, path, kind, name) if request.method == "PUT" else None

    def _group_list(self, request: Request, group: str, kind: str) -> Reply:
        if "$expand" in request.query and "$filter" not in request.query:
            return error(400, "InvalidParameter", "$expand may be given only with a $filter.")
        mine = f"/resourcegroups/{group}/".lower()
        rows = [_shown(one) for one in self._of(kind) if mine in one["id"].lower()]
        return self._list(request, rows)

    def _subnet(self, path: str, name: str) -> Reply:
        network = self.resources.get(path.rsplit("/subnets/", 1)[0])
        subnets = network["properties"]["subnets"] if network else []
        found = next((one for one in subnets if one["name"] == name), None)
        return Reply(found) if found else error(404, "NotFound", "no such subnet")

    def _get(self, request: Request, path: str) -> Reply:
        one = self.resources.get(path)
        if one is None:
            return error(404, "ResourceNotFound", f"The Resource '{path}' was not found.")
        if self.fast and one.get("_doom"):
            self._settle(path)
        return Reply(_shown(one, view=request.query.get("$expand") == ["instanceView"]))

    def _put(self, request: Request, path: str, kind: str, name: str) -> Reply:
        old = self.resources.get(path)
        if old is not None and request.headers.get("if-none-match") == "*":
            return error(412, "PreconditionFailed", "The resource exists.")
        body = request.body
        if not isinstance(body, dict) or not isinstance(body.get("location"), str):
            return error(400, "LocationRequired", "The location property is required for this definition.")
        refused = self._refused(body) if kind.lower() == "microsoft.compute/virtualmachines" else None
        if refused:
            return refused
        one = self._new(request.path, kind, name, deepcopy(body))
        self.resources[path] = one
        one["properties"]["provisioningState"] = "Creating"
        if kind.lower() == "microsoft.compute/virtualmachines":
            self._make_machine(one, body)
        elif kind.lower() == "microsoft.network/virtualnetworks":
            self._settle(path)
            for subnet in one["properties"].get("subnets", []):
                subnet["id"] = f"{request.path}/subnets/{subnet['name']}"
                subnet["properties"]["provisioningState"] = "Succeeded"
        else:
            self._settle(path)
            self._attach(one)
        return Reply(_shown(one), 200 if old else 201, self._promise(path))

    def _attach(self, nic: dict[str, Any]) -> None:
        """Tell an address, where a separate interface names one, whose it is."""
        for ip in nic["properties"].get("ipConfigurations", []):
            public = ip["properties"].get("publicIPAddress", {}).get("id", "").lower()
            if public in self.resources:
                holder = {"id": f"{nic['id']}/ipConfigurations/{ip['name']}"}
                self.resources[public]["properties"]["ipConfiguration"] = holder

    def _refused(self, body: dict[str, Any]) -> Reply | None:
        """What the compute provider says at once to a machine that it will not make."""
        properties = body["properties"]
        os, storage = properties.get("osProfile"), properties.get("storageProfile")
        if not os or not storage or not properties.get("hardwareProfile", {}).get("vmSize"):
            return error(400, "InvalidParameter", "Required parameter is missing (null).")
        password = os.get("adminPassword", "")
        classes = (string.ascii_lowercase, string.ascii_uppercase, string.digits, "!@#$%^&*()-_+=")
        kinds = sum(any(letter in group for letter in password) for group in classes)
        keys = os.get("linuxConfiguration", {}).get("ssh", {}).get("publicKeys")
        if not keys and (not 6 <= len(password) <= 72 or kinds < 3):
            return error(400, "InvalidParameter", "The supplied password must be between 6-72 characters long.")
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,62}[a-z0-9]", os.get("computerName", "")):
            return error(400, "InvalidParameter", "computerName is not valid.")
        try:
            base64.b64decode(os.get("customData", ""), validate=True)
        except ValueError:
            return error(400, "InvalidParameter", "Custom data in OSProfile must be in Base64 encoding.")
        if set(storage.get("imageReference") or {}) < {"publisher", "offer", "sku", "version"}:
            return error(400, "InvalidParameter", "imageReference is not valid.")
        return self._spot_refused(properties) or self._network_refused(properties.get("networkProfile") or {})

    def _spot_refused(self, properties: dict[str, Any]) -> Reply | None:
        size = properties["hardwareProfile"]["vmSize"]
        if properties.get("priority") != "Spot":
            if properties.get("evictionPolicy"):
                return error(400, "EvictionPolicyCanBeSetOnlyOnAzureSpotVirtualMachines")
            return None
        most = properties.get("billingProfile", {}).get("maxPrice", -1)
        if most != -1 and (most <= 0 or round(most, 5) != most):
            return error(400, "MaxPriceValueInvalid", "Invalid max price value.")
        now = [row["retailPrice"] for row in self.items if row["armSkuName"] == size and "Spot" in row["meterName"]]
        if most != -1 and now and most < now[0]:
            return error(409, "SpotPriceGreaterThanProvidedMaxPrice", "the provided max price is lower")
        return None

    def _network_refused(self, network: dict[str, Any]) -> Reply | None:
        if (nics := network.get("networkInterfaces")) and all(nic["id"].lower() in self.resources for nic in nics):
            return None
        asked = network.get("networkInterfaceConfigurations")
        if not asked or network.get("networkApiVersion") not in ("2020-11-01", "2022-11-01"):
            return error(400, "InvalidParameter", "networkProfile is not valid.")
        for ip in asked[0]["properties"]["ipConfigurations"]:
            subnet = ip["properties"]["subnet"]["id"].lower()
            if self._subnet(subnet, subnet.rsplit("/", 1)[1]).status != 200:
                return error(400, "InvalidResourceReference", "the subnet was not found")
        return None

    def _make_machine(self, vm: dict[str, Any], body: dict[str, Any]) -> None:
        name, properties = vm["name"], vm["properties"]
        properties["vmId"] = str(uuid.uuid4())
        properties["osProfile"] = {k: v for k, v in properties["osProfile"].items() if k != "adminPassword"}
        vm["_doom"], self.doom = self.doom, None
        vm["_parts"] = []
        for asked in properties["networkProfile"].pop("networkInterfaceConfigurations", []):
            ip = asked["properties"]["ipConfigurations"][0]
            public = ip["properties"]["publicIPAddressConfiguration"]
            nic_id, ip_id = self._id("Microsoft.Network/networkInterfaces", asked["name"]), self._id(
                "Microsoft.Network/publicIPAddresses", public["name"])  # fmt: skip
            self.resources[nic_id.lower()] = self._new(nic_id, "Microsoft.Network/networkInterfaces", asked["name"], {
                "location": body["location"], "properties": {"provisioningState": "Succeeded"}})  # fmt: skip
            self.resources[ip_id.lower()] = self._new(ip_id, "Microsoft.Network/publicIPAddresses", public["name"], {
                "location": body["location"], "properties": {
                    "provisioningState": "Succeeded",
                    "ipConfiguration": {"id": f"{nic_id}/ipConfigurations/{ip['name']}"}}})  # fmt: skip
            properties["networkProfile"]["networkInterfaces"] = [{"id": nic_id, "properties": {"primary": True}}]
            vm["_parts"] += [nic_id.lower()] * (asked["properties"].get("deleteOption") == "Delete")
            vm["_parts"] += [ip_id.lower()] * (public["properties"].get("deleteOption") == "Delete")
        disk = properties["storageProfile"]["osDisk"]
        disk_id = self._id("Microsoft.Compute/disks", disk.get("name") or f"{name}_OsDisk")
        self.resources[disk_id.lower()] = self._new(disk_id, "Microsoft.Compute/disks", disk_id.rsplit("/", 1)[1], {
            "location": body["location"], "properties": {"provisioningState": "Succeeded"}})  # fmt: skip
        vm["_parts"] += [disk_id.lower()] * (disk.get("deleteOption") == "Delete")

    def _settle(self, path: str) -> None:
        one = self.resources[path]
        if one["properties"].get("provisioningState") != "Creating":
            return
        failed = one.get("_doom")
        one["properties"]["provisioningState"] = "Failed" if failed else "Succeeded"
        if one["type"] == "Microsoft.Compute/virtualMachines":
            one["_power"] = "deallocated" if failed else "running"
            for number, ip in enumerate(self._of("Microsoft.Network/publicIPAddresses"), start=10):
                ip["properties"].setdefault("ipAddress", f"20.1.2.{number}")

    def _delete(self, path: str) -> Reply:
        one = self.resources.get(path)
        if one is None:
            return Reply(status=204)
        users = [vm for vm in self._of("Microsoft.Compute/virtualMachines") if path in vm.get("_parts", [])]
        nic = (one["properties"].get("ipConfiguration") or {}).get("id", "").lower().partition("/ipconf")[0]
        if users or nic in self.resources:
            return error(400, "InUse", f"{path} is in use and cannot be deleted.")
        self._remove(path)
        return Reply(status=202, headers=self._promise(path))

    def _remove(self, path: str) -> None:
        for part in [path, *self.resources[path].get("_parts", [])]:
            self.resources.pop(part, None)

    def _promise(self, path: str) -> dict[str, str]:
        number = uuid.uuid4().hex
        self.operations[number] = path
        link = f"{self.url}/operations/{number}?api-version=2024-07-01"
        return {"Azure-AsyncOperation": link, "Location": link, "Retry-After": "0"}

    def _operation(self, number: str) -> Reply:
        path = self.operations.get(number)
        if path is None:
            return error(404, "NotFound")
        if path in self.resources:
            self._settle(path)
            if doom := self.resources[path].get("_doom"):
                return Reply({"status": "Failed", "error": {"code": doom, "message": "Allocation failed."}})
        return Reply({"status": "Succeeded", "name": number})

    def _missing_group(self, path: str) -> Reply | None:
        group = re.search(r"(?i)/resourceGroups/([^/]+)", path)
        if group and group[1].lower() not in self.groups:
            return error(404, "ResourceGroupNotFound", f"Resource group '{group[1]}' could not be found.")
        return None

    def _of(self, kind: str) -> list[dict[str, Any]]:
        return [one for one in self.resources.values() if one["type"].lower() == kind.lower()]

    @staticmethod
    def _id(kind: str, name: str, group: str = GROUP) -> str:
        return f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{group}/providers/{kind}/{name}"

    @staticmethod
    def _new(path: str, kind: str, name: str, body: dict[str, Any]) -> dict[str, Any]:
        return {**body, "properties": dict(body.get("properties") or {}), "id": path, "name": name, "type": kind}


def _shown(one: dict[str, Any], *, view: bool = False) -> dict[str, Any]:
    """A resource as a caller sees it; with its instance view only where that was asked for."""
    shown = {key: value for key, value in one.items() if not key.startswith("_")}
    if not view:
        return shown
    state, doom = one["properties"]["provisioningState"].lower(), one.get("_doom")
    told = [{"code": f"ProvisioningState/{state}", "level": "Info", "displayStatus": f"Provisioning {state}"}]
    if state == "failed":
        told = [{"code": f"ProvisioningState/failed/{doom}", "level": "Error", "displayStatus": "Provisioning failed",
                 "message": _reason(doom)}]  # fmt: skip
    if one.get("_power"):
        told.append({"code": f"PowerState/{one['_power']}", "level": "Info", "displayStatus": f"VM {one['_power']}"})
    shown["properties"] = shown["properties"] | {"instanceView": {"statuses": told}}
    return shown


def _reason(code: Any) -> str:
    if code == "OperationNotAllowed":
        return "Operation could not be completed as it results in exceeding approved Total Regional Cores quota."
    return "Allocation failed. We do not have sufficient capacity for the requested VM size in this region."
