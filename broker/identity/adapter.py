"""
The door to django-allauth: what is particular to us in signing up and signing in.

Source: https://docs.allauth.org/en/latest/account/adapter.html and .../mfa/adapter.html
"""

from __future__ import annotations

import logging
import smtplib
from typing import Any

from allauth.account import app_settings as account_settings
from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.models import EmailAddress
from allauth.core import ratelimit
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone

from broker.api.errors import Refused, plain
from broker.identity import operations
from broker.identity.models import User
from offers import sealing

logger = logging.getLogger(__name__)
VERIFYING = "allauth.account.stages.EmailVerificationStage"
SEALED = ("secret", "seed")  # Where allauth keeps a TOTP secret and the recovery codes' seed.


class People(DefaultAccountAdapter):
    """How accounts are made, and how they are written to."""

    def save_user(self, request: HttpRequest, user: User, form: Any, commit: bool = True) -> User:
        """Make the user together with a team of his own."""
        with transaction.atomic():
            made: User = super().save_user(request, user, form, commit)
            operations.welcome(user=made, now=timezone.now())
        return made

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Send a mail; a mail server that does not take it is told as such."""
        try:
            super().send_mail(template_prefix, email, context)
        except (OSError, smtplib.SMTPException) as error:
            logger.error("mail.failed template=%s error=%s", template_prefix, error)
            message = "the mail server did not take the mail"
            raise ImmediateHttpResponse(plain(Refused(503, "mail_failed", message, "try again later"))) from None

    def get_login_stages(self) -> list[str]:
        """Return the steps of a sign-in: who has no e-mail address is not asked to verify it."""
        ours = "broker.identity.stages.VerifyAnAddress"
        return [ours if stage == VERIFYING else stage for stage in super().get_login_stages()]


class Factors(DefaultMFAAdapter):
    """How secrets of second factors are kept: encrypted, like credentials of clouds."""

    def encrypt(self, text: str) -> str:
        """Seal a secret."""
        return sealing.seal({"text": text}).decode()

    def decrypt(self, encrypted_text: str) -> str:
        """Open it. Raises CredentialsSealedWithAnotherKey."""
        return sealing.opened(encrypted_text.encode(), whose="a second factor")["text"]


def reseal_factors() -> tuple[int, list[str]]:
    """Seal every second factor's secrets with the first key; return how many, and those that no key of ours opens."""
    done, closed = 0, []
    for row in Authenticator.objects.select_related("user"):
        whose = f"the second factor of {row.user.username}"
        try:
            sealed = {name: row.data[name] for name in SEALED if name in row.data}
            row.data |= {name: sealing.resealed(one.encode(), whose=whose).decode() for name, one in sealed.items()}
        except sealing.CredentialsSealedWithAnotherKey:
            closed.append(whose)
            continue
        row.save(update_fields=["data"])
        done += 1
    return done, closed


def addresses_of(user: User) -> set[str]:
    """Return the user's e-mail addresses in lower case: where addresses must be verified, only those that are."""
    rows = EmailAddress.objects.filter(user=user)
    if account_settings.EMAIL_VERIFICATION == account_settings.EmailVerificationMethod.MANDATORY:
        return {row.email.lower() for row in rows.filter(verified=True)}
    return {row.email.lower() for row in rows} | ({user.email.lower()} if user.email else set())


def mail(prefix: str, email: str, context: dict[str, Any]) -> bool:
    """Send the mail of the templates `<prefix>_subject.txt` and `<prefix>_message.txt`; return whether it went out."""
    try:
        People().send_mail(prefix, email, context)
    except ImmediateHttpResponse:
        return False
    return True


def may_invite(request: HttpRequest) -> bool:
    """Count an invitation of the signed-in user's; return whether it is within his limit."""
    return bool(ratelimit.consume(request, action="invite", user=request.user))
