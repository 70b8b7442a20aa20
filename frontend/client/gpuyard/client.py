"""The SDK: one method for each call that a person or a program may make of a broker."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Self, cast
from urllib.parse import quote as quoted

from gpuyard import accounts, config, objects, quoting, stream
from gpuyard.asking import flag, sent
from gpuyard.errors import HashMismatch
from gpuyard.money import usd
from gpuyard.people_calls import PeopleCalls
from gpuyard.transport import BACKOFF_S, Call, Content

CHECK_TIMEOUT_S = 300.0  # The broker asks a cloud for one permission after the other.
UPLOAD_TIMEOUT_S = 600.0  # The broker reads and checks all of it before it answers.


class Client(PeopleCalls):
    """A broker's calls as methods. All of them raise a `gpuyard.errors.GpuyardError` of the kind the answer means.

    Money goes in as `Decimal` USD and comes out as decimal strings. A call that may be repeated without harm is
    repeated when the broker does not answer (`backoff_s`: the waits between attempts); any other is sent once.
    """

    @classmethod
    def from_config(cls, *, backoff_s: Sequence[float] = BACKOFF_S) -> Self:
        """A client with the address and key in force (see `gpuyard.config`). Raises: AuthError, InvalidConfig."""
        found = config.load()
        return cls(url=found.url, api_key=found.api_key, backoff_s=backoff_s)

    # Who

    def me(self) -> objects.Me:
        """Who the key belongs to, its scopes, and the credit."""
        return cast(objects.Me, self.read("/v1/me"))

    def schema(self) -> bytes:
        """The broker's OpenAPI document, as it is."""
        return self.transport.bytes(Call("GET", "/v1/schema", safe=True))

    def prometheus(self) -> str:
        """What the broker measures, in Prometheus' text format. Needs the scope `observe`."""
        call = Call("GET", "/metrics", headers={"Accept": "text/plain"}, safe=True)
        return self.transport.bytes(call).decode()

    # The market

    def offers(
        self, *, sort: str | None = None, limit: int | None = None, cursor: str | None = None, **filters: Any
    ) -> objects.Page:
        """One page of offers. Filters by name (`offer_filters`): gpu="H100", min_count=8, leasable=True."""
        return cast(objects.Page, self.read("/v1/offers", sort=sort, limit=limit, cursor=cursor, **sent(filters)))

    def offer_groups(self, *, by: str, **filters: Any) -> list[dict[str, Any]]:
        """A row for each group, cheapest first; by: of gpu, vendor, provider, region, country, market, with commas."""
        return cast(list[dict[str, Any]], self.read("/v1/offers", group_by=by, **sent(filters))["results"])

    def offer_facets(self, **filters: Any) -> dict[str, list[dict[str, Any]]]:
        """For each filter, the values that fitting offers have: {gpu: [{value, offers}...]}, most frequent first."""
        return cast(dict[str, list[dict[str, Any]]], self.read("/v1/offers/facets", **sent(filters)))

    def offer_sparks(self, offers: Sequence[int], *, days: float | None = None) -> dict[str, Any]:
        """What each offer cost per GPU-hour at 24 instants of the last days; None: it was not offered."""
        return cast(dict[str, Any], self.read("/v1/offers/sparks", offers=",".join(map(str, offers)), days=days))

    def offer_filters(self) -> list[dict[str, str]]:
        """Every filter of `offers` and what it means."""
        schema = self.transport.json(Call("GET", "/v1/schema.json", safe=True))
        parameters = schema["paths"]["/v1/offers"]["get"]["parameters"]
        return [{"name": each["name"], "help": each.get("description", "")} for each in parameters]

    def offers_stream(self, *, after: str | None = None, **filters: Any) -> Iterator[stream.Told]:
        """`offer` or `gone`, each with the Offer, as they change, for as long as it is read; a break is mended.

        `after`: the `place` of what was told last; without it, what changes from now on.
        """
        return stream.told(self.transport, "/v1/offers/stream", query=sent(filters), after=after)

    def price_history(self, gpu: str, *, days: float = 30, **wish: str | None) -> list[dict[str, Any]]:
        """Lines of {gpu, provider, region, market, points: [{at, min, median, max, prices}]}, USD per GPU-hour.

        wish: provider, region, market to narrow it; by = provider, region or market for a line each; width = hour, day.
        """
        return cast(list[dict[str, Any]], self.read("/v1/offers/history", gpu=gpu, days=days, **wish)["results"])

    def fetch_price_history(self, provider: str, *, days: int = 90) -> dict[str, Any]:
        """Have the broker fetch what a provider publishes of its prices. Needs the scope `operate`."""
        return cast(dict[str, Any], self.create("/v1/offers/history", {"provider": provider, "days": days}))

    def sources(self) -> list[dict[str, Any]]:
        """Where the offers come from, and how reading it goes."""
        return cast(list[dict[str, Any]], self.read("/v1/offers/sources")["results"])

    def quarantined(self) -> list[dict[str, Any]]:
        """Lines that are kept out of the book, with the reason."""
        return cast(list[dict[str, Any]], self.read("/v1/offers/quarantine")["results"])

    def put_catalog(self, provider: str, *, csv: bytes) -> objects.CatalogReport:
        """Replace a provider's catalog by this CSV (SkyPilot's schema). Needs the scope `operate`."""
        path = f"/v1/catalogs/{quoted(provider, safe='')}"
        call = Call("PUT", path, raw=csv, raw_type="text/csv", safe=True, answer_timeout_s=UPLOAD_TIMEOUT_S)
        return cast(objects.CatalogReport, self.transport.json(call))

    def create_quotes(self, need: objects.Need) -> objects.Quotes:
        """What it would cost to meet the need, best first. Raises: NeedUnmet, BudgetBelowCheapest."""
        return cast(objects.Quotes, self.create("/v1/quotes", need))

    def quote(self, quote_id: int) -> objects.Quote:
        """One quote."""
        return cast(objects.Quote, self.read(f"/v1/quotes/{quote_id}"))

    # The clouds: `broker` = the broker's own account instead of one's own; needs the scope `operate`

    def providers(self, *, broker: bool = False) -> list[accounts.Provider]:
        """Every cloud that machines can be rented at, and whose account is used for it."""
        return cast(list[accounts.Provider], self.rows("/v1/providers", broker=flag(broker)))

    def put_account(self, provider: str, *, credentials: Mapping[str, str], broker: bool = False) -> accounts.Provider:
        """Hand credentials over, in place of those before. Raises: InvalidRequest, Conflict (machines are rented)."""
        body = {"credentials": dict(credentials)}
        return cast(accounts.Provider, self.transport.json(account_call("PUT", provider, broker=broker, body=body)))

    def check_account(self, provider: str, *, broker: bool = False) -> accounts.Check:
        """What the account may do, as its cloud says; nothing is rented."""
        return cast(accounts.Check, self.transport.json(account_call("POST", provider, "/check", broker=broker)))

    def remove_account(self, provider: str, *, broker: bool = False) -> accounts.Provider:
        """Have the broker forget the credentials. Raises: NotFound, Conflict (machines are rented)."""
        return cast(accounts.Provider, self.transport.json(account_call("DELETE", provider, broker=broker)))

    # Reserved capacity

    def reservations(self) -> list[quoting.Reserved]:
        """What is reserved and paid for, oldest first; what is over is left out."""
        return cast(list[quoting.Reserved], self.rows("/v1/reservations"))

    def create_reservation(self, *, offer: int, machines: int, until: str) -> quoting.Reserved:
        """Tell of machines that are paid for until then, in RFC 3339. Not asked again by itself."""
        body = {"offer": offer, "machines": machines, "until": until}
        return cast(quoting.Reserved, self.create("/v1/reservations", body))

    def remove_reservation(self, reservation_id: int) -> quoting.Reserved:
        """Have the broker forget one; what runs keeps its price. Raises: NotFound."""
        return cast(quoting.Reserved, self.transport.json(Call("DELETE", f"/v1/reservations/{reservation_id}")))

    # The work

    def examples(self) -> list[dict[str, Any]]:
        """Programs to begin with, with their files: {name, title, about, script, args, need, requirements, files}."""
        return cast(list[dict[str, Any]], self.rows("/v1/examples"))

    def put_program(self, sha256: str, *, content: bytes) -> objects.StoredProgram:
        """Hand over a packed program (`gpuyard.pack.pack`). Raises: HashMismatch, InvalidRequest."""
        path = f"/v1/programs/{sha256}"
        call = Call("PUT", path, raw=content, raw_type="application/gzip", safe=True, answer_timeout_s=UPLOAD_TIMEOUT_S)
        return cast(objects.StoredProgram, self.transport.json(call))

    def keep_profile(self, sha256: str, profile: Mapping[str, Any]) -> dict[str, Any]:
        """Keep what a probe measured of a program that was handed over. Raises: NotFound, InvalidRequest."""
        call = Call("PUT", f"/v1/programs/{sha256}/profile", body=profile, safe=True)
        return cast(dict[str, Any], self.transport.json(call))

    def create_workload(
        self,
        *,
        quote: int,
        program: str,
        script: str,
        args: Sequence[str] = (),
        name: str | None = None,
        budget_usd: Decimal | None = None,
        priority: int = 0,
        resume: objects.Resumed | None = None,
        idempotency_key: str | None = None,
    ) -> objects.Workload:
        """Order. With the same idempotency key (default: a new one) it is ordered once, however often it is asked.

        `resume` names a version of another workload to go on from; what is merged in it is not trained on again.
        Raises: QuoteExpired, QuoteTaken, CreditExhausted, IdempotencyConflict, InvalidRequest, NotFound.
        """
        body: dict[str, Any] = {"quote": quote, "program": program, "script": script, "args": list(args)}
        if name is not None:
            body["name"] = name
        if budget_usd is not None:
            body["budget_usd"] = usd(budget_usd)
        if priority:
            body["priority"] = priority
        if resume is not None:
            body["resume"] = resume
        return cast(objects.Workload, self.create("/v1/workloads", body, key=idempotency_key, safe=True))

    def workloads(self, *, state: str | None = None, cursor: str | None = None) -> objects.Page:
        """One page of workloads."""
        return cast(objects.Page, self.read("/v1/workloads", state=state, cursor=cursor))

    def workload(self, workload_id: int) -> objects.Workload:
        """One workload."""
        return cast(objects.Workload, self.read(f"/v1/workloads/{workload_id}"))

    def stop_workload(self, workload_id: int) -> objects.Workload:
        """Ask it to end; asking twice equals asking once."""
        return cast(objects.Workload, self.transport.json(Call("POST", f"/v1/workloads/{workload_id}/stop", safe=True)))

    def events(self, workload_id: int, *, after: int | None = None, limit: int | None = None) -> list[objects.Event]:
        """What moved, and why, oldest first, with an id larger than `after`."""
        return cast(list[objects.Event], self.rows(f"/v1/workloads/{workload_id}/events", after=after, limit=limit))

    def decisions(self, workload_id: int, *, after: int | None = None, limit: int | None = None) -> list[objects.Event]:
        """What was decided for it and on which figures, oldest first, with an id larger than `after`."""
        path = f"/v1/workloads/{workload_id}/decisions"
        return cast(list[objects.Event], self.rows(path, after=after, limit=limit))

    def logs(self, workload_id: int, *, after: int | None = None, limit: int | None = None) -> list[objects.LogLine]:
        """What its nodes wrote, oldest first, with an id larger than `after`."""
        return cast(list[objects.LogLine], self.rows(f"/v1/workloads/{workload_id}/logs", after=after, limit=limit))

    def metrics(
        self, workload_id: int, *, after: int | None = None, limit: int | None = None
    ) -> list[objects.MetricRow]:
        """What its sites reported, oldest first, with an id larger than `after`."""
        path = f"/v1/workloads/{workload_id}/metrics"
        return cast(list[objects.MetricRow], self.rows(path, after=after, limit=limit))

    def rounds(self, workload_id: int) -> list[objects.Round]:
        """Its synchronisations across sites, with who brought what."""
        return cast(list[objects.Round], self.rows(f"/v1/workloads/{workload_id}/rounds"))

    def workload_stream(self, workload_id: int, *, after: str | None = None) -> Iterator[stream.Told]:
        """`workload`, `event`, `metric`, `log`, `round` as they come, each with its object, and `end`, the last one.

        A broker may begin with `history`: what was before, thinned out. Kinds that one does not know are to be ignored.
        `after`: the `place` of what was told last. `gpuyard.watch.Follower` also gets along without this address.
        """
        return stream.told(self.transport, f"/v1/workloads/{workload_id}/stream", query={}, after=after)

    def artifacts(self, workload_id: int) -> list[objects.Artifact]:
        """What it left, newest first."""
        return cast(list[objects.Artifact], self.rows(f"/v1/workloads/{workload_id}/artifacts"))

    def artifact_content(self, artifact_id: int, *, start: int = 0) -> Content:
        """An artifact's bytes from offset `start` on, while they arrive; `gpuyard.pull` keeps and verifies them."""
        return self.content(f"/v1/artifacts/{artifact_id}/content", start=start)

    def artifact(self, artifact_id: int) -> objects.Artifact:
        """One artifact."""
        return cast(objects.Artifact, self.read(f"/v1/artifacts/{artifact_id}"))

    def versions(self, workload_id: int) -> objects.Versions:
        """Which versions of its parameters can be had, also while it runs; `gpuyard.versions.pull` brings one home."""
        return cast(objects.Versions, self.read(f"/v1/workloads/{workload_id}/versions"))

    def version(self, workload_id: int, version: int) -> objects.Version:
        """What leads to its parameters at a version. Raises: NotFound, which names the versions that can be had."""
        return cast(objects.Version, self.read(f"/v1/workloads/{workload_id}/versions/{version}"))

    def object_content(self, workload_id: int, sha256: str, *, start: int = 0) -> Content:
        """The bytes of a snapshot or an update from offset `start` on, while they arrive."""
        return self.content(f"/v1/workloads/{workload_id}/objects/{sha256}", start=start)

    def program(self, sha256: str, *, verify: bool = True) -> bytes:
        """A packed program (.tar.gz) that one handed over. Raises: HashMismatch, NotFound."""
        content = self.transport.bytes(Call("GET", f"/v1/programs/{sha256}", safe=True))
        if verify and hashlib.sha256(content).hexdigest() != sha256:
            raise HashMismatch(f"the program should be {sha256}, but other bytes arrived")
        return content

    def program_of(self, workload_id: int) -> bytes:
        """The packed program (.tar.gz) that a workload runs. Raises: HashMismatch."""
        return self.program(self.workload(workload_id)["program"])

    # The supply

    def supplier(self) -> objects.Supplier:
        """You as a supplier: hosts, their use, and what is owed to you."""
        return cast(objects.Supplier, self.read("/v1/suppliers/me"))

    def create_host(
        self,
        *,
        name: str,
        region: str,
        usd_per_hour: Decimal,
        country: str | None = None,
        idempotency_key: str | None = None,
    ) -> objects.Host:
        """Offer a machine of one's own; the answer holds its `enrol_token`, once. Not asked again by itself."""
        body = {"name": name, "region": region, "usd_per_hour": usd(usd_per_hour)}
        if country is not None:
            body["country"] = country
        return cast(objects.Host, self.create("/v1/hosts", body, key=idempotency_key))

    def renew_host_token(self, host_id: int) -> objects.Host:
        """A new `enrol_token` for a machine whose agent did not come yet; the one before is dead."""
        return cast(objects.Host, self.transport.json(Call("POST", f"/v1/hosts/{host_id}/token")))

    def hosts(self, *, cursor: str | None = None) -> objects.Page:
        """One page of one's own machines."""
        return cast(objects.Page, self.read("/v1/hosts", cursor=cursor))

    def host_earnings(self, host_id: int, *, days: int | None = None) -> list[dict[str, Any]]:
        """What a machine earned and for how long it was rented, day by day in UTC, today last."""
        return cast(list[dict[str, Any]], self.rows(f"/v1/hosts/{host_id}/earnings", days=days))

    def reclaim_host(self, host_id: int, *, notice_s: int = 30) -> objects.Host:
        """Take a machine back after `notice_s` seconds; 0 = at once."""
        return cast(
            objects.Host, self.transport.json(Call("POST", f"/v1/hosts/{host_id}/reclaim", body={"notice_s": notice_s}))
        )

    def return_host(self, host_id: int) -> objects.Host:
        """Offer a reclaimed machine again."""
        return cast(objects.Host, self.transport.json(Call("POST", f"/v1/hosts/{host_id}/return")))

    def wheel(self) -> objects.Wheel:
        """Which package a host installs: the one of this broker's version."""
        return cast(objects.Wheel, self.read("/dl/"))

    def wheel_content(self, wheel: str) -> bytes:
        """The package itself, as `wheel()` named it."""
        return self.transport.bytes(Call("GET", f"/dl/{quoted(wheel.removeprefix('/dl/'))}", safe=True))

    # The money

    def ledger(
        self, *, workload: int | None = None, after: int | None = None, limit: int | None = None
    ) -> objects.Ledger:
        """One's own ledger rows, oldest first, with an id larger than `after`."""
        return cast(objects.Ledger, self.read("/v1/ledger", workload=workload, after=after, limit=limit))

    def bill(self, workload_id: int) -> objects.Bill:
        """What a workload cost, lease by lease."""
        return cast(objects.Bill, self.read(f"/v1/workloads/{workload_id}/bill"))


def account_call(
    method: str, provider: str, more: str = "", *, broker: bool, body: Mapping[str, Any] | None = None
) -> Call:
    """A call about an account; it may be repeated, but for a removal, of which the second would find nothing."""
    return Call(
        method,
        f"/v1/providers/{quoted(provider, safe='')}{more}",
        query={"broker": flag(broker)},
        body=body,
        safe=method != "DELETE",
        answer_timeout_s=CHECK_TIMEOUT_S,
    )
