"""What the journeys look at."""

from decimal import Decimal


def moves(yard, run, subject):
    return [event["to"] for event in yard.client.events(run, limit=1000) if event["subject"] == subject]


def check_samples(yard, run, total):
    """Every sample was merged, and by one round only."""
    assert yard.show(run)["samples"] == {"total": total, "merged": total, "leased": 0, "free": 0}
    assert sum(one["samples"] for one in yard.client.rounds(run)) == total


def check_bill(yard, run):
    bill = yard.client.bill(run)
    assert Decimal(bill["total_usd"]) == Decimal(bill["billed_usd"]) > 0
    assert all(line["closed_at"] for line in bill["leases"])
    assert yard.client.read("/v1/ledger")["sum_usd"] == "0.000000"
