"""What is assumed of the world where nobody says: sourced prices and powers, and guesses that are named as such."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

from offers.matching import chips

PUE = Path(__file__).parents[1] / "data" / "pue.csv"
DAY_H, HOURS_PER_MONTH = 24.0, 730.0
# General purpose SSD volumes, us-east-1: aws.amazon.com/ebs/pricing (gp3).
STORAGE_USD_PER_GIB_MONTH = 0.08
# Data come from a bucket at a large cloud: aws.amazon.com/s3/pricing, out to the internet, first 10 TB a month.
STORE_EGRESS_USD_PER_GIB = 0.09
# The average of the world's electricity, 2023: ember-energy.org, Global Electricity Review 2024.
WORLD_GCO2 = 480.0
# Guesses, until our own history says more. A site hands in its state every so often, and what it did since is redone
# after a loss: half of that on average. So long it waits for a machine in place of a lost one, on average.
ROUND_S = 900.0
REDONE_S = ROUND_S / 2
WAIT_S = 600.0
# A site's way to the internet, up and down: of a cloud's machine, and of a stranger's or an own one. There and back.
CLOUD_MBIT_PER_S, HOST_MBIT_PER_S = 1000.0, 100.0
ROUND_TRIP_S = 0.05
# Spreads (of logarithms) of what is drawn: the time of a boot about what is told, the hazard about what was learnt,
# and the price of a machine that is bought in place of a lost one about that of the first.
BOOT_SIGMA, HAZARD_SIGMA, REPLACEMENT_SIGMA = 0.3, 0.4, 0.15
BOARD_W = 300.0  # Of a chip whose sheet is not in offers/data/chips.csv.


@cache
def watts(accelerator: str) -> float:
    """Return the power of one accelerator at full load."""
    chip = chips.find(accelerator)
    return BOARD_W if chip is None or chip.board_w is None else chip.board_w


def pue(provider: str) -> float:
    """Return what a provider's data centres draw for each kWh that its machines use; the world's average if unknown."""
    table = _pues()
    return table.get(provider, table[""])


@cache
def _pues() -> dict[str, float]:
    with PUE.open(newline="", encoding="utf-8") as lines:
        return {row["provider"]: float(row["pue"]) for row in csv.DictReader(lines)}
