"""Seal every account's credentials and every second factor anew with the first of GPUYARD_CREDENTIAL_KEYS."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from broker.identity.adapter import reseal_factors
from offers import accounts


class Command(BaseCommand):
    """Say how many were sealed, and fail when some could not be opened."""

    help = __doc__

    def handle(self, *args: Any, **options: Any) -> None:
        """Seal them."""
        done, closed = accounts.rotate()
        self.stdout.write(f"{done} accounts are sealed with the first key.")
        factors, lost = reseal_factors()
        self.stdout.write(f"{factors} second factors are sealed with the first key.")
        closed += lost
        if closed:
            raise CommandError(f"no key of ours opens: {'; '.join(closed)}")
