"""A Lambda Cloud of our own making: instance types, instances and keys, every answer checked against its schema."""

from __future__ import annotations

import re
from typing import Any

import jsonschema

from tests.providers.cloud import Cloud, Reply, Request

KEY = "secret_my-key_0123456789abcdef"
FORMS = {
    "instance-operations/launch/insufficient-capacity": (400, "Not enough capacity to fulfill launch request."),
    "global/quota-exceeded": (400, "Quota exceeded."),
    "global/invalid-parameters": (400, "Invalid request data."),
    "global/invalid-api-key": (401, "API key was invalid, expired, or deleted."),
    "global/account-inactive": (403, "Your account is inactive."),
    "global/invalid-address": (403, "Your billing address is invalid."),
    "global/object-does-not-exist": (404, "Specified instance does not exist."),
    "global/internal-error": (500, "An internal server error occurred."),
    "provider/internal-unavailable": (400, "Provider unavailable"),
}
REGIONS = {
    "us-west-1": "California, USA",
    "europe-central-1": "Germany",
    "asia-northeast-1": "Osaka, Japan",
    "me-west-1": "Tel Aviv, Israel",
}


def an_object(required: dict[str, Any], optional: dict[str, Any] | None = None) -> Any:
    """Return the schema of an object that has nothing else."""
    properties = required | (optional or {})
    return {"type": "object", "required": list(required), "properties": properties, "additionalProperties": False}


def a_list(items: Any, **more: Any) -> Any:
    """Return the schema of a list."""
    return {"type": "array", "items": items} | more


TEXT, WHOLE, FLAG = ({"type": kind} for kind in ("string", "integer", "boolean"))
NAME = {"type": "string", "maxLength": 64}
REGION = an_object({"name": TEXT, "description": TEXT})
SPECS = an_object({"vcpus": WHOLE, "memory_gib": WHOLE, "storage_gib": WHOLE, "gpus": WHOLE})
INSTANCE_TYPE = an_object(
    {"name": TEXT, "description": TEXT, "gpu_description": TEXT, "price_cents_per_hour": WHOLE, "specs": SPECS}
)
ITEM = an_object({"instance_type": INSTANCE_TYPE, "regions_with_capacity_available": a_list(REGION)})
ACTION = an_object({"available": FLAG}, {"reason_code": TEXT, "reason_description": TEXT})
INSTANCE = an_object(
    {
        "id": TEXT,
        "status": {"enum": ["booting", "active", "unhealthy", "terminated", "terminating", "preempted"]},
        "ssh_key_names": a_list(TEXT),
        "file_system_names": a_list(TEXT),
        "region": REGION,
        "instance_type": INSTANCE_TYPE,
        "actions": an_object({name: ACTION for name in ("migrate", "rebuild", "restart", "cold_reboot", "terminate")}),
    },
    {"name": NAME, "ip": TEXT, "private_ip": TEXT, "hostname": TEXT},
)
SSH_KEY = an_object({"id": TEXT, "name": NAME, "public_key": TEXT})
# The suggestion became optional in 1.10.0; clients made from older versions still insist on it.
ERROR = an_object({"error": an_object({"code": TEXT, "message": TEXT, "suggestion": TEXT})})
LAUNCH = an_object(
    {"region_name": TEXT, "instance_type_name": TEXT, "ssh_key_names": a_list(TEXT, minItems=1, maxItems=1)},
    {
        "name": NAME,
        "hostname": {"type": "string", "pattern": "^[a-z0-9][0-9a-z-]{0,62}$"},
        "user_data": {"type": "string", "maxLength": 1_000_000},
        "file_system_names": a_list(TEXT),
        "image": {"type": "object"},
        "tags": a_list(an_object({"key": TEXT, "value": TEXT})),
    },
)
TERMINATE = an_object({"instance_ids": a_list(TEXT, minItems=1)})
SCHEMAS = {
    ("GET", "/api/v1/instance-types"): an_object({"data": {"type": "object", "additionalProperties": ITEM}}),
    ("GET", "/api/v1/instances"): an_object({"data": a_list(INSTANCE)}),
    ("GET", "/api/v1/instances/[^/]+"): an_object({"data": INSTANCE}),
    ("GET", "/api/v1/ssh-keys"): an_object({"data": a_list(SSH_KEY)}),
    ("POST", "/api/v1/instance-operations/launch"): an_object(
        {"data": an_object({"instance_ids": a_list(TEXT, minItems=1)})}
    ),
    ("POST", "/api/v1/instance-operations/terminate"): an_object(
        {"data": an_object({"terminated_instances": a_list(INSTANCE)})}
    ),
}


def kind(name: str, gpus: int, gpu: str, cents: int, **specs: int) -> dict[str, Any]:
    """Return an instance type. cents: of the whole instance per hour."""
    return {
        "name": name,
        "description": f"{gpus}x {gpu}",
        "gpu_description": gpu,
        "price_cents_per_hour": cents,
        "specs": {"vcpus": 26 * gpus, "memory_gib": 225 * gpus, "storage_gib": 2816 * gpus, "gpus": gpus} | specs,
    }


class LambdaCloud(Cloud):
    """`capacity` holds {instance type: regions}; instances boot on `boot()`."""

    def __init__(self) -> None:
        super().__init__()
        types = (
            kind("gpu_8x_h100_sxm5gdr", 8, "H100 (80 GB SXM5)", 3592, vcpus=208, memory_gib=1800, storage_gib=24780),
            kind("gpu_1x_a10", 1, "A10 (24 GB PCIe)", 75),
            kind("gpu_1x_gh200", 1, "GH200 (96 GB)", 149),
            kind("cpu_4x_general", 0, "N/A", 8, vcpus=4, memory_gib=16, storage_gib=64),
        )
        self.types = {one["name"]: one for one in types}
        self.capacity = {
            "gpu_8x_h100_sxm5gdr": ["us-west-1"],
            "gpu_1x_a10": ["us-west-1", "europe-central-1", "asia-northeast-1"],
            "gpu_1x_gh200": [],
            "cpu_4x_general": ["us-west-1"],
        }
        self.keys = [{"id": f"k{number}", "name": name, "public_key": f"ssh-ed25519 AAAA {name}"}
                     for number, name in enumerate(("first", "second"))]  # fmt: skip
        self.instances: dict[str, dict[str, Any]] = {}
        self.user_data: dict[str, str] = {}

    def answer(self, request: Request) -> Reply:
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return failure("global/invalid-api-key")
        reply = self._answer(request)
        if reply.status < 400:
            jsonschema.validate(reply.body, _schema(request.method, request.path))
        return reply

    def boot(self) -> None:
        """Start every instance that boots, and forget those that are terminating."""
        for number, instance in enumerate(list(self.instances.values())):
            if instance["status"] == "booting":
                instance |= {"status": "active", "ip": f"198.51.100.{number + 2}", "private_ip": "10.0.2.100"}
            elif instance["status"] == "terminating":
                instance["status"] = "terminated"

    def add(self, body: dict[str, Any]) -> str:
        """Put an instance into the account and return its id."""
        machine_id = f"{len(self.instances):032x}"
        region = body["region_name"]
        instance = {
            "id": machine_id,
            "status": "booting",
            "ssh_key_names": body["ssh_key_names"],
            "file_system_names": [],
            "region": {"name": region, "description": REGIONS[region]},
            "instance_type": self.types[body["instance_type_name"]],
            "actions": dict.fromkeys(INSTANCE["properties"]["actions"]["properties"], {"available": True}),
        }
        if body.get("name"):
            instance["name"] = body["name"]
        self.instances[machine_id] = instance
        self.user_data[machine_id] = body.get("user_data", "")
        return machine_id

    def _answer(self, request: Request) -> Reply:
        route = (request.method, request.path.removeprefix("/api/v1/"))
        if route == ("GET", "instance-types"):
            return Reply({"data": {name: self._item(name) for name in self.types}})
        if route == ("GET", "instances"):
            return Reply({"data": list(self.instances.values())})
        if route == ("GET", "ssh-keys"):
            return Reply({"data": self.keys})
        if route == ("POST", "instance-operations/launch"):
            return self._launch(request.body)
        if route == ("POST", "instance-operations/terminate"):
            return self._terminate(request.body)
        machine_id = route[1].removeprefix("instances/")
        if route[0] == "GET" and machine_id in self.instances:
            return Reply({"data": self.instances[machine_id]})
        return failure("global/object-does-not-exist")

    def _item(self, name: str) -> dict[str, Any]:
        regions = [{"name": region, "description": REGIONS[region]} for region in self.capacity[name]]
        return {"instance_type": self.types[name], "regions_with_capacity_available": regions}

    def _launch(self, body: Any) -> Reply:
        if not jsonschema.Draft202012Validator(LAUNCH).is_valid(body):
            return failure("global/invalid-parameters")
        if body["ssh_key_names"][0] not in [key["name"] for key in self.keys]:
            return failure("global/object-does-not-exist")
        if body["instance_type_name"] not in self.types or body["region_name"] not in REGIONS:
            return failure("global/object-does-not-exist")
        if body["region_name"] not in self.capacity[body["instance_type_name"]]:
            return failure("instance-operations/launch/insufficient-capacity")
        return Reply({"data": {"instance_ids": [self.add(body)]}})

    def _terminate(self, body: Any) -> Reply:
        if not jsonschema.Draft202012Validator(TERMINATE).is_valid(body):
            return failure("global/invalid-parameters")
        if not set(body["instance_ids"]) <= set(self.instances):
            return failure("global/object-does-not-exist")
        ended = [self.instances[machine_id] for machine_id in body["instance_ids"]]
        for instance in ended:
            instance["status"] = "terminating"
        return Reply({"data": {"terminated_instances": ended}})


def failure(code: str) -> Reply:
    """Return an error as Lambda writes it."""
    status, message = FORMS[code]
    body = {"error": {"code": code, "message": message, "suggestion": "Try something else."}}
    jsonschema.validate(body, ERROR)
    return Reply(body, status)


def _schema(method: str, path: str) -> Any:
    found = [schema for (verb, pattern), schema in SCHEMAS.items() if verb == method and re.fullmatch(pattern, path)]
    assert found, f"the fake gives an answer that nobody wrote a schema for: {method} {path}"
    return found[0]
