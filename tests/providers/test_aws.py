"""EC2 through boto3, against moto behind a proxy of ours that adds what moto lacks."""

from __future__ import annotations

import contextlib
import copy
import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from types import SimpleNamespace

import boto3
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from providers import aws_prices
from providers.aws import Aws
from providers.aws_machines import machine
from providers.base import LaunchOrder, MachineState, Market, NoCapacity, ProviderError, Reason, Rejected, Unreachable
from tests.providers import aws_cloud
from tests.providers.aws_cloud import AwsCloud, SpotPrice, disk, product
from tests.providers.cloud import LOSE_THE_ANSWER, spoilt
from tests.providers.contract import MUTATIONS, ProviderContract, assert_sound

HOME, AWAY = "us-east-1", "eu-west-1"
AGO = datetime.now(UTC).replace(microsecond=0) - timedelta(days=3)
EXTRA = Decimal("0.08") * 100 / 730 + Decimal("0.005")
CHIPS = "Machine Learning ASIC Instances"


@pytest.fixture(scope="module")
def served():
    moto = aws_cloud.start_moto()
    with AwsCloud(moto) as cloud:
        yield cloud
    moto.stop()


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    """Neither our pauses nor botocore's are waited for."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)


@pytest.fixture(autouse=True)
def _no_credentials_of_mine(monkeypatch):
    """Credentials in the environment take no part."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)


def account(cloud, **options):
    own = {"access_key_id": aws_cloud.KEY_ID, "secret_access_key": aws_cloud.SECRET, "regions": f"{HOME},{AWAY}"}
    return Aws(**{**own, **options}, endpoint_url=cloud.url)


def ec2(cloud, region=HOME):
    """AWS's own client, as somebody else in the account would use it."""
    return boto3.client("ec2", region_name=region, endpoint_url=cloud.moto_url,
                        aws_access_key_id=aws_cloud.KEY_ID, aws_secret_access_key=aws_cloud.SECRET)  # fmt: skip


def only(lines, machine_type, market=Market.ON_DEMAND, region=HOME):
    return [line for line in lines if (line.machine_type, line.market, line.region) == (machine_type, market, region)]


class TestAws(ProviderContract):
    @pytest.fixture
    def cloud(self, served):
        served.forget()
        served.products = [
            product(HOME, "g4dn.xlarge", "0.5260000000", {"1yr": "0.3320000000", "3yr": "0.2270000000"}),
            product(HOME, "g4dn.xlarge", "0.7100000000", operatingSystem="Windows"),
            product(HOME, "g4dn.xlarge", "0.5786000000", tenancy="Dedicated"),
            product(HOME, "p5.48xlarge", "55.0400000000"),
            product(HOME, "p5.48xlarge", "0.0000000000", marketoption="CapacityBlock"),
            product(HOME, "g5g.xlarge", "0.4200000000"),
            product(HOME, "trn1.32xlarge", "21.5000000000", instanceFamily=CHIPS),
            product(HOME, "m5.large", "0.0960000000", instanceFamily="General purpose"),
            product(AWAY, "g4dn.xlarge", "0.5870000000"),
            disk(HOME, "0.0800000000"),
            disk(AWAY, "0.0880000000"),
        ]
        served.spot = [
            SpotPrice("us-east-1a", "g4dn.xlarge", "0.210000", AGO),
            SpotPrice("us-east-1a", "g4dn.xlarge", "0.220000", AGO + timedelta(days=1)),
            SpotPrice("us-east-1a", "g4dn.xlarge", "0.230000", AGO + timedelta(days=2)),
            SpotPrice("us-east-1b", "g4dn.xlarge", "0.190000", AGO),
            SpotPrice("us-east-1a", "g4dn.xlarge", "0.410000", AGO, product="Windows"),
            SpotPrice("us-east-1-atl-1a", "g4dn.xlarge", "0.300000", AGO),
            SpotPrice("us-east-1a", "p5.48xlarge", "20.120000", AGO),
            SpotPrice("eu-west-1a", "g4dn.xlarge", "0.200000", AGO),
        ]
        served.scores = {"us-east-1a": 7, "us-east-1b": 3}
        return served

    @pytest.fixture
    def provider(self, cloud):
        return account(cloud)

    @pytest.fixture
    def order(self):
        return LaunchOrder(
            key="lease-123",
            region=HOME,
            zone="us-east-1a",
            machine_type="g4dn.xlarge",
            market=Market.ON_DEMAND,
            max_usd_per_hour=Decimal("0.60"),
            startup_script="#!/bin/bash\necho hello",
        )

    @pytest.fixture
    def spot_order(self, order):
        return replace(order, market=Market.SPOT, max_usd_per_hour=Decimal("0.30"))

    def make_trouble(self, cloud, trouble):
        code, status = aws_cloud.TROUBLES.get(trouble, (LOSE_THE_ANSWER, 0))
        cloud.refusals.append(("RunInstances", code, status))

    def settle(self, cloud):
        """moto's machines run when they are looked at."""

    def add_foreign_machine(self, cloud):
        ec2(cloud).run_instances(ImageId=aws_cloud.IMAGE, InstanceType="g4dn.xlarge", MinCount=1, MaxCount=1)
        ec2(cloud).run_instances(
            ImageId=aws_cloud.IMAGE, InstanceType="g4dn.xlarge", MinCount=1, MaxCount=1,
            TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "gpuyard-key", "Value": "not ours"}]}],
        )  # fmt: skip

    def secrets(self):
        return aws_cloud.KEY_ID, aws_cloud.SECRET

    def test_whatever_the_answers_hold_a_poll_ends_well(self, cloud):
        """Spoils what botocore has parsed, where every verb gets it, and not the XML: no answer crosses the network."""
        provider = account(cloud, regions=HOME)
        tape = Tape(provider)
        with tape.recording():
            assert list(provider.listings())

        @settings(max_examples=MUTATIONS, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(seed=st.integers(min_value=0, max_value=2**63))
        def poll(seed):
            tape.random = Random(seed)
            try:
                for listing in provider.listings():
                    assert_sound(listing, "aws")
            except ProviderError:
                pass  # An error of ours is a good end.

        with tape.playing():
            poll()

    def test_whatever_the_answers_hold_a_look_ends_well(self, cloud, order):
        """Spoils what botocore has parsed of the list of machines, as the poll above."""
        provider = account(cloud, regions=HOME)
        provider.launch(order)
        tape = Tape(provider)
        with tape.recording():
            assert list(provider.machines())

        @settings(max_examples=MUTATIONS, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(seed=st.integers(min_value=0, max_value=2**63))
        def look(seed):
            tape.random = Random(seed)
            for verb in (lambda: list(provider.machines()), lambda: provider.terminate(order.key)):
                with contextlib.suppress(ProviderError):
                    verb()

        with tape.playing():
            look()

    @pytest.mark.parametrize(
        "inside", ["", "<error/>", "<reservationSet><item/></reservationSet>", "<Errors><Error/></Errors>"]
    )
    def test_a_list_of_another_shape_is_no_empty_account(self, provider, order, cloud, inside):
        """The same for XML: EC2 says that there is nothing with an empty set."""
        provider.launch(order)
        cloud.lists_instead = inside

        for look in (lambda: list(provider.machines()), lambda: provider.terminate(order.key)):
            with pytest.raises(Unreachable):
                look()

    # Prices

    def test_a_price_is_that_of_the_machine_its_disk_and_its_address(self, provider):
        lines = list(provider.listings())

        here, there = only(lines, "g4dn.xlarge"), only(lines, "g4dn.xlarge", region=AWAY)
        assert {line.usd_per_hour for line in here} == {Decimal("0.526") + EXTRA}
        assert {line.usd_per_hour for line in there} == {Decimal("0.587") + Decimal("8.8") / 730 + Decimal("0.005")}
        assert {line.disk_gib for line in here} == {100 + 125 * 1e9 / 2**30}
        assert len({line.zone for line in here}) == len(here) > 1

    def test_a_spot_price_is_the_latest_of_linux_in_each_zone(self, provider):
        lines = only(provider.listings(), "g4dn.xlarge", Market.SPOT)

        assert {line.zone: line.usd_per_hour - EXTRA for line in lines} == {
            "us-east-1a": Decimal("0.23"),
            "us-east-1b": Decimal("0.19"),
        }

    def test_a_reservation_has_a_term_and_no_zone(self, provider):
        lines = only(provider.listings(), "g4dn.xlarge", Market.RESERVED)

        assert [(line.zone, line.term, line.usd_per_hour - EXTRA) for line in lines] == [
            ("", "1y", Decimal("0.332")),
            ("", "3y", Decimal("0.227")),
        ]

    def test_a_capacity_block_for_nothing_is_no_price(self, provider):
        (price,) = {line.usd_per_hour for line in only(provider.listings(), "p5.48xlarge")}

        assert price == Decimal("55.04") + EXTRA
        assert "ValueError: price is not positive" not in provider.skipped

    def test_of_several_prices_the_latest_holds(self):
        line = {"InstanceType": "p5.48xlarge", "AvailabilityZone": "us-east-1a"}
        rows = [{**line, "SpotPrice": str(n), "Timestamp": AGO + timedelta(hours=n)} for n in (1, 3, 2)]

        (row,) = aws_prices.newest(rows, Counter())

        assert row["SpotPrice"] == "3"

    def test_a_region_without_a_price_for_disks_takes_that_of_another(self, provider, cloud):
        cloud.products = [text for text in cloud.products if "gp3" not in text]

        (price,) = {line.usd_per_hour for line in only(provider.listings(), "p5.48xlarge")}

        assert price == Decimal("55.04") + EXTRA

    def test_shapes_are_those_of_the_api(self, provider):
        lines = list(provider.listings())

        (h100, *_), (neuron, *_) = only(lines, "p5.48xlarge"), only(lines, "trn1.32xlarge")
        assert (h100.accelerator_label, h100.accelerator_count, h100.memory_gib) == ("H100", 8, 80)
        assert (h100.vcpus, h100.ram_gib, h100.interconnect) == (192, 2048, "nvlink efa")
        assert (neuron.accelerator_label, neuron.accelerator_count, neuron.memory_gib) == ("Trainium", 16, 32)
        assert not only(lines, "m5.large")

    def test_a_score_belongs_to_the_spot_lines_of_its_zone(self, provider, cloud):
        lines = list(provider.listings())

        assert [line.placement_score for line in only(lines, "p5.48xlarge", Market.SPOT)] == [0.7]
        assert {line.placement_score for line in only(lines, "g4dn.xlarge", Market.SPOT)} == {None}
        assert len(cloud.made("GetSpotPlacementScores")) == 3

    @pytest.mark.parametrize(("code", "status"), [("UnauthorizedOperation", 403), ("MaxConfigLimitExceeded", 400)])
    def test_without_scores_there_are_still_prices(self, provider, cloud, code, status):
        cloud.refusals += [("GetSpotPlacementScores", code, status)] * 3

        lines = list(provider.listings())

        assert {line.placement_score for line in lines} == {None}
        assert provider.skipped[f"placement scores: {code}"] == 3

    def test_a_region_that_is_down_hides_no_other(self, provider, cloud):
        cloud.regions_down = {AWAY}

        lines = list(provider.listings())

        assert {line.region for line in lines} == {HOME}
        assert [reason for reason in provider.skipped if reason.startswith(AWAY)]

    def test_no_region_at_all_is_an_outage(self, provider, cloud):
        cloud.regions_down = {HOME, AWAY}

        with pytest.raises(Unreachable):
            provider.listings()

    def test_a_product_that_is_no_json_hides_no_other(self, provider, cloud):
        cloud.products[3:3] = [json.dumps({"product": {"productFamily": "Storage", "attributes": {
            "regionCode": HOME, "volumeApiName": "gp3"}}, "terms": None})]  # fmt: skip

        assert only(provider.listings(), "p5.48xlarge")
        assert provider.skipped

    def test_without_regions_all_that_are_enabled_are_asked(self, cloud):
        assert {HOME, AWAY, "ap-southeast-2"} <= set(account(cloud, regions="").regions())

    @pytest.mark.parametrize(
        ("machine_type", "label", "gib", "interconnect"),
        [
            ("p4d.24xlarge", "A100", 40, "nvlink efa"),
            ("p4de.24xlarge", "A100-80GB", 80, "nvlink efa"),
            ("p3dn.24xlarge", "V100-32GB", 32, "nvlink efa"),
            ("g4dn.xlarge", "T4", 16, ""),
            ("g6e.48xlarge", "L40S", 44.703125, "pcie efa"),
            ("inf2.48xlarge", "Inferentia2", 32, "pcie"),
            ("trn2.48xlarge", "Trainium2", 96, "neuronlink efa"),
            ("dl2q.24xlarge", "Qualcomm AI100", 15.625, "pcie efa"),
            ("vt1.6xlarge", "U30", 24, "pcie"),
        ],
    )
    def test_a_chip_is_known_by_its_name_and_memory(self, cloud, machine_type, label, gib, interconnect):
        rows = ec2(cloud).describe_instance_types(InstanceTypes=[machine_type])["InstanceTypes"]

        shape = aws_prices.shapes(rows, Counter())[machine_type]

        assert (shape.label, shape.memory_gib, shape.interconnect) == (label, gib, interconnect)

    def test_a_fraction_of_a_gpu_is_counted_and_not_sold(self, cloud):
        rows = ec2(cloud).describe_instance_types(InstanceTypes=["g6f.large"])["InstanceTypes"]
        skipped = Counter()

        assert aws_prices.shapes(rows, skipped) == {}
        assert skipped["ValueError: no accelerator"] == 1

    # History

    def test_history_is_what_changed_in_the_period(self, provider, cloud):
        since, until = AGO + timedelta(hours=1), AGO + timedelta(days=2)

        points = list(provider.price_history(since=since, until=until))

        assert [(point.zone, point.machine_type, point.usd_per_hour - EXTRA, point.at) for point in points] == [
            ("us-east-1a", "g4dn.xlarge", Decimal("0.22"), AGO + timedelta(days=1))
        ]

    def test_history_has_every_page_oldest_first(self, provider, cloud):
        cloud.spot = [SpotPrice("us-east-1a", "g4dn.xlarge", f"0.2{n:02}", AGO + timedelta(hours=n)) for n in range(11)]

        points = list(provider.price_history(since=AGO, until=AGO + timedelta(days=1)))

        assert [point.at for point in points] == [AGO + timedelta(hours=n) for n in range(11)]
        assert len(cloud.made("DescribeSpotPriceHistory")) == 4  # Three pages here, one there.

    def test_history_names_its_lines_as_the_price_list_does(self, provider):
        names = {(line.region, line.zone, line.machine_type, line.market) for line in provider.listings()}

        points = list(provider.price_history(since=AGO, until=datetime.now(UTC)))

        assert {(point.region, point.zone, point.machine_type, point.market) for point in points} <= names

    # Machines

    def test_a_launch_asks_for_what_was_ordered(self, provider, cloud, order):
        provider.launch(replace(order, disk_gib=250))

        (call,) = cloud.made("RunInstances")
        (instance,) = ec2(cloud).describe_instances()["Reservations"][0]["Instances"]
        assert instance["InstanceType"] == "g4dn.xlarge"
        assert instance["Placement"]["AvailabilityZone"] == "us-east-1a"
        assert instance["ImageId"] == aws_cloud.IMAGE
        assert {"Key": "Name", "Value": "gpuyard-lease-123"} in instance["Tags"]
        assert call.asked["ClientToken"] == "gpuyard-lease-123"
        assert call.asked["BlockDeviceMapping.1.DeviceName"] == "/dev/sda1"
        assert call.asked["BlockDeviceMapping.1.Ebs.VolumeSize"] == "250"
        assert call.asked["InstanceInitiatedShutdownBehavior"] == "terminate"
        assert "InstanceMarketOptions.MarketType" not in call.asked

    def test_the_script_arrives_as_cloud_init_wants_it(self, provider, cloud, order):
        provider.launch(order)
        provider.launch(replace(order, key="lease-4711", startup_script="echo bare"))

        said = [ec2(cloud).describe_instance_attribute(InstanceId=one.machine_id, Attribute="userData")
                for one in sorted(provider.machines(), key=lambda one: one.key)]  # fmt: skip
        told = [aws_cloud.base64.b64decode(one["UserData"]["Value"]).decode() for one in said]
        assert told == ["#!/bin/bash\necho hello", "#!/bin/bash\necho bare"]

    def test_a_root_disk_holds_its_image(self, provider, cloud, order):
        provider.launch(replace(order, disk_gib=1))

        (call,) = cloud.made("RunInstances")
        image = ec2(cloud).describe_images(ImageIds=[aws_cloud.IMAGE])["Images"][0]
        assert int(call.asked["BlockDeviceMapping.1.Ebs.VolumeSize"]) == max(
            one["Ebs"]["VolumeSize"] for one in image["BlockDeviceMappings"]
        )

    @pytest.mark.parametrize(
        ("machine_type", "image", "given"),
        [
            ("g5g.xlarge", aws_cloud.ARM_IMAGE, ""),
            ("trn1.32xlarge", aws_cloud.NEURON_IMAGE, ""),
            ("g4dn.xlarge", "ami-1e749f67", "ami-1e749f67"),
        ],
    )
    def test_the_image_fits_the_machine(self, cloud, order, machine_type, image, given):
        wanted = replace(order, machine_type=machine_type, zone="", max_usd_per_hour=Decimal(30))

        account(cloud, image=given).launch(wanted)

        assert cloud.made("RunInstances")[0].asked["ImageId"] == image

    def test_a_spot_machine_costs_what_was_agreed_at_most(self, provider, cloud, spot_order):
        provider.launch(spot_order)

        (call,) = cloud.made("RunInstances")
        options = "InstanceMarketOptions.SpotOptions."
        assert call.asked["InstanceMarketOptions.MarketType"] == "spot"
        assert call.asked[f"{options}MaxPrice"] == "0.2840"  # 0.30 less the disk and the address, rounded down.
        assert call.asked[f"{options}SpotInstanceType"] == "one-time"
        assert call.asked[f"{options}InstanceInterruptionBehavior"] == "terminate"

    @pytest.mark.parametrize("usd", ["0.20", "0.001"])
    def test_a_spot_market_that_is_dearer_refuses(self, provider, spot_order, usd):
        with pytest.raises(Rejected) as caught:
            provider.launch(replace(spot_order, max_usd_per_hour=Decimal(usd)))

        assert caught.value.reason is Reason.PRICE
        assert not list(provider.machines())

    def test_a_reservation_is_not_bought(self, provider, order, cloud):
        with pytest.raises(Rejected) as caught:
            provider.launch(replace(order, market=Market.RESERVED))

        assert caught.value.reason is Reason.BAD_REQUEST
        assert not cloud.made("RunInstances")

    def test_a_type_that_does_not_exist_is_a_bad_request(self, provider, order):
        with pytest.raises(Rejected) as caught:
            provider.launch(replace(order, machine_type="g99.xlarge"))

        assert caught.value.reason is Reason.BAD_REQUEST

    def test_the_token_holds_where_the_list_lags_behind(self, provider, order, cloud):
        cloud.sees_late = True

        first, second = provider.launch(order), provider.launch(replace(order))

        assert first.machine_id == second.machine_id
        assert len(cloud.made("RunInstances")) == 2

    def test_the_list_holds_where_the_token_is_forgotten(self, provider, order, cloud):
        first = provider.launch(order)
        cloud.bought.clear()

        second = provider.launch(replace(order))

        assert first.machine_id == second.machine_id
        assert len(cloud.made("RunInstances")) == 1

    @pytest.mark.parametrize(
        ("code", "status", "kind", "reason"),
        [
            ("MaxSpotInstanceCountExceeded", 400, NoCapacity, Reason.QUOTA),
            ("InstanceLimitExceeded", 400, NoCapacity, Reason.QUOTA),
            ("InsufficientHostCapacity", 400, NoCapacity, Reason.SOLD_OUT),
            ("SpotMaxPriceTooLow", 400, Rejected, Reason.PRICE),
            ("PendingVerification", 400, Rejected, Reason.AUTH),
            ("OptInRequired", 403, Rejected, Reason.AUTH),
            ("ExpiredToken", 400, Rejected, Reason.AUTH),
            ("Unsupported", 400, Rejected, Reason.BAD_REQUEST),
            ("InternalError", 500, Unreachable, Reason.OUTAGE),
            ("NobodyKnows", 500, Unreachable, Reason.OUTAGE),
            ("IdempotentParameterMismatch", 400, Unreachable, Reason.OUTAGE),
            ("Throttling", 400, Unreachable, Reason.RATE_LIMIT),
        ],
    )
    def test_a_code_has_a_meaning(self, provider, cloud, order, code, status, kind, reason):
        cloud.refusals += [("RunInstances", code, status)] * 3

        with pytest.raises(kind) as caught:
            provider.launch(order)

        assert (type(caught.value), caught.value.reason) == (kind, reason)
        assert code in str(caught.value)

    def test_a_machine_is_found_and_ended_in_whichever_region_it_is(self, provider, order, cloud):
        provider.launch(replace(order, region=AWAY, zone="", max_usd_per_hour=Decimal(1)))
        assert [one.key for one in provider.machines()] == ["lease-123"]

        provider.terminate("lease-123")

        assert not list(provider.machines())

    def test_a_machine_that_stands_still_is_lost_and_is_ended_all_the_same(self, provider, order, cloud):
        launched = provider.launch(order)
        ec2(cloud).stop_instances(InstanceIds=[launched.machine_id])
        assert not list(provider.machines())

        provider.terminate(order.key)

        (instance,) = ec2(cloud).describe_instances()["Reservations"][0]["Instances"]
        assert instance["State"]["Name"] == "terminated"

    def test_ending_a_machine_ends_no_other(self, provider, order):
        provider.launch(replace(order, key="lease-12"))
        provider.launch(order)

        provider.terminate("lease-12")

        assert [one.key for one in provider.machines()] == ["lease-123"]

    def test_a_machine_that_ended_meanwhile_is_no_error(self, provider, order, cloud):
        provider.launch(order)
        cloud.refusals.append(("TerminateInstances", "InvalidInstanceID.NotFound", 400))

        provider.terminate(order.key)

    def test_a_region_that_is_down_makes_no_machine_seem_gone(self, provider, order, cloud):
        provider.launch(order)
        cloud.regions_down = {AWAY}

        with pytest.raises(Unreachable):
            provider.machines()

    def test_a_spot_machine_that_is_marked_says_when_it_leaves(self, provider, spot_order, cloud):
        launched = provider.launch(spot_order)
        assert [one.leaving_at for one in provider.machines()] == [None]

        cloud.marked[launched.machine_id] = AGO

        assert [one.leaving_at for one in provider.machines()] == [AGO + timedelta(minutes=2)]

    def test_a_spot_machine_that_was_taken_is_gone(self, provider, spot_order, cloud):
        launched = provider.launch(spot_order)

        ec2(cloud).terminate_instances(InstanceIds=[launched.machine_id])

        assert not list(provider.machines())

    def test_a_notice_that_may_not_be_read_hides_no_machine(self, provider, spot_order, cloud):
        provider.launch(spot_order)
        cloud.denied = {"ec2:DescribeSpotInstanceRequests"}

        assert [one.leaving_at for one in provider.machines()] == [None]

    @pytest.mark.parametrize(
        ("name", "state"),
        [
            ("pending", MachineState.BOOTING),
            ("running", MachineState.RUNNING),
            ("shutting-down", MachineState.STOPPING),
            ("stopping", MachineState.STOPPING),
        ],
    )
    def test_a_state_is_translated(self, name, state):
        tags = [{"Key": "gpuyard-key", "Value": "gpuyard-lease-1"}]

        one = machine({"InstanceId": "i-1", "State": {"Name": name}, "Tags": tags, "PrivateIpAddress": "10.0.0.7"})

        assert (one.key, one.state, one.address) == ("lease-1", state, "10.0.0.7")

    def test_a_machine_that_cannot_be_read_is_not_taken_for_gone(self):
        with pytest.raises(Unreachable):
            machine({"InstanceId": "i-1", "State": None, "Tags": [{"Key": "gpuyard-key", "Value": "gpuyard-lease-1"}]})

    # Credentials

    def test_the_storage_of_the_broker_is_not_asked_for_machines(self, monkeypatch):
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9000")

        client = Aws(access_key_id="another", secret_access_key="s").account.client("ec2", AWAY)

        assert client.meta.endpoint_url == "https://ec2.eu-west-1.amazonaws.com"

    def test_a_wrong_key_is_said_so(self, cloud):
        stranger = account(cloud, access_key_id="AKIASTRANGER00000000")

        with pytest.raises(Rejected) as caught:
            stranger.machines()

        assert caught.value.reason is Reason.AUTH

    def test_nobody_there_is_an_outage(self):
        nowhere = Aws(access_key_id="k", secret_access_key="s", regions=HOME, endpoint_url="http://127.0.0.1:9")

        with pytest.raises(Unreachable) as caught:
            nowhere.machines()

        assert caught.value.reason is Reason.OUTAGE

    def test_a_role_is_taken_on(self, cloud, order):
        lent = account(cloud, role_arn="arn:aws:iam::123456789012:role/yard")

        lent.launch(order)

        assert [call.asked["RoleArn"] for call in cloud.made("AssumeRole")] == ["arn:aws:iam::123456789012:role/yard"]
        assert cloud.made("RunInstances")

    @pytest.mark.parametrize(
        "name",
        ["ec2:RunInstances", "ec2:CreateTags", "ec2:TerminateInstances", "ec2:DescribeInstanceTypes",
         "ec2:DescribeSpotPriceHistory", "ec2:GetSpotPlacementScores", "pricing:GetProducts", "ssm:GetParameter"],
    )  # fmt: skip
    def test_a_permission_that_is_missing_is_named(self, provider, cloud, order, name):
        provider.launch(order)
        cloud.denied = {name}

        told = {permission.name: permission for permission in provider.check()}

        assert [one.name for one in told.values() if one.granted is False] == [name]
        assert name in told[name].why

    def test_a_check_rents_and_ends_nothing(self, provider, cloud, order):
        provider.launch(order)

        told = provider.check()

        assert all(permission.granted for permission in told)
        assert [one.key for one in provider.machines()] == [order.key]

    def test_what_only_a_machine_would_tell_is_left_open(self, provider):
        (ending,) = [one for one in provider.check() if one.name == "ec2:TerminateInstances"]

        assert ending.granted is None

    def test_a_wrong_key_has_no_permission(self, cloud):
        told = account(cloud, access_key_id="AKIASTRANGER00000000").check()

        assert not any(permission.granted for permission in told)


class Tape:
    """Records what botocore has parsed for one provider, and plays it back spoilt."""

    def __init__(self, provider) -> None:
        self.clients = [provider.account.client("ec2", HOME), provider.account.client("pricing", HOME)]
        self.answers = {}
        self.random = None

    def recording(self):
        return _Hooks(self.clients, {"before-call": self._note, "after-call": self._keep})

    def playing(self):
        return _Hooks(self.clients, {"before-call": self._play})

    def _note(self, model, params, context, **_):
        context["question"] = _question(model, params)

    def _keep(self, parsed, context, **_):
        few = copy.deepcopy(parsed)
        for rows in ("InstanceTypes", "InstanceTypeOfferings"):
            if rows in few:
                kept = [row for row in few[rows] if row["InstanceType"] in ("g4dn.xlarge", "p5.48xlarge", "g6f.large")]
                few[rows] = kept
        few.pop("NextToken", None)
        self.answers[context["question"]] = few

    def _play(self, model, params, **_):
        answer = self.answers.get(_question(model, params), {"ResponseMetadata": {}})
        return SimpleNamespace(status_code=200), _from_json(spoilt(_to_json(answer), self.random))


class _Hooks:
    def __init__(self, clients, hooks) -> None:
        self.clients, self.hooks = clients, hooks

    def __enter__(self):
        for client in self.clients:
            for event, hook in self.hooks.items():
                client.meta.events.register(event, hook)

    def __exit__(self, *_):
        for client in self.clients:
            for event, hook in self.hooks.items():
                client.meta.events.unregister(event, hook)


def _question(model, params):
    body = params["body"]
    if isinstance(body, dict):  # Without what is another at each call: the times and the page.
        kept = {key: value for key, value in body.items() if key not in ("StartTime", "NextToken")}
        kept = {key: value for key, value in kept.items() if not key.startswith(("InstanceType.", "Filter."))}
        return model.name, json.dumps(kept, sort_keys=True)
    asked = json.loads(body)
    return model.name, json.dumps({key: value for key, value in asked.items() if key != "NextToken"}, sort_keys=True)


def _to_json(value):
    return json.loads(json.dumps(value, default=lambda moment: {"@": moment.isoformat()}))


def _from_json(value):
    if isinstance(value, dict):
        if set(value) == {"@"} and isinstance(value["@"], str):
            try:
                return datetime.fromisoformat(value["@"])
            except ValueError:
                return value["@"]
        return {key: _from_json(one) for key, one in value.items()}
    return [_from_json(one) for one in value] if isinstance(value, list) else value
