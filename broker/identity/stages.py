"""A step of signing in that allauth has and we have differently."""

from __future__ import annotations

from typing import Any

from allauth.account.internal.flows.email_verification import get_address_for_user
from allauth.account.stages import EmailVerificationStage


class VerifyAnAddress(EmailVerificationStage):
    """Ask for a verified e-mail address, but not of a user without any: he was made by hand and knows a password."""

    def handle(self) -> Any:
        """Go on, or wait until the address is verified."""
        if self.login.user and get_address_for_user(self.login.user) is None:
            return None, True
        return super().handle()
