"""The rows that training across sites stands on, made without the rest of the house, and what they say at the end."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from django.utils import timezone

from broker.identity.models import User
from broker.identity.operations import own_team
from offers.models import Offer, Quote
from workloads import storage
from workloads.models import Contribution, Lease, Placement, Program, Round, SampleRange, Training, Workload
from workloads.node.training import outer, wire
from workloads.node.training.layout import Floats, Layout

FAR = timedelta(days=365)


def workload() -> int:
    """Make a running workload without sites; return its id."""
    now = timezone.now()
    user, _ = User.objects.get_or_create(username="bench")
    owner = own_team(user=user, now=now).team
    quote = Quote.objects.create(
        owner=owner, need={}, rank=0, why="benchmark", speed={}, created_at=now, expires_at=now + FAR
    )
    program, _ = Program.objects.get_or_create(
        owner=owner, sha256="0" * 64, defaults={"size_bytes": 0, "created_at": now}
    )
    made = Workload.objects.create(
        owner=owner,
        quote=quote,
        program=program,
        name="benchmark",
        script="train.py",
        budget_usd=Decimal(1),
        created_at=now,
        started_at=now,
        state=Workload.State.RUNNING,
        **_asleep(now),
    )
    return int(made.pk)


def end(workload_id: int) -> None:
    """Let a workload be over: its open round is abandoned."""
    Workload.objects.filter(pk=workload_id).update(
        state=Workload.State.CANCELLED, ended_at=timezone.now(), end_reason="cancelled"
    )


def placement(workload_id: int, *, region: str, secret: str) -> int:
    """Make a site that holds one machine with one accelerator; return its placement's id."""
    now = timezone.now()
    made = Placement.objects.create(
        workload_id=workload_id,
        provider="bench",
        region=region,
        created_at=now,
        ray_token="",
        ray_port=1,
        site_secret=secret,
        state=Placement.State.TRAINING,
        **_asleep(now),
    )
    Lease.objects.create(
        placement=made,
        offer=_offer(now),
        accelerators=1,
        cost_usd_per_hour=Decimal(1),
        sell_usd_per_hour=Decimal(1),
        opened_at=now,
        state=Lease.State.HELD,
        **_asleep(now),
    )
    return int(made.pk)


def _offer(now: datetime) -> Offer:
    offer, _ = Offer.objects.get_or_create(
        provider="bench",
        region="wan",
        machine_type="site",
        market="on_demand",
        defaults={
            "accelerator": "CPU",
            "family": "CPU",
            "accelerators": 1,
            "usd_per_hour": Decimal(1),
            "usd_per_gpu_hour": Decimal(1),
            "changed_at": now,
            "digest": 0,
        },
    )
    return offer


def _asleep(now: datetime) -> dict[str, datetime]:
    """Nobody moves these lifecycles."""
    return {"entered_at": now, "wake_at": now + FAR}


def held(placement_id: int) -> set[tuple[int, int]]:
    """Return the ranges that a site is leased and has not handed in."""
    return set(
        SampleRange.objects.filter(holder=placement_id, contribution=None, merged_version=None).values_list(
            "start", "end"
        )
    )


def contributed(placement_id: int, *, since: datetime | None = None) -> int:
    """Return how many contributions of a site were taken in, merged or about to be."""
    taken = Contribution.objects.filter(placement=placement_id, status__in=("accepted", "merged"))
    return taken.filter(received_at__gte=since).count() if since else taken.count()


def merged_samples(workload_id: int, *, versions: range | None = None) -> int:
    """Return how many samples were merged, in these rounds or in all."""
    ranges = SampleRange.objects.filter(workload=workload_id).exclude(merged_version=None)
    if versions is not None:
        ranges = ranges.filter(merged_version__gte=versions.start, merged_version__lt=versions.stop)
    return sum(end - start for start, end in ranges.values_list("start", "end"))


def samples_wrong(workload_id: int, total: int) -> int:
    """Return how many of the positions 0..total were not merged exactly once, counted in two ways; the worse counts."""
    times = np.zeros(total, np.int64)
    for start, end in (
        SampleRange.objects.filter(workload=workload_id).exclude(merged_version=None).values_list("start", "end")
    ):
        times[start:end] += 1
    handed_in = Contribution.objects.filter(round__workload=workload_id, status="merged").values_list(
        "samples", flat=True
    )
    return max(int((times != 1).sum()), abs(sum(handed_in) - total))


def replayed(workload_id: int) -> tuple[Floats, bool]:
    """Return theta as the updates lead to it from the first parameters, and whether all fingerprints agree."""
    training, alike, count = Training.objects.get(pk=workload_id), True, 0
    theta = np.empty(0, np.float32)
    for version, theta in versions(workload_id):
        round_ = Round.objects.filter(workload=workload_id, version=version - 1).first()
        alike &= round_ is None or outer.fingerprint(theta) == round_.fingerprint
        count = version
    return theta, alike and count == training.version and outer.fingerprint(theta) == training.fingerprint


def versions(workload_id: int) -> Iterator[tuple[int, Floats]]:
    """Give (version, theta) from the first on, as the updates lead to each. One vector, changed in place."""
    training = Training.objects.get(pk=workload_id)
    layout = Layout(training.tensors)
    with storage.local(training.initial_sha256) as path:
        unread = np.broadcast_to(np.float32(0), [layout.size])
        theta = layout.flat(wire.read_named(path, like=layout.named(unread)))
    yield 0, theta
    rounds = Round.objects.filter(workload=workload_id, state=Round.State.CLOSED).order_by("version")
    with TemporaryDirectory(prefix="gpuyard-bench-") as directory:
        for number, round_ in enumerate(rounds):
            assert round_.version == number, "a round is missing"
            path = Path(directory) / "update"
            path.write_bytes(storage.get(round_.update_sha256))
            name, arrays = wire.read(path, size=layout.size)
            outer.apply(theta, arrays, name)
            yield number + 1, theta


def rounds(workload_id: int) -> list[dict[str, Any]]:
    """Return what each closed round was: {version, sites, samples, loss, update_bytes, merge_s, stall_s}."""
    rows = []
    for round_ in Round.objects.filter(workload=workload_id, state=Round.State.CLOSED).order_by("version"):
        given = list(round_.contributions.filter(status="merged"))
        told = [(one.loss, one.samples) for one in given if one.loss is not None]
        rows.append(
            {
                "version": round_.version,
                "sites": len(given),
                "samples": sum(one.samples for one in given),
                "loss": sum(loss * samples for loss, samples in told) / sum(samples for _, samples in told)
                if told
                else None,
                "update_bytes": round_.update_bytes,
                "merge_s": round_.merge_s or 0.0,
                "stall_s": max((one.stall_s or 0.0 for one in given), default=0.0),
            }
        )
    return rows


def parameters(workload_id: int, theta: Floats) -> dict[str, Any]:
    """Return theta by the names of the model's parameters."""
    return dict(Layout(Training.objects.get(pk=workload_id).tensors).named(theta))


def fingerprint(workload_id: int) -> str:
    """Return the fingerprint of the newest parameters, as the last commit says."""
    return Training.objects.get(pk=workload_id).fingerprint
