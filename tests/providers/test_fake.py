from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from providers.base import LaunchOrder, Listing, Market, NoCapacity, PricePoint
from providers.fake import Fake
from tests.conftest import NOON
from tests.providers.contract import ERRORS, ProviderContract

LISTING = Listing(
    provider="fake",
    region="reykjavik",
    machine_type="h100x8",
    accelerator_label="H100 SXM",
    accelerator_count=8,
    memory_gib=80,
    vcpus=96,
    ram_gib=1000,
    market=Market.ON_DEMAND,
    usd_per_hour=Decimal(16),
    seen_at=NOON,
)


class TestFake(ProviderContract):
    @pytest.fixture
    def cloud(self):
        return Fake(price_list=[LISTING], capacity=2)

    @pytest.fixture
    def provider(self, cloud):
        return cloud

    def make_trouble(self, cloud, trouble):
        if trouble == "lost_answer":
            return  # It has no wire on which an answer could be lost.
        kind, reason = ERRORS[trouble]
        cloud.trouble.append(kind("", reason=reason))

    def settle(self, cloud):
        list(cloud.machines())

    def add_foreign_machine(self, cloud):
        """It has no account that others could use."""

    def give_past(self, cloud):
        cloud.history.append(
            PricePoint(provider="fake", region="reykjavik", machine_type="h100x8", market=Market.ON_DEMAND,
                       usd_per_hour=Decimal(15), at=datetime.now(UTC) - timedelta(days=3))
        )  # fmt: skip

    def secrets(self):
        return ()

    def test_whatever_the_answers_hold_a_poll_ends_well(self, provider, cloud, monkeypatch):
        """It has no answers that could be spoilt."""

    def test_whatever_the_answers_hold_a_look_ends_well(self, provider, order, cloud, monkeypatch):
        """Nor here."""

    def test_a_list_of_another_shape_is_no_empty_account(self, provider, order, cloud):
        """Nor here."""

    @pytest.fixture
    def order(self):
        return LaunchOrder(
            key="lease-1",
            region="reykjavik",
            machine_type="h100x8",
            market=Market.ON_DEMAND,
            max_usd_per_hour=Decimal(16),
        )

    def test_it_sells_no_more_than_it_has(self, provider, order):
        provider.launch(order)
        provider.launch(replace(order, key="lease-2"))

        with pytest.raises(NoCapacity):
            provider.launch(replace(order, key="lease-3"))
