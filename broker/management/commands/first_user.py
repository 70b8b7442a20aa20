"""Make the first user, once, and print it as one JSON line."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from broker.identity import operations


class Command(BaseCommand):
    """Print {"username", "api_key", "password"}; key and password are there only when they were made just now."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the name."""
        parser.add_argument("--username", default="first")

    def handle(self, *args: Any, **options: Any) -> None:
        """Make the user or find it."""
        user, key, password = operations.first_user(username=options["username"], now=timezone.now())
        made = {"api_key": key, "password": password}
        shown = {"username": user.username} | {name: secret for name, secret in made.items() if secret}
        self.stdout.write(json.dumps(shown))
