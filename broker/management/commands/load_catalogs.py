"""`manage.py load_catalogs DIR`: price lists in the SkyPilot schema into the book; the last line is one JSON object."""

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from offers.models import Offer
from offers.operations import import_catalog
from providers.base import Rejected


class Command(BaseCommand):
    """Load DIR/<provider>/vms.csv for every provider and account for every row."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the directory."""
        parser.add_argument("directory", type=Path)

    def handle(self, *_args: Any, directory: Path, **_options: Any) -> None:
        """Load. A catalog that is none does not stop the others; the JSON names it."""
        paths = sorted(directory.glob("*/vms.csv"))
        if not paths:
            raise CommandError(f"{directory} holds no <provider>/vms.csv")
        counts, skipped, refused, unreadable = Counter[str](), Counter[str](), Counter[str](), {}
        for path in paths:
            provider = path.parent.name
            try:
                with path.open(newline="", encoding="utf-8", errors="replace") as lines:
                    report, page = import_catalog(provider=provider, lines=lines, now=timezone.now())
            except (Rejected, csv.Error, OSError) as error:
                unreadable[provider] = str(error)
                self.stderr.write(f"{path}: {error}")
                continue
            counts.update(rows=report.rows, loaded=report.loaded, not_gpu=report.not_gpu)
            skipped.update(report.skipped)
            refused.update(page.skipped)
            self.stdout.write(
                f"{provider}: {report.rows:,} rows = {report.loaded:,} loaded + {report.not_gpu:,} not a GPU"
                f" + {sum(report.skipped.values()):,} skipped; {page.lines:,} offers"
            )
            for label, lines_of_it in page.unknown.most_common():
                self.stdout.write(f"  unknown accelerator, kept as it is: {label} ({lines_of_it:,} offers)")
        told: dict[str, Any] = {
            "loaded_rows": counts["loaded"],
            "skipped_rows": sum(skipped.values()),
            "not_gpu_rows": counts["not_gpu"],
            "offers": Offer.objects.filter(gone_at=None).count(),
            "skipped": dict(skipped.most_common()),
        }
        if refused:
            told["refused_offers"] = dict(refused)
        if unreadable:
            told["unreadable"] = unreadable
        self.stdout.write(json.dumps(told))
