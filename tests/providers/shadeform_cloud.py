"""
Shadeform of our own making, written from docs.shadeform.ai.

Nothing else speaks this API from Python, so the schemas below are ours too: they hold the names, types and enums that
the documentation gives, and every answer and every request is checked against them.
"""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator

from tests.providers.cloud import Cloud, Reply, Request

KEY = "shade-5ecret-key"
TEXT, WHOLE, FLAG = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}
DOLLARS = {"type": "string", "pattern": r"^\d+(\.\d+)?$"}


def record(needed: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(needed), "properties": {**needed, **more}}


def lists(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": item}


MACHINE = {"memory_in_gb": WHOLE, "storage_in_gb": WHOLE, "vcpus": WHOLE, "num_gpus": WHOLE, "gpu_type": TEXT,
           "interconnect": TEXT, "vram_per_gpu_in_gb": WHOLE, "gpu_manufacturer": TEXT}  # fmt: skip
SCRIPT = record({"base64_script": {"type": "string", "contentEncoding": "base64"}})
LAUNCH_CONFIGURATION = record({"type": {"enum": ["docker", "script"]}}, script_configuration=SCRIPT)
AUTO_DELETE = record({}, date_threshold=TEXT, spend_threshold=DOLLARS)
BOOT_TIME = record({}, min_boot_in_sec=WHOLE, max_boot_in_sec=WHOLE)
RENTAL = {"enum": ["on_demand", "spot"]}
AVAILABILITY = record(
    {"region": TEXT, "available": FLAG, "display_name": TEXT}, rental_type=RENTAL, hourly_price=DOLLARS
)
TYPE = record(
    {
        "cloud": TEXT,
        "shade_instance_type": TEXT,
        "cloud_instance_type": TEXT,
        "configuration": record({**MACHINE, "os_options": lists(TEXT)}, nvlink=FLAG),
        "hourly_price": WHOLE,
        "deployment_type": {"enum": ["vm", "container", "baremetal"]},
        "availability": lists(AVAILABILITY),
    },
    boot_time=BOOT_TIME,
)
STATUSES = ["creating", "pending_provider", "pending", "active", "error", "deleting", "deleted"]
INSTANCE = record(
    {
        "id": {"type": "string", "pattern": "^[0-9a-f-]{36}$"},
        "cloud": TEXT,
        "region": TEXT,
        "shade_instance_type": TEXT,
        "cloud_instance_type": TEXT,
        "cloud_assigned_id": TEXT,
        "shade_cloud": FLAG,
        "name": TEXT,
        "configuration": record({**MACHINE, "os": TEXT}),
        "ip": TEXT,
        "ssh_user": TEXT,
        "ssh_port": WHOLE,
        "status": {"enum": STATUSES},
        "cost_estimate": DOLLARS,
        "created_at": TEXT,
        "deleted_at": TEXT,
    },
    status_details=TEXT,
    hourly_price=WHOLE,
    tags=lists(TEXT),
    rental_terms=record({"rental_type": RENTAL, "hourly_price": DOLLARS, "ending_at": {"type": ["string", "null"]}}),
)
ANSWERS = {
    "/v1/instances/types": Draft202012Validator(record({"instance_types": lists(TYPE)})),
    "/v1/instances": Draft202012Validator(record({"instances": lists(INSTANCE)})),
    "/v1/instances/create": Draft202012Validator(record({"id": INSTANCE["properties"]["id"]})),
}
CREATE = Draft202012Validator(
    record(
        {"cloud": TEXT, "region": TEXT, "shade_instance_type": TEXT, "shade_cloud": FLAG, "name": TEXT},
        os=TEXT,
        ssh_key_id=TEXT,
        launch_configuration=LAUNCH_CONFIGURATION,
        auto_delete=AUTO_DELETE,
        tags=lists(TEXT),
        rental_type=RENTAL,
    )
    | {"additionalProperties": False}
)


def kind(cloud: str, name: str, gpu_type: str, count: int, cents: int, **more: Any) -> dict[str, Any]:
    return {
        "cloud": cloud,
        "shade_instance_type": name,
        "cloud_instance_type": f"gpu_{count}x_{gpu_type.lower()}",
        "configuration": {
            "memory_in_gb": 225 * count,
            "storage_in_gb": 2750,
            "vcpus": 26 * count,
            "num_gpus": count,
            "gpu_type": gpu_type,
            "interconnect": more.pop("interconnect", "sxm5"),
            "nvlink": more.pop("nvlink", True),
            "vram_per_gpu_in_gb": more.pop("vram", 80),
            "gpu_manufacturer": "nvidia",
            "os_options": ["ubuntu22.04_cuda12.2_shade_os"],
        },
        "hourly_price": cents,
        "deployment_type": "vm",
        "availability": [
            {"region": "us-central-1", "available": True, "display_name": "US, Wichita, KS"},
            {"region": "canada-1", "available": False, "display_name": "Toronto, Canada"},
        ],
        "boot_time": {"min_boot_in_sec": 180, "max_boot_in_sec": 300},
        **more,
    }


SPOT_AND_NOT = [
    {"region": "helsinki-1", "available": False, "display_name": "FI, Helsinki", "rental_type": "on_demand"},
    {"region": "helsinki-1", "available": True, "display_name": "FI, Helsinki", "rental_type": "spot",
     "hourly_price": "26.76"},
]  # fmt: skip


class ShadeformCloud(Cloud):
    """Machines boot on `boot()`; every answer and every request is checked."""

    def __init__(self) -> None:
        super().__init__()
        self.types = [
            kind("hyperstack", "H100_sxm5x8", "H100", 8, 1912),
            kind("massedcompute", "A6000", "A6000", 1, 57, interconnect="pcie", nvlink=False, vram=48),
            kind("verda", "B200x8", "B200", 8, 5352, vram=180, availability=SPOT_AND_NOT),
        ]
        self.instances: list[dict[str, Any]] = []
        self.refuses_to_delete_what_boots = False

    def answer(self, request: Request) -> Reply | None:
        if request.headers.get("x-api-key") != KEY:
            return Reply({"error": "invalid api key"}, 401)
        reply = self._route(request)
        if reply is not None and reply.status == 200 and request.path in ANSWERS:
            ANSWERS[request.path].validate(reply.body)
        return reply

    def _route(self, request: Request) -> Reply | None:
        parts = request.path.strip("/").split("/")
        if (request.method, request.path) == ("GET", "/v1/instances/types"):
            wanted = {name: values[0] for name, values in request.query.items()}
            return Reply({"instance_types": [one for one in self.types if self._fits(one, wanted)]})
        if (request.method, request.path) == ("GET", "/v1/instances"):
            return Reply({"instances": [one for one in self.instances if one["status"] != "deleted"]})
        if (request.method, request.path) == ("POST", "/v1/instances/create"):
            return self._create(request.body)
        if request.method == "POST" and len(parts) == 4 and parts[3] == "delete":
            return self._delete(parts[2])
        return None

    def _fits(self, one: dict[str, Any], wanted: dict[str, str]) -> bool:
        regions = {entry["region"] for entry in one["availability"]}
        return all(wanted.get(name) in (None, one[name]) for name in ("cloud", "shade_instance_type")) and (
            wanted.get("region") in (None, *regions)
        )

    def _create(self, body: Any) -> Reply:
        faults = [error.message for error in CREATE.iter_errors(body)]
        if faults:
            return Reply({"error": faults[0]}, 400)
        found = [one for one in self.types if self._fits(one, {name: body[name] for name in body if name != "name"})]
        rental = body.get("rental_type", "on_demand")
        entries = [
            entry
            for entry in (found[0]["availability"] if found else [])
            if entry["region"] == body["region"] and entry.get("rental_type", "on_demand") == rental
        ]
        if not entries:
            return Reply({"error": f"{body['shade_instance_type']} does not offer {rental} in {body['region']}"}, 400)
        if not entries[0]["available"]:
            return Reply({"error": "this instance type is out of stock"}, 409)
        self.add(body["name"], made_of=found[0], body=body, entry=entries[0])
        return Reply({"id": self.instances[-1]["id"]})

    def _delete(self, machine_id: str) -> Reply:
        for instance in self.instances:
            if instance["id"] == machine_id:
                if self.refuses_to_delete_what_boots and instance["status"] == "creating":
                    return Reply({"error": "instance must be active"}, 400)
                instance["status"] = "deleting"
                return Reply(b"")
        return Reply({"error": "instance not found"}, 404)

    def add(self, name: str, *, made_of: dict[str, Any] | None = None, body: Any = None, entry: Any = None) -> None:
        made_of = made_of or self.types[0]
        body = body or {"region": "us-central-1"}
        cents = made_of["hourly_price"]
        self.instances.append(
            {
                "id": f"d290f1ee-6c54-4b01-90e6-{len(self.instances):012d}",
                **{part: made_of[part] for part in ("cloud", "shade_instance_type", "cloud_instance_type")},
                "region": body["region"],
                "cloud_assigned_id": "",
                "shade_cloud": True,
                "name": name,
                "configuration": {**made_of["configuration"], "os": "ubuntu22.04_cuda12.2_shade_os"},
                "ip": "",
                "ssh_user": "shadeform",
                "ssh_port": 22,
                "status": "creating",
                "cost_estimate": "0.0",
                "hourly_price": cents,
                "tags": body.get("tags", []),
                "created_at": "2026-11-25T09:12:33.001Z",
                "deleted_at": "0001-01-01T00:00:00Z",
                "rental_terms": {
                    "rental_type": body.get("rental_type", "on_demand"),
                    "hourly_price": (entry or {}).get("hourly_price", f"{cents / 100:.2f}"),
                    "ending_at": None,
                },
            }
        )

    def boot(self) -> None:
        for number, instance in enumerate(self.instances):
            if instance["status"] == "creating":
                instance |= {"status": "active", "ip": f"203.0.113.{number + 1}"}
