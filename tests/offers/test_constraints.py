from __future__ import annotations

from decimal import Decimal

import pytest

from offers.matching.book import Book
from offers.matching.constraints import Scope, Sieve, sieve
from offers.matching.estimate import UNKNOWN, Speed
from offers.matching.need import Need
from tests.offers.some_offers import book, offer


def held(need: Need, a_book: Book, *, scope: Scope | None = None, speed: Speed = UNKNOWN) -> Sieve:
    return sieve(need, a_book, speed=speed, scope=scope or Scope())


def left(found: Sieve, **more: str) -> set[int]:
    return {int(pk) for pk in found.book.id[found.passing(**more)]}


MIXED = book(
    offer(1, provider="aws", region="us", country="US", chip="H100-SXM", memory_gib=80.0, usd=4, count=8,
          interconnect="nvlink"),
    offer(2, provider="gcp", region="eu", country="DE", chip="A100-40GB", memory_gib=40.0, usd=2, market="spot"),
    offer(3, provider="vast", region="eu", country="NO", chip="H100-PCIE", memory_gib=80.0, usd=1, market="spot"),
    offer(4, provider="supplier", region="ada/oslo", country="", chip="T4", memory_gib=None, usd=0.5, market="spot"),
)  # fmt: skip


class TestAKnownSpeed:
    """What ran on a processor says nothing of other chips."""

    BOOK = book(offer(1, chip="CPU"), offer(2, chip="H100-SXM"), offer(3, chip="T4"))
    SPEED = Speed(source="measured", by_accelerator={"CPU": 5.0})

    def test_keeps_what_is_known_where_anything_is(self):
        assert left(held(Need(samples=9), self.BOOK, speed=self.SPEED)) == {1}

    def test_rules_out_nothing_where_nothing_that_is_wanted_is_known(self):
        need = Need(samples=9, accelerator="H100")

        assert left(held(need, self.BOOK, speed=self.SPEED)) == {2}

    def test_a_chip_that_is_gone_from_the_book_does_not_count(self):
        smaller = self.BOOK.changed([], gone=[1])

        assert left(held(Need(samples=9), smaller, speed=self.SPEED)) == {2, 3}


class TestSieve:
    @pytest.mark.parametrize(
        ("need", "constraint", "stays"),
        [
            (Need(accelerator="H100"), "accelerator: H100", {1, 3}),
            (Need(accelerator=("H100 PCIe", "t4")), "accelerator: H100 PCIe, t4", {3, 4}),
            (Need(min_memory_gib=80), "min_memory_gib: 80", {1, 3}),
            (Need(interconnect="NVLink", accelerators_per_site=2), "interconnect: NVLink", {1}),
            (Need(offers=(2, 3, 99)), "offers: the 3 picked", {2, 3}),
            (Need(providers=("AWS", "gcp")), "providers: AWS, gcp", {1, 2}),
            (Need(not_providers=("vast",)), "not_providers: vast", {1, 2, 4}),
            (Need(regions=("eu",)), "regions: eu", {2, 3}),
            (Need(not_regions=("eu",)), "not_regions: eu", {1, 4}),
            (Need(countries=("de", "us")), "countries: de, us", {1, 2}),
            (Need(not_countries=("US",)), "not_countries: US", {2, 3, 4}),
            (Need(residency="EU"), "residency: EU", {2}),
            (Need(residency="EEA"), "residency: EEA", {2, 3}),
            (Need(markets=("on_demand",)), "markets: on_demand", {1}),
            (Need(max_spot_share=0), "max_spot_share: 0", {1}),
            (Need(tiers=("secure",)), "tiers: secure", {1, 2}),
            (Need(max_usd_per_hour=Decimal(2)), "max_usd_per_hour: 2", {2, 3, 4}),
        ],
    )
    def test_leaves_what_fits_and_says_what_took_out_the_rest(self, need, constraint, stays):
        found = held(need, MIXED)

        assert left(found) == stays
        assert found.excluded() == [(constraint, 4 - len(stays))]

    def test_the_first_constraint_that_an_offer_fails_counts(self):
        found = held(Need(accelerator="H100", countries=("NO",)), MIXED)

        assert found.excluded() == [("accelerator: H100", 2), ("countries: NO", 1)]

    def test_leaves_one_constraint_aside(self):
        found = held(Need(accelerator="H100", countries=("DE",)), MIXED)

        assert left(found) == set()
        assert left(found, without="countries") == {1, 3}
        assert left(found, without="accelerator") == {2}

    def test_inside_one_machine_no_interconnect_is_asked_for(self):
        assert left(held(Need(interconnect="infiniband"), MIXED)) == {1, 2, 3, 4}

    def test_a_price_list_and_what_is_sold_out_are_not_for_rent(self):
        found = held(Need(), book(offer(1, leasable=False), offer(2, available=0), offer(3)))

        assert left(found) == {3}
        assert found.excluded() == [("for rent here (price list only)", 1), ("free now", 1)]

    def test_a_chip_of_unknown_speed_does_not_do_where_others_are_known(self):
        speed = Speed(source="measured", by_accelerator={"H100-SXM": 5.0})

        found = held(Need(samples=10), MIXED, speed=speed)

        assert 4 in left(found)  # By its peak.
        assert left(held(Need(samples=10), book(offer(1, chip="odd"), offer(2, chip="H100-SXM")), speed=speed)) == {2}

    def test_nobody_is_asked_for_a_speed_where_none_is_known(self):
        assert left(held(Need(samples=10), MIXED)) == {1, 2, 3, 4}


class TestScope:
    def test_what_is_stale_is_not_even_looked_at(self):
        found = held(Need(), MIXED, scope=Scope(fresh=frozenset({"aws", "gcp"})))

        assert left(found) == {1, 2}
        assert found.excluded() == []
        assert found.seen.sum() == 2

    def test_rents_only_where_there_is_an_account(self):
        found = held(Need(), MIXED, scope=Scope(rents_at=frozenset({"aws"})))

        assert left(found) == {1}
        assert found.excluded() == [("for rent here (price list only)", 3)]

    def test_a_teams_own_host_is_trusted_most(self):
        scope = Scope(own=frozenset({4}))

        assert left(held(Need(tiers=("own",)), MIXED, scope=scope)) == {4}
        assert left(held(Need(tiers=("community",)), MIXED, scope=scope)) == {3}

    def test_a_line_that_failed_a_moment_ago_is_left_alone_with_its_reason(self):
        line = ("gcp", "eu", "", "type-2", "spot")
        scope = Scope(barred={line: "sold out a moment ago", ("gcp", "eu", "", "none", "spot"): "over the quota"})

        found = held(Need(), MIXED, scope=scope)

        assert left(found) == {1, 3, 4}
        assert found.excluded() == [("left alone for now: sold out a moment ago", 1)]

    def test_the_same_type_elsewhere_or_on_another_market_is_not_barred(self):
        scope = Scope(barred={("gcp", "eu", "", "type-2", "on_demand"): "x", ("gcp", "us", "", "type-2", "spot"): "x"})

        assert left(held(Need(), MIXED, scope=scope)) == {1, 2, 3, 4}
