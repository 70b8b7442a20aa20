"""
Prime Intellect of our own making, written from docs.primeintellect.ai.

The vendor's client for this API is a command line with a hundred dependencies, so the schemas below are ours: they hold
the names, types and enums that the documentation gives, and every answer and every request is checked against them.
"""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator

from tests.providers.cloud import Cloud, Reply, Request

KEY = "pit_5ecret_key"
TEMPLATE_ID = "cm-template-1"
TEXT, WHOLE, NUMBER, FLAG = ({"type": kind} for kind in ("string", "integer", "number", "boolean"))
IMAGES = ["ubuntu_22_cuda_12", "cuda_12_4_pytorch_2_6", "custom_template"]
POD_STATUSES = ["PROVISIONING", "PENDING", "ACTIVE", "STOPPED", "ERROR", "DELETING", "UNKNOWN", "TERMINATED"]
GPU_TYPES = ["CPU_NODE", "A100_80GB", "H100_80GB", "H200_141GB", "B200_180GB", "A6000_48GB", "RTX_PRO_6000B_96GB",
             "L40S_48GB", "GB200", "V100_32GB"]  # fmt: skip


def record(needed: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(needed), "properties": {**needed, **more}}


def lists(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": item}


def maybe(kind: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [kind, {"type": "null"}]}


SIZE = record({}, minCount=maybe(WHOLE), defaultCount=maybe(WHOLE), maxCount=maybe(WHOLE), pricePerUnit=maybe(NUMBER),
              step=maybe(WHOLE), defaultIncludedInPrice=maybe(FLAG), additionalInfo=maybe(TEXT))  # fmt: skip
GPU_TYPE, SOCKET = {"enum": GPU_TYPES}, {"enum": ["PCIe", "SXM2", "SXM3", "SXM4", "SXM5", "SXM6"]}
SECURITY, IMAGE = {"enum": ["secure_cloud", "community_cloud"]}, {"enum": IMAGES}
PRICES = record({"currency": {"enum": ["USD", "EUR"]}}, onDemand=maybe(NUMBER), communityPrice=maybe(NUMBER),
                isVariable=maybe(FLAG))  # fmt: skip
REGION = {"enum": ["canada", "eu_north", "eu_west", "united_states"]}
ITEM = record(
    {
        "cloudId": TEXT,
        "gpuType": GPU_TYPE,
        "socket": SOCKET,
        "provider": TEXT,
        "gpuCount": WHOLE,
        "gpuMemory": WHOLE,
        "security": SECURITY,
        "prices": PRICES,
        "images": lists(IMAGE),
    },
    region=maybe(REGION),
    dataCenter=maybe(TEXT),
    country=maybe(TEXT),
    disk=SIZE,
    vcpu=SIZE,
    memory=SIZE,
    internetSpeed=maybe(WHOLE),
    interconnect=maybe(WHOLE),
    interconnectType=maybe(TEXT),
    provisioningTime=maybe(WHOLE),
    stockStatus={"enum": ["Available", "Low", "Medium", "High", "Unavailable"]},
    isSpot=maybe(FLAG),
    prepaidTime=maybe(NUMBER),
)
CONNECTION = {"anyOf": [TEXT, lists(maybe(TEXT)), {"type": "null"}]}
POD = record(
    {
        "userId": TEXT,
        "name": TEXT,
        "providerType": TEXT,
        "gpuName": GPU_TYPE,
        "gpuCount": WHOLE,
        "socket": SOCKET,
        "priceHr": NUMBER,
    },
    id=TEXT,
    status={"enum": POD_STATUSES},
    environmentType=IMAGE,
    sshConnection=CONNECTION,
    ip=CONNECTION,
    isSpot=maybe(FLAG),
)
LIST = Draft202012Validator(
    record({"data": lists(POD)}, total_count=WHOLE, offset=WHOLE, limit=WHOLE, status=maybe(TEXT))
)
ANSWERS = {
    ("GET", "/api/v1/availability/gpus"): Draft202012Validator(record({"items": lists(ITEM), "totalCount": WHOLE})),
    ("GET", "/api/v1/pods/"): LIST,
    ("POST", "/api/v1/pods/"): Draft202012Validator(POD),
}
ABOVE_0 = {"type": "integer", "exclusiveMinimum": 0}
CREATE = Draft202012Validator(
    record(
        {
            "pod": record(
                {"cloudId": TEXT, "gpuType": GPU_TYPE, "socket": SOCKET, "gpuCount": ABOVE_0},
                name=TEXT,
                diskSize=maybe(ABOVE_0),
                vcpus=maybe(ABOVE_0),
                memory=maybe(ABOVE_0),
                maxPrice=maybe(NUMBER),
                image=IMAGE,
                customTemplateId=maybe(TEXT),
                dataCenterId=maybe(TEXT),
                country=maybe(TEXT),
                security=maybe(SECURITY),
                envVars=maybe(lists(record({"key": TEXT, "value": TEXT}))),
                sshKeyId=maybe(TEXT),
                autoRestart=maybe(FLAG),
            )
            | {"additionalProperties": False},
            "provider": record({"type": TEXT}),
        }
    )
)


def size(usual: int | None = None, **more: Any) -> dict[str, Any]:
    names = ("minCount", "defaultCount", "maxCount", "pricePerUnit", "step", "defaultIncludedInPrice", "additionalInfo")
    return dict.fromkeys(names) | {"defaultCount": usual} | more


def item(cloud_id: str, provider: str, gpu_type: str, count: int, price: float, **more: Any) -> dict[str, Any]:
    return {
        "cloudId": cloud_id,
        "gpuType": gpu_type,
        "socket": "PCIe",
        "provider": provider,
        "region": "united_states",
        "dataCenter": "us-east-1",
        "country": "US",
        "gpuCount": count,
        "gpuMemory": 80,
        "disk": size(1000),
        "vcpu": size(26 * count),
        "memory": size(200 * count),
        "internetSpeed": None,
        "interconnect": None,
        "interconnectType": None,
        "provisioningTime": 4,
        "stockStatus": "Available",
        "security": "secure_cloud",
        "prices": {"onDemand": price, "communityPrice": None, "isVariable": None, "currency": "USD"},
        "images": list(IMAGES),
        "isSpot": None,
        "prepaidTime": None,
        **more,
    }


class PrimeCloud(Cloud):
    """Pods boot on `boot()`; every answer and every request is checked; pages are as long as they are asked to be."""

    def __init__(self) -> None:
        super().__init__()
        self.items = [
            item("gpu_8x_h100", "lambdalabs", "H100_80GB", 8, 23.92, socket="SXM5", stockStatus="Low"),
            item("n3-H100x1", "hyperstack", "H100_80GB", 1, 1.9, region="canada", dataCenter="CANADA-1", country="CA"),
            item("1B200", "datacrunch", "B200_180GB", 1, 1.25, socket="SXM6", isSpot=True, region="eu_north",
                 dataCenter="FIN-03", country="FI", gpuMemory=180),
            item("NVIDIA RTX A6000", "runpod", "A6000_48GB", 1, 0.49, dataCenter=None, security="community_cloud",
                 gpuMemory=48, prices={"onDemand": None, "communityPrice": 0.33, "isVariable": False,
                                       "currency": "USD"}),
            item("cpu-d3", "nebius", "CPU_NODE", 1, 0.05, gpuMemory=0),
        ]  # fmt: skip
        self.pods: list[dict[str, Any]] = []
        self.born = "PROVISIONING"  # The state of a new pod.

    def answer(self, request: Request) -> Reply | None:
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return Reply({"detail": "Authorization failed"}, 401)
        reply = self._route(request)
        schema = ANSWERS.get((request.method, request.path))
        if reply is not None and reply.status == 200 and schema is not None:
            schema.validate(reply.body)
        return reply

    def _route(self, request: Request) -> Reply | None:
        wanted = {name: values[0] for name, values in request.query.items()}
        match request.method, request.path:
            case "GET", "/api/v1/availability/gpus":
                return self._availability(wanted)
            case "GET", "/api/v1/pods/":
                offset, limit = int(wanted.get("offset", 0)), int(wanted.get("limit", 100))
                page = self.pods[offset : offset + limit]
                return Reply({"total_count": len(self.pods), "offset": offset, "limit": limit, "data": page})
            case "POST", "/api/v1/pods/":
                return self._create(request.body)
            case "DELETE", path if path.startswith("/api/v1/pods/"):
                return self._delete(path.rpartition("/")[2])
        return None

    def _availability(self, wanted: dict[str, str]) -> Reply:
        page, length = int(wanted.get("page", 1)), int(wanted.get("page_size", 100))
        if not 1 <= length <= 100:
            return self._invalid("page_size", "Input should be less than or equal to 100")
        found = [
            one
            for one in self.items
            if wanted.get("gpu_type") in (None, one["gpuType"])
            and wanted.get("gpu_count") in (None, str(one["gpuCount"]))
        ]
        return Reply({"items": found[(page - 1) * length : page * length], "totalCount": len(found)})

    def _create(self, body: Any) -> Reply:
        for error in CREATE.iter_errors(body):
            return self._invalid(".".join(map(str, error.path)), error.message)
        pod = body["pod"]
        names = ("cloudId", "gpuType", "socket", "gpuCount", "security", "dataCenter")
        sent = pod | {"dataCenter": pod.get("dataCenterId")}
        found = [one for one in self.items if all(sent.get(name) == one[name] for name in names)]
        found = [one for one in found if one["provider"] == body["provider"]["type"]]
        if not found or found[0]["stockStatus"] == "Unavailable":
            return Reply({"detail": "Requested configuration is no longer available"}, 400)
        if pod.get("image", IMAGES[0]) not in found[0]["images"]:
            return self._invalid("pod.image", "Image is not supported")
        self.add(pod["name"], found[0], pod.get("image", IMAGES[0]))
        return Reply(self.pods[-1])

    def _delete(self, pod_id: str) -> Reply:
        for pod in self.pods:
            if pod["id"] == pod_id:
                self.pods.remove(pod)
                return Reply({"status": "TERMINATED"})
        return Reply({"detail": "Pod not found"}, 404)

    def _invalid(self, param: str, details: str) -> Reply:
        return Reply({"errors": [{"param": param, "details": details}]}, 422)

    def add(self, name: str, made_of: dict[str, Any] | None = None, image: str = IMAGES[0]) -> None:
        made_of = made_of or self.items[0]
        self.pods.append(
            {
                "id": f"{len(self.requests):032x}",
                "userId": "user-1",
                "name": name,
                "providerType": made_of["provider"],
                "status": self.born,
                "gpuName": made_of["gpuType"],
                "gpuCount": made_of["gpuCount"],
                "socket": made_of["socket"],
                "priceHr": made_of["prices"]["onDemand"] or made_of["prices"]["communityPrice"],
                "environmentType": image,
                "sshConnection": None,
                "ip": None,
                "isSpot": made_of["isSpot"],
            }
        )

    def boot(self) -> None:
        for number, pod in enumerate(self.pods):
            if pod["status"] == "PROVISIONING":
                pod |= {"status": "ACTIVE", "sshConnection": f"root@203.0.113.{number + 1} -p 22"}
