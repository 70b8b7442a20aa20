"""Nebius through its own SDK, against a gRPC server on loopback."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nebius.aio.idempotency import HEADER
from nebius.api.nebius.billing import v1alpha1 as billing
from nebius.api.nebius.compute import v1 as compute
from nebius.base.protos import direct

from providers import nebius_calls
from providers.base import (
    LaunchOrder,
    MachineState,
    Market,
    NoCapacity,
    ProviderError,
    Reason,
    Rejected,
    Stock,
    Unreachable,
)
from providers.nebius import Nebius
from tests.providers.contract import MUTATIONS, ProviderContract, assert_sound
from tests.providers.nebius_cloud import (
    LOSE_THE_ANSWER,
    PLATFORMS,
    PROJECT,
    REGION,
    TOKEN,
    Level,
    NebiusCloud,
    Refused,
    State,
    advice,
    over_quota,
    sold_out,
)
from tests.providers.protobuf_junk import spoilt

BIG = "gpu-h100-sxm/8gpu-128vcpu-1600gb"
SMALL = "gpu-h100-sxm/1gpu-16vcpu-200gb"


class TestNebius(ProviderContract):
    # Nebius suspends a project that does not pay; no code or detail of its API means "no balance".
    impossible = ("money",)

    @pytest.fixture
    def cloud(self):
        with NebiusCloud() as cloud:
            yield cloud
            nebius_calls._sdk.cache_clear()

    @pytest.fixture
    def provider(self, cloud):
        return Nebius(parent_id=PROJECT, token=TOKEN, base_url=cloud.url)

    @pytest.fixture
    def order(self):
        return LaunchOrder(
            key="lease-123",
            region=REGION,
            machine_type=BIG,
            market=Market.ON_DEMAND,
            max_usd_per_hour=Decimal("24"),
            startup_script="#!/bin/bash\necho hello\n",
        )

    @pytest.fixture
    def spot(self, order):
        return replace(order, market=Market.SPOT, max_usd_per_hour=Decimal("11.01"))

    def secrets(self):
        return (TOKEN,)

    def settle(self, cloud):
        cloud.boot()

    def add_foreign_machine(self, cloud):
        cloud.put("somebody-elses")

    def give_past(self, cloud):
        hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=5)
        cloud.series = [
            billing.SpotPriceSeries(
                region=REGION,
                currency="usd",
                unit_title="GPU hour",
                compute_instance=billing.SpotPriceComputeInstance(platform="gpu-h100-sxm"),
                points=[billing.SpotPricePoint(timestamp=hour, value="1.5")],
            )
        ]

    def make_trouble(self, cloud: NebiusCloud, trouble: str) -> None:
        troubles: dict[str, Refused | str] = {
            "sold_out": sold_out(),
            "quota": over_quota(),
            "bad_request": Refused(grpc.StatusCode.INVALID_ARGUMENT, f"bad: Bearer {TOKEN}"),
            "auth": Refused(grpc.StatusCode.PERMISSION_DENIED, "not yours"),
            "rate_limit": Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "slow down"),
            "outage": Refused(grpc.StatusCode.INTERNAL, "oh"),
            "lost_answer": LOSE_THE_ANSWER,
        }
        cloud.trouble.append(("InstanceService/Create", troubles[trouble]))

    def test_whatever_the_answers_hold_a_poll_ends_well(self, provider, cloud, monkeypatch):
        """Spoils protobuf answers instead of JSON, a tenth as often: the SDK itself reads them, and that takes time."""
        cloud.platforms = [one_preset()]
        cloud.advice = [
            advice("1gpu-16vcpu-200gb", (3, Level.AVAILABILITY_LEVEL_LOW), (0, Level.AVAILABILITY_LEVEL_LOW))
        ]
        monkeypatch.setattr(nebius_calls, "EVERY_S", 0)

        @settings(
            max_examples=max(MUTATIONS // 10, 10),
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(seed=st.integers(min_value=0, max_value=2**63))
        def poll(seed: int) -> None:
            random = Random(seed)
            cloud.spoil = lambda raw: spoilt(raw, random) if random.random() < 0.5 else raw
            try:
                for listing in provider.listings():
                    assert_sound(listing, provider.name)
                list(provider.machines())
            except ProviderError:
                pass

        poll()
        cloud.spoil = None

    def test_whatever_the_answers_hold_a_look_ends_well(self, provider, order, cloud, monkeypatch):
        """The same for the verbs that are about machines."""
        monkeypatch.setattr(nebius_calls, "EVERY_S", 0)
        provider.launch(order)
        cloud.boot()

        @settings(
            max_examples=max(MUTATIONS // 10, 10),
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(seed=st.integers(min_value=0, max_value=2**63))
        def look(seed: int) -> None:
            random = Random(seed)
            cloud.spoil = lambda raw: spoilt(raw, random) if random.random() < 0.5 else raw
            for verb in (lambda: provider.launch(order), lambda: provider.terminate(order.key), provider.check):
                with contextlib.suppress(ProviderError):
                    verb()
            cloud.spoil = None
            with contextlib.suppress(ProviderError):
                provider.launch(order)

        look()
        cloud.spoil = None

    @pytest.mark.parametrize("verb", ["machines", "terminate"])
    def test_a_list_of_another_shape_is_no_empty_account(self, provider, order, cloud, verb):
        """Protobuf has one shape, and what is left out of it is empty: only bytes that are none can be told."""
        provider.launch(order)
        cloud.spoil = lambda raw: b"\x0a\xff"

        with pytest.raises(Unreachable):
            list(provider.machines()) if verb == "machines" else provider.terminate(order.key)

    def test_a_list_without_an_end_is_an_error(self, provider, cloud, monkeypatch):
        monkeypatch.setattr(nebius_calls, "PAGES_MAX", 1)
        monkeypatch.setattr(nebius_calls, "PAGE", 1)
        cloud.put("gpuyard-lease-1")
        cloud.put("gpuyard-lease-2")

        with pytest.raises(Unreachable):
            list(provider.machines())

    def test_a_line_costs_what_the_calculator_says_with_its_disk(self, provider):
        lines = {(line.machine_type, line.market): line for line in provider.listings()}

        assert {name: line.usd_per_hour for name, line in lines.items()} == {
            (SMALL, Market.ON_DEMAND): Decimal("2.9600"),
            (SMALL, Market.SPOT): Decimal("1.2600"),
            (BIG, Market.ON_DEMAND): Decimal("23.6100"),
            (BIG, Market.SPOT): Decimal("10.0100"),
            ("gpu-l40s-a/1gpu-8vcpu-32gb", Market.ON_DEMAND): Decimal("1.5600"),
        }
        big = lines[BIG, Market.ON_DEMAND]
        assert (big.region, big.country, big.accelerator_label, big.accelerator_count) == (REGION, "FI", "H100", 8)
        assert (big.memory_gib, big.vcpus, big.ram_gib, big.interconnect) == (80, 128, 1600, "infiniband")
        assert lines[SMALL, Market.SPOT].interconnect == ""

    def test_the_fullest_fabric_of_the_region_counts(self, provider, cloud):
        low, high = Level.AVAILABILITY_LEVEL_LOW, Level.AVAILABILITY_LEVEL_HIGH
        cloud.advice = [
            advice("8gpu-128vcpu-1600gb", (1, low), (0, Level.AVAILABILITY_LEVEL_LIMIT_REACHED)),
            advice("8gpu-128vcpu-1600gb", (6, high), (0, Level.AVAILABILITY_LEVEL_LIMIT_REACHED), fabric="fabric-3"),
            advice("8gpu-128vcpu-1600gb", (9, high), (9, high), region="eu-west1"),
            advice("1gpu-16vcpu-200gb", (-5, high), (2, Level.AVAILABILITY_LEVEL_MEDIUM)),
        ]

        free = {(line.machine_type, line.market): (line.available, line.stock) for line in provider.listings()}

        assert free[BIG, Market.ON_DEMAND] == (6, Stock.HIGH)
        assert free[BIG, Market.SPOT] == (0, Stock.NONE)
        assert free[SMALL, Market.ON_DEMAND] == (None, Stock.UNKNOWN)
        assert free[SMALL, Market.SPOT] == (2, Stock.MEDIUM)

    def test_prices_are_read_without_the_right_to_ask_for_advice(self, provider, cloud):
        cloud.trouble = [("ResourceAdviceService/List", Refused(grpc.StatusCode.PERMISSION_DENIED))]

        lines = list(provider.listings())

        assert {line.stock for line in lines} == {Stock.UNKNOWN}
        assert [why for why in provider.skipped if why.startswith("stock")]

    def test_a_preset_without_a_price_does_not_hide_the_others(self, provider, cloud):
        # The first estimate is the disk's; the second belongs to the first preset.
        refusal = Refused(grpc.StatusCode.INVALID_ARGUMENT, "not sold")
        cloud.platforms = [PLATFORMS[2], PLATFORMS[1]]
        listings = provider.listings()
        cloud.trouble = [("CalculatorService/Estimate", refusal)]

        assert len(list(listings)) == 4
        assert sum(provider.skipped.values()) == 1

    def test_every_page_is_read(self, provider, cloud):
        cloud.page = 1

        assert len(list(provider.listings())) == 5

    def test_a_project_that_may_not_be_read_needs_its_region(self, cloud):
        forbidden = ("ProjectService/Get", Refused(grpc.StatusCode.PERMISSION_DENIED))
        cloud.trouble = [forbidden]
        told = Nebius(parent_id=PROJECT, token=TOKEN, base_url=cloud.url, region="eu-west1")

        assert {line.region for line in told.listings()} == {"eu-west1"}
        cloud.trouble = [forbidden]
        with pytest.raises(Rejected, match="region"):
            list(Nebius(parent_id=PROJECT, token=TOKEN, base_url=cloud.url).listings())

    def test_the_machine_is_ordered_as_agreed(self, provider, cloud, order):
        provider.launch(order)

        (instance,) = cloud.instances.values()
        assert instance.metadata.name == "gpuyard-lease-123"
        assert instance.spec.cloud_init_user_data == order.startup_script
        assert instance.spec.recovery_policy is compute.InstanceRecoveryPolicy.FAIL
        assert not instance.spec.check_presence("preemptible")
        assert instance.spec.boot_disk.managed_disk.spec.size_gibibytes == order.disk_gib

    def test_a_creation_is_repeated_under_the_same_token(self, provider, cloud, order):
        def tokens() -> list[str]:
            return [data[HEADER] for method, _, data in cloud.calls if method == "compute.v1.InstanceService/Create"]

        cloud.trouble = [("InstanceService/Create", LOSE_THE_ANSWER)]
        provider.launch(order)
        provider.launch(replace(order, key="lease-4711"))

        first, again, other = tokens()
        assert first == again != other
        assert len(cloud.instances) == 2

    def test_a_preemptible_machine_knows_the_highest_price(self, provider, cloud, spot):
        provider.launch(spot)

        (instance,), (policy,) = cloud.instances.values(), cloud.policies.values()
        assert instance.spec.preemptible.on_preemption is compute.PreemptibleSpec.PreemptionPolicy.STOP
        assert instance.spec.spot_pricing_policy.id == policy.metadata.id
        assert policy.spec.pricing.max_price_v1.max_price == "1.375"  # (11.01 - 0.01 for the disk) / 8
        assert policy.spec.compute_instance_spec.v1.platform == "gpu-h100-sxm"

    def test_what_does_not_pay_for_the_disk_pays_for_no_machine(self, provider, cloud, spot):
        with pytest.raises(Rejected) as caught:
            provider.launch(replace(spot, max_usd_per_hour=Decimal("0.001")))

        assert caught.value.reason is Reason.PRICE
        assert not cloud.instances

    def test_a_dearer_preemptible_machine_than_agreed_is_refused(self, provider, cloud, spot):
        with pytest.raises(Rejected) as caught:
            provider.launch(replace(spot, max_usd_per_hour=Decimal("9.99")))

        assert caught.value.reason is Reason.PRICE
        assert not cloud.instances
        assert not cloud.policies

    @pytest.mark.parametrize("state", [State.STOPPED, State.ERROR])
    def test_a_machine_that_the_cloud_took_away_is_lost_and_still_deleted(self, provider, cloud, spot, state):
        provider.launch(spot)
        (instance,) = cloud.instances.values()
        instance.status.state = state

        assert list(provider.machines()) == []
        provider.terminate(spot.key)

        assert (cloud.instances, cloud.disks, cloud.policies) == ({}, {}, {})

    def test_a_lost_machine_is_not_taken_for_a_new_one(self, provider, cloud, spot):
        provider.launch(spot)
        (instance,) = cloud.instances.values()
        instance.status.state = State.STOPPED

        with pytest.raises(NoCapacity):
            provider.launch(spot)

        assert not cloud.instances

    @pytest.mark.parametrize(("refusal", "reason"), [(sold_out(), Reason.SOLD_OUT), (over_quota(), Reason.QUOTA)])
    def test_a_creation_that_fails_later_leaves_nothing_behind(self, provider, cloud, order, refusal, reason):
        cloud.trouble = [("operation", refusal)]

        with pytest.raises(NoCapacity) as caught:
            provider.launch(order)

        assert caught.value.reason is reason
        assert (cloud.instances, cloud.disks) == ({}, {})

    def test_a_disk_without_a_machine_is_deleted(self, provider, cloud, order):
        provider.launch(order)
        cloud.instances.clear()

        provider.terminate(order.key)

        assert not cloud.disks

    def test_who_comes_second_with_a_key_gets_the_first_machine(self, provider, cloud, order):
        first = cloud.put("gpuyard-lease-123", State.CREATING)
        cloud.trouble = [("InstanceService/GetByName", Refused(grpc.StatusCode.NOT_FOUND))]

        assert provider.launch(order).machine_id == first.metadata.id
        assert list(cloud.instances) == [first.metadata.id]

    @pytest.mark.parametrize(
        ("state", "told"),
        [
            (State.CREATING, MachineState.BOOTING),
            (State.STARTING, MachineState.BOOTING),
            (State.RUNNING, MachineState.RUNNING),
            (State.STOPPING, MachineState.STOPPING),
            (State.DELETING, MachineState.STOPPING),
        ],
    )
    def test_a_state_is_translated(self, provider, cloud, state, told):
        cloud.put("gpuyard-lease-1", state)

        assert [machine.state for machine in provider.machines()] == [told]

    def test_a_host_that_must_be_mended_tells_when(self, provider, cloud):
        machine, leaving_at = cloud.put("gpuyard-lease-1"), datetime(2026, 12, 1, 10, tzinfo=UTC)
        machine.status.maintenance_event_id = "computemaintenance-1"
        cloud.events[machine.metadata.id] = compute.MaintenanceEvent(
            status=compute.MaintenanceEventStatus(sla_deadline_ts=leaving_at)
        )

        assert [one.leaving_at for one in provider.machines()] == [leaving_at]

    def test_the_price_of_the_past_is_dated_by_the_start_of_its_hour(self, provider, cloud):
        hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        point = billing.SpotPricePoint
        cloud.series = [
            billing.SpotPriceSeries(
                region=region,
                currency="usd",
                unit_title="GPU hour",
                compute_instance=billing.SpotPriceComputeInstance(platform="gpu-h100-sxm"),
                points=[
                    point(timestamp=hour - timedelta(hours=1), value="1.5"),
                    point(timestamp=hour, value="junk"),
                    point(timestamp=hour, value="1.25"),
                ],
            )
            for region in (REGION, "eu-west1")
        ]

        points = list(provider.price_history(since=hour - timedelta(days=90), until=hour))

        assert [(one.machine_type, one.at, one.usd_per_hour) for one in points] == [
            (SMALL, hour - timedelta(hours=2), Decimal("1.5100")),
            (SMALL, hour - timedelta(hours=1), Decimal("1.2600")),
            (BIG, hour - timedelta(hours=2), Decimal("12.0100")),
            (BIG, hour - timedelta(hours=1), Decimal("10.0100")),
        ]

    def test_a_missing_right_is_named(self, provider, cloud):
        cloud.trouble = [("SubnetService/List", Refused(grpc.StatusCode.PERMISSION_DENIED, "no vpc.viewer"))]

        missing = [permission for permission in provider.check() if permission.granted is False]

        assert [one.name for one in missing] == ["vpc.v1.SubnetService/List"]
        assert "vpc.viewer" in missing[0].why

    def test_a_service_account_signs_for_its_token(self, cloud):
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        cloud.public_key, cloud.tokens = key.public_key(), set()
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

        provider = Nebius(
            parent_id=PROJECT,
            service_account_id="serviceaccount-1",
            public_key_id="publickey-1",
            private_key=pem.replace("\n", "\\n"),  # As it looks in an environment variable.
            base_url=cloud.url,
        )

        assert list(provider.machines()) == []
        assert cloud.tokens == {"exchanged"}

    @pytest.mark.parametrize("given", [{}, {"private_key": "no key"}, {"token": "wrong"}])
    def test_a_wrong_credential_is_a_matter_of_auth(self, cloud, given):
        with pytest.raises(Rejected) as caught:
            list(Nebius(parent_id=PROJECT, base_url=cloud.url, **given).machines())

        assert caught.value.reason is Reason.AUTH

    def test_nobody_there_is_unreachable(self, monkeypatch):
        monkeypatch.setattr(nebius_calls, "TIMEOUT_S", 0.5)

        with pytest.raises(Unreachable):
            list(Nebius(parent_id=PROJECT, token=TOKEN, base_url="http://127.0.0.1:9").machines())
        nebius_calls._sdk.cache_clear()

    def test_nothing_that_we_call_is_about_to_go(self, provider, cloud, spot, caplog):
        """The SDK warns of methods and fields whose end is dated, of each once in a process."""
        direct._DEPRECATION_SEEN.clear()
        list(provider.listings())
        provider.launch(spot)
        list(provider.price_history(since=datetime.now(UTC) - timedelta(days=1), until=datetime.now(UTC)))
        provider.check()
        provider.terminate(spot.key)

        assert [record.getMessage() for record in caplog.records if record.name == "deprecation"] == []


def one_preset():
    """The H100's platform with its smallest preset alone."""
    platform = compute.Platform(PLATFORMS[1])
    platform.spec.presets = platform.spec.presets[:1]
    return platform
