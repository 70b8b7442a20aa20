"""Prime Intellect against a fake of our own; schemas made from the documentation check its every answer."""

from __future__ import annotations

import base64
from dataclasses import replace
from decimal import Decimal

import pytest

from providers.base import LaunchOrder, MachineState, Market, NoCapacity, Reason, Rejected, Stock, Unreachable
from providers.prime import Prime
from tests.providers.cloud import LOSE_THE_ANSWER, Reply
from tests.providers.contract import ProviderContract
from tests.providers.prime_cloud import KEY, TEMPLATE_ID, PrimeCloud, item, size

TROUBLES = {
    "sold_out": Reply({"detail": "Requested GPU is out of stock at the provider"}, 400),
    "quota": Reply({"errors": [{"param": "pod", "details": "Pod quota exceeded"}]}, 422),
    "bad_request": Reply({"errors": [{"param": "pod.image", "details": f"Image is wrong for token {KEY}"}]}, 422),
    "auth": Reply({"detail": "Authorization failed"}, 401),
    "money": Reply({"detail": "Insufficient wallet balance"}, 400),
    "rate_limit": Reply("Too many requests", 429),
    "outage": Reply({"detail": "Service unavailable"}, 503),
    "lost_answer": LOSE_THE_ANSWER,
}
ORDER = LaunchOrder(
    key="lease-123",
    region="canada",
    zone="CANADA-1",
    machine_type="hyperstack/n3-H100x1/H100_80GB/PCIe/1/secure",
    market=Market.ON_DEMAND,
    max_usd_per_hour=Decimal("2.5"),
    startup_script="#!/bin/bash\necho hello",
)


class TestPrime(ProviderContract):
    list_path, list_name, list_id = r"/pods/$", "data", "id"

    @pytest.fixture
    def cloud(self):
        with PrimeCloud() as cloud:
            yield cloud

    @pytest.fixture
    def provider(self, cloud):
        return self.connect(cloud)

    def connect(self, cloud, **more):
        return Prime(**{"api_key": KEY, "template_id": TEMPLATE_ID, "base_url": f"{cloud.url}/api/v1", **more})

    @pytest.fixture
    def order(self):
        return ORDER

    def make_trouble(self, cloud, trouble):
        cloud.trouble.append(("POST", "/pods/$", TROUBLES[trouble]))

    def settle(self, cloud):
        cloud.boot()

    def add_foreign_machine(self, cloud):
        cloud.add("my-notebook")

    def secrets(self):
        return (KEY,)

    def test_a_configuration_is_a_line_of_the_whole_machine(self, provider):
        line = next(line for line in provider.listings() if line.region == "canada")

        assert (line.zone, line.country, line.machine_type) == ("CANADA-1", "CA", ORDER.machine_type)
        assert (line.usd_per_hour, line.accelerator_label, line.accelerator_count) == (Decimal("1.9"), "H100 PCIe", 1)
        assert (line.vcpus, line.ram_gib, line.disk_gib, line.boot_s) == (26, 200, 1000, 240)
        assert (line.market, line.interconnect) == (Market.ON_DEMAND, "pcie")

    def test_the_cpu_nodes_are_no_offers_and_no_mistakes(self, provider):
        lines = list(provider.listings())

        assert len(lines) == 4
        assert not provider.skipped

    def test_spot_and_community_machines_have_their_own_prices(self, provider):
        lines = {line.machine_type.split("/")[0]: line for line in provider.listings()}

        assert (lines["datacrunch"].market, lines["datacrunch"].usd_per_hour) == (Market.SPOT, Decimal("1.25"))
        assert lines["runpod"].machine_type == "runpod/NVIDIA RTX A6000/A6000_48GB/PCIe/1/community"
        assert (lines["runpod"].usd_per_hour, lines["runpod"].zone) == (Decimal("0.33"), "US")

    @pytest.mark.parametrize(
        ("told", "stock"),
        [
            ("Available", Stock.UNKNOWN),
            ("Low", Stock.LOW),
            ("Medium", Stock.MEDIUM),
            ("High", Stock.HIGH),
            ("Unavailable", Stock.NONE),
        ],
    )
    def test_the_stock_is_told(self, provider, cloud, told, stock):
        cloud.items = [item("a", "vultr", "L40S_48GB", 1, 1.0, stockStatus=told)]

        assert [line.stock for line in provider.listings()] == [stock]

    @pytest.mark.parametrize(
        ("gpu_type", "socket", "label"),
        [
            ("H100_80GB", "SXM5", "H100"),
            ("A100_80GB", "SXM4", "A100-80GB"),
            ("V100_32GB", "SXM3", "V100-32GB"),
            ("H200_141GB", "SXM5", "H200"),
            ("RTX_PRO_6000B_96GB", "PCIe", "RTX PRO 6000"),
            ("GB200", "SXM6", "GB200"),
        ],
    )
    def test_a_chip_is_told_from_its_sisters(self, provider, cloud, gpu_type, socket, label):
        cloud.items = [item("a", "vultr", gpu_type, 1, 1.0, socket=socket)]

        assert [line.accelerator_label for line in provider.listings()] == [label]

    @pytest.mark.parametrize(
        ("disk", "usd", "gib"),
        [
            (size(1000), "1.0", 1000),  # Fixed.
            (size(40, minCount=40, maxCount=2000, pricePerUnit=0.001), "1.1", 100),
            (size(40, minCount=40, maxCount=2000, pricePerUnit=0.001, defaultIncludedInPrice=True), "1.06", 100),
            (size(500, minCount=40, maxCount=2000, pricePerUnit=0.001, defaultIncludedInPrice=True), "1.0", 500),
            (size(40, minCount=40, maxCount=80, pricePerUnit=0.001), "1.08", 80),
            (size(40, minCount=40, maxCount=2000, pricePerUnit=0.001, step=50), "1.14", 140),
            (size(200, pricePerUnit=0.001, defaultIncludedInPrice=False), "1.2", 200),
        ],
    )
    def test_the_price_holds_the_disk_that_we_ask_for(self, provider, cloud, disk, usd, gib):
        cloud.items = [item("a", "vultr", "L40S_48GB", 1, 1.0, disk=disk)]

        (line,) = provider.listings()

        assert (line.usd_per_hour, line.disk_gib) == (Decimal(usd), gib)

    def test_sizes_that_are_ours_to_choose_are_sent(self, provider, cloud):
        free = {"minCount": 1, "maxCount": 500}
        cloud.items = [item("a", "cudocompute", "L40S_48GB", 1, 1.0, disk=size(40, **free), vcpu=size(8, **free),
                            memory=size(32, **free))]  # fmt: skip
        (line,) = provider.listings()

        provider.launch(
            replace(ORDER, region=line.region, zone=line.zone, machine_type=line.machine_type, disk_gib=200)
        )

        sent = cloud.requests[-1].body["pod"]
        assert (sent["diskSize"], sent["vcpus"], sent["memory"]) == (200, 8, 32)

    def test_euros_are_left_out_unless_a_rate_is_stated(self, provider, cloud):
        prices = {"onDemand": 2.0, "communityPrice": None, "isVariable": None, "currency": "EUR"}
        cloud.items = [item("a", "scaleway", "L40S_48GB", 1, 0, prices=prices)]

        assert not list(provider.listings())
        assert provider.skipped == {"ValueError: priced in EUR": 1}

        dear = self.connect(cloud, usd_per_eur="1.25")
        (line,) = dear.listings()
        assert line.usd_per_hour == Decimal("2.5")

        dear.launch(replace(ORDER, region=line.region, zone=line.zone, machine_type=line.machine_type))
        assert cloud.requests[-1].body["pod"]["maxPrice"] == 2.0

    def test_what_is_paid_in_advance_or_takes_no_template_is_left_out(self, provider, cloud):
        cloud.items = [
            item("a", "vultr", "L40S_48GB", 1, 1.0, prepaidTime=720),
            item("b", "vultr", "L40S_48GB", 1, 1.0, images=["ubuntu_22_cuda_12"]),
        ]

        assert not list(provider.listings())
        assert sum(provider.skipped.values()) == 2

    def test_of_two_lines_with_one_name_the_cheaper_in_stock_is_kept(self, provider, cloud):
        cloud.items = [item("a", "vultr", "L40S_48GB", 1, price) for price in (1.2, 1.1)]
        cloud.items.append(item("a", "vultr", "L40S_48GB", 1, 0.9, stockStatus="Unavailable"))

        assert [line.usd_per_hour for line in provider.listings()] == [Decimal("1.1")]

    def test_all_pages_are_read(self, provider, cloud):
        cloud.items = [item(f"c-{number}", "vultr", "L40S_48GB", 1, 1.0) for number in range(250)]
        cloud.pods = []
        for number in range(205):
            cloud.add(f"gpuyard-lease-{number}")
            cloud.pods[-1]["id"] = f"pod-{number}"

        assert len(list(provider.listings())) == 250
        assert len(list(provider.machines())) == 205

    def test_bad_rows_hide_nothing(self, provider, cloud, monkeypatch):
        rows = [None, {}, "x", item("a", "vultr", "L40S_48GB", 1, 1.0)]
        monkeypatch.setattr(cloud, "answer", lambda request: Reply({"items": rows, "totalCount": 4}))

        assert len(list(provider.listings())) == 1
        assert sum(provider.skipped.values()) == 3

    def test_a_pod_is_asked_for_by_name_with_everything_that_names_the_line(self, provider, cloud):
        provider.launch(ORDER)

        sent = cloud.requests[-1].body
        (variable,) = sent["pod"].pop("envVars")
        assert variable["key"] == "GPUYARD_STARTUP_SCRIPT"
        assert base64.b64decode(variable["value"]) == b"#!/bin/bash\necho hello"
        assert sent == {
            "provider": {"type": "hyperstack"},
            "pod": {
                "name": "gpuyard-lease-123",
                "cloudId": "n3-H100x1",
                "gpuType": "H100_80GB",
                "socket": "PCIe",
                "gpuCount": 1,
                "maxPrice": 2.5,
                "image": "custom_template",
                "customTemplateId": TEMPLATE_ID,
                "dataCenterId": "CANADA-1",
                "country": "CA",
                "security": "secure_cloud",
            },
        }

    def test_every_line_can_be_rented_from_its_own_name(self, provider, cloud):
        lines = list(provider.listings())

        for number, line in enumerate(lines):
            order = LaunchOrder(key=f"lease-{number}", region=line.region, zone=line.zone, market=line.market,
                                machine_type=line.machine_type, max_usd_per_hour=line.usd_per_hour)  # fmt: skip
            provider.launch(order)

        assert [pod["providerType"] for pod in cloud.pods] == [line.machine_type.split("/")[0] for line in lines]

    def test_without_a_template_a_script_is_refused_and_nothing_is_rented(self, cloud):
        plain = self.connect(cloud, template_id="")

        with pytest.raises(Rejected, match="template_id"):
            plain.launch(ORDER)

        assert not cloud.pods
        assert [told.name for told in plain.check() if told.granted is False] == ["template_id"]

    def test_without_a_template_and_a_script_a_plain_image_is_rented(self, cloud):
        cloud.items[1]["images"] = ["cuda_12_4_pytorch_2_6"]

        self.connect(cloud, template_id="").launch(replace(ORDER, startup_script=""))

        assert cloud.pods[0]["environmentType"] == "cuda_12_4_pytorch_2_6"

    @pytest.mark.parametrize(
        "change",
        [{"region": "eu_west"}, {"zone": "X"}, {"market": Market.SPOT}, {"machine_type": "a/b/GB200/PCIe/1/c"}],
    )
    def test_what_is_not_offered_now_is_sold_out(self, provider, change):
        with pytest.raises(NoCapacity) as caught:
            provider.launch(replace(ORDER, **change))

        assert caught.value.reason is Reason.SOLD_OUT

    def test_what_is_out_of_stock_is_not_asked_for(self, provider, cloud):
        cloud.items[1]["stockStatus"] = "Unavailable"

        with pytest.raises(NoCapacity):
            provider.launch(ORDER)

        assert not [request for request in cloud.requests if request.method == "POST"]

    def test_a_name_that_is_no_configuration_is_a_bad_request(self, provider):
        with pytest.raises(Rejected) as caught:
            provider.launch(replace(ORDER, machine_type="h100"))

        assert caught.value.reason is Reason.BAD_REQUEST

    def test_a_pod_that_is_born_in_error_is_ended(self, provider, cloud):
        cloud.born = "ERROR"

        with pytest.raises(NoCapacity):
            provider.launch(ORDER)

        assert not cloud.pods

    def test_a_create_that_fails_and_leaves_a_pod_behind_is_cleaned_up(self, provider, cloud):
        def leave_one(body):
            cloud.add(body["pod"]["name"])
            cloud.pods[-1]["status"] = "ERROR"
            return Reply({"detail": "provider has no capacity"}, 400)

        cloud._create = leave_one

        with pytest.raises(NoCapacity):
            provider.launch(ORDER)

        assert not cloud.pods

    @pytest.mark.parametrize("status", ["ERROR", "STOPPED"])
    def test_a_pod_that_was_taken_from_us_is_lost_and_still_ended(self, provider, cloud, status):
        provider.launch(ORDER)
        cloud.pods[0]["status"] = status

        assert not list(provider.machines())

        provider.terminate(ORDER.key)
        assert not cloud.pods

    @pytest.mark.parametrize(
        ("status", "state"),
        [
            ("PROVISIONING", MachineState.BOOTING),
            ("PENDING", MachineState.BOOTING),
            ("UNKNOWN", MachineState.BOOTING),
            ("ACTIVE", MachineState.RUNNING),
            ("DELETING", MachineState.STOPPING),
        ],
    )
    def test_a_status_is_one_of_our_states(self, provider, cloud, status, state):
        provider.launch(ORDER)
        cloud.pods[0]["status"] = status

        assert [machine.state for machine in provider.machines()] == [state]

    @pytest.mark.parametrize(
        ("connection", "ip", "address"),
        [
            ("root@1.2.3.4 -p 22", None, "1.2.3.4"),
            ("ssh ubuntu@1.2.3.4 -p 2222", None, "1.2.3.4"),
            ([None, "root@1.2.3.4 -p 22", "root@1.2.3.5 -p 22"], None, "1.2.3.4"),
            (None, ["1.2.3.4"], "1.2.3.4"),
            (None, "1.2.3.4", "1.2.3.4"),
            (None, None, None),
        ],
    )
    def test_an_address_is_read_from_what_there_is(self, provider, cloud, connection, ip, address):
        provider.launch(ORDER)
        cloud.pods[0] |= {"sshConnection": connection, "ip": ip}

        assert [machine.address for machine in provider.machines()] == [address]

    def test_a_pod_that_is_gone_when_deleted_is_no_error(self, provider, cloud):
        provider.launch(ORDER)
        cloud.trouble.append(("DELETE", "/pods/", Reply({"detail": "Pod not found"}, 404)))

        provider.terminate(ORDER.key)

    @pytest.mark.parametrize("body", [{}, {"data": None}, {"data": "none"}, []])
    def test_a_list_that_is_none_is_not_an_empty_one(self, provider, cloud, body):
        for _ in range(2):
            cloud.trouble.append(("GET", "/pods/$", Reply(body)))

        with pytest.raises(Unreachable):
            list(provider.machines())
        with pytest.raises(Unreachable):
            provider.launch(ORDER)
        assert not cloud.pods

    @pytest.mark.parametrize("second", [{"data": [], "total_count": 101}, {"data": [], "total_count": 100}])
    def test_a_list_with_gaps_is_none(self, provider, cloud, second):
        """A pod that goes while the pages are read moves another one from the second page to the first."""
        for number in range(101):
            cloud.add(f"gpuyard-lease-{number}")
        first = {"data": cloud.pods[:100], "total_count": 101}

        for look in (lambda: list(provider.machines()), lambda: provider.terminate("lease-100")):
            cloud.trouble = [("GET", "/pods/$", Reply(answer)) for answer in (first, second)]
            with pytest.raises(Unreachable):
                look()

    def test_a_wrong_key_is_told_by_check(self, cloud):
        told = self.connect(cloud, api_key="wrong").check()

        assert [permission.granted for permission in told] == [None, False, False]
