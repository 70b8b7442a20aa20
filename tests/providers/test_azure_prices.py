"""What Azure's adapter lists: prices, restrictions, eviction rates, placement scores and past prices."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from providers.azure_prices import SIZES, region_name, size_of
from providers.azure_signals import eviction
from providers.base import Market, Stock
from tests.providers.azure_cloud import EXTRAS, AzureCloud, connected
from tests.providers.azure_market import A10_PART, A100, H100, T4, item
from tests.providers.cloud import Reply


@pytest.fixture(autouse=True)
def pauses(monkeypatch):
    """Count the pauses instead of taking them."""
    taken: list[float] = []
    monkeypatch.setattr("providers.http.time.sleep", taken.append)
    return taken


@pytest.fixture
def cloud():
    with AzureCloud() as cloud:
        yield cloud


@pytest.fixture
def provider(cloud):
    return connected(cloud)


def lines_of(provider, **which):
    return [one for one in provider.listings() if all(getattr(one, name) == value for name, value in which.items())]


class TestPrices:
    def test_a_line_holds_machine_disk_and_address(self, provider):
        (line,) = lines_of(provider, machine_type=A100, market=Market.ON_DEMAND, region="eastus")

        assert line.usd_per_hour == Decimal("3.673") + EXTRAS
        assert (line.accelerator_label, line.accelerator_count, line.memory_gib) == ("NVIDIA A100 80GB PCIe", 1, 80)
        assert (line.vcpus, line.ram_gib, line.disk_gib) == (24, 220, 100)

    def test_spot_is_told_from_on_demand_by_the_meter(self, provider):
        (line,) = lines_of(provider, machine_type=H100, market=Market.SPOT)

        assert line.usd_per_hour == Decimal("39.33") + EXTRAS
        assert (line.accelerator_count, line.interconnect) == (8, "nvlink")

    def test_a_reservation_is_divided_by_the_hours_of_its_term(self, provider):
        lines = {line.term: line.usd_per_hour for line in lines_of(provider, market=Market.RESERVED)}

        assert lines == {"1y": Decimal(63) + EXTRAS, "3y": Decimal("43.158904") + EXTRAS}

    def test_windows_low_priority_and_tomorrow_are_left_out(self, provider):
        prices = {line.usd_per_hour - EXTRAS for line in lines_of(provider, region="eastus", term="")}

        assert prices == {Decimal(text) for text in ("98.32", "39.33", "3.673", "1.469", "0.526")}

    def test_of_two_prices_of_a_line_the_newest_counts(self, provider, cloud):
        cloud.items.reverse()

        (line,) = lines_of(provider, machine_type=A100, market=Market.ON_DEMAND, region="eastus")

        assert line.usd_per_hour == Decimal("3.673") + EXTRAS

    def test_a_fraction_and_an_unknown_size_are_counted(self, provider):
        lines = list(provider.listings())

        assert not [line for line in lines if line.machine_type == A10_PART]
        assert provider.skipped["ValueError: a fraction of an accelerator"] == 1
        assert provider.skipped["ValueError: a size that the table does not know: Standard_NZ1_v9"] == 1

    def test_every_page_is_read_though_the_link_names_a_port(self, provider, cloud):
        whole = {(line.machine_type, line.region, line.market, line.term) for line in provider.listings()}
        cloud.page = 1

        assert {(line.machine_type, line.region, line.market, line.term) for line in provider.listings()} == whole

    def test_only_the_chosen_regions_are_asked_for(self, cloud):
        lines = list(connected(cloud, regions="West Europe").listings())

        assert {line.region for line in lines} == {"westeurope"}
        assert {line.stock for line in lines} == {Stock.UNKNOWN}

    def test_without_a_right_sign_in_there_are_still_prices(self, cloud):
        stranger = connected(cloud)
        stranger.arm.authorize = connected(cloud, resource_group="x").arm.authorize
        cloud.token = "changed meanwhile"
        cloud.trouble = [("POST", "/token", Reply({"error": "invalid_client"}, 401)) for _ in range(9)]

        lines = list(stranger.listings())

        assert lines
        assert stranger.skipped["no resource SKUs: auth"] == 1
        assert {line.ram_gib for line in lines} == {None}

    def test_the_price_list_gets_no_credentials(self, provider, cloud):
        list(provider.listings())

        assert not [
            one for one in cloud.requests if one.path == "/api/retail/prices" and "authorization" in one.headers
        ]

    def test_every_size_of_the_table_is_found_however_it_is_spelt(self):
        names = [pattern.format(vcpus) for pattern, row in SIZES.items() for vcpus, gpus in row[2].items() if gpus]

        assert [size_of(name.lower()).name for name in names] == names
        assert size_of("Standard_NV36ads_A10_v5").count == 1
        assert size_of("Standard_NC96ads_A100_v4").count == 4
        assert size_of("standard_nd96isr_mi300x_v5").memory_gib == 192

    def test_a_region_has_one_name(self):
        assert region_name("East US 2") == region_name("eastus2") == "eastus2"


class TestSignals:
    def test_what_the_subscription_may_not_use_is_out_of_stock(self, provider):
        lines = {(line.machine_type, line.region): line.stock for line in provider.listings()}

        assert lines[T4, "eastus"] is Stock.NONE
        assert lines[A100, "eastus"] is Stock.NONE  # The one zone that has it is closed.
        assert lines[A100, "westeurope"] is Stock.UNKNOWN  # One of two zones is closed.
        assert lines[H100, "eastus"] is Stock.UNKNOWN

    def test_an_eviction_rate_is_the_middle_of_its_band(self, provider):
        rates = {line.machine_type: line.interruptions_per_hour for line in lines_of(provider, market=Market.SPOT)}

        assert rates == {A100: 0.025, H100: 0.2}
        assert {line.interruptions_per_hour for line in lines_of(provider, market=Market.ON_DEMAND)} == {None}

    @pytest.mark.parametrize(
        ("band", "chance"), [("0-5", 0.025), ("5-10", 0.075), ("15-20", 0.175), ("20+", 0.2), ("5", 0.05)]
    )
    def test_a_band_becomes_a_chance(self, band, chance):
        assert eviction(band) == pytest.approx(chance)

    def test_what_is_no_band_is_refused(self):
        with pytest.raises(ValueError, match="eviction"):
            eviction("often")

    def test_placement_scores_are_asked_for_in_the_chosen_regions(self, cloud):
        scores = {
            line.machine_type: line.placement_score
            for line in lines_of(connected(cloud, regions="eastus"), market=Market.SPOT)
        }

        assert scores == {A100: 0.9, H100: 0.1}

    def test_without_regions_no_placement_score_is_asked_for(self, provider, cloud):
        list(provider.listings())

        assert not [one for one in cloud.requests if one.path.endswith("/generate")]

    def test_a_denied_placement_score_is_no_obstacle(self, cloud):
        cloud.may_score = False
        provider = connected(cloud, regions="eastus")

        lines = lines_of(provider, market=Market.SPOT)

        assert {line.placement_score for line in lines} == {None}
        assert provider.skipped["no placement scores: auth"] == 1

    def test_the_price_history_is_oldest_first_and_named_as_the_listings(self, provider):
        points = list(
            provider.price_history(since=datetime(2026, 9, 1, tzinfo=UTC), until=datetime(2026, 12, 1, tzinfo=UTC))
        )

        assert [(point.machine_type, point.region, point.at.day, point.usd_per_hour - EXTRAS) for point in points] == [
            (A100, "eastus", 1, Decimal("1.6")),
            (H100, "westeurope", 1, Decimal("40.0")),
            (A100, "eastus", 20, Decimal("1.469")),
        ]
        assert {point.market for point in points} == {Market.SPOT}

    def test_the_price_history_ends_before_until(self, provider):
        at = datetime(2026, 11, 20, tzinfo=UTC)

        points = list(provider.price_history(since=datetime(2026, 10, 2, tzinfo=UTC), until=at))

        assert [point.machine_type for point in points] == [H100]


def test_a_price_that_is_not_in_dollars_is_left_out(provider, cloud):
    cloud.items = [item(A100, 3.2, currencyCode="EUR")]

    assert not list(provider.listings())
