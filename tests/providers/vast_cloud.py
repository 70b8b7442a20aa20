"""A Vast.ai of our own making: a market of asks, instances that boot, bids that are outbid. Trailing slashes matter."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

from tests.providers.cloud import Cloud, Reply, Request

KEY = "vast-secret-key-0123456789"
PAGE = 64  # The most rows that a search returns.
OPERATORS = {
    "eq": lambda have, want: have == want or (not have and not want),
    "neq": lambda have, want: have != want,
    "gt": lambda have, want: have is not None and have > want,
    "gte": lambda have, want: have is not None and have >= want,
    "lt": lambda have, want: have is not None and have < want,
    "lte": lambda have, want: have is not None and have <= want,
    "in": lambda have, want: have in want,
    "notin": lambda have, want: have not in want,
}
NO_FILTERS = {"type", "limit", "order", "allocated_storage", "rented"}  # `rented` is dropped by the server.


def offer(ask: int, **fields: Any) -> dict[str, Any]:
    """Return a row such as a search has; `fields` are laid over it."""
    row = {
        "id": ask, "ask_contract_id": ask, "bundle_id": ask + 9, "machine_id": ask + 1, "host_id": 55555,
        "gpu_name": "RTX 4090", "num_gpus": 2, "gpu_frac": 0.5, "gpu_ram": 24576, "gpu_total_ram": 49152,
        "gpu_arch": "nvidia", "compute_cap": 890, "cuda_max_good": 12.8, "driver_version": "570.86.10",
        "cpu_cores": 64, "cpu_cores_effective": 32.0, "cpu_ram": 131072, "cpu_name": "EPYC 7543", "disk_space": 1500.5,
        "disk_bw": 3200.1, "dph_base": 0.8, "min_bid": 0.3, "is_bid": False, "storage_cost": 0.144,
        "inet_up": 850.2, "inet_down": 900.1, "inet_up_cost": 0.002, "inet_down_cost": 0.001,
        "internet_up_cost_per_tb": 2.0, "internet_down_cost_per_tb": 1.0, "bw_nvlink": 0, "reliability": 0.99,
        "reliability2": 0.995, "score": 250.1, "duration": 1_000_000.5, "start_date": 1793450000.5,
        "end_date": 1893456000.0, "geolocation": "Atlantis, AT", "static_ip": True, "direct_port_count": 42,
        "verification": "verified", "hosting_type": 1, "rentable": True, "rented": False, "resource_type": "gpu",
        "external": None, "public_ipaddr": "203.0.113.42",
    }  # fmt: skip
    return row | fields


class VastCloud(Cloud):
    """`boot()` lets instances run, `outbid()` stops one. `permissions` is what the key may do."""

    def __init__(self) -> None:
        super().__init__()
        self.unpriced: set[int] = set()  # Asks whose total is left out of the answer.
        self.offers = [
            offer(101),
            offer(102, gpu_name="H100 SXM", num_gpus=8, gpu_frac=1.0, gpu_ram=81559, dph_base=16.5, min_bid=9.0,
                  cpu_cores=None, cpu_cores_effective=192.0, bw_nvlink=450.0, geolocation=None, end_date=None),
            offer(103, gpu_name="RTX 3090", num_gpus=1, min_bid=None, geolocation="Sweden, SE", cpu_cores=0),
            offer(104, verification="unverified"),
        ]  # fmt: skip
        self.instances: dict[int, dict[str, Any]] = {}
        self.permissions = {"misc", "instance_read", "instance_write", "user_read"}
        self.credit = 100.0
        self.shape = "list"  # Of `offers` in an answer: "list", "map" or "one".
        self._numbers = itertools.count(7001)

    def boot(self) -> None:
        for row in self.instances.values():
            if row["intended_status"] == "running":
                row |= {"actual_status": "running", "cur_state": "running", "next_state": "running",
                        "public_ipaddr": "203.0.113.42\n", "ssh_host": "ssh4.vast.ai", "ssh_port": 12345}  # fmt: skip

    def outbid(self, label: str) -> None:
        """Take the GPUs away: the instance is stopped and its disk goes on costing."""
        for row in self.instances.values():
            if row["label"] == label:
                row |= dict.fromkeys(("intended_status", "cur_state", "next_state"), "stopped")
                row["actual_status"] = "exited"

    def rent(self, ask: int, body: dict[str, Any]) -> int:
        """Make an instance without any checks."""
        number = next(self._numbers)
        self.instances[number] = {
            "id": number, "machine_id": ask + 1, "ask_id": ask, "label": body.get("label"), "actual_status": None,
            "intended_status": "running", "cur_state": "unloaded", "next_state": "running", "public_ipaddr": None,
            "ssh_host": None, "ssh_port": None, "ports": None, "status_msg": "", "start_date": 1793450000.5,
            "end_date": 1893456000.0, "extra_env": [["GPU", "1"]], "dph_total": 1.0, "num_gpus": 2,
            "gpu_name": "RTX 4090", "image_uuid": body.get("image"), "onstart": body.get("onstart"),
            "disk_space": body.get("disk"), "is_bid": body.get("price") is not None, "price": body.get("price"),
        }  # fmt: skip
        return number

    def answer(self, request: Request) -> Reply | None:
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return Reply({"success": False, "error": "auth_error", "msg": "Invalid user key"}, 401)
        routes = (
            ("POST", r"/api/v0/bundles/", "misc", self._search),
            ("PUT", r"/api/v0/asks/(\d+)/", "instance_write", self._create),
            ("GET", r"/api/v1/instances/", "instance_read", self._list),
            ("GET", r"/api/v0/instances/(\d+)/", "instance_read", self._show),
            ("DELETE", r"/api/v0/instances/(\d+)/", "instance_write", self._destroy),
        )
        for method, pattern, permission, do in routes:
            found = re.fullmatch(pattern, request.path)
            if found and method == request.method:
                if permission not in self.permissions:
                    return _refusal(403, "forbidden", f"This action requires the permission {permission}")
                return do(request, *map(int, found.groups()))
        return None

    def _search(self, request: Request) -> Reply:
        query = request.body
        if not isinstance(query, dict):
            return _refusal(400, "invalid_request", "Invalid query: must be dict of conditions")
        if query.get("type", "ondemand") not in ("ondemand", "on-demand", "bid", "reserved"):
            return _refusal(400, "invalid_request", "type")
        rows = [self._priced(row, query) for row in self.offers if row["rentable"] and not self._taken(row["id"])]
        for name, condition in query.items():
            if name not in NO_FILTERS:
                if not isinstance(condition, dict) or not set(condition) <= set(OPERATORS):
                    return _refusal(400, "bad_request", f"{name} needs an operator")
                rows = [row for row in rows if _fits(_field(row, name), condition)]
        for name, direction in reversed(query.get("order") or [["score", "desc"]]):
            rows.sort(key=lambda row: row[name] or 0, reverse=direction == "desc")
        limit = int(query.get("limit") or PAGE)
        found = [row | {"dph_total": None} if row["id"] in self.unpriced else row for row in rows[: min(limit, PAGE)]]
        shaped = {"list": found, "map": {str(row["id"]): row for row in found}, "one": found[0] if found else {}}
        return Reply({"offers": shaped[self.shape], "truncated": len(rows) > len(found) < limit})

    def _priced(self, row: dict[str, Any], query: dict[str, Any]) -> dict[str, Any]:
        base = row["min_bid"] if query.get("type") == "bid" else row["dph_base"]
        disk = (row["storage_cost"] or 0) * float(query.get("allocated_storage") or 8) / 720
        return row | {"dph_total": (base or 0) + disk, "is_bid": query.get("type") == "bid"}

    def _taken(self, ask: int) -> bool:
        return any(row["ask_id"] == ask and row["intended_status"] == "running" for row in self.instances.values())

    def _create(self, request: Request, ask: int) -> Reply:
        body = request.body
        row = next((row for row in self.offers if row["id"] == ask), None)
        if not isinstance(body, dict) or not body.get("image"):
            return _refusal(400, "invalid_args", "error 400/3467: Invalid args: 'image' is required")
        if row is None:
            return _refusal(
                404, "invalid_args", f"error 404/3603: no_such_ask Instance type by id {ask} is not available."
            )
        price = body.get("price")
        texts = [body.get("onstart"), body.get("args_str"), *(body.get("args") or [])]
        if (
            (price is not None and not 0.001 <= price <= 128)
            or body.get("disk", 8) < 8
            or len(body.get("label") or "") > 256
            or sum(len(text or "") for text in texts) > 4096
            or body.get("runtype", "ssh").split("_")[0] not in ("ssh", "jupyter", "args")
        ):
            return _refusal(400, "invalid_args", "error 400/3470: Invalid args")
        if self.credit <= 0:
            return _refusal(400, "insufficient_credit", "Your account lacks credit; see the billing page.")
        if self._taken(ask):
            return _refusal(
                410, "no_such_ask", f"error 410/3907: no_such_ask Instance type {ask} is no longer available."
            )
        contract = self.rent(ask, body)
        if price is not None and price < (row["min_bid"] or 0):
            self.outbid(body.get("label"))
            said = {"success": False, "error": "outbid", "msg": "Your bid is too low", "new_contract": contract}
            return Reply(said, 400)
        return Reply({"success": True, "new_contract": contract})

    def _list(self, request: Request) -> Reply:
        limit = int(request.query.get("limit", ["25"])[0])
        if not 1 <= limit <= 25:
            return _refusal(400, "invalid_args", "limit must be between 1 and 25")
        filters = json.loads(request.query.get("select_filters", ["{}"])[0])
        rows = [row for _, row in sorted(self.instances.items())]
        for name, condition in filters.items():
            rows = [row for row in rows if _fits(row.get(name), condition)]
        after = request.query.get("after_token", ["0"])[0]
        if not after.isdecimal():
            return _refusal(400, "invalid_args", "after_token is none of ours")
        page = [row for row in rows if row["id"] > int(after)][:limit]
        token = str(page[-1]["id"]) if page and page[-1]["id"] != rows[-1]["id"] else None
        return Reply({"success": True, "instances_found": len(page), "total_instances": len(rows), "label_counts": {},
                      "next_token": token, "instances": page})  # fmt: skip

    def _show(self, request: Request, number: int) -> Reply:
        return Reply({"instances": self.instances.get(number)})

    def _destroy(self, request: Request, number: int) -> Reply:
        if self.instances.pop(number, None) is None:
            return _refusal(404, "no_such_instance", f"Instance {number} not found")
        return Reply({"success": True})


def _fits(have: Any, condition: dict[str, Any]) -> bool:
    """Compare as the server does: the vendor's SDK sends numbers as text."""
    is_number = isinstance(have, int | float) and not isinstance(have, bool)
    return all(
        OPERATORS[operator](have, float(want) if is_number and isinstance(want, str) else want)
        for operator, want in condition.items()
    )


def _field(row: dict[str, Any], name: str) -> Any:
    return row["verification"] == "verified" if name == "verified" else row.get(name)


def _refusal(status: int, error: str, msg: str) -> Reply:
    return Reply({"success": False, "error": error, "msg": msg}, status)
