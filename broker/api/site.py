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
from workloads import nodes, operations, queries, robust, rounds, storage
from workloads import samples as sample_rows
from workloads.models import Placement, Training
from workloads.node.training import codec
from workloads.node.training.quantise import CODECS

WAIT_MAX_S = 25.0
LOOK_EVERY_S = 0.1
OBJECT_BYTES_MAX = 64 << 30
ROWS_MAX = 2000
INTEGER_MAX = 2**31 - 1  # Of a column.
FIGURES = ("train_s", "stall_s", "put_s", "fetch_s")


def site_door(method: str) -> Callable[[Callable[..., HttpResponse]], Callable[..., HttpResponse]]:
    """`door`, with the calling placement as second argument and the rounds' refusals as answers."""

    def wrap(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
        @wraps(view)
        def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            placement = calling_site(request)
            _newest(request, placement)
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


def _newest(request: HttpRequest, placement: Placement) -> None:
    """Cut off a copy of a site that another has taken the place of, however it came to live on. Raises Refused."""
    said = request.headers.get("Gpuyard-Incarnation", "")
    if said.isdigit() and placement.incarnation is not None and int(said) < placement.incarnation:
        raise Refused(409, "site_gone", "a newer copy of this site has said hello", "this copy of the site is to stop")


@site_door("POST")
def hello(request: HttpRequest, placement: Placement) -> HttpResponse:
    """Take a site in."""
    body = body_of(request)
    every, name = body.get("sync_every_steps"), body.get("codec")
    said = rounds.Hello(
        incarnation=_count(body, "incarnation"),
        world=_count(body, "world"),
        tensors=body["tensors"],
        dataset_samples=_count(body, "dataset_samples"),
        dataset_fingerprint=str(body.get("dataset_fingerprint") or "")[:64],
        total_samples=_count(body, "total_samples"),
        batch_size=_count(body, "batch_size"),
        sync_every_steps=None if every is None else _count(body, "sync_every_steps", most=INTEGER_MAX),
        outer_lr=_amount(body, "outer_lr"),
        outer_momentum=_amount(body, "outer_momentum"),
        codec=str(name) if name else None,
        quorum=None if body.get("quorum") is None else _count(body, "quorum", most=INTEGER_MAX),
        grace_s=_amount(body, "grace_s"),
        outer_mean=body.get("outer_mean"),
    )
    if said.outer_mean is not None and said.outer_mean not in robust.RULES:
        raise ValueError(f"outer_mean must be one of {', '.join(robust.RULES)}")
    if said.codec is not None and said.codec not in CODECS:
        raise ValueError(f"codec must be one of {', '.join(CODECS)}")
    _check_world(placement, said.world)
    training = rounds.hello(placement=placement, said=said, now=timezone.now())
    state = queries.state(training)
    answer = {"workload": placement.workload_id, "version": training.version, "state": state}
    return JsonResponse(answer | {"evaluates": queries.evaluates(placement)})


def _amount(body: dict[str, Any], name: str) -> float | None:
    value = _seconds(body.get(name))
    if body.get(name) is not None and value is None:
        raise ValueError(f"{name} must be a number, 0 or more")
    return value


def _check_world(placement: Placement, world: int) -> None:
    """A site may have lost machines, and have others in their place, before or after we know of it."""
    leased = sum(placement.leases.filter(opened_at__isnull=False).values_list("accelerators", flat=True))
    if world > leased:
        raise Refused(409, "world_differs", f"{leased} accelerators were leased here, the site trains on {world}")


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
    """Lease samples."""
    body = body_of(request)
    number, count = _count(body, "number", most=INTEGER_MAX), _count(body, "count")
    status, training, ranges = rounds.lease_samples(placement=placement, number=number, count=count, now=timezone.now())
    answer = {"status": status, "version": training.version, "ranges": [list(each) for each in ranges]}
    return JsonResponse(answer | {"progress": sample_rows.progress(training)})


@site_door("POST")
def stop(request: HttpRequest, placement: Placement) -> HttpResponse:
    """Let a script end the run early."""
    rounds.stop(placement=placement, why=str(body_of(request).get("why") or "no reason given"), now=timezone.now())
    return JsonResponse({})


@site_door("POST")
def contributions(request: HttpRequest, placement: Placement) -> HttpResponse:
    """Take a contribution in."""
    body = body_of(request)
    version, loss = _count(body, "version", least=0, most=INTEGER_MAX), body.get("loss")
    figures = {name: _seconds(body.get(name)) for name in FIGURES}
    given = rounds.HandedIn(
        version=version,
        base=_count({"base": version} | body, "base", least=0, most=INTEGER_MAX),
        sha256=str(body.get("sha256") or ""),
        samples=_count(body, "samples", least=0),
        steps=_count(body, "steps", least=0, most=INTEGER_MAX),
        ranges=[(int(start), int(end)) for start, end in body["ranges"]],
        partial=bool(body.get("partial")),
        loss=float(loss) if isinstance(loss, int | float) and abs(loss) < 1e300 else None,
        figures={name: seconds for name, seconds in figures.items() if seconds is not None},
    )
    status, why = rounds.contribute(placement=placement, given=given, now=timezone.now())
    return JsonResponse({"status": status, "why": why})


def _seconds(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 <= value < 1e9 else None


@csrf_exempt
async def wait(request: HttpRequest, version: int) -> HttpResponse:
    """
    Say how the round of `version` stands, after up to `?wait_s=` when nothing is new.

    `?called=1`: the site knows that it is called to hand in, and waits for the round to close.
    """
    try:
        placement = await sync_to_async(calling_site)(request)
        _newest(request, placement)
        wait_s = min(float(request.GET.get("wait_s", 0)), WAIT_MAX_S)
    except Refused as error:
        return plain(error)
    except ValueError:
        return plain(Refused(422, "invalid", "wait_s: a number of seconds"))
    called = request.GET.get("called") == "1"
    await sync_to_async(rounds.heard)(placement=placement, version=version, now=timezone.now())
    until = time.monotonic() + wait_s
    while True:
        status = await sync_to_async(queries.round_status)(placement, version, called=called)
        if status != "open" or time.monotonic() >= until:
            return JsonResponse(await sync_to_async(_standing)(placement, version, status))
        await sync_to_async(close_old_connections)()  # Others need it more while we wait.
        await asyncio.sleep(LOOK_EVERY_S)


def _standing(placement: Placement, version: int, status: str) -> dict[str, Any]:
    training = Training.objects.filter(pk=placement.workload_id).first()
    return {
        "status": status,
        "merged": queries.merged(placement, version),
        "evaluates": queries.evaluates(placement),
        "version": training.version if training else None,
        "state": queries.state(training, since=version) if training else None,
    }


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
    """Record a model, or a notebook cell's results, whose bytes were put before."""
    body = body_of(request)
    kind = body.get("kind", "model")
    if kind not in ("model", "results"):
        raise ValueError("kind must be model or results")
    training = Training.objects.filter(pk=placement.workload_id).first()
    if training is None or training.version is None:
        raise Refused(409, "not_ready", "nothing was trained yet")
    given = dict(body.get("metrics") or {})
    if kind == "results":  # Of a latecomer that had nothing left to train on nobody wants them.
        given["samples"] = queries.samples_merged_of(placement)
    values = {str(name)[:80]: value for name, value in given.items() if _plain(value)}
    artifact = operations.keep_artifact(
        workload_id=placement.workload_id,
        kind=kind,
        name=str(body["name"]).rpartition("/")[2][:120] or "model",
        version=training.version,
        sha256=str(body["sha256"]),
        metrics=values,
        now=timezone.now(),
    )
    return JsonResponse({"id": artifact.pk})


def _plain(value: Any) -> bool:
    return isinstance(value, bool | str | int) or (isinstance(value, float) and value == value and abs(value) < 1e300)


def _count(body: dict[str, Any], name: str, *, least: int = 1, most: int = 1 << 60) -> int:
    value = body[name]
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"{name} must be a whole number from {least} to {most}")
    return value
