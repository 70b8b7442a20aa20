"""Make an API key for a user and print it: the only time that it can be seen."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from broker.identity.models import User
from broker.identity.operations import make_key, own_team
from broker.identity.scopes import OF_STAFF, SCOPES


class Command(BaseCommand):
    """Make a key for a user's own team, with some scopes, for some days; make the user if need be."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the user, the scopes and the days."""
        parser.add_argument("username")
        parser.add_argument("--name", default="made by hand", help="what it is for")
        parser.add_argument("--scopes", nargs="+", choices=SCOPES, default=["read"])
        parser.add_argument("--days", type=int, default=90, help="until it expires; 0 is never")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the key."""
        if options["days"] < 0:
            raise CommandError("--days: 0 or more")
        now = timezone.now()
        user, _ = User.objects.get_or_create(username=options["username"])
        expires_at = now + timedelta(days=options["days"]) if options["days"] else None
        scopes = tuple(options["scopes"])
        if OF_STAFF & set(scopes) and not user.is_staff:
            user.is_staff = True  # Who may type this is allowed to say so.
            user.save(update_fields=["is_staff"])
        _, key = make_key(
            membership=own_team(user=user, now=now),
            name=options["name"],
            scopes=scopes,
            expires_at=expires_at,
            now=now,
        )
        self.stdout.write(key)
