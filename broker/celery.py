"""The timetable: everything that happens because time passed."""

from __future__ import annotations

import os
from dataclasses import dataclass

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "broker.settings")
app = Celery("broker")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["offers", "workloads", "billing", "broker.identity"])


@dataclass(frozen=True, slots=True)
class Entry:
    """A task and how often it runs."""

    task: str
    every_s: float


TICK_S = 0.5  # How often rows that are due are looked for; bells make most of them move sooner.
TIMETABLE = {
    "read the price lists that are due": Entry("offers.tasks.poll_market", 5),
    "fetch published prices": Entry("offers.tasks.import_published_lately", 6 * 3600),
    "draw the newest prices": Entry("offers.tasks.draw_history", 120),
    "refresh the suppliers' hosts": Entry("offers.tasks.refresh_hosts", 3),
    "watch the budgets": Entry("billing.tasks.watch_budgets", 2),
    "settle": Entry("billing.tasks.settle", 3),
    "sweep the store": Entry("workloads.tasks.sweep_store", 60),
    "end orphans on suppliers' hosts": Entry("workloads.tasks.end_orphans", 5),
    "end orphans": Entry("workloads.tasks.end_orphans_everywhere", 60),
    "forget sessions that are over": Entry("broker.identity.tasks.forget_sessions", 24 * 3600),
}
