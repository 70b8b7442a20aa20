"""
RunPod's GPU pods through REST API v2: containers on demand, in RunPod's data centres and with community hosts.

Source: https://docs.runpod.io/api-reference-v2 (catalog/list-gpu-types, pods/create-a-pod, pods/list-pods,
pods/terminate-a-pod) and https://docs.runpod.io/pods/pricing, both read in November 2026. Version 2 sells no spot pods.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from itertools import product
from typing import Any
from urllib.parse import quote

from providers import fields, http
from providers.base import (
    BAD_ROW,
    LaunchOrder,
    Listing,
    Machine,
    MachineState,
    Market,
    NoCapacity,
    Permission,
    PricePoint,
    ProviderError,
    Reason,
    Rejected,
    Stock,
    Unreachable,
    translated,
)

PREFIX = "gpuyard-"
IMAGE = "nvidia/cuda:12.4.1-base-ubuntu22.04"  # Has bash as root; the driver comes from the host.
COUNTS = (1, 2, 4, 8)  # Powers of two up to the largest pod that RunPod sells; other counts are rarely whole machines.
CLOUDS = ("secure", "community")
ANYWHERE = "any"  # The region of what RunPod places itself.
DISK_GIB = 100  # What LaunchOrder asks for unless told otherwise.
DISK_USD_PER_GIB_HOUR = Decimal("0.10") / 730  # https://docs.runpod.io/pods/pricing: a month, of 730 hours.
ROUNDING_USD = Decimal("0.001")  # A pod's cost is a float of unknown rounding.
MACHINE_TYPE = re.compile(r"([1-9]\d?)x (\S.*) (secure|community)")
# US-KS-2, EU-RO-1 and EUR-IS-1 are all in use: what follows a continent is the country.
COUNTRY = re.compile(r"(?:(?:EU|EUR|AP|OC|SEA)-([A-Z]{2})|(US|CA)-[A-Z]+)-\d+")
DEAD = {"EXITED", "ERROR", "TERMINATED"}
# A 400 is a broken rule or nothing free, and only its words tell which (create-a-pod, "Which failures").
SPENDING = re.compile(r"(?i)\bspend(?:ing)? limit|\bquota\b")
SOLD_OUT = re.compile(r"(?i)\binstances?\b|\bcapacity\b|availab|\bnot enough\b|\bout of stock\b|resources to deploy")
# The script takes the place of the container's first process, which is the one that hears SIGTERM, and stays.
RUN = "bash -c 'echo \"$GPUYARD_STARTUP\" | base64 -d > /root/startup && GPUYARD_FOREGROUND=1 exec bash /root/startup'"


class Runpod:
    """One RunPod account. Key scope: read and write on api.runpod.io."""

    name = "runpod"
    credentials = {"api_key": True, "image": False}
    look_every_s = 60  # Nothing is taken away at short notice.
    keeps_price_history = False

    def __init__(self, *, api_key: str, image: str = IMAGE, base_url: str = "https://api.runpod.io") -> None:
        self.image = image or IMAGE
        self.skipped: Counter[str] = Counter()
        self.client = http.Client(
            provider=self.name,
            base_url=base_url,
            headers={"Authorization": f"Bearer {api_key}"},
            identity=hashlib.sha256(api_key.encode()).hexdigest()[:12],
            every_s=1.0,  # 60 requests a minute (RateLimit-Policy).
            explain=_explain,
        )

    def listings(self) -> Iterable[Listing]:
        """Return a line per GPU type, count, cloud and data centre. Raises ProviderError."""
        self.skipped = Counter()
        for cloud, count in product(CLOUDS, COUNTS):
            query = {"include": "AVAILABILITY", "product": "POD", "count": count, "cloud": cloud.upper()}
            rows = _by_data_centre(_items(self.client.get("/v2/catalog/gpus", **query), "gpus"))
            yield from translated(rows, partial(_translate, count=count, cloud=cloud), self.skipped)

    def launch(self, order: LaunchOrder) -> Machine:
        """Rent a pod. Raises NoCapacity, Rejected, Unreachable."""
        for pod in self._pods_of(order.key):
            return self._accepted(pod, order)
        found = MACHINE_TYPE.fullmatch(order.machine_type)
        if not found or order.market is not Market.ON_DEMAND:
            raise Rejected(f"runpod: no such line: {order.machine_type}", reason=Reason.BAD_REQUEST)
        count, gpu, cloud = int(found[1]), found[2], found[3]
        answer = self.client.get(f"/v2/catalog/gpus/{quote(gpu, safe='')}")
        try:
            asked = _price(answer, cloud, count, order.disk_gib)
        except BAD_ROW:
            raise Unreachable(f"runpod: no price of {gpu}", reason=Reason.OUTAGE) from None
        if asked > order.max_usd_per_hour:
            raise Rejected(f"runpod: {order.machine_type} costs {asked} USD an hour", reason=Reason.PRICE)
        body = {
            "name": PREFIX + order.key,
            "image": self.image,
            "gpu": {"id": gpu, "count": count},
            "cloud": cloud.upper(),
            "dataCenterIds": [] if order.region == ANYWHERE else [order.region],
            "disk": order.disk_gib,
            "ports": ["22/tcp"],  # Without it ssh.direct, our address, stays empty.
            "env": {"GPUYARD_STARTUP": base64.b64encode(order.startup_script.encode()).decode()},
            "args": RUN,
            "startSsh": True,
        }
        return self._accepted(self.client.call("POST", "/v2/pods", body=body), order)

    def machines(self) -> Iterable[Machine]:
        """Return our pods that are not stopped or broken: RunPod does not start those again. Raises ProviderError."""
        for pod in self._pods():
            yield from _machine(pod)

    def terminate(self, key: str) -> None:
        """Delete every pod of that key, stopped and broken ones too. Raises ProviderError."""
        for pod in self._pods_of(key):
            try:
                self.client.call("DELETE", f"/v2/pods/{quote(fields.needed(pod, 'id', 'runpod'), safe='')}")
            except Rejected as error:
                if error.status != 404:
                    raise

    def price_history(self, *, since: datetime, until: datetime) -> Iterable[PricePoint]:
        """Return nothing: RunPod publishes no past prices."""
        return ()

    def check(self) -> list[Permission]:
        """Ask for the catalog, the pods, and to create a pod that cannot be created. Raises Unreachable."""
        return [
            _permission("GET /v2/catalog/gpus", lambda: self.client.get("/v2/catalog/gpus")),
            _permission("GET /v2/pods", self._pods),
            # Without name, image and GPU there is nothing to rent, so this never costs anything.
            _permission("POST /v2/pods", lambda: self.client.call("POST", "/v2/pods", body={})),
            Permission(name="DELETE /v2/pods/{id}", granted=None, why="only deleting a pod tells"),
        ]

    def _accepted(self, pod: Any, order: LaunchOrder) -> Machine:
        """Return the pod of an order as a machine, or delete it: it is dead, or dearer than was agreed."""
        try:
            name, usd_per_hour = fields.text(pod["name"]), fields.number(pod.get("cost")) or 0
        except BAD_ROW:
            raise Unreachable("runpod: no pod", reason=Reason.OUTAGE) from None
        alive = list(_machine(pod | {"name": name}))
        if alive and usd_per_hour <= order.max_usd_per_hour + ROUNDING_USD:
            return alive[0]
        self.terminate(order.key)
        if alive:
            raise Rejected(f"runpod: the pod costs {usd_per_hour} USD an hour", reason=Reason.PRICE)
        raise NoCapacity(f"runpod: the pod of {order.key} has ended", reason=Reason.SOLD_OUT)

    def _pods(self) -> list[dict[str, Any]]:
        return fields.all_of(self.client.get("/v2/pods"), "pods", "runpod")

    def _pods_of(self, key: str) -> list[dict[str, Any]]:
        return [pod for pod in self._pods() if pod.get("name") == PREFIX + key]


def _translate(row: tuple[Any, Any], *, count: int, cloud: str) -> Iterator[Listing]:
    gpu, centre = row
    if gpu[cloud] is not True or count > fields.whole(gpu["maxCount"][cloud]):
        return
    stock = Stock.__members__.get((centre or gpu).get("availability"), Stock.UNKNOWN)
    if centre is None and stock in (Stock.NONE, Stock.UNKNOWN):
        raise ValueError("no data centre has it now")
    region = fields.text(centre["id"]) if centre else ANYWHERE
    country = COUNTRY.fullmatch(region)
    yield Listing(
        provider="runpod",
        region=region,
        country=(country[1] or country[2]) if country else "",
        machine_type=f"{count}x {fields.text(gpu['id'])} {cloud}",
        accelerator_label=fields.text(gpu["id"]),
        accelerator_count=count,
        memory_gib=fields.positive(gpu.get("memory")),
        vcpus=None,
        ram_gib=None,
        disk_gib=DISK_GIB,
        market=Market.ON_DEMAND,
        usd_per_hour=_price(gpu, cloud, count, DISK_GIB),
        stock=stock,
        seen_at=datetime.now(UTC),
    )


def _price(gpu: Any, cloud: str, count: int, disk_gib: int) -> Decimal:
    """Return USD per hour of a pod: the catalog's price is for one GPU and without the disk. Raises BAD_ROW."""
    usd_per_hour = fields.price(gpu["price"][cloud]) * count + DISK_USD_PER_GIB_HOUR * disk_gib
    return usd_per_hour.quantize(Decimal("0.000001"))


def _by_data_centre(gpus: list[Any]) -> Iterator[tuple[Any, Any]]:
    """Yield (GPU type, data centre), so that one bad centre does not hide the others; None where none is named."""
    for gpu in gpus:
        centres = gpu.get("dataCenters") if isinstance(gpu, dict) else None
        for centre in (fields.records(centres) if isinstance(centres, list | dict) else []) or [None]:
            yield gpu, centre


def _machine(pod: dict[str, Any]) -> Iterator[Machine]:
    """Yield a pod of ours that is alive, nothing for others."""
    name, status = str(pod.get("name") or ""), str(pod.get("status"))
    if name.startswith(PREFIX) and status not in DEAD:
        yield Machine(
            key=name.removeprefix(PREFIX),
            machine_id=str(pod.get("id") or ""),
            state=MachineState.RUNNING if status == "RUNNING" else MachineState.BOOTING,
            address=_address(pod) if status == "RUNNING" else None,
        )


def _address(pod: Any) -> str | None:
    """Return the public IP; a pod on a host without one has none, and RunPod's SSH proxy is not the pod."""
    with contextlib.suppress(*BAD_ROW):
        return fields.text(pod["ssh"]["direct"]["host"])
    return None


def _items(answer: Any, name: str) -> list[Any]:
    """Return a list of an answer. Raises Unreachable: an answer without it does not mean that there is nothing."""
    items = answer.get(name) if isinstance(answer, dict) else None
    if not isinstance(items, list | dict):
        raise Unreachable(f"runpod: an answer without {name}", reason=Reason.OUTAGE)
    return fields.records(items)


def _permission(name: str, ask: Callable[[], object]) -> Permission:
    try:
        ask()
    except (Rejected, NoCapacity) as error:
        # A complaint about the request does not tell whether the key's scope was looked at before or would be after.
        refused = error.reason in (Reason.AUTH, Reason.MONEY)
        return Permission(name=name, granted=False if refused else None, why=str(error))
    return Permission(name=name, granted=True)


def _explain(status: int, body: Any) -> ProviderError | None:
    # The other statuses mean what they always mean: 402 money, 403 the key, 422 the request.
    detail = str(body.get("detail")) if status == 400 and isinstance(body, dict) else ""
    if SPENDING.search(detail):
        return NoCapacity(detail, reason=Reason.QUOTA)
    return NoCapacity(detail, reason=Reason.SOLD_OUT) if SOLD_OUT.search(detail) else None
