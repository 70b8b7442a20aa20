from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from offers import clock as market_clock
from offers import marketplace, operations
from offers.matching.need import Need
from offers.models import Host, Listening, Offer
from providers.base import LaunchOrder, Market, NoCapacity, Rejected
from tests.conftest import CPU

pytestmark = pytest.mark.django_db


class TestMarketplace:
    @pytest.fixture
    def host(self, make_host):
        return Host.objects.get(pk=make_host("one", "home/berlin").host)

    def order(self, host, key="lease-1", usd="1"):
        return LaunchOrder(key=key, region=host.region, machine_type=f"host-{host.pk}", market=Market.SPOT,
                           max_usd_per_hour=Decimal(usd))  # fmt: skip

    def test_the_same_key_rents_once_and_another_key_not_at_all(self, host):
        market = marketplace.Marketplace()
        market.launch(self.order(host))
        market.launch(self.order(host))

        with pytest.raises(NoCapacity):
            market.launch(self.order(host, key="lease-2"))
        assert [machine.key for machine in market.machines()] == ["lease-1"]
        assert Offer.objects.get().available == 0

    def test_a_price_above_what_was_agreed_is_rejected(self, host):
        with pytest.raises(Rejected):
            marketplace.Marketplace().launch(self.order(host, usd="0.01"))

    def test_terminating_offers_it_again(self, host):
        market = marketplace.Marketplace()
        market.launch(self.order(host))

        market.terminate("lease-1")
        market.terminate("lease-1")

        assert not list(market.machines())
        assert Offer.objects.get().available == 1
        with pytest.raises(NoCapacity):
            market.launch(self.order(host))

    def test_given_back_while_all_hosts_are_looked_at_it_is_free(self, host, clock, monkeypatch):
        market = marketplace.Marketplace()
        market.launch(self.order(host))
        recorded = marketplace.record

        def record(*args, **more):  # Between the look and what is written of it.
            monkeypatch.setattr(marketplace, "record", recorded)
            market.terminate("lease-1")
            return recorded(*args, **more)

        monkeypatch.setattr(marketplace, "record", record)
        operations.refresh_hosts(now=clock.now)

        assert Offer.objects.get().available == 1

    def test_a_host_that_is_silent_is_gone(self, host, clock):
        marketplace.Marketplace().launch(self.order(host))

        clock.forward(seconds=9)

        assert not list(marketplace.Marketplace().machines())

    def test_nobody_is_silent_while_nobody_listens_nor_just_after(self, host, clock):
        marketplace.Marketplace().launch(self.order(host))
        marketplace.listen(clock.now)

        clock.forward(seconds=60)  # The web process was down all that time.
        assert list(marketplace.Marketplace().machines())
        marketplace.listen(clock.now, woke=True)
        clock.forward(seconds=3)
        marketplace.listen(clock.now)
        assert list(marketplace.Marketplace().machines())

        for _ in range(7):
            marketplace.listen(clock.forward(seconds=1))
        assert not list(marketplace.Marketplace().machines())
        assert Listening.objects.count() == 1

    def test_a_reclaim_with_notice_is_seen_before_it_takes_effect(self, host, clock):
        market = marketplace.Marketplace()
        market.launch(self.order(host))

        operations.reclaim(host=host, notice=timedelta(seconds=5), now=clock.now)

        assert next(iter(market.machines())).leaving_at == clock.now + timedelta(seconds=5)
        clock.forward(seconds=5)
        assert not list(market.machines())

    @pytest.mark.parametrize(
        ("accelerators", "why"),
        [
            ([], "no accelerator"),
            ([CPU, CPU, CPU], "offers 3 CPUs but has 2"),
            ([{"kind": "NVIDIA L4", "memory_gib": 24, "uuid": "GPU-1"}] * 4, "4 accelerators with 1 serial numbers"),
            ([CPU, {"kind": "NVIDIA L4", "memory_gib": 24, "uuid": "GPU-1"}], "mixes accelerators"),
        ],
    )
    def test_a_host_that_lies_about_its_accelerators_is_not_offered(self, accelerators, why):
        assert why in operations.lie({"vcpus": 2, "accelerators": accelerators})

    def test_a_host_that_loses_accelerators_while_rented_is_barred(self, make_host, clock):
        chips = [{"kind": "NVIDIA L4", "memory_gib": 24.0, "uuid": f"GPU-{n}"} for n in range(4)]
        agent = make_host("four", "home/berlin", hardware={"vcpus": 8, "accelerators": chips})
        host = Host.objects.get(pk=agent.host)
        marketplace.Marketplace().launch(self.order(host))

        agent.hardware = {"vcpus": 8, "accelerators": chips[:2]}
        agent.beat()

        host.refresh_from_db()
        assert marketplace.state_of(host, clock.now) == "barred"
        assert "reported 2 accelerators after 4" in host.barred_why


class TestQuote:
    def test_freezes_what_it_promises(self, make_host, ada, clock):
        make_host("one", "home/berlin", usd="0.10")

        (quote,), _ = operations.quote(owner_id=ada.team.pk, need=Need(accelerator="cpu"), measured={}, now=clock.now)
        Host.objects.update(usd_per_hour=Decimal(9))
        operations.refresh_hosts(now=clock.now)

        line = quote.lines.get()
        assert (line.cost_usd_per_hour, line.sell_usd_per_hour) == (Decimal("0.10"), Decimal("0.11"))

    def test_no_offer_at_all_is_unmet(self, ada, clock):
        with pytest.raises(operations.NeedUnmet):
            operations.quote(owner_id=ada.team.pk, need=Need(), measured={}, now=clock.now)

    def test_an_offer_not_seen_lately_is_not_quoted(self, make_host, ada, clock):
        make_host("one", "home/berlin")

        clock.forward(minutes=16)

        with pytest.raises(operations.NeedUnmet):
            operations.quote(owner_id=ada.team.pk, need=Need(), measured={}, now=clock.now)


def test_price_lists_in_the_catalogs_directory_are_polled(settings, tmp_path, clock):
    settings.CATALOG_DIR = str(tmp_path)
    header = "InstanceType,AcceleratorName,AcceleratorCount,Price,Region\n"
    for provider, text in (("aws", header + "p5,H100,8,98.32,us-east-1\n"), ("broken", "not,a,catalog\n")):
        (tmp_path / provider).mkdir()
        (tmp_path / provider / "vms.csv").write_text(text)

    pages = {name: market_clock.read(name, now=clock.now) for name in market_clock.claim_due(now=clock.now)}
    assert pages["aws"].lines == 1
    assert pages["broken"] is None

    assert Offer.objects.get().provider == "aws"
