"""A cloud with accounts: the fake, behind an access key and a secret."""

from __future__ import annotations

from dataclasses import replace

import pytest

from offers import sightings
from providers import registry
from providers.base import Permission, Reason, Rejected, Unreachable
from providers.fake import Fake
from tests.providers.test_fake import LISTING

LINE = replace(LISTING, provider="acme")
SECRET = "s3cr3t-of-{}-0123456789"


def credentials(who: str) -> dict[str, str]:
    """Return what a team hands over; the id ends in its name."""
    return {"access_key_id": f"AKIA0000{who}", "secret_key": SECRET.format(who)}


class Acme(Fake):
    """Its machines stand in the account that rented them, whichever object asks. `broken`: ids that it refuses."""

    name = "acme"
    credentials = {"access_key_id": True, "secret_key": True, "region": False}
    broken: dict[str, Rejected | Unreachable] = {}
    denied: set[str] = set()
    rented_by: dict[str, dict] = {}
    read_by: list[str] = []
    orders: list[tuple[str, str]] = []

    def __init__(self, *, access_key_id: str, secret_key: str, region: str = "") -> None:
        if access_key_id.startswith("AKIA-"):
            raise Rejected(f"{secret_key} does not go with AKIA-", reason=Reason.AUTH)
        super().__init__(price_list=[LINE], history=[], capacity=60)
        self.access_key_id, self.secret_key = access_key_id, secret_key
        self.rented = Acme.rented_by.setdefault(access_key_id, {})

    def _sign_in(self):
        if self.access_key_id in Acme.broken:
            error = Acme.broken[self.access_key_id]
            # Some clouds say the key back.
            raise type(error)(f"{error}: {self.access_key_id} with {self.secret_key}", reason=error.reason)

    def listings(self):
        self._sign_in()
        Acme.read_by.append(self.access_key_id)
        return super().listings()

    def launch(self, order):
        self._sign_in()
        Acme.orders.append((self.access_key_id, order.key))
        return super().launch(order)

    def machines(self):
        self._sign_in()
        return super().machines()

    def check(self):
        self._sign_in()
        missing = self.access_key_id in Acme.denied
        why = f"not for {self.secret_key}" if missing else ""
        return [
            Permission(name="acme:List", granted=True),
            Permission(name="acme:Rent", granted=not missing, why=why),
            Permission(name="acme:End", granted=None, why="only ending one would tell"),
        ]


@pytest.fixture
def acme(monkeypatch, settings):
    """The cloud, known to the registry; nobody has an account there."""
    settings.PROVIDERS = {}
    monkeypatch.setitem(registry.PROVIDERS, "acme", f"{__name__}.Acme")
    for kept in (Acme.broken, Acme.denied, Acme.rented_by, Acme.read_by, Acme.orders, sightings._looks):
        kept.clear()
    return Acme
