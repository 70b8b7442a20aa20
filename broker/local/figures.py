"""What a run has shown, worked out from what the public API says about it. Pure functions."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from statistics import median
from typing import Any

Row = Mapping[str, Any]
LOSS_TOLERANCE = 1e-5
_HOUR_S = Decimal(3600)
_MICRO_USD = Decimal("0.000001")


def instant(text: str) -> datetime:
    """Read a time as the API writes it (RFC 3339)."""
    return datetime.fromisoformat(text)


def seconds_between(earlier: str, later: str) -> float:
    """Return how long after `earlier` `later` is."""
    return (instant(later) - instant(earlier)).total_seconds()


def samples_lost(samples: Row) -> int:
    """Return how many samples of the work were never merged."""
    return int(samples["total"] or 0) - int(samples["merged"])


def samples_double_counted(samples: Row, rounds: Sequence[Row]) -> int:
    """Return how many samples the rounds merged beyond the work; a sample counts once or not at all."""
    return max(0, sum(int(each["samples"]) for each in closed(rounds)) - int(samples["total"] or 0))


def closed(rounds: Sequence[Row]) -> list[Row]:
    """Return the rounds that were merged."""
    return [each for each in rounds if each["closed_at"]]


def sites(rounds: Sequence[Row]) -> int:
    """Count the sites whose work was merged."""
    given = [one for each in closed(rounds) for one in each["contributors"]]
    return len({one["site"] for one in given if one["status"] == "merged"})


def machines_lost(events: Sequence[Row]) -> int:
    """Count the leases that were lost."""
    return len({each["subject_id"] for each in events if each["subject"] == "lease" and each["to"].lower() == "lost"})


def replacements(metrics: Sequence[Row], first_sites: Sequence[int]) -> int:
    """Count the placements that trained without being among the first ones."""
    return len({row["placement"] for row in metrics} - set(first_sites))


def first_row(metrics: Sequence[Row], placement: int) -> Row | None:
    """Return the first thing a placement reported."""
    rows = [row for row in metrics if row["placement"] == placement]
    return min(rows, key=lambda row: instant(row["at"]), default=None)


def stall_s(metrics: Sequence[Row], *, placement: int, since: datetime) -> float:
    """Return how long the placement stood still at most since an instant.

    A session that reports `wait_s` says it itself. Otherwise it is the longest gap between two reports that ends after
    the instant, less the usual gap.
    """
    rows = sorted((row for row in metrics if row["placement"] == placement), key=lambda row: instant(row["at"]))
    waits = [float(row["values"]["wait_s"]) for row in rows if "wait_s" in row["values"] and instant(row["at"]) > since]
    if waits:
        return max(waits)
    times = [instant(row["at"]) for row in rows]
    gaps = [(after, (after - before).total_seconds()) for before, after in zip(times, times[1:], strict=False)]
    late = [gap for end, gap in gaps if end > since]
    if not late:
        return 0.0
    return max(0.0, max(late) - median(gap for _, gap in gaps))


def leased_usd(leases: Sequence[Row]) -> Decimal:
    """Return what the spans of the leases cost at their frozen prices, each rounded to six places, as on a bill."""
    total = Decimal(0)
    for lease in leases:
        if lease["opened_at"] and lease["closed_at"]:
            span = instant(lease["closed_at"]) - instant(lease["opened_at"])
            microseconds = (span.days * 86400 + span.seconds) * 10**6 + span.microseconds
            usd = Decimal(microseconds) / 10**6 * Decimal(lease["usd_per_hour"]) / _HOUR_S
            total += usd.quantize(_MICRO_USD)
    return total.quantize(_MICRO_USD)


def open_leases(leases: Sequence[Row]) -> int:
    """Count the machines that were paid for and are not given back."""
    return sum(1 for lease in leases if lease["opened_at"] and not lease["closed_at"])


def wrong(figures: Row, *, leases: int) -> list[str]:
    """Return what is not as it must be, one sentence each."""
    reported, checked = figures["model_loss_reported"], figures["model_loss_checked"]
    # Each lease is rounded to six places by itself.
    unpaid = abs(Decimal(figures["billed_usd"]) - Decimal(figures["leased_seconds_usd"]))
    rules = {
        f"{figures['samples_lost']} samples were lost": figures["samples_lost"] != 0,
        f"{figures['samples_double_counted']} samples counted twice": figures["samples_double_counted"] != 0,
        f"{figures['sites']} sites trained instead of 2 or more": figures["sites"] < 2,
        f"{figures['preemptions']} machines were lost instead of 1": figures["preemptions"] != 1,
        f"{figures['replacements']} replacements trained instead of 1": figures["replacements"] != 1,
        f"{figures['leases_open']} leases are still open": figures["leases_open"] != 0,
        f"the ledger's sum is {figures['ledger_sum_usd']}": Decimal(figures["ledger_sum_usd"]) != 0,
        "the model's sha256 is not the one that the API names": not figures["model_sha256_ok"],
        f"the model's loss is {checked}, reported was {reported}": unequal(reported, checked),
        f"the bill is {unpaid} USD off the leased seconds": unpaid > _MICRO_USD * max(1, leases),
        "no step was ever made": figures["first_step_after_order_s"] is None,
    }
    return [sentence for sentence, is_wrong in rules.items() if is_wrong]


def unequal(reported: float | None, checked: float | None) -> bool:
    """Ask whether two losses differ; a loss that was not checked differs from nothing, not a number from everything."""
    if checked is None:
        return False
    return reported is None or not abs(reported - checked) <= LOSS_TOLERANCE
