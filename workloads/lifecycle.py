"""What every row has that lives through states."""

from __future__ import annotations

from datetime import datetime

from django.db import models


class Lifecycle(models.Model):
    """A row with a state and an alarm clock. workloads.machine moves it; nobody else does."""

    state = models.CharField(max_length=16)
    entered_at = models.DateTimeField()
    wake_at = models.DateTimeField()
    attempts = models.PositiveIntegerField(default=0)  # That failed, in a row.
    claim_token = models.UUIDField(null=True)
    claimed_until = models.DateTimeField(null=True)

    class Meta:
        abstract = True

    def workload_of(self) -> int:
        """Return the id of the workload that it is about."""
        raise NotImplementedError

    def concerned(self) -> list[tuple[str, int]]:
        """Return the (kind, id) of the rows that want to look when this one moves."""
        raise NotImplementedError


def born(now: datetime) -> dict[str, datetime]:
    """Return the columns of a lifecycle row that starts now."""
    return {"entered_at": now, "wake_at": now}
