"""The training leaders' way in. Contract: docs/protocol.md, part 3."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import wraps
from typing import Any

from asgiref.sync import sync_to_async
from django.db import close_old_connections
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.views.decorators.csrf import csrf_exempt

from broker.api import bodies
from broker.api.agent import body_of, door
from broker.api.errors import Refused, plain
from broker.api.keys import calling_site
from workloads import nodes, operations, queries, rounds, storage
from workloads.models import Placement, Training
from workloads.node.training import codec
from workloads.node.training.quantise import CODECS

WAIT_MAX_S = 25.0
LOOK_EVERY_S = 0.1
DEFAULT_CODEC = "int8"
OBJECT_BYTES_MAX = 64 << 30
ROWS_MAX = 2000


def site_door(method: str) -> Callable[[Callable[..., HttpResponse]], Callable[..., HttpResponse]]:
    """`door`, with the calling placement as second argument and the rounds' refusals as answers."""

    def wrap(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
        @wraps(view)
        def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            placement = calling_site(request)
            try:
                return view(request, placement, *args, **kwargs)
            except rounds.SiteGone as error:
                raise Refused(409, "site_gone", str(error), "this copy of the site is to stop") from None
            except rounds.ModelDiffers as error:
                raise Refused(
                    409, "model_differs", str(error), "every site must build the same model and data"
                ) from None
            except rounds.NotReady as error:
                raise Refused(409, "not_ready", str(error)) from None
            except storage.ObjectMissing as error:
                raise Refused(
                    422, "object_missing", f"the store has no object {str(error)[:12]}", "PUT it first"
                ) from None
            except (codec.CorruptTensors, codec.TensorsDiffer, codec.NotFinite) as error:
                raise Refused(422, "tensors_refused", str(error), "hand in the model's own parameters") from None

        return door(method)(answer)

    return wrap


@site_door("POST")
def hello(request: HttpRequest, placement: Placement) -> HttpResponse:
    """Take a site in."""
    body = body_of(request)
    said = rounds.Hello(
        world=_count(body, "world"),
        tensors=body["tensors"],
        dataset_samples=_count(body, "dataset_samples"),
        total_samples=_count(body, "total_samples"),
        batch_size=_count(body, "batch_size"),
        sync_every_steps=_count(body, "sync_every_steps"),
        outer_lr=body.get("outer_lr"),
        outer_momentum=body.get("outer_momentum"),
        codec=str(body.get("codec") or DEFAULT_CODEC),
    )
    if said.codec not in CODECS:
        raise ValueError(f"codec must be one of {', '.join(CODECS)}")
    _check_world(placement, said.world)
    training = rounds.hello(placement=placement, said=said, now=timezone.now())
    state = queries.state(training)
    return JsonResponse({"workload": placement.workload_id, "version": training.version, "state": state})


def _check_world(placement: Placement, world: int) -> None:
    leased = sum(placement.leases.values_list("accelerators", flat=True))
    if world != leased:
        raise Refused(409, "world_differs", f"{leased} accelerators are leased here, the site trains on {world}")


@site_door("POST")
def initial(request: HttpRequest, placement: Placement) -> HttpResponse:
    """Take the initial parameters, unless another site was first."""
    training = rounds.initial(placement=placement, sha256=str(body_of(request)["sha256"]), now=timezone.now())
    return JsonResponse({"version": training.version, "state": queries.state(training)})


@csrf_exempt
def objects(request: HttpRequest, digest: str) -> HttpResponse:
    """Take an object in (PUT) or hand a state out (GET)."""
    return (_put_object if request.method == "PUT" else _get_object)(request, digest)


@site_door("PUT")
def _put_object(request: HttpRequest, placement: Placement, digest: str) -> HttpResponse:
    size, made = bodies.receive(request, digest, bytes_max=OBJECT_BYTES_MAX)
    return JsonResponse({"sha256": digest, "size_bytes": size}, status=201 if made else 200)


@site_door("GET")
def _get_object(request: HttpRequest, placement: Placement, digest: str) -> HttpResponse:
    if not queries.reachable_object(placement, digest):
        raise Refused(404, "not_found", "this object is not a state of this site's workload")
    return bodies.send(request, digest)


@site_door("POST")
def samples(request: HttpRequest, placement: Placement) -> HttpResponse:
    """Lease samples for the running round."""
    body = body_of(request)
    version = int(body["version"])
    status, training, leased = rounds.lease_samples(
        placement=placement, version=version, count=_count(body, "count"), now=timezone.now()
    )
    state, ranges = queries.state(training, since=version), [list(each) for each in leased]
    return JsonResponse({"status": status, "version": training.version, "state": state, "ranges": ranges})


@site_door("POST")
def contributions(request: HttpRequest, placement: Placement) -> HttpResponse:
    """Take a contribution in."""
    body = body_of(request)
    loss = body.get("loss")
    given = rounds.HandedIn(
        version=int(body["version"]),
        sha256=str(body.get("sha256") or ""),
        samples=int(body["samples"]),
        steps=int(body["steps"]),
        ranges=[(int(start), int(end)) for start, end in body["ranges"]],
        partial=bool(body.get("partial")),
        loss=float(loss) if isinstance(loss, int | float) and abs(loss) < 1e300 else None,
    )
    status, why = rounds.contribute(placement=placement, given=given, now=timezone.now())
    return JsonResponse({"status": status, "why": why})


@csrf_exempt
async def wait(request: HttpRequest, version: int) -> HttpResponse:
    """Wait up to `?wait_s=` for the round of `version` to close."""
    try:
        placement = await sync_to_async(calling_site)(request)
        wait_s = min(float(request.GET.get("wait_s", 0)), WAIT_MAX_S)
    except Refused as error:
        return plain(error)
    except ValueError:
        return plain(Refused(422, "invalid", "wait_s: a number of seconds"))
    until = time.monotonic() + wait_s
    while True:
        training = await Training.objects.filter(pk=placement.workload_id).afirst()
        closed = training is not None and training.version is not None and training.version > version
        if closed or time.monotonic() >= until:
            state = await sync_to_async(queries.state)(training, since=version) if training else None
            newest = training.version if training else None
            return JsonResponse({"status": "closed" if closed else "open", "version": newest, "state": state})
        await sync_to_async(close_old_connections)()  # Others need it more while we wait.
        await asyncio.sleep(LOOK_EVERY_S)


@site_door("POST")
def metrics(request: HttpRequest, placement: Placement) -> HttpResponse:
    """Take metric rows in, once each."""
    rows = body_of(request)["rows"][:ROWS_MAX]
    clean = [
        {**row, "at": parse_datetime(row["at"]) or timezone.now(), "seq": int(row["seq"]), "step": int(row["step"])}
        for row in rows
    ]
    nodes.keep_metrics(placement=placement, rows=clean, now=timezone.now())
    return JsonResponse({})


@site_door("POST")
def artifacts(request: HttpRequest, placement: Placement) -> HttpResponse:
    """Record a model whose bytes were put before."""
    body = body_of(request)
    training = Training.objects.filter(pk=placement.workload_id).first()
    if training is None or training.version is None:
        raise Refused(409, "not_ready", "nothing was trained yet")
    values = {str(name)[:80]: value for name, value in dict(body.get("metrics") or {}).items() if _plain(value)}
    artifact = operations.keep_artifact(
        workload_id=placement.workload_id,
        kind="model",
        name=str(body["name"]).rpartition("/")[2][:120] or "model",
        version=training.version,
        sha256=str(body["sha256"]),
        metrics=values,
        now=timezone.now(),
    )
    return JsonResponse({"id": artifact.pk})


def _plain(value: Any) -> bool:
    return isinstance(value, bool | str | int) or (isinstance(value, float) and value == value and abs(value) < 1e300)


def _count(body: dict[str, Any], name: str) -> int:
    value = body[name]
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < 1 << 40:
        raise ValueError(f"{name} must be a whole number of at least 1")
    return value
