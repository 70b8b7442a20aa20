"""Make the first user, once, and print it as one JSON line."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from broker.identity import operations


class Command(BaseCommand):
    """Print {"username", "api_key"}; the key is there only when the user was made just now."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the name."""
        parser.add_argument("--username", default="first")

    def handle(self, *args: Any, **options: Any) -> None:
        """Make the user or find it."""
        user, key = operations.first_user(username=options["username"], now=timezone.now())
        shown = {"username": user.username} | ({"api_key": key} if key else {})
        self.stdout.write(json.dumps(shown))
