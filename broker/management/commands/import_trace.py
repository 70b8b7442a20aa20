"""Learn hazards from a trace of what spot zones granted."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import numpy as np
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from offers import gpus, lessons
from offers.matching.hazard_prior import Line

ZONE = re.compile(r"^(?P<region>.+\d)-?(?P<letter>[a-z])$")  # us-east-1a, asia-south2-b


class Command(BaseCommand):
    """Read an .npz with zones [Z], count [Z, ticks] and tick_s. Read twice it replaces itself."""

    help = __doc__

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """What the trace does not say itself."""
        parser.add_argument("path", type=Path, help="the .npz")
        parser.add_argument("--provider", required=True, help="whose zones these are, as in the book")
        parser.add_argument("--accelerator", required=True, help="of the machines")
        parser.add_argument("--machine-type", default="", help="as the provider names it")
        parser.add_argument(
            "--nodes", type=int, default=1, help="machines that must be there for a zone to count as up"
        )

    def handle(self, *args: Any, **given: Any) -> None:
        """Import it and say what was found."""
        try:
            with np.load(given["path"]) as trace:
                zones, counts, tick_s = [str(one) for one in trace["zones"]], trace["count"], float(trace["tick_s"])
        except (OSError, KeyError, ValueError) as error:
            raise CommandError(f"{given['path']}: not a trace with zones, count and tick_s ({error})") from None
        if counts.ndim != 2 or len(zones) != len(counts) or tick_s <= 0 or given["nodes"] < 1:
            raise CommandError(f"{given['path']}: count must be [zones, ticks], tick_s and --nodes positive")
        chip = gpus.named(given["accelerator"])
        lines = [_line(zone, chip, given) for zone in zones]
        made = lessons.import_trace(
            source=given["path"].stem[:64],
            counts=counts,
            tick_s=tick_s,
            nodes=given["nodes"],
            lines=lines,
            at=timezone.now(),
        )
        self.stdout.write(f"{made} spells of {len(zones)} zones, {counts.shape[1] * tick_s / 86400:.1f} days")


def _line(zone: str, accelerator: str, given: dict[str, Any]) -> Line:
    found = ZONE.match(zone)
    region = found["region"] if found else zone
    key = (given["provider"], region, zone if found else "", given["machine_type"])
    return Line(key=key, accelerator=accelerator, market="spot")
