from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from threading import Thread

import numpy as np
import pytest
from django.db import connection, connections, transaction

from offers import lessons, operations, poll, queries
from offers.matching.need import Need
from offers.matching.survival import AGES_S
from offers.models import Account, Host, Offer, Reservation, Source, this_transaction
from offers.shelf import Shelf
from providers.base import Listing, Market, Stock

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


def listing(name: str, usd: str = "2", **more) -> Listing:
    wanted = {"accelerator_label": "H100", "accelerator_count": 8, "memory_gib": 80.0, "vcpus": None, "ram_gib": None,
              "market": Market.ON_DEMAND, "seen_at": NOON, "region": "eu"} | more  # fmt: skip
    return Listing(provider="acme", machine_type=name, usd_per_hour=Decimal(usd), **wanted)


def page(*lines: Listing, now: datetime = NOON) -> None:
    poll.record(lines, provider="acme", now=now, complete=True, leasable=True)


def shelf() -> Shelf:
    return Shelf(queries._sold)


def prices(of: Shelf) -> dict[str, str]:
    book = of.book()
    return {book.text("machine_type", row): f"{book.offer(row).usd_per_hour:.2f}" for row in range(len(book))}


def losses(of: Shelf) -> dict[str, float]:
    book = of.book()
    return {book.text("machine_type", row): round(float(book.losses_per_hour[row]), 1) for row in range(len(book))}


class TestShelf:
    def test_holds_what_is_offered_at_the_customers_price(self, settings):
        settings.MARGIN = "0.5"
        page(listing("a", "2"), listing("b", "4", stock=Stock.NONE))

        book = shelf().book()

        assert {book.text("machine_type", row): int(book.available[row]) > 0 for row in range(len(book))} == {
            "a": True,
            "b": False,
        }
        assert sorted(book.micro_usd.tolist()) == [3_000_000, 6_000_000]

    def test_knows_the_link_to_the_internet(self):
        page(listing("a", internet_mbit_per_s=900.0), listing("b"))

        book = shelf().book()

        told = {book.text("machine_type", row): book.offer(row).internet_mbit_per_s for row in range(len(book))}
        assert told == {"a": pytest.approx(900, rel=0.12), "b": None}

    def test_reads_news_and_forgets_what_is_gone(self):
        page(listing("a", "2"), listing("b", "4"))
        kept = shelf()
        before = kept.book()

        page(listing("a", "3"), listing("c", "5"), now=NOON + timedelta(minutes=1))

        assert prices(kept) == {"a": "3.30", "c": "5.50"}
        assert len(before) == 2

    def test_where_nothing_is_new_the_book_stays_the_same(self):
        page(listing("a"))
        kept = shelf()
        kept.book()

        assert kept.book() is kept.book()

    def test_sees_its_own_writes_and_forgets_them_when_they_are_rolled_back(self):
        page(listing("a", "2"))
        kept = shelf()
        kept.book()

        with transaction.atomic():
            page(listing("a", "7"), listing("b", "1"))
            inside = prices(kept)
            transaction.set_rollback(True)

        assert inside == {"a": "7.70", "b": "1.10"}
        assert prices(kept) == {"a": "2.20"}

    def test_a_table_that_was_emptied_is_read_anew(self):
        page(listing("a"))
        kept = shelf()
        kept.book()

        with connection.cursor() as cursor:
            cursor.execute("TRUNCATE offers_offer CASCADE")

        assert len(kept.book()) == 0

    def test_reads_everything_again_when_told_to(self, settings):
        page(listing("a", "2"))
        kept = shelf()
        kept.book()
        settings.MARGIN = "1"

        kept.forget()

        assert prices(kept) == {"a": "4.00"}


class TestLearning:
    def test_rates_anew_where_something_was_learnt_and_nowhere_else(self):
        marks, asked = {("acme", "on_demand"): 1, ("acme", "spot"): 1}, []

        def rates(lines):
            asked.extend(line.key[3] for line in lines)
            return np.full((len(lines), len(AGES_S)), 0.5 if marks["acme", "spot"] == 1 else 0.2)

        page(listing("firm"), listing("spot", market=Market.SPOT))
        of = Shelf(queries._sold, rates, lambda: dict(marks))
        before = losses(of)
        asked.clear()
        of.book()
        marks["acme", "spot"] = 2
        after = losses(of)

        assert before == {"firm": 0.5, "spot": 0.5}
        assert after == {"firm": 0.5, "spot": 0.2}
        assert asked == ["spot"]

    def test_the_shelf_of_the_process_follows_what_leases_teach(self, clock):
        page(listing("spot", market=Market.SPOT))
        learner = lessons.Lessons()
        of = Shelf(queries._sold, learner.rates_per_hour, learner.learnt_from)
        before = losses(of)["spot"]
        offer = Offer.objects.get()
        for _ in range(20):
            lessons.note_lease(offer=offer, opened_at=NOON - timedelta(minutes=6), closed_at=NOON, lost=True)
        soon = losses(of)["spot"]
        clock.forward(minutes=11)

        assert soon == before
        assert losses(of)["spot"] > 1.2 * before


@pytest.mark.django_db(transaction=True)
class TestOthers:
    def elsewhere(self, act) -> None:
        def run() -> None:
            try:
                act()
            finally:
                connections.close_all()

        thread = Thread(target=run)
        thread.start()
        thread.join()

    def test_what_others_write_is_seen_once_they_have_ended(self):
        page(listing("a", "2"))
        kept = shelf()
        kept.book()

        self.elsewhere(lambda: page(listing("a", "3")))

        assert prices(kept) == {"a": "3.30"}

    def test_a_slow_writer_who_ends_after_a_quick_one_is_not_missed(self):
        page(listing("a", "2"), listing("b", "2"))
        kept = shelf()
        kept.book()

        with transaction.atomic():
            Offer.objects.filter(machine_type="a").update(usd_per_hour=7, version=this_transaction())
            self.elsewhere(
                lambda: Offer.objects.filter(machine_type="b").update(usd_per_hour=9, version=this_transaction())
            )
            self.elsewhere(kept.book)
        self.elsewhere(kept.book)

        assert prices(kept) == {"a": "7.70", "b": "9.90"}

    def test_threads_share_one_book(self):
        page(*(listing(f"m{n}") for n in range(50)))
        kept, seen = shelf(), []

        threads = [Thread(target=self.elsewhere, args=(lambda: seen.append(kept.book()),)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len({id(book) for book in seen}) == 1
        assert len(seen[0]) == 50


class TestQuotes:
    @pytest.fixture(autouse=True)
    def _account(self, monkeypatch):
        monkeypatch.setattr("offers.accounts.usable_by", lambda owner_id: {"acme"})

    def test_writes_down_what_may_become_of_each_plan(self, ada):
        page(listing("a", "16"), listing("b", "30", market=Market.SPOT, region="us"))
        need = Need(
            accelerator="H100", accelerators_per_site=8, samples=10**6, samples_per_s=5.0, budget_usd=Decimal(900)
        )

        quotes, answer = operations.quote(owner_id=ada.team.pk, need=need, measured={}, now=NOON)

        first = quotes[0]
        first.refresh_from_db()
        assert first.labels[0] == "cheapest"
        assert first.outcome["budget_chance"] == 1.0
        assert Decimal(first.outcome["cost_usd"]["p10"]) < first.cost_usd < Decimal(first.outcome["cost_usd"]["p90"])
        assert [Decimal(usd) for _, usd in first.curve] == [point.usd for point in answer.curve]
        assert first.why.startswith("cheapest")

    def test_what_went_stale_is_not_quoted_though_it_is_in_the_book(self, ada):
        page(listing("a"))
        operations.quote(owner_id=ada.team.pk, need=Need(), measured={}, now=NOON)

        Source.objects.update(fresh_until=NOON)

        with pytest.raises(operations.NeedUnmet):
            operations.quote(owner_id=ada.team.pk, need=Need(), measured={}, now=NOON)

    def test_a_barred_line_is_left_alone(self, ada):
        page(listing("a", "2"), listing("b", "3"))
        barred = {("acme", "eu", "", "a", "on_demand"): "sold out a moment ago"}

        quotes, answer = operations.quote(owner_id=ada.team.pk, need=Need(), measured={}, now=NOON, barred=barred)

        assert {line.offer.machine_type for one in quotes for line in one.lines.all()} == {"b"}
        assert answer.excluded == (("left alone for now: sold out a moment ago", 1),)

    def test_reserved_machines_are_sold_at_nothing_until_they_are_in_use(self, ada, make_caller):
        page(listing("a", "2"))
        offer = Offer.objects.get()
        Account.objects.create(owner=ada.team, provider=offer.provider, sealed=b"", created_at=NOON)
        Reservation.objects.create(owner=ada.team, offer=offer, machines=1, until=NOON + timedelta(days=1))
        asked = {"need": Need(accelerators_per_site=8), "measured": {}, "now": NOON}

        (mine, *_), _ = operations.quote(owner_id=ada.team.pk, **asked)
        (used, *_), _ = operations.quote(owner_id=ada.team.pk, held={offer.pk: 1}, **asked)
        (over, *_), _ = operations.quote(owner_id=ada.team.pk, **asked | {"now": NOON + timedelta(days=2)})
        (others, *_), _ = operations.quote(owner_id=make_caller("eve").team.pk, **asked)

        costs = [[(line.cost_usd_per_hour, line.sell_usd_per_hour) for line in one.lines.all()]
                 for one in (mine, used, over, others)]  # fmt: skip
        assert costs[0] == [(0, 0)]
        assert costs[1] == costs[2] == costs[3] == [(Decimal(2), Decimal("2.2"))]

    def test_the_teams_own_hosts_are_told_apart(self, ada, make_host):
        make_host("one", "home/berlin")
        host = Offer.objects.get(provider="supplier")

        supplier = Host.objects.get(pk=host.machine_type.removeprefix("host-")).supplier_id

        assert queries.scope(owner_id=supplier, now=NOON).own == {host.pk}
        assert queries.scope(owner_id=ada.team.pk, now=NOON).own == frozenset()
