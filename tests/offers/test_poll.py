from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import DatabaseError, connection, connections, transaction

from offers import clock as market_clock
from offers import merge, partitions, poll
from offers.models import Offer, PriceSample, Quarantined, Source
from offers.queries import open_offers
from providers.base import Market, ProviderError, Reason, Stock, Unreachable
from tests.conftest import NOON
from tests.providers.test_fake import LISTING

pytestmark = pytest.mark.django_db
EVERY = timedelta(minutes=5)


class Pages:
    """A price list that shows what it is given, or raises it."""

    def __init__(self, *lines, name="fake"):
        self.name, self.lines, self.skipped = name, list(lines), Counter()

    def listings(self):
        for line in self.lines:
            if isinstance(line, ProviderError):
                raise line
            yield line


def read(pages, minute=0):
    return poll.poll(pages, now=NOON + timedelta(minutes=minute), every=EVERY, leasable=True)


def prices():
    return list(PriceSample.objects.order_by("seen_at").values_list("usd_per_hour", flat=True))


def costing(usd, **changed):
    return replace(LISTING, usd_per_hour=Decimal(usd), **changed)


class TestHistory:
    def test_a_price_is_remembered_only_when_it_changed(self):
        for minute, usd in enumerate((16, 16, 15, 15)):
            read(Pages(costing(usd)), minute)

        assert Offer.objects.get().usd_per_gpu_hour == Decimal("1.875")
        assert prices() == [16, 15]

    def test_a_line_that_did_not_change_is_not_written_again(self):
        read(Pages(LISTING))
        before = Offer.objects.values().get()

        page = read(Pages(LISTING), 5)

        assert (page.lines, page.changed, page.gone) == (1, 0, 0)
        assert Offer.objects.values().get() == before

    def test_stock_is_part_of_the_history(self):
        read(Pages(replace(LISTING, stock=Stock.HIGH, available=9)))
        read(Pages(replace(LISTING, stock=Stock.LOW, available=1)), 5)

        assert list(PriceSample.objects.order_by("seen_at").values_list("stock", "available")) == [(3, 9), (1, 1)]

    def test_a_line_that_is_no_longer_listed_is_gone_and_may_come_back(self):
        other = replace(LISTING, region="oslo")
        read(Pages(LISTING, other))

        assert read(Pages(other), 5).gone == 1

        gone = Offer.objects.get(region="reykjavik")
        assert gone.gone_at == NOON + EVERY
        assert [offer.region for offer in open_offers(now=NOON + EVERY)] == ["oslo"]
        read(Pages(LISTING, other), 10)
        gone.refresh_from_db()
        assert gone.gone_at is None
        assert prices().count(None) == 1
        assert PriceSample.objects.filter(offer=gone).count() == 3

    def test_a_sample_is_never_changed(self):
        read(Pages(LISTING))

        for statement in ("UPDATE offers_pricesample SET usd_per_hour = 1", "DELETE FROM offers_pricesample"):
            with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(statement)

    def test_every_month_has_its_partition_and_rows_that_were_there_before_move_in(self):
        read(Pages(LISTING))
        offer = Offer.objects.get()
        march = NOON.replace(month=3)
        with connection.cursor() as cursor:
            PriceSample.objects.create(offer=offer, seen_at=march, usd_per_hour=1)
            PriceSample.objects.create(offer=offer, seen_at=march.replace(month=5), usd_per_hour=2)

            partitions.ensure(cursor, march, march)

            cursor.execute("SELECT tableoid::regclass::text, usd_per_hour FROM offers_pricesample ORDER BY seen_at")
            assert [(table, int(usd)) for table, usd in cursor.fetchall()] == [
                ("offers_pricesample_2026_03", 1),
                ("offers_pricesample_other", 2),
                ("offers_pricesample_2026_11", 16),
            ]


class TestLines:
    def test_a_name_that_the_table_does_not_know_is_kept_and_reported(self):
        read(Pages(LISTING, replace(LISTING, accelerator_label="Z9000", region="oslo")))

        assert Offer.objects.get(region="oslo").accelerator == "Z9000"
        assert Source.objects.get().unknown == {"Z9000": 1}

    @pytest.mark.parametrize(
        "bad",
        [
            replace(LISTING, region="x" * 99),
            replace(LISTING, region=""),
            replace(LISTING, machine_type="a\tb"),
            replace(LISTING, zone="a\\N"),
            replace(LISTING, accelerator_label="a\x00b"),
            replace(LISTING, accelerator_count=0),
            replace(LISTING, provider="another"),
        ],
    )
    def test_a_line_that_cannot_be_stored_does_not_hide_the_others(self, bad):
        page = read(Pages(bad, replace(LISTING, region="oslo")))

        assert Offer.objects.get().region == "oslo"
        assert sum(page.skipped.values()) == 1

    def test_the_same_line_twice_is_counted(self):
        page = read(Pages(LISTING, costing(3)))

        assert page.skipped == {"the same line twice": 1}
        assert Offer.objects.get().usd_per_hour == 16

    def test_a_slice_of_a_tpu_pod_is_priced_by_the_chip(self):
        read(Pages(replace(LISTING, accelerator_label="tpu-v5p-8", accelerator_count=1, memory_gib=None)))

        offer = Offer.objects.get()
        assert (offer.accelerator, offer.accelerators, offer.usd_per_gpu_hour) == ("TPU-v5p", 4, Decimal(4))
        assert offer.memory_gib == 95

    def test_it_stands_where_its_region_stands(self):
        read(Pages(replace(LISTING, provider="gcp", region="europe-north1"), name="gcp"))

        offer = Offer.objects.get()
        assert (offer.country, round(offer.latitude), offer.gco2_per_kwh) == ("FI", 61, 39.32)
        assert "Google" in offer.carbon_source

    def test_carrying_data_away_costs_what_the_line_says_or_else_the_providers_list(self):
        for provider, said in (("aws", None), ("aws2", None), ("vast", Decimal("0.02"))):
            read(Pages(replace(LISTING, provider=provider, egress_usd_per_gib=said), name=provider))

        assert dict(Offer.objects.values_list("provider", "egress_usd_per_gib")) == {
            "aws": Decimal("0.09"), "aws2": None, "vast": Decimal("0.02"),
        }  # fmt: skip


class TestQuarantine:
    @pytest.mark.parametrize("usd", ["0", "-3", "NaN", "1e30"])
    def test_a_price_that_cannot_be_is_kept_out_with_a_reason(self, usd):
        page = read(Pages(costing(usd), replace(LISTING, region="oslo")))

        assert page.quarantined == 1
        assert Offer.objects.get().region == "oslo"
        assert Quarantined.objects.get().why

    @pytest.mark.parametrize("usd", ["161", "1.59"])
    def test_a_price_ten_times_off_its_own_median_is_kept_out(self, usd):
        other = replace(LISTING, region="oslo")
        read(Pages(LISTING, other))

        assert read(Pages(costing(usd), other), 5).quarantined == 1

        assert [offer.region for offer in open_offers(now=NOON + EVERY)] == ["oslo"]
        assert "median is 16.000000" in Quarantined.objects.get().why

    @pytest.mark.parametrize("usd", ["159", "1.61"])
    def test_a_price_less_far_off_is_believed(self, usd):
        read(Pages(LISTING))

        assert read(Pages(costing(usd)), 5).quarantined == 0

    def test_a_price_that_creeps_up_is_measured_against_its_median_not_its_last(self):
        for minute, usd in enumerate((1, 1.1, 1, 1.1, 1, 6)):
            read(Pages(costing(str(usd))), minute)

        assert read(Pages(costing("11")), 9).quarantined == 1

    def test_a_price_that_comes_right_is_let_out(self):
        read(Pages(LISTING))
        read(Pages(costing(200)), 5)

        read(Pages(LISTING), 10)

        assert not Quarantined.objects.exists()
        assert Offer.objects.get().gone_at is None

    def test_a_price_that_stays_for_a_day_is_what_they_charge(self):
        read(Pages(LISTING))
        for minute in (5, 600, 24 * 60 + 4):
            assert read(Pages(costing(200)), minute).quarantined == 1

        assert read(Pages(costing(200)), 24 * 60 + 6).quarantined == 0

        assert Offer.objects.get().usd_per_hour == 200


class TestFailing:
    def test_a_list_that_does_not_answer_keeps_its_last_page_marked_stale(self):
        read(Pages(LISTING))

        assert read(Pages(Unreachable("away", reason=Reason.OUTAGE)), 5) is None

        source = Source.objects.get()
        assert (source.failures, source.error) == (1, "away")
        assert Offer.objects.get().gone_at is None
        assert not open_offers(now=NOON + EVERY)

    def test_a_list_that_breaks_off_in_the_middle_changes_nothing(self):
        read(Pages(LISTING, replace(LISTING, region="oslo")))

        read(Pages(costing(3), Unreachable("away")), 5)

        assert set(Offer.objects.values_list("usd_per_hour", "gone_at")) == {(Decimal(16), None)}

    def test_a_list_that_is_suddenly_empty_is_not_believed(self):
        read(Pages(LISTING))

        assert read(Pages(), 5) is None

        assert Offer.objects.get().gone_at is None

    def test_it_is_asked_later_and_later_and_at_its_pace_once_it_is_well(self):
        waits = []
        for _ in range(4):
            read(Pages(Unreachable("away")))
            waits.append(Source.objects.get().next_try_at - NOON)

        assert waits == sorted(waits)
        assert waits[0] > EVERY
        assert waits[-1] <= poll.PAUSE_MAX
        read(Pages(LISTING))
        assert Source.objects.get().next_try_at == NOON + EVERY

    def test_it_is_not_asked_before_it_wants_to_be(self):
        read(Pages(Unreachable("slow down", retry_after_s=7200)))

        assert Source.objects.get().next_try_at == NOON + timedelta(hours=2)

    def test_a_page_that_is_never_read_again_grows_stale(self):
        read(Pages(LISTING))

        assert open_offers(now=NOON + 2.9 * EVERY)
        assert not open_offers(now=NOON + 3.1 * EVERY)


class TestClock:
    @pytest.fixture(autouse=True)
    def _two_catalogs(self, settings, tmp_path):
        settings.CATALOG_DIR = str(tmp_path)
        for provider in ("one", "two"):
            (tmp_path / provider).mkdir()
            (tmp_path / provider / "vms.csv").write_text(
                "InstanceType,AcceleratorName,AcceleratorCount,Price,Region\np5,H100,8,98.32,here\n"
            )

    def read_due(self):
        for name in market_clock.claim_due(now=NOON):
            market_clock.read(name, now=NOON)

    def test_a_source_is_given_out_once(self):
        assert sorted(market_clock.claim_due(now=NOON)) == ["one", "two"]
        assert market_clock.claim_due(now=NOON) == []

    def test_a_source_whose_reader_died_is_given_out_again(self):
        market_clock.claim_due(now=NOON)

        assert len(market_clock.claim_due(now=NOON + market_clock.CLAIM_FOR)) == 2

    def test_a_source_is_due_again_when_its_time_has_come(self, settings):
        settings.POLL_EVERY_S = {"": 300, "one": 60}
        self.read_due()

        assert market_clock.claim_due(now=NOON + timedelta(seconds=59)) == []
        assert market_clock.claim_due(now=NOON + timedelta(seconds=60)) == ["one"]

    def test_a_provider_with_wrong_credentials_fails_where_its_owner_sees_it(self, settings):
        settings.CATALOG_DIR, settings.PROVIDERS = "", {"fake": {"pass": "word"}}

        self.read_due()

        error = Source.objects.get(pk="fake").error
        assert "unexpected keyword" in error
        assert "word" not in error.replace("keyword", "")


@pytest.mark.django_db(transaction=True)
def test_one_hanging_provider_never_delays_another(settings):
    """Real threads and connections: one list hangs in the middle of its page while another is read twice."""
    hanging, go_on = threading.Event(), threading.Event()

    class Hanging(Pages):
        def listings(self):
            yield replace(LISTING, provider="slow")
            hanging.set()
            assert go_on.wait(30)

    def slow():
        try:
            read(Hanging(name="slow"))
        finally:
            connections.close_all()

    thread = threading.Thread(target=slow)
    thread.start()
    try:
        assert hanging.wait(30)
        assert read(Pages(LISTING)).changed == 1
        assert read(Pages(costing(15)), 5).changed == 1
    finally:
        go_on.set()
        thread.join()
    assert Offer.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_two_pages_of_one_provider_are_merged_one_after_the_other():
    errors = []

    def write(usd):
        try:
            for minute in range(6):
                poll.record([costing(usd + minute)], provider="fake", now=NOON + timedelta(minutes=minute, seconds=usd))
        except DatabaseError as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=write, args=(usd,)) for usd in (10, 20, 30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not errors
    assert Offer.objects.count() == 1


def test_the_merge_names_every_column_that_a_line_has():
    assert set(merge.COLUMNS) <= {field.column for field in Offer._meta.fields}
    assert LISTING.market is Market.ON_DEMAND
