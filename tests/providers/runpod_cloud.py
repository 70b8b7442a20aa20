"""A RunPod of our own making: the catalog and the pods of REST API v2, every answer checked against its schema."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

import jsonschema

from tests.providers.cloud import Cloud, Reply, Request

KEY = "rpa_0123456789abcdef"
NO_CAPACITY = "There are no longer any instances available with the requested specifications. Please refresh and retry."
QUOTA = {
    "RateLimit-Policy": '"minute";q=60;w=60, "hour";q=3000;w=3600, "day";q=50000;w=86400',
    "RateLimit": '"minute";r=59;t=60, "hour";r=2999;t=3600, "day";r=49999;t=86400',
}


def an_object(required: dict[str, Any], optional: dict[str, Any] | None = None, *, closed: bool = True) -> Any:
    """Return the schema of an object."""
    properties = required | (optional or {})
    return {
        "type": "object",
        "required": list(required),
        "properties": properties,
        "additionalProperties": not closed,
    }


def a_list(items: Any) -> Any:
    """Return the schema of a list."""
    return {"type": "array", "items": items}


TEXT, MAYBE_TEXT, WHOLE, NUMBER, FLAG = (
    {"type": kind} for kind in ("string", ["string", "null"], "integer", "number", "boolean")
)
LEVEL = {"enum": ["NONE", "LOW", "MEDIUM", "HIGH"]}
ENDPOINT = an_object({"host": TEXT, "port": WHOLE, "username": TEXT, "command": TEXT})
GPU_TYPE = an_object(
    {
        "id": TEXT,
        "name": TEXT,
        "pool": MAYBE_TEXT,
        "manufacturer": {"enum": ["NVIDIA", "AMD", "UNKNOWN"]},
        "memory": WHOLE,
        "secure": FLAG,
        "community": FLAG,
        "price": an_object({"secure": NUMBER, "community": NUMBER}, {"serverless": NUMBER}),
        "maxCount": an_object({"secure": WHOLE, "community": WHOLE}),
    },
    {"availability": LEVEL, "dataCenters": a_list(an_object({"id": TEXT, "name": TEXT, "availability": LEVEL}))},
)
PORT = an_object({"private": WHOLE, "public": {"type": ["integer", "null"]}, "type": TEXT, "ip": MAYBE_TEXT})
POD = an_object(
    {
        "id": TEXT,
        "name": TEXT,
        "status": {"enum": ["PROVISIONING", "STARTING", "RUNNING", "EXITED", "ERROR", "TERMINATED"]},
        "actions": a_list({"enum": ["start", "stop", "restart", "terminate"]}),
        "image": TEXT,
        "args": TEXT,
        "disk": WHOLE,
        "mounts": {"type": "object"},
        "ports": a_list(TEXT),
        "env": {"type": "object", "additionalProperties": TEXT},
        "registry": MAYBE_TEXT,
        "cloud": {"enum": ["SECURE", "COMMUNITY"]},
        "dataCenterId": MAYBE_TEXT,
        "cudaVersion": MAYBE_TEXT,
        "ssh": an_object(
            {"proxy": {"anyOf": [ENDPOINT, {"type": "null"}]}, "direct": {"anyOf": [ENDPOINT, {"type": "null"}]}}
        ),
        "template": MAYBE_TEXT,
        "cost": NUMBER,
        "locked": FLAG,
        "runtime": {"anyOf": [an_object({"uptime": WHOLE, "ports": a_list(PORT)}), {"type": "null"}]},
        "createdAt": TEXT,
        "startedAt": MAYBE_TEXT,
        "globalNetworking": an_object({"enabled": FLAG}),
    },
    {"gpu": an_object({"id": TEXT, "count": WHOLE})},
)
PROBLEM = an_object({"title": TEXT, "status": WHOLE, "detail": TEXT}, {"errors": a_list(TEXT)})
CREATE = an_object(
    {"name": {"type": "string", "minLength": 1}, "image": TEXT},
    {
        "gpu": an_object({"id": TEXT}, {"count": {"type": "integer", "minimum": 1}}),
        "cloud": {"enum": ["SECURE", "COMMUNITY"]},
        "dataCenterIds": a_list(TEXT),
        "disk": {"type": "integer", "minimum": 1},
        "env": {"type": "object", "additionalProperties": TEXT},
        "ports": a_list({"type": "string", "pattern": r"^\d+/(tcp|http)$"}),
        "args": TEXT,
        "startSsh": FLAG,
        "startJupyter": FLAG,
    },
)
SCHEMAS = {
    ("GET", r"/v2/catalog/gpus", 200): an_object({"gpus": a_list(GPU_TYPE)}),
    ("GET", r"/v2/catalog/gpus/[^/]+", 200): GPU_TYPE,
    ("GET", r"/v2/pods", 200): an_object({"pods": a_list(POD)}),
    ("GET", r"/v2/pods/[^/]+", 200): POD,
    ("POST", r"/v2/pods", 201): POD,
    ("DELETE", r"/v2/pods/[^/]+", 204): {"type": "null"},
}


def gpu(name: str, memory: int, secure: float, community: float, most: tuple[int, int], **more: Any) -> dict[str, Any]:
    """Return a GPU type of the catalog, without availability. Prices are USD per hour of one GPU."""
    short = name.removeprefix("NVIDIA ").removeprefix("GeForce ")
    return {
        "id": name, "name": short, "pool": None, "manufacturer": "NVIDIA", "memory": memory,
        "secure": bool(most[0]), "community": bool(most[1]),
        "price": {"secure": secure, "community": community},
        "maxCount": {"secure": most[0], "community": most[1]},
    } | more  # fmt: skip


class RunpodCloud(Cloud):
    """`stock` holds {(GPU, cloud, data centre): (level, most GPUs of a pod)}; pods boot on `boot()`."""

    def __init__(self) -> None:
        super().__init__()
        self.gpus = [
            gpu("NVIDIA GeForce RTX 4090", 24, 0.44, 0.31, (8, 4), pool="ADA_24"),
            gpu("NVIDIA H100 80GB HBM3", 80, 2.69, 2.49, (8, 0)),
            gpu("NVIDIA A40", 48, 0.4, 0.35, (8, 8)),
        ]
        self.stock = {
            ("NVIDIA GeForce RTX 4090", "SECURE", "US-KS-2"): ("HIGH", 8),
            ("NVIDIA GeForce RTX 4090", "SECURE", "EU-RO-1"): ("LOW", 2),
            ("NVIDIA GeForce RTX 4090", "COMMUNITY", "CA-MTL-1"): ("MEDIUM", 4),
            ("NVIDIA H100 80GB HBM3", "SECURE", "EUR-IS-1"): ("LOW", 8),
        }
        self.pods: dict[str, dict[str, Any]] = {}
        self.surcharge_usd_per_hour = 0.0
        self.read_only = False

    def answer(self, request: Request) -> Reply:
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return problem(401, "missing bearer token")
        reply = self._answer(request) or problem(404, "resource not found")
        reply.headers |= QUOTA
        if reply.status >= 400:
            jsonschema.validate(reply.body, PROBLEM)
        else:
            jsonschema.validate(reply.body, _schema(request.method, request.path, reply.status))
        return reply

    def boot(self) -> None:
        """Start every pod that is being prepared."""
        for number, pod in enumerate(self.pods.values()):
            if pod["status"] == "PROVISIONING":
                ip, port = f"195.26.233.{number + 1}", 34446
                pod["status"], pod["actions"] = "RUNNING", ["stop", "restart", "terminate"]
                pod["startedAt"] = "2026-11-25T12:02:00Z"
                command = f"ssh root@{ip} -p {port}"
                pod["ssh"]["direct"] = {"host": ip, "port": port, "username": "root", "command": command}
                ports = [{"private": 22, "public": port, "type": "tcp", "ip": ip}]
                pod["runtime"] = {"uptime": 60, "ports": ports}

    def stop(self, pod_id: str, status: str) -> None:
        """Let a pod end as EXITED or ERROR: it is listed still, and costs nothing for its GPUs."""
        pod = self.pods[pod_id]
        pod |= {"status": status, "actions": ["start", "terminate"], "runtime": None, "cost": 0.0}
        pod["ssh"]["direct"] = None

    def add(self, body: dict[str, Any]) -> dict[str, Any]:
        """Put a pod into the account."""
        kind, count = body["gpu"]["id"], body["gpu"].get("count", 1)
        cloud, pod_id = body.get("cloud", "SECURE"), f"7h9k2m4n{len(self.requests)}p{len(self.pods)}"
        price = next(one for one in self.gpus if one["id"] == kind)["price"][cloud.lower()]
        proxy = {"host": "ssh.runpod.io", "port": 22, "username": pod_id, "command": f"ssh {pod_id}@ssh.runpod.io"}
        self.pods[pod_id] = {
            "id": pod_id, "name": body["name"], "status": "PROVISIONING", "actions": ["start", "terminate"],
            "image": body["image"], "args": body.get("args", ""), "disk": body.get("disk", 50), "mounts": {},
            "ports": body.get("ports", []), "env": body.get("env", {}), "registry": None,
            "gpu": {"id": kind, "count": count}, "cloud": cloud,
            "dataCenterId": (body.get("dataCenterIds") or [None])[0], "cudaVersion": "12.8",
            "ssh": {"proxy": proxy, "direct": None}, "template": None,
            "cost": round(price * count + self.surcharge_usd_per_hour, 4), "locked": False, "runtime": None,
            "createdAt": "2026-11-25T12:00:00Z", "startedAt": None, "globalNetworking": {"enabled": False},
        }  # fmt: skip
        return self.pods[pod_id]

    def _answer(self, request: Request) -> Reply | None:
        method, path = request.method, request.path
        if path.startswith("/v2/catalog/gpus"):
            return self._catalog(request)
        if path == "/v2/pods":
            if method == "POST":
                return self._create(request.body)
            return Reply({"pods": list(self.pods.values())}) if method == "GET" else None
        pod_id = path.removeprefix("/v2/pods/")
        if pod_id not in self.pods:
            return None
        if method == "DELETE":
            del self.pods[pod_id]
            return Reply(status=204)
        return Reply(self.pods[pod_id]) if method == "GET" else None

    def _catalog(self, request: Request) -> Reply | None:
        query = {name: values[0] for name, values in request.query.items()}
        shown = query.get("include") == "AVAILABILITY"
        if shown != ("product" in query) or (not shown and query):
            return problem(400, "product is required with include=AVAILABILITY, and valid only with it")
        count, cloud = int(query.get("count", 1)), query.get("cloud", "SECURE")
        gpus = [one | (self._availability(one["id"], cloud, count) if shown else {}) for one in self.gpus]
        name = unquote(request.path.removeprefix("/v2/catalog/gpus").removeprefix("/"))
        if not name:
            return Reply({"gpus": gpus})
        return next((Reply(one) for one in gpus if one["id"] == name), None)

    def _availability(self, name: str, cloud: str, count: int) -> dict[str, Any]:
        centres = [
            {"id": centre, "name": centre.replace("-", " "), "availability": level}
            for (kind, where, centre), (level, most) in self.stock.items()
            if (kind, where) == (name, cloud) and count <= most
        ]
        # The list is left out when no data centre has any.
        return (
            {"availability": centres[0]["availability"], "dataCenters": centres}
            if centres
            else {"availability": "NONE"}
        )

    def _create(self, body: Any) -> Reply:
        if self.read_only:
            return problem(403, "access denied")
        if errors := [error.message for error in jsonschema.Draft202012Validator(CREATE).iter_errors(body)]:
            return problem(422, "Request validation failed.", errors=errors)
        if "gpu" not in body:
            return problem(400, "exactly one of gpu or cpu must be set")
        name, count, cloud = body["gpu"]["id"], body["gpu"].get("count", 1), body.get("cloud", "SECURE")
        kind = next((one for one in self.gpus if one["id"] == name), None)
        if kind is None:
            return problem(400, f"unknown GPU type {name}")
        free = [
            centre
            for (gpu_name, where, centre), (level, most) in self.stock.items()
            if (gpu_name, where) == (name, cloud) and count <= most and level != "NONE"
        ]
        wanted = [centre for centre in free if centre in (body.get("dataCenterIds") or free)]
        if not wanted:
            return problem(400, NO_CAPACITY)
        return Reply(self.add(body | {"dataCenterIds": wanted[:1]}), 201)


def problem(status: int, detail: str, **more: Any) -> Reply:
    """Return an error as RunPod writes it (RFC 9457)."""
    titles = {400: "Bad Request", 401: "Unauthorized", 402: "Payment Required", 403: "Forbidden", 404: "Not Found",
              422: "Unprocessable Entity", 429: "Too Many Requests", 503: "Service Unavailable"}  # fmt: skip
    body = {"title": titles[status], "status": status, "detail": detail} | more
    jsonschema.validate(body, PROBLEM)
    return Reply(body, status, {"Content-Type": "application/problem+json"} if status >= 400 else {})


def _schema(method: str, path: str, status: int) -> Any:
    found = [
        s
        for (verb, pattern, code), s in SCHEMAS.items()
        if (verb, code) == (method, status) and re.fullmatch(pattern, path)
    ]
    assert found, f"the fake gives an answer that nobody wrote a schema for: {method} {path} {status}"
    return found[0]
