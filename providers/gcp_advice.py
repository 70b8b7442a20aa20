"""
What Google Cloud publishes of its spot machines: how often they are taken, whether one is to be had, past prices.

Sources: https://docs.cloud.google.com/compute/docs/instances/view-spot-preemption-price (a rate per day of the last 30
days, prices of a year; both per region) and https://docs.cloud.google.com/compute/docs/instances/view-vm-availability.
Neither knows TPUs; the history does not know N1 with attached GPUs.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from providers import fields, http
from providers.base import BAD_ROW, ProviderError, Reason
from providers.gcp_prices import usd

SPOT = {"provisioningModel": "SPOT"}
RATE_MAX = 0.99  # A day on which every machine that ended was taken does not mean that none ran on.


class Advice:
    """Asks one project's advisor; once it refuses a question it is not asked that again. One for each poll."""

    def __init__(self, client: http.Client, project: str, skipped: Counter[str]) -> None:
        """Count in `skipped` what could not be asked or read."""
        self.client = client
        self.project = project
        self.skipped = skipped
        self._refused: set[str] = set()

    def placement_score(self, region: str, machine_type: str) -> float | None:
        """Return the advisor's chance from 0 to 1 that one more spot machine is to be had anywhere in the region."""
        body = {
            "size": 1,
            "instanceProperties": {"scheduling": SPOT},
            "instanceFlexibilityPolicy": {"instanceSelections": {"one": {"machineTypes": [machine_type]}}},
            "distributionPolicy": {"targetShape": "ANY"},
        }
        try:
            return fields.share(self._ask(region, "capacity", body)["recommendations"][0]["scores"]["obtainability"])
        except BAD_ROW:
            return None

    def interruptions_per_hour(self, region: str, machine_type: str) -> float | None:
        """
        Return the chance that a spot machine is taken within an hour, or None.

        `preemptionRate` is per interval (a day): of the machines that ended, the share that was taken. It is read as
        the chance to be taken within the interval, and the hourly chance is the constant one that would give the
        whole history: 1 - exp(sum of ln(1 - rate) / sum of hours). It errs upwards where machines seldom end.
        """
        survived, hours = 0.0, 0.0
        for row in self._history(region, machine_type, "PREEMPTION", "preemptionHistory"):
            try:
                start, end = (_instant(row["interval"][name]) for name in ("startTime", "endTime"))
                rate, length_s = fields.share(row.get("preemptionRate") or 0), (end - start).total_seconds()
            except BAD_ROW:
                continue
            if rate is not None and length_s > 0:
                survived += math.log(1 - min(rate, RATE_MAX))
                hours += length_s / 3600
        return 1 - math.exp(survived / hours) if hours else None

    def prices(self, region: str, machine_type: str) -> list[tuple[datetime, Decimal]]:
        """Return the spot prices of the last year, the oldest first: (true from then on, USD per hour)."""
        found = []
        for row in self._history(region, machine_type, "PRICE", "priceHistory"):
            try:
                money = fields.record(row["listPrice"])
                if fields.text(money.get("currencyCode"), "USD") == "USD":
                    found.append((_instant(row["interval"]["startTime"]), fields.price(usd(money))))
            except BAD_ROW as error:
                self.skipped[f"price history: {type(error).__name__}: {error}"[:80]] += 1
        return sorted(found)

    def _history(self, region: str, machine_type: str, kind: str, name: str) -> Iterator[Any]:
        body = {"types": [kind], "instanceProperties": {"machineType": machine_type, "scheduling": SPOT}}
        answer = self._ask(region, "capacityHistory", body)
        try:
            yield from fields.records(answer.get(name))
        except ValueError:
            return

    def _ask(self, region: str, question: str, body: dict[str, Any]) -> dict[str, Any]:
        if question in self._refused:
            return {}
        path = f"/compute/v1/projects/{self.project}/regions/{region}/advice/{question}"
        try:
            answer = self.client.call("POST", path, body=body, again=True)  # It changes nothing.
        except ProviderError as error:
            # Only a 400 is about the machine type. Whoever lacks the permission, or asks too often, stops asking.
            if error.reason is not Reason.BAD_REQUEST or error.status == 404:
                self._refused.add(question)
            self.skipped[f"advice/{question}: {error.reason}"] += 1
            return {}
        return answer if isinstance(answer, dict) else {}


def _instant(text: Any) -> datetime:
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError("a time without a zone")
    return found.astimezone(UTC)
