from decimal import Decimal

import pytest

from providers.base import LaunchOrder, Listing, Market, NoCapacity
from providers.fake import Fake
from tests.conftest import NOON
from tests.providers.contract import ProviderContract

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
    def provider(self):
        return Fake(price_list=[LISTING], capacity=1)

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

        with pytest.raises(NoCapacity):
            provider.launch(
                LaunchOrder(key="lease-2", region="", machine_type="", market=Market.SPOT, max_usd_per_hour=Decimal(1))
            )
