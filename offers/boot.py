"""A machine at a cloud, from its key to the agent that calls home: what it boots with, and what lets it in."""

from __future__ import annotations

import base64
import hmac
import shlex
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from django.conf import settings
from django.db import transaction

from offers.models import Host, Rental
from offers.operations import ENROL_TTL, hashed

SCRIPT = Path(__file__).with_suffix(".sh")


def token_of(key: str) -> str:
    """Return the token that enrols the machine of this key, the same at every asking: a launch may be repeated."""
    digest = hmac.digest(settings.SECRET_KEY.encode(), f"enrol:{key}".encode(), "sha256")
    return f"yh_{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


def startup_script(*, key: str) -> str:
    """
    Return the bash script that a machine runs as root at its first boot: it fetches our agent and keeps it running.

    The same text at every asking: EC2 refuses a repeated launch whose parameters have changed
    (IdempotentParameterMismatch, https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-idempotency.html).
    """
    set_here = {"BROKER": settings.PUBLIC_URL.rstrip("/"), "TOKEN": token_of(key), "KEY": key}
    lines = "\n".join(f"{name}={shlex.quote(value)}" for name, value in set_here.items())
    return SCRIPT.read_text().replace("# The broker sets BROKER, TOKEN and KEY here.", lines, 1)


@transaction.atomic
def prepare_machine(
    *, key: str, provider: str, region: str, country: str, usd_per_hour: Decimal, now: datetime
) -> Host:
    """Expect an agent from the machine that is about to be launched with this key. Asking twice is asking once."""
    rental = Rental.objects.select_related("host").filter(key=key).first()
    if rental is None:
        host = Host.objects.create(
            supplier=None,
            name=key,
            region=f"{provider}/{region}"[:64],
            country=country,
            usd_per_hour=usd_per_hour,
            created_at=now,
            enrol_token_sha256=hashed(token_of(key)),
            enrol_expires_at=now + ENROL_TTL,
        )
        rental = Rental.objects.create(host=host, key=key, began_at=now)
    return rental.host


@transaction.atomic
def end_machine(*, key: str, now: datetime) -> None:
    """End the rental of a cloud's machine and let its agent in no more. Does nothing to a supplier's host."""
    for rental in Rental.objects.filter(key=key, ended_at=None, host__supplier=None):
        Rental.objects.filter(pk=rental.pk).update(ended_at=now)
        Host.objects.filter(pk=rental.host_id).update(key_sha256="", enrol_expires_at=now)
