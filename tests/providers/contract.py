"""What every adapter must prove. Subclass it, give it a `provider`, an `order` and its troubles, and it is tested."""

from __future__ import annotations

import contextlib
import itertools
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from providers import http
from providers.base import (
    LaunchOrder,
    Listing,
    Machine,
    MachineState,
    Market,
    NoCapacity,
    PriceList,
    ProviderError,
    Reason,
    Rejected,
    Unreachable,
)
from tests.providers.cloud import Reply, spoilt

MUTATIONS = int(os.environ.get("MUTATIONS", "300"))  # `make mutations` tries 10,000.
ERRORS = {
    "sold_out": (NoCapacity, Reason.SOLD_OUT),
    "quota": (NoCapacity, Reason.QUOTA),
    "bad_request": (Rejected, Reason.BAD_REQUEST),
    "auth": (Rejected, Reason.AUTH),
    "money": (Rejected, Reason.MONEY),
    "rate_limit": (Unreachable, Reason.RATE_LIMIT),
    "outage": (Unreachable, Reason.OUTAGE),
}
MARKED = "b1a2c3-lease-123"  # As offers.marks writes a key: this broker's mark, then the lease.
LONGEST = "b1a2c3-lease-" + "7" * 27  # LaunchOrder.key has at most 40 characters.
NO_LISTS = (None, [], {}, [None], {"error": "busy"}, {"error": {"code": "busy"}}, "busy", 7)
NO_ROWS = (None, {}, [None], ["busy"], {"error": "busy"}, "busy", 7)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    """Pauses are counted elsewhere; here nobody waits for them."""
    monkeypatch.setattr("providers.http.time.sleep", lambda seconds: None)


def assert_sound(listing: Any, name: str) -> None:
    """A listing that may enter the book, whatever the provider sent."""
    assert isinstance(listing, Listing)
    assert listing.provider == name
    for text in (listing.region, listing.machine_type, listing.accelerator_label):
        assert isinstance(text, str), listing
        assert text, listing
    for text in (listing.zone, listing.country, listing.term, listing.interconnect):
        assert isinstance(text, str), listing
    assert isinstance(listing.usd_per_hour, Decimal), listing
    assert isinstance(listing.accelerator_count, int), listing
    assert not isinstance(listing.accelerator_count, bool), listing
    for number in (listing.memory_gib, listing.vcpus, listing.ram_gib, listing.disk_gib, listing.boot_s,
                   listing.interruptions_per_hour, listing.placement_score, listing.reliability):  # fmt: skip
        assert number is None or isinstance(number, int | float), listing
    assert listing.available is None or isinstance(listing.available, int), listing
    assert listing.seen_at.tzinfo is not None, listing


def _without_id(body: Any, field: str, key: str, junk: Any) -> Any:
    """Return an answer in which each row that holds a key has junk for an identifier."""
    if isinstance(body, list):
        return [_without_id(row, field, key, junk) for row in body]
    if isinstance(body, dict):
        changed = {name: _without_id(value, field, key, junk) for name, value in body.items()}
        return changed | ({field: junk} if f"gpuyard-{key}" in body.values() else {})
    return body


class PriceListContract:
    """For everything that has a price list. `cloud` is the fake that the price list asks, or None."""

    @pytest.fixture
    def cloud(self) -> Any:
        return None

    @pytest.fixture
    def provider(self) -> PriceList:
        raise NotImplementedError

    def test_listings_are_priced_and_counted(self, provider):
        lines = list(provider.listings())

        assert lines
        for listing in lines:
            assert_sound(listing, provider.name)
            assert listing.usd_per_hour > 0, listing
            assert listing.accelerator_count > 0, listing
            assert listing.seen_at.utcoffset() == UTC.utcoffset(None), listing

    def test_a_line_has_one_name(self, provider):
        names = [(line.region, line.zone, line.machine_type, line.market, line.term) for line in provider.listings()]

        assert len(names) == len(set(names))

    def test_whatever_the_answers_hold_a_poll_ends_well(self, provider, cloud, monkeypatch):
        """Spoils the answers of a fake over HTTP; an adapter that speaks otherwise overrides it."""
        assert cloud is not None, "an adapter without an HTTP fake overrides this test"
        session = cloud.session()
        monkeypatch.setattr(http, "_session", lambda name: session)

        @settings(
            max_examples=MUTATIONS,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(seed=st.integers(min_value=0, max_value=2**63))
        def poll(seed: int) -> None:
            random = Random(seed)
            cloud.spoil = lambda body: spoilt(body, random)
            try:
                for listing in provider.listings():
                    assert_sound(listing, provider.name)
            except ProviderError:
                pass  # An error of ours is a good end.

        poll()
        cloud.spoil = None

    @pytest.mark.django_db
    def test_every_line_of_its_page_enters_the_book_under_a_name_that_we_know(self, provider):
        from offers import poll
        from offers.models import Offer

        page = poll.poll(provider, now=datetime.now(UTC), every=timedelta(minutes=5))

        assert page is not None
        assert page.lines == Offer.objects.count() > 0
        assert not page.unknown
        assert not page.quarantined


class ProviderContract(PriceListContract):
    """For everything at which machines can be rented."""

    impossible: tuple[str, ...] = ()  # Troubles that this cloud cannot make, each with the reason in a comment.
    list_path = ""  # Where the machines of an account are listed, as a pattern; a GET.
    list_name = ""  # The name of the list in that answer; empty: the answer is the list.
    list_id = ""  # The field of a row by which its machine is ended; empty where that is the name.
    looks_before_it_ends = True  # Whether terminate() reads that list.

    @pytest.fixture
    def order(self) -> LaunchOrder:
        raise NotImplementedError

    def make_trouble(self, cloud: Any, trouble: str) -> None:
        """Arrange that the next launch meets a trouble of ERRORS, or "lost_answer": it works and nobody hears it."""
        raise NotImplementedError

    def give_past(self, cloud: Any) -> None:
        """Let a fake of a cloud that publishes what its prices were have published some lately, if it has not."""

    def settle(self, cloud: Any) -> None:
        """Let the machines of the fake boot: afterwards they run and have an address."""
        raise NotImplementedError

    def add_foreign_machine(self, cloud: Any) -> None:
        """Put a machine of somebody else into the account, one without a key of ours."""
        raise NotImplementedError

    def another(self, order: LaunchOrder, key: str) -> LaunchOrder:
        """An order that differs from this one in its key, and in what a second machine must differ in at this cloud."""
        return replace(order, key=key)

    def test_the_same_key_buys_one_machine(self, provider, order):
        first = provider.launch(order)
        second = provider.launch(order)

        assert first.key == second.key == order.key
        assert first.machine_id == second.machine_id
        assert [machine.key for machine in provider.machines()] == [order.key]

    def test_another_key_buys_another_machine(self, provider, order):
        one = provider.launch(order)
        two = provider.launch(self.another(order, "lease-4711"))

        assert one.machine_id != two.machine_id
        assert {machine.key for machine in provider.machines()} == {order.key, "lease-4711"}

    def test_a_machine_boots_and_then_has_an_address(self, provider, order, cloud):
        assert provider.launch(order).state in (MachineState.BOOTING, MachineState.RUNNING)

        self.settle(cloud)

        (machine,) = provider.machines()
        assert machine.state is MachineState.RUNNING
        assert machine.address

    def test_terminating_twice_is_terminating_once(self, provider, order, cloud):
        provider.launch(order)
        self.settle(cloud)

        provider.terminate(order.key)
        provider.terminate(order.key)

        assert not [machine for machine in provider.machines() if machine.state is not MachineState.STOPPING]

    def test_terminating_what_never_was_is_not_an_error(self, provider):
        provider.terminate("lease-9999")

    def test_a_stranger_in_the_account_is_left_alone(self, provider, order, cloud):
        self.add_foreign_machine(cloud)

        provider.launch(order)

        assert [machine.key for machine in provider.machines()] == [order.key]

    @pytest.mark.parametrize("key", [MARKED, LONGEST])
    def test_a_marked_key_is_found_and_ended_and_no_other_one(self, provider, order, cloud, key):
        """A broker puts its mark before its keys (offers.marks), so that several can share an account."""
        self.add_foreign_machine(cloud)
        bare = self.another(order, key.partition("-")[2])
        marked = provider.launch(replace(order, key=key))
        other = provider.launch(bare)
        self.settle(cloud)

        again = provider.launch(replace(order, key=key))
        assert (again.key, again.machine_id) == (key, marked.machine_id)
        assert {(one.key, one.machine_id) for one in provider.machines()} == {
            (key, marked.machine_id),
            (bare.key, other.machine_id),
        }

        provider.terminate(key[:-1])
        provider.terminate(bare.key)
        assert [one.key for one in provider.machines() if one.state is not MachineState.STOPPING] == [key]

        provider.terminate(key)
        assert not [one for one in provider.machines() if one.state is not MachineState.STOPPING]

    def test_a_list_of_another_shape_is_no_empty_account(self, provider, order, cloud):
        """What is not listed counts as gone, so that an answer that cannot be read must be an error."""
        assert self.list_path, "an adapter that does not speak HTTP overrides this test"
        provider.launch(order)
        # An empty list is an empty account where it is the whole answer.
        answers = [shape for shape in NO_LISTS if shape != [] or self.list_name]
        for answer in answers + [{self.list_name: rows} for rows in NO_ROWS if self.list_name]:
            cloud.trouble = [("GET", self.list_path, Reply(answer))] * http.TRIES
            with pytest.raises(ProviderError):
                list(provider.machines())
            cloud.trouble = [("GET", self.list_path, Reply(answer))] * http.TRIES
            if self.looks_before_it_ends:
                with pytest.raises(ProviderError):
                    provider.terminate(order.key)
            cloud.trouble = []

        assert [machine.key for machine in provider.machines()] == [order.key]

    @pytest.mark.parametrize("junk", [None, "", {}])
    def test_a_machine_that_cannot_be_named_does_not_seem_gone(self, provider, order, cloud, monkeypatch, junk):
        if not self.list_id:
            return
        provider.launch(order)
        session = cloud.session()
        monkeypatch.setattr(http, "_session", lambda name: session)
        cloud.spoil = lambda body: _without_id(body, self.list_id, order.key, junk)

        assert [machine.key for machine in provider.machines()] == [order.key]
        with pytest.raises(ProviderError):
            provider.terminate(order.key)

    def test_whatever_the_answers_hold_a_look_ends_well(self, provider, order, cloud, monkeypatch):
        """Spoils what is answered to every verb but the prices: none raises anything but an error of ours."""
        session, numbers = cloud.session(), itertools.count(1)
        monkeypatch.setattr(http, "_session", lambda name: session)

        @settings(max_examples=MUTATIONS // 10, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(seed=st.integers(min_value=0, max_value=2**63))
        def look(seed: int) -> None:
            random, wanted = Random(seed), replace(order, key=f"lease-{next(numbers)}")
            with contextlib.suppress(ProviderError):
                provider.launch(wanted)
            cloud.spoil = lambda body: spoilt(body, random)
            for verb in (lambda: provider.launch(wanted), lambda: provider.terminate(wanted.key), provider.check):
                with contextlib.suppress(ProviderError):
                    verb()
            with contextlib.suppress(ProviderError):
                assert all(isinstance(one, Machine) and isinstance(one.key, str) for one in provider.machines())
            cloud.spoil = None
            with contextlib.suppress(ProviderError):
                provider.terminate(wanted.key)
            self.settle(cloud)

        look()

    @pytest.mark.parametrize("trouble", ERRORS)
    def test_a_trouble_is_told_apart(self, provider, order, cloud, trouble):
        if trouble in self.impossible:
            return
        kind, reason = ERRORS[trouble]
        for _ in range(http.TRIES):  # A trouble that is worth asking again must last.
            self.make_trouble(cloud, trouble)

        with pytest.raises(kind) as caught:
            provider.launch(order)

        assert type(caught.value) is kind
        assert caught.value.reason is reason
        for secret in self.secrets():
            assert secret not in f"{caught.value} {caught.value!r}"

    def test_a_launch_that_nobody_heard_of_is_found_again(self, provider, order, cloud):
        self.make_trouble(cloud, "lost_answer")

        try:
            provider.launch(order)
        except Unreachable:
            provider.launch(order)

        assert [machine.key for machine in provider.machines()] == [order.key]

    def test_an_error_names_no_secret(self, provider, order, cloud):
        self.make_trouble(cloud, "bad_request")

        with pytest.raises(ProviderError) as caught:
            provider.launch(order)

        for secret in self.secrets():
            assert secret not in str(caught.value)
            assert secret not in repr(caught.value)

    def test_no_secret_is_in_its_words(self, provider):
        parts = [provider, *vars(provider).values()]
        parts += [part for one in parts for name, part in getattr(one, "__dict__", {}).items() if "account" in name]

        for secret in self.secrets():
            assert not [part for part in parts if secret in f"{part} {part!r}"]

    def secrets(self) -> tuple[str, ...]:
        """The credentials that the provider was made with."""
        raise NotImplementedError

    @pytest.mark.django_db
    def test_the_past_that_it_publishes_joins_its_lines(self, provider, cloud):
        from offers import history, poll

        self.give_past(cloud)
        now = datetime.now(UTC)
        poll.poll(provider, now=now, every=timedelta(minutes=5))

        kept = history.import_published(provider, since=now - timedelta(days=90), until=now)

        assert kept.read == kept.kept + kept.known + kept.no_line + kept.unfit
        assert bool(kept.kept) is provider.keeps_price_history

    def test_check_tells_what_may_be_done(self, provider):
        permissions = provider.check()

        assert permissions
        assert not [permission for permission in permissions if permission.granted is False]

    def test_a_dearer_machine_than_agreed_is_refused(self, provider, order):
        if order.market is Market.SPOT:
            return  # The cloud itself keeps to our highest price.
        with pytest.raises(Rejected) as caught:
            provider.launch(replace(order, max_usd_per_hour=Decimal("0.000001")))

        assert caught.value.reason is Reason.PRICE
        assert not list(provider.machines())
