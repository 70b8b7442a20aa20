from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from offers import pages, poll, search
from offers.models import Offer
from providers.base import Market, Stock
from tests.conftest import NOON
from tests.providers.test_fake import LISTING

pytestmark = pytest.mark.django_db

H100 = replace(
    LISTING, provider="gcp", region="europe-west3", stock=Stock.HIGH, available=4, reliability=0.99, disk_gib=500,
    interruptions_per_hour=0.02, egress_usd_per_gib=Decimal("0.08"), interconnect="nvlink", placement_score=0.9,
    internet_mbit_per_s=1000, boot_s=90, ends_at=NOON + timedelta(hours=5),
)  # fmt: skip
BOOK = [
    H100,
    replace(H100, accelerator_label="H100 PCIe", machine_type="pcie", usd_per_hour=Decimal(12), stock=Stock.LOW),
    replace(H100, region="us-east4", zone="us-east4-a", market=Market.SPOT, usd_per_hour=Decimal(8), reliability=None),
    replace(H100, accelerator_label="MI300X", memory_gib=192, machine_type="mi", usd_per_hour=Decimal(20)),
    replace(H100, accelerator_label="Z9000", machine_type="z", accelerator_count=1, usd_per_hour=Decimal(1)),
    replace(H100, market=Market.RESERVED, term="1y", usd_per_hour=Decimal(9), vcpus=None, ram_gib=None),
]
LONE = replace(LISTING, provider="lone", region="nowhere", accelerator_count=2, usd_per_hour=Decimal("3.5"))


@pytest.fixture(autouse=True)
def _book(db):
    poll.record(BOOK, provider="gcp", now=NOON, complete=True, leasable=True)
    poll.record([LONE], provider="lone", now=NOON - timedelta(hours=1), complete=True, fresh_for=timedelta(minutes=1))


def found(**wishes):
    rows = search.ordered(search.matching({name: str(value) for name, value in wishes.items()}, now=NOON), "id")
    return [f"{row.accelerator}/{row.market}/{row.region}" for row in rows]


SXM, PCIE, SPOT = "H100-SXM/on_demand/europe-west3", "H100-PCIE/on_demand/europe-west3", "H100-SXM/spot/us-east4"
MI, Z, YEAR = "MI300X/on_demand/europe-west3", "Z9000/on_demand/europe-west3", "H100-SXM/reserved/europe-west3"
ALONE = "H100-SXM/on_demand/nowhere"


@pytest.mark.parametrize(
    ("wishes", "rows"),
    [
        ({}, [SXM, PCIE, SPOT, MI, Z, YEAR, ALONE]),
        ({"gpu": "h100"}, [SXM, PCIE, SPOT, YEAR, ALONE]),
        ({"gpu": "H100-PCIE"}, [PCIE]),
        ({"gpu": "NVIDIA H100 PCIe,MI300X"}, [PCIE, MI]),
        ({"gpu": "z9000"}, [Z]),
        ({"accelerator": "MI300X"}, [MI]),
        ({"not_gpu": "H100"}, [MI, Z]),
        ({"vendor": "amd"}, [MI]),
        ({"count": 2}, [ALONE]),
        ({"min_count": 8, "max_usd_per_hour": 12}, [PCIE, SPOT, YEAR]),
        ({"max_count": 2}, [Z, ALONE]),
        ({"min_memory_gib": 100}, [MI]),
        ({"min_total_memory_gib": 640, "max_total_memory_gib": 700}, [SXM, PCIE, SPOT, YEAR]),
        ({"min_vcpus": 1}, [SXM, PCIE, SPOT, MI, Z, ALONE]),
        ({"max_ram_gib": 10}, []),
        ({"min_disk_gib": 500, "gpu": "MI300X"}, [MI]),
        ({"max_usd_per_gpu_hour": "1.5"}, [PCIE, SPOT, Z, YEAR]),
        ({"min_usd_per_gpu_hour": "2.5"}, [MI]),
        ({"provider": "LONE"}, [ALONE]),
        ({"not_provider": "gcp"}, [ALONE]),
        ({"region": "us-east4"}, [SPOT]),
        ({"not_region": "europe-west3,nowhere"}, [SPOT]),
        ({"zone": "us-east4-a"}, [SPOT]),
        ({"country": "de", "gpu": "MI300X"}, [MI]),
        ({"not_country": "DE"}, [SPOT, ALONE]),
        ({"near": "52.5,13.4,500", "gpu": "MI300X"}, [MI]),
        ({"near": "52.5,13.4,100"}, []),
        ({"near": "39,-77.5,100"}, [SPOT]),
        ({"instance_type": "mi"}, [MI]),
        ({"market": "spot"}, [SPOT]),
        ({"market": "on-demand,reserved", "provider": "gcp"}, [SXM, PCIE, MI, Z, YEAR]),
        ({"term": "1y"}, [YEAR]),
        ({"stock": "medium", "gpu": "H100", "market": "on_demand"}, [SXM]),
        ({"stock": "low", "gpu": "H100-PCIE"}, [PCIE]),
        ({"min_available": 5}, []),
        ({"min_reliability": "0.9", "gpu": "H100"}, [SXM, PCIE, YEAR]),
        ({"max_interruptions_per_hour": "0.01"}, []),
        ({"min_placement_score": "0.95"}, []),
        ({"interconnect": "NVLink", "market": "spot"}, [SPOT]),
        ({"min_internet_mbit_per_s": 999, "market": "spot"}, [SPOT]),
        ({"max_egress_usd_per_gib": "0.05"}, []),
        ({"max_gco2_per_kwh": 300, "market": "on_demand"}, [SXM, PCIE, MI, Z]),
        ({"max_gco2_per_kwh": 200}, []),
        ({"max_boot_s": 60}, []),
        ({"min_hours_left": 6}, [ALONE]),
        ({"leasable": "false"}, [ALONE]),
        ({"fresh": "true", "gpu": "H100-SXM"}, [SXM, SPOT, YEAR]),
        ({"fresh": "false"}, [ALONE]),
        ({"seen_within_s": 60, "gpu": "MI300X"}, [MI]),
        ({"seen_within_s": 7200, "count": 2}, [ALONE]),
        ({"q": "gcp us-east"}, [SPOT]),
        ({"q": "100% _"}, []),
    ],
)
def test_a_filter_leaves_what_fits(wishes, rows):
    assert found(**wishes) == rows


@pytest.mark.parametrize(
    ("name", "value"),
    [("colour", "red"), ("min_count", "many"), ("min_count", "NaN"), ("market", "grey"), ("stock", "plenty"),
     ("near", "here"), ("id", "1.5"), ("id", "0"), ("leasable", "maybe"), ("max_usd_per_hour", "1e99")],
)  # fmt: skip
def test_a_filter_that_means_nothing_is_told_by_its_name(name, value):
    with pytest.raises(search.SearchInvalid, match=name):
        found(**{name: value})


def test_offers_are_found_by_their_numbers():
    spot, mi = Offer.objects.get(market="spot").pk, Offer.objects.get(machine_type="mi").pk

    assert found(id=f"{spot},{mi},999999") == [SPOT, MI]


def test_what_is_gone_is_shown_only_when_asked_for():
    poll.record(BOOK[1:], provider="gcp", now=NOON + timedelta(minutes=5), complete=True)

    assert SXM not in found()
    assert SXM in found(gone="true")


def walk(sort, limit):
    """Every page, one after the other: the ids and the values sorted by."""
    after, rows = None, []
    while True:
        text, after = pages.page(search.matching({}, now=NOON), sort=sort, after=after, limit=limit, now=NOON)
        rows += json.loads(text)
        if after is None:
            return rows


@pytest.mark.parametrize("sort", [*search.SORTS, *(f"-{name}" for name in search.SORTS)])
@pytest.mark.parametrize("limit", [1, 2, 5])
def test_pages_are_in_order_and_hold_every_offer_once(sort, limit):
    rows = walk(sort, limit)

    assert sorted(row["id"] for row in rows) == sorted(Offer.objects.values_list("id", flat=True))
    name = sort.lstrip("-")
    if name in rows[0]:
        values = [row[name] for row in rows]
        known = [float(value) if isinstance(value, str) and name != "changed_at" else value for value in values
                 if value is not None]  # fmt: skip
        assert known == sorted(known, reverse=sort.startswith("-"))
        assert values[len(known) :] == [None] * (len(values) - len(known))


@given(st.lists(st.tuples(st.integers(1, 40), st.one_of(st.none(), st.integers(1, 4))), min_size=1, max_size=30))
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), database=None)
def test_pages_hold_every_offer_once_whatever_is_equal_or_unknown(rows):
    lines = [
        replace(LISTING, provider="many", machine_type=f"t{index}", usd_per_hour=Decimal(usd), vcpus=vcpus)
        for index, (usd, vcpus) in enumerate(rows)
    ]
    poll.record(lines, provider="many", now=NOON, complete=True)

    for sort in ("usd_per_hour", "-vcpus", "vcpus"):
        shown = walk(sort, 3)
        assert len({row["id"] for row in shown}) == len(shown) == Offer.objects.filter(gone_at=None).count()
        if sort == "usd_per_hour":
            assert all(Decimal(a[sort]) <= Decimal(b[sort]) for a, b in pairwise(shown))


def test_groups_say_from_to_and_how_many():
    rows = search.grouped(search.matching({"gpu": "H100"}, now=NOON), "gpu,market")

    assert [(row["gpu"], row["market"], row["offers"], row["min_usd_per_gpu_hour"]) for row in rows] == [
        ("H100-SXM", "spot", 1, Decimal(1)),
        ("H100-SXM", "reserved", 1, Decimal("1.125")),
        ("H100-PCIE", "on_demand", 1, Decimal("1.5")),
        ("H100-SXM", "on_demand", 2, Decimal("1.75")),
    ]
    assert rows[-1]["max_usd_per_gpu_hour"] == 2
    assert rows[-1]["providers"] == 2


@pytest.mark.parametrize("by", ["", "colour", "gpu,colour"])
def test_a_group_that_is_none_is_refused(by):
    with pytest.raises(search.SearchInvalid):
        search.grouped(search.matching({}, now=NOON), by)
