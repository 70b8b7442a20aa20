from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offers.matching.book import Book, book_of
from offers.matching.hazard_prior import SPOT_FIRST_DAY
from offers.matching.solve import cheapest
from tests.offers.some_offers import book, offer

EVERY_KIND = [
    offer(1, provider="aws", region="us", country="US", chip="H100-SXM", count=8, usd="98.32", memory_gib=80.0),
    offer(2, provider="supplier", region="ada/oslo", market="spot", available=1, boot_s=None, memory_gib=None),
    offer(3, provider="vast", market="spot", egress_usd_per_gib=0.02, gco2_per_kwh=30.0, interconnect="nvlink"),
    offer(4, market="reserved", usd="0.000001", zone="b", leasable=False),
]


def same(one: Book, other: Book) -> bool:
    """Whether two books hold the same offers in the same order."""
    return [one.offer(row) for row in range(len(one))] == [other.offer(row) for row in range(len(other))]


def by_id(one: Book) -> dict[int, object]:
    """Return {id: offer} of a book."""
    return {int(one.id[row]): one.offer(row) for row in range(len(one))}


def sizes_of_groups(one: Book) -> list[int]:
    """Return how many rows each group has, sorted."""
    return sorted(np.unique(one.group, return_counts=True)[1].tolist())


class TestBook:
    def test_gives_back_what_was_put_in(self):
        found = book(*EVERY_KIND)

        back = {one.id: one for one in map(found.offer, range(len(found)))}

        for one in EVERY_KIND:
            for name in ("provider", "region", "zone", "country", "market", "accelerator", "accelerators",
                         "memory_gib", "usd_per_hour", "leasable", "available", "machine_type", "interconnect",
                         "egress_usd_per_gib", "gco2_per_kwh"):  # fmt: skip
                assert getattr(back[one.id], name) == getattr(one, name), name

    def test_tells_links_apart_by_a_quarter(self):
        links = [850.0, 851.0, 2000.0, None]
        found = book(*(offer(pk, internet_mbit_per_s=mbit, usd=pk + 1) for pk, mbit in enumerate(links)))

        told = {int(found.id[row]): found.offer(row).internet_mbit_per_s for row in range(4)}

        assert told[0] == told[1] == pytest.approx(850, rel=0.12)
        assert told[2] == pytest.approx(2000, rel=0.12)
        assert told[3] is None
        assert sizes_of_groups(found) == [1, 1, 2]

    def test_keeps_money_whole(self):
        assert book(*EVERY_KIND).micro_usd.dtype == np.int64
        assert book(offer(1, usd="123456789.123457")).offer(0).usd_per_hour == Decimal("123456789.123457")

    def test_stands_what_differs_in_price_alone_together_cheapest_first(self):
        found = book(offer(1, usd=3), offer(2, usd=1, region="there"), offer(3, usd=1), offer(4, usd=2, count=2))

        by_group = {}
        for row in range(len(found)):
            by_group.setdefault(int(found.group[row]), []).append(int(found.id[row]))

        assert sorted(by_group.values()) == [[2], [3, 1], [4]]
        assert (np.diff(found.group) >= 0).all()

    def test_tells_how_far_owners_are_trusted(self):
        found = book(offer(1), offer(2, provider="vast"), offer(3, provider="runpod", machine_type="1x T4 community"),
                     offer(4, reserved=True))  # fmt: skip

        assert {int(pk): int(tier) for pk, tier in zip(found.id, found.tier, strict=True)} == {1: 1, 2: 2, 3: 2, 4: 0}

    def test_a_spot_machine_is_lost_more_often_than_one_on_demand(self):
        found = book(offer(1), offer(2, market="spot"), offer(3, market="spot", interruptions_per_hour=0.5))

        rates = dict(zip(found.id.tolist(), found.losses_per_hour.tolist(), strict=True))

        assert rates[1] < 0.001
        assert rates[2] == pytest.approx(SPOT_FIRST_DAY, rel=0.1)
        assert rates[3] == pytest.approx(np.log(2), rel=0.1)

    def test_finds_the_rows_of_a_line(self):
        found = book(*EVERY_KIND)

        assert found.id[found.rows_of(("cloud", "here", "b", "type-4", "reserved"))].tolist() == [4]
        assert found.rows_of(("cloud", "here", "a", "type-4", "reserved")).tolist() == []
        assert found.rows_of(("cloud", "here", "b", "type-4", "odd")).tolist() == []

    def test_an_empty_book_is_a_book(self):
        found = book()

        assert len(found) == 0
        assert len(found.changed([offer(1)])) == 1

    @given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 9), st.booleans()), max_size=12))
    def test_news_leave_the_book_as_if_it_were_made_anew(self, news):
        kept = {one.id: one for one in EVERY_KIND}
        found = book(*kept.values())
        for pk, usd, gone in news:
            one = offer(pk, usd=usd, region=f"r{usd % 3}")
            found = found.changed([] if gone else [one], gone=[pk] if gone else [])
            kept.pop(pk, None)
            if not gone:
                kept[pk] = one

        anew = book_of(kept.values())
        assert by_id(found) == by_id(anew)
        assert sizes_of_groups(found) == sizes_of_groups(anew)

    def test_a_book_that_somebody_reads_stays_as_it_is(self):
        before = book(*EVERY_KIND)

        before.changed([offer(1, usd=7, region="new")], gone=[2])

        assert same(before, book(*EVERY_KIND))


class TestCheapest:
    BOOK = book(
        offer(1, chip="H100-SXM", count=8, usd=16),
        offer(2, chip="H100-PCIE", count=8, usd=12),
        offer(3, chip="H100-PCIE", count=8, usd=3, market="spot"),
        offer(4, chip="H100-PCIE", count=4, usd=1),
        offer(5, chip="H100-NVL", count=8, usd=1, available=0),
    )

    def test_is_of_that_family_count_and_market(self):
        row = cheapest(self.BOOK, accelerator="H100", count=8, market="on_demand")

        assert self.BOOK.id[row] == 2

    def test_is_of_that_variant(self):
        row = cheapest(self.BOOK, accelerator="H100-SXM", count=8, market="on_demand")

        assert self.BOOK.id[row] == 1

    def test_is_none_where_nobody_has_it(self):
        assert cheapest(self.BOOK, accelerator="H100", count=2, market="on_demand") is None
        assert cheapest(self.BOOK, accelerator="odd", count=8, market="spot") is None
