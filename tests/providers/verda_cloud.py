"""A Verda of our own making: tokens that end, types, places, scripts, disks, and instances that boot or are lost."""

from __future__ import annotations

import itertools
import re
from typing import Any

from tests.providers.cloud import Cloud, Reply, Request

CLIENT_ID = "verda-client-0123456789"
CLIENT_SECRET = "verda-secret-abcdefghij"


def kind(name: str, gpus: int, price: str, spot: str | None, **fields: Any) -> dict[str, Any]:
    """Return an instance type such as the price list has; `fields` are laid over it."""
    return {
        "id": f"id-{name}", "instance_type": name, "model": "H100", "name": "H100 SXM5 80GB", "display_name": None,
        "description": "Dedicated Hardware Instance", "best_for": ["Large model inference"],
        "cpu": {"description": f"{30 * max(gpus, 1)} CPU", "number_of_cores": 30 * max(gpus, 1)},
        "gpu": {"description": f"{gpus}x H100 SXM5 80GB" if gpus else "", "number_of_gpus": gpus},
        "gpu_memory": {"description": f"{80 * gpus}GB GPU RAM", "size_in_gigabytes": 80 * gpus},
        "memory": {"description": "", "size_in_gigabytes": 120 * max(gpus, 1)},
        "storage": {"description": "dynamic"}, "price_per_hour": price, "spot_price": spot, "dynamic_price": None,
        "max_dynamic_price": price, "serverless_price": None, "serverless_spot_price": None, "currency": "usd",
        "manufacturer": "NVIDIA", "p2p": "900 GB/s NVLink" if gpus > 1 else None, "deploy_warning": None,
        "supported_os": ["ubuntu-24.04-cuda-12.8-open-docker", "ubuntu-24.04-cuda-13.0-open-docker"],
    } | fields  # fmt: skip


class VerdaCloud(Cloud):
    """`boot()` lets instances run, `take_away()` ends spot, `fail_with` is the state of a new instance."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds = [
            kind("1H100.80S.30V", 1, "3.95", "1.70"),
            kind("8H100.80S.240V", 8, "31.6", "13.6"),
            kind("CPU.4V.16G", 0, "0.0279", "0.0084"),
            kind("1B300.30V", 1, "6.10", "0.00", gpu={"description": "1x B300 SXM6 262GB", "number_of_gpus": 1},
                 supported_os=["ubuntu-24.04", "ubuntu-24.04-cuda-13.0-open-docker"]),
        ]  # fmt: skip
        self.places = [
            {"code": "FIN-03", "name": "Finland 3", "country_code": "FI"},
            {"code": "ICE-01", "name": "Iceland 1", "country_code": "IS"},
        ]
        self.free = {
            False: {"FIN-03": ["1H100.80S.30V", "CPU.4V.16G"], "ICE-01": ["8H100.80S.240V", "1B300.30V"]},
            True: {"FIN-03": ["1H100.80S.30V"], "ICE-01": []},
        }
        self.volume_price = {"price_per_month_per_gb": 0.2, "cps_per_gb": 7.6e-8, "currency": "usd"}
        self.history: dict[str, Any] | None = {}  # None: the endpoint has been removed.
        self.instances: dict[str, dict[str, Any]] = {}
        self.disks: set[str] = set()
        self.scripts: dict[str, dict[str, Any]] = {}
        self.keys = {"key-1": "ssh-ed25519 AAAA one", "key-2": "ssh-ed25519 AAAA two"}
        self.balance = 100.0
        self.fail_with = ""
        self.expires_in = 3600
        self.denied: set[str] = set()  # Paths that the client may not use.
        self.tokens: set[str] = set()
        self._numbers = itertools.count(1)

    def boot(self) -> None:
        for row in self.instances.values():
            if row["status"] in ("ordered", "provisioning"):
                row |= {"status": "running", "ip": "203.0.113.7"}

    def take_away(self, hostname: str) -> None:
        """Discontinue a spot instance; its disks go where `on_spot_discontinue` sends them."""
        for row in self.instances.values():
            if row["hostname"] == hostname:
                row["status"] = "discontinued"
                if row["_os_volume"].get("on_spot_discontinue") == "delete_permanently":
                    self.disks.discard(row["os_volume_id"])

    def end_tokens(self) -> None:
        self.tokens.clear()

    def make(self, body: dict[str, Any]) -> str:
        """Make an instance without any checks."""
        number = next(self._numbers)
        name, disk = f"inst-{number:04}", f"vol-{number:04}"
        self.disks.add(disk)
        about = next((row for row in self.kinds if row["instance_type"] == body["instance_type"]), self.kinds[0])
        self.instances[name] = {
            "id": name, "ip": None, "status": "ordered", "created_at": "2026-11-25T12:00:00.000Z",
            **{part: about[part] for part in ("cpu", "gpu", "gpu_memory", "memory", "storage")},
            "hostname": body["hostname"], "description": body["description"], "location": body.get("location_code"),
            "price_per_hour": 3.95, "is_spot": body.get("is_spot", False), "instance_type": body["instance_type"],
            "image": body["image"], "os_name": "Ubuntu 24.04", "startup_script_id": body.get("startup_script_id"),
            "ssh_key_ids": body.get("ssh_key_ids", []), "os_volume_id": disk, "volume_ids": [disk],
            "contract": body.get("contract", "PAY_AS_YOU_GO"), "pricing": "FIXED_PRICE", "tags": [],
            "_os_volume": body.get("os_volume") or {},
        }  # fmt: skip
        return name

    def answer(self, request: Request) -> Reply | None:
        if (request.method, request.path) == ("POST", "/oauth2/token"):
            return self._token(request.body)
        if request.headers.get("authorization", "").removeprefix("Bearer ") not in self.tokens:
            return _refusal(401, "unauthorized_request", "Access token is missing or invalid")
        if request.path in self.denied:
            return _refusal(403, "forbidden_action", "This client may not do that")
        routes = (
            ("GET", r"/instance-types", lambda: Reply(self.kinds)),
            ("GET", r"/instance-types/price-history", self._history),
            ("GET", r"/instance-availability", lambda: self._availability(request)),
            ("GET", r"/locations", lambda: Reply(self.places)),
            ("GET", r"/volume-types", lambda: Reply([{"type": "NVMe", "price": self.volume_price}])),
            ("GET", r"/balance", lambda: Reply({"amount": self.balance, "currency": "usd"})),
            ("GET", r"/sshkeys", lambda: Reply([{"id": i, "name": i, "key": key} for i, key in self.keys.items()])),
            ("GET", r"/scripts", lambda: Reply(list(self.scripts.values()))),
            ("POST", r"/scripts", lambda: self._add_script(request.body)),
            ("DELETE", r"/scripts/([\w-]+)", self._drop_script),
            ("GET", r"/instances", lambda: Reply([_shown(row) for row in self.instances.values()])),
            ("GET", r"/instances/([\w-]+)", self._show),
            ("POST", r"/instances", lambda: self._create(request.body)),
            ("PUT", r"/instances", lambda: self._act(request.body)),
        )  # fmt: skip
        for method, pattern, do in routes:
            found = re.fullmatch(pattern, request.path)
            if found and method == request.method:
                return do(*found.groups())
        return None

    def _token(self, body: Any) -> Reply:
        if not isinstance(body, dict) or body.get("grant_type") not in ("client_credentials", "refresh_token"):
            return _refusal(400, "invalid_request", "grant_type")
        is_known = (body.get("client_id"), body.get("client_secret")) == (CLIENT_ID, CLIENT_SECRET)
        if body["grant_type"] == "client_credentials" and not is_known:
            return _refusal(400, "invalid_request", "Invalid client id or client secret")
        token = f"token-{next(self._numbers)}" + "." + "e" * 400
        self.tokens.add(token)
        return Reply({"access_token": token, "refresh_token": "refresh", "scope": "cloud-api-v1",
                      "token_type": "Bearer", "expires_in": self.expires_in})  # fmt: skip

    def _history(self) -> Reply:
        if self.history is None:
            return _refusal(410, "not_found", "This endpoint has been removed. Dynamic pricing is no longer supported.")
        return Reply(self.history)

    def _availability(self, request: Request) -> Reply:
        is_spot = "true" in request.query.get("isSpot", []) + request.query.get("is_spot", [])
        return Reply([{"location_code": code, "availabilities": names} for code, names in self.free[is_spot].items()])

    def _add_script(self, body: Any) -> Reply:
        if not isinstance(body, dict) or not body.get("name") or not body.get("script"):
            return _refusal(400, "invalid_request", "name and script are needed")
        number = f"script-{next(self._numbers)}"
        self.scripts[number] = {"id": number, "name": body["name"], "script": body["script"]}
        return Reply(number, 201, {"Content-Type": "text/plain"})

    def _drop_script(self, number: str) -> Reply:
        return Reply(None, 204) if self.scripts.pop(number, None) else _refusal(404, "not_found", "No such script")

    def _show(self, name: str) -> Reply:
        row = self.instances.get(name)
        return Reply(_shown(row)) if row else _refusal(404, "not_found", "No such instance")

    def _create(self, body: Any) -> Reply:
        needed = ("instance_type", "image", "hostname", "description", "location_code")
        if not isinstance(body, dict) or not all(body.get(name) for name in needed):
            return _refusal(400, "invalid_request", "a property is missing")
        volume = body.get("os_volume") or {"name": "os", "size": 50}
        is_spot = body.get("is_spot", False)
        about = next((row for row in self.kinds if row["instance_type"] == body["instance_type"]), None)
        if (
            about is None
            or not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", body["hostname"])
            or body["location_code"] not in {place["code"] for place in self.places}
            or not set(body.get("ssh_key_ids") or []) <= set(self.keys)
            or (body.get("startup_script_id") and body["startup_script_id"] not in self.scripts)
            or not volume.get("name")
            or not isinstance(volume.get("size"), int)
            or ("on_spot_discontinue" in volume and volume["on_spot_discontinue"] and not is_spot)
            or body.get("contract", "SPOT" if is_spot else "PAY_AS_YOU_GO") != ("SPOT" if is_spot else "PAY_AS_YOU_GO")
            or body["image"] not in [*about["supported_os"], "ubuntu-24.04"]
        ):
            return _refusal(400, "invalid_request", "a property is not valid")
        if self.balance <= 0:
            return _refusal(402, "insufficient_funds", "Not enough funds to perform the action")
        if body["instance_type"] not in self.free[is_spot].get(body["location_code"], []):
            return _refusal(503, "service_unavailable", "No capacity for this instance type")
        name = self.make(body)
        self.instances[name]["status"] = self.fail_with or "ordered"
        return Reply(name, 202, {"Content-Type": "text/plain"})

    def _act(self, body: Any) -> Reply:
        if not isinstance(body, dict) or not body.get("id") or not body.get("action"):
            return _refusal(400, "invalid_request", "id and action are needed")
        names = body["id"] if isinstance(body["id"], list) else [body["id"]]
        if not set(names) <= set(self.instances):
            return _refusal(404, "not_found", "No such instance")
        if body["action"] != "delete":
            return _refusal(400, "invalid_request", "action")
        for name in names:
            del self.instances[name]
        if body.get("delete_permanently"):
            self.disks -= set(body.get("volume_ids") or [])
        return Reply([{"action": "delete", "instanceId": name, "status": "success"} for name in names], 202)


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if not name.startswith("_")}


def _refusal(status: int, code: str, message: str) -> Reply:
    return Reply({"code": code, "message": message}, status)
