"""
Verda (formerly DataCrunch): virtual machines with GPUs in the Nordic countries, at a fixed price or as spot.

Source: https://api.verda.com/v1/docs (OAuth, Instances, Startup Scripts, SSH Keys, Errors) and
https://docs.verda.com/cpu-and-gpu-instances. A machine's start-up script is an object of its own, made before it.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from providers import fields, http, verda_prices, verda_words
from providers.base import (
    LaunchOrder,
    Listing,
    Machine,
    Market,
    NoCapacity,
    Permission,
    PricePoint,
    ProviderError,
    Reason,
    Rejected,
    Unreachable,
    translated,
)
from providers.verda_login import Login


class Verda:
    """
    One project of an account. image: the machine's, by default one with CUDA that its type can run.

    usd_per_eur: the rate for prices that come in EUR though USD was asked for; without it they are skipped.
    """

    name = "verda"
    credentials = {"client_id": True, "client_secret": True, "image": False, "usd_per_eur": False}
    look_every_s = 20
    keeps_price_history = True

    def __init__(
        self, *, client_id: str, client_secret: str, image: str = "", usd_per_eur: str | Decimal | None = None,
        base_url: str = "https://api.verda.com/v1",
    ) -> None:  # fmt: skip
        self.image = image
        self.money = verda_prices.Money(usd_per_eur=fields.price(usd_per_eur) if usd_per_eur else None)
        self.skipped: Counter[str] = Counter()
        identity = hashlib.sha256(client_id.encode()).hexdigest()[:12]
        self._login = Login(client_id=client_id, client_secret=client_secret, base_url=base_url, identity=identity)
        self.client = http.Client(
            provider=self.name, base_url=base_url, authorize=self._login.headers, identity=identity, every_s=0.2,
            explain=verda_words.explain,
        )  # fmt: skip

    def listings(self) -> Iterable[Listing]:
        """Return a line per type, place and market, with a disk of 100 GiB in the price. Raises ProviderError."""
        self.skipped = Counter()
        now = datetime.now(UTC)
        types = verda_words.rows_of(self._get("/instance-types", currency="usd"))
        places, disk_usd = self._places(), self._disk_usd()
        return translated(
            types,
            lambda row: verda_prices.lines(row, money=self.money, disk_usd=disk_usd, places=places, now=now),
            self.skipped,
        )

    def launch(self, order: LaunchOrder) -> Machine:
        """Make a script and a machine under the key's name, unless there is one. Raises ProviderError."""
        name = verda_words.PREFIX + order.key
        found = self._ours(name)
        for row in found:
            if not verda_words.is_lost(row):
                return verda_words.machine_of(row)
        if found:
            self.terminate(order.key)
            raise NoCapacity(f"{order.machine_type} was not delivered", reason=Reason.SOLD_OUT)
        body = self._body(order, name)
        try:
            if order.startup_script:
                body["startup_script_id"] = self._script(name, order.startup_script)
            told = self._call("POST", "/instances", body=body, text=True)
        except (NoCapacity, Rejected):
            with contextlib.suppress(ProviderError):  # `terminate` will try again.
                self._drop_scripts(name)
            raise
        return self._made(order, verda_words.identifier_of(told))

    def machines(self) -> Iterable[Machine]:
        """Return the instances whose hostname is ours; one that Verda has discontinued is lost."""
        return [verda_words.machine_of(row) for row in self._ours() if not verda_words.is_lost(row)]

    def terminate(self, key: str) -> None:
        """Delete every instance of this key with its disks for good, and its script. Raises Unreachable."""
        for row in self._ours(verda_words.PREFIX + key):
            if row.get("status") != "deleting":
                self._delete(row)
        self._drop_scripts(verda_words.PREFIX + key)

    def price_history(self, *, since: datetime, until: datetime) -> Iterable[PricePoint]:
        """Return the changes of fixed prices, with today's price of the disk; nothing once Verda keeps none."""
        months = min(max((datetime.now(UTC) - since).days // 28 + 1, 1), 12)
        try:
            answer = self._get("/instance-types/price-history", num_of_months=months, currency="usd")
        except Rejected as error:
            if error.reason is Reason.BAD_REQUEST:  # Removed with the dynamic prices, as has been reported.
                return
            raise
        disk_usd = self._disk_usd()
        if not isinstance(answer, dict) or disk_usd is None:
            return
        places = self._places()
        for name, rows in answer.items():
            yield from verda_prices.points(
                name, rows, money=self.money, disk_usd=disk_usd, places=places, since=since, until=until
            )

    def check(self) -> list[Permission]:
        """Log in and read what the verbs read. Rents nothing."""
        found = []
        for path in ("/instance-types", "/instances", "/scripts", "/sshkeys"):
            try:
                self._get(path)
                found.append(Permission(name=f"GET {path}", granted=True))
            except Rejected as error:
                found.append(Permission(name=f"GET {path}", granted=False, why=str(error)))
        return [*found, Permission(name="POST /instances", granted=None, why="only renting a machine would tell")]

    def _get(self, path: str, **query: Any) -> Any:
        return self._call("GET", path, params=query)

    def _call(self, method: str, path: str, **options: Any) -> Any:
        """Ask; once more with a new token when the token that we have is not taken any more."""
        try:
            return self.client.call(method, path, **options)
        except Rejected as error:
            if error.status != 401 or not self._login.forget():
                raise
        return self.client.call(method, path, **options)

    def _places(self) -> verda_prices.Places:
        # One of the vendor's SDKs says isSpot, the other is_spot.
        free = [self._get("/instance-availability", isSpot=is_spot, is_spot=is_spot) for is_spot in ("false", "true")]
        return verda_prices.Places.read(self._get("/locations"), on_demand=free[0], spot=free[1])

    def _disk_usd(self) -> Decimal | None:
        try:
            return self.money.disk_usd(self._get("/volume-types"))
        except ValueError:
            return None

    def _body(self, order: LaunchOrder, name: str) -> dict[str, Any]:
        """Return the order in Verda's words. Raises NoCapacity (not sold), Rejected (dearer than agreed)."""
        types = verda_words.rows_of(self._get("/instance-types", currency="usd"))
        named = (row for row in types if isinstance(row, dict) and row.get("instance_type") == order.machine_type)
        row: Mapping[str, Any] = next(named, {})
        try:
            disk = self.money.disk_usd(self._get("/volume-types")) * order.disk_gib
            price = self.money.prices(row, disk).get(order.market) if row else None
        except (TypeError, ValueError, ArithmeticError):
            raise Unreachable(f"{order.machine_type} has no price that can be read", reason=Reason.OUTAGE) from None
        if price is None:
            raise NoCapacity(f"{order.machine_type} is not sold", reason=Reason.SOLD_OUT)
        if price > order.max_usd_per_hour:
            raise Rejected(f"{order.machine_type} costs {price} USD an hour", reason=Reason.PRICE)
        is_spot = order.market is Market.SPOT
        volume = {"name": name, "size": order.disk_gib}
        keys = verda_words.rows_of(self._get("/sshkeys"))
        return {
            "instance_type": order.machine_type,
            "image": self.image or verda_words.image_of(row.get("supported_os")),
            "hostname": name,
            "description": name,
            "location_code": order.region,
            "ssh_key_ids": [key["id"] for key in keys if isinstance(key, dict) and key.get("id")],
            "os_volume": volume | ({"on_spot_discontinue": "delete_permanently"} if is_spot else {}),
            "is_spot": is_spot,
            "contract": "SPOT" if is_spot else "PAY_AS_YOU_GO",
        }

    def _made(self, order: LaunchOrder, machine_id: str) -> Machine:
        """Look at a machine that was just made. Raises NoCapacity when it has failed at once; it is deleted then."""
        row: Mapping[str, Any] = {}
        with contextlib.suppress(ProviderError, ValueError):  # It is made; the next look will tell.
            row = fields.record(self._get(f"/instances/{machine_id}"))
        if verda_words.is_lost(row):
            self.terminate(order.key)
            raise NoCapacity(f"{order.machine_type}: {row.get('status')}", reason=Reason.SOLD_OUT)
        return verda_words.machine_of({**row, "id": machine_id, "hostname": verda_words.PREFIX + order.key})

    def _ours(self, name: str = "") -> list[Mapping[str, Any]]:
        """Return the instances with a hostname of ours, or the one. Raises Unreachable when the answer is no list."""
        rows = verda_words.all_of(self._get("/instances"))
        return [row for row in rows if (row.get("hostname") == name if name else verda_words.key_of(row))]

    def _script(self, name: str, script: str) -> str:
        """Return the identifier of a start-up script of this name and text, made where there is none."""
        for row in self._scripts(name):
            if row.get("script") == script:
                return str(row["id"])
        return verda_words.identifier_of(
            self._call("POST", "/scripts", body={"name": name, "script": script}, text=True)
        )

    def _scripts(self, name: str) -> list[Mapping[str, Any]]:
        rows = verda_words.all_of(self._get("/scripts"))
        return [row for row in rows if row.get("name") == name and row.get("id")]

    def _drop_scripts(self, name: str) -> None:
        for row in self._scripts(name):
            self._end("DELETE", f"/scripts/{row['id']}")

    def _delete(self, row: Mapping[str, Any]) -> None:
        machine_id, disks = fields.needed(row, "id", "verda"), verda_words.disks_of(row)
        body = {"id": [machine_id], "action": "delete", "volume_ids": disks, "delete_permanently": True}
        told = self._end("PUT", "/instances", body=body)
        for result in told if isinstance(told, list) else [told]:
            if isinstance(result, dict) and result.get("status") == "error":
                said = http.redacted(str(result))
                raise Unreachable(f"verda: {machine_id} was not deleted: {said}", reason=Reason.OUTAGE)

    def _end(self, method: str, path: str, **options: Any) -> Any:
        """Delete something; what is gone already is no error."""
        try:
            return self._call(method, path, **options)
        except Rejected as error:
            if error.status not in (404, 410):
                raise
        return None
