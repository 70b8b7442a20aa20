"""The live state in plain HTML, until the dashboard comes."""

from __future__ import annotations

from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils import timezone

from offers import marketplace
from offers.models import Host, Offer
from workloads.models import Lease, Workload
from workloads.queries import last_metric, samples


def health(request: HttpRequest) -> HttpResponse:
    """Say whether requests can be answered: the database is there."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return JsonResponse({"ok": True})


def home(request: HttpRequest) -> HttpResponse:
    """
    Show what runs, what is offered and which hosts are heard.

    It names no customer and no script: it needs no key.
    """
    now = timezone.now()
    hosts = [
        {
            "region": host.region,
            "state": marketplace.state_of(host, now),
            "chips": _chips(host),
            "usd": host.usd_per_hour,
        }
        for host in Host.objects.exclude(key_sha256="").order_by("id")[:100]
    ]
    runs = [
        {
            "id": workload.pk,
            "state": workload.state,
            "since": workload.entered_at,
            "samples": samples(workload.pk),
            "loss": last_metric(workload.pk, "loss")[0],
            "sites": [placement.site for placement in workload.placements.exclude(state="closed")],
        }
        for workload in Workload.objects.order_by("-id")[:20]
    ]
    open_leases = Lease.objects.filter(opened_at__isnull=False, closed_at=None).count()
    here = Offer.objects.filter(gone_at=None)
    book = {"offers": here.count(), "leasable": here.filter(leasable=True).exclude(available=0).count()}
    return render(request, "home.html", {"now": now, "hosts": hosts, "runs": runs, "leases": open_leases, "book": book})


def _chips(host: Host) -> str:
    kind, count, _ = marketplace.counted(host.hardware)
    return f"{count} x {kind}"
