from __future__ import annotations

import csv
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.base import Market, Rejected
from providers.catalog import Catalog, Report, read
from tests.conftest import NOON

HEADER = "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region,AvailabilityZone"
REAL = Path(__file__).parents[3] / "shared" / "data" / "catalogs"


def load(*rows, header=HEADER):
    report = Report()
    listings = list(read([f"{line}\n" for line in (header, *rows)], provider="cloud", now=NOON, report=report))
    return listings, report


def test_a_row_with_two_prices_is_two_listings():
    listings, report = load("p5,H100,8,192,2048,,98.32,40.1,us-east-1,us-east-1a")

    assert [(line.market, line.usd_per_hour) for line in listings] == [
        (Market.ON_DEMAND, Decimal("98.32")),
        (Market.SPOT, Decimal("40.1")),
    ]
    assert (report.rows, report.loaded, report.not_gpu, sum(report.skipped.values())) == (1, 1, 0, 0)


@pytest.mark.parametrize(
    "info",
    [
        "\"{'Gpus': [{'MemoryInfo': {'SizeInMiB': 81920}}]}\"",
        '"{""Gpus"": [{""MemoryInfo"": {""SizeInMiB"": 81920}}]}"',
    ],
)
def test_gpu_memory_is_read_from_a_python_literal_and_from_json(info):
    listings, _ = load(f"p5,H100,8,192,2048,{info},98,,us-east-1,")

    assert listings[0].memory_gib == 80


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (",H100,8,,,,98,,us-east-1,", "accelerator without a host"),
        ("p5,H100,8,,,,,,us-east-1,", "no price"),
        ("p5,H100,8,,,,-1,,us-east-1,", "price is not positive"),
        ("p5,H100,8,,,,NaN,,us-east-1,", "price is not positive"),
        ("p5,H100,8,,,,cheap,,us-east-1,", "price is not a number"),
        ("p5,H100,0,,,,98,,us-east-1,", "accelerator count is not positive"),
        ("p5,H100,,,,,98,,us-east-1,", "no accelerator count"),
        ("p5,H100,0.5,,,,98,,us-east-1,", "a fraction of an accelerator"),
        ("p5,H100,8,,,,98,,,", "no region"),
        ("p5,H100,8,,,,98000000,,us-east-1,", "absurd price"),
        ("p5,H100,8,,,,98,,us-east-1,,surplus", "more fields than columns"),
    ],
)
def test_a_bad_row_is_counted_named_and_does_not_hide_the_good_one(row, reason):
    listings, report = load(row, "p5,H100,8,,,,98,,us-east-1,")

    assert len(listings) == 1
    assert dict(report.skipped) == {reason: 1}
    assert report.examples[0]["line"] == 2
    assert (report.rows, report.loaded) == (2, 1)


def test_a_row_without_an_accelerator_is_not_an_error():
    _, report = load("m5.large,,,2,8,,0.1,,us-east-1,")

    assert (report.rows, report.not_gpu, sum(report.skipped.values())) == (1, 1, 0)


def test_another_schema_is_refused_by_name():
    with pytest.raises(Rejected, match="no column AcceleratorCount"):
        load(header="a,b,c")


@given(st.lists(st.text(alphabet=st.characters(codec="utf-8"), max_size=60), max_size=8))
def test_no_text_crashes_it_and_every_row_is_accounted_for(rows):
    report = Report()

    list(read([f"{line}\n" for line in (HEADER, *rows)], provider="cloud", now=NOON, report=report))

    assert report.rows == report.loaded + report.not_gpu + sum(report.skipped.values())


@pytest.mark.skipif(not REAL.is_dir(), reason="the real price lists are not beside this checkout")
@pytest.mark.parametrize("name", ["aws", "azure", "gcp", "nebius", "shadeform", "verda"])
def test_every_row_of_the_real_lists_is_accounted_for(name):
    path = REAL / name / "vms.csv"
    catalog = Catalog(path=path, now=NOON)

    listings = list(catalog.listings())

    with path.open(newline="") as lines:
        rows = sum(1 for _ in csv.DictReader(lines))
    report = catalog.report
    assert report.rows == rows
    assert rows == report.loaded + report.not_gpu + sum(report.skipped.values())
    assert listings or set(report.skipped) == {"accelerator without a host"}  # gcp sells chips apart from hosts
    assert all(line.usd_per_hour > 0 and line.accelerator_count > 0 for line in listings)


def test_a_host_without_a_price_is_in_that_of_its_chips_but_one_that_could_be_had_alone_is_not():
    b200, t4 = ",B200,8,,,,64,,here,here-a", ",T4,1,,,,4,,here,here-a"

    listings, report = load(b200, t4, "a4-highgpu-8g,,,8,30,,0.0,,here,here-a", "n1-standard-4,,,8,30,,0,,here,here-a")

    assert [(line.machine_type, line.usd_per_hour) for line in listings] == [("a4-highgpu-8g", Decimal(64))]
    assert report.skipped == {"accelerator without a host": 1}


@pytest.mark.parametrize(
    ("host", "chip", "machine_type", "prices"),
    [
        ("a2-highgpu-2g", "A100,2", "a2-highgpu-2g", ("5.5", "2.5")),
        ("n1-standard-4", "T4,1", "n1-standard-4+nvidia-tesla-t4x1", ("5.5", "2.5")),
        ("n1-standard-8", "T4,2", "n1-standard-8+nvidia-tesla-t4x2", ("5.5", "2.5")),
        ("n1-standard-32", "V100,8", "n1-standard-32+nvidia-tesla-v100x8", ("5.5", "2.5")),
        ("", "tpu-v5p-8,1", "tpu-v5p-8", ("4", "2")),
    ],
)
def test_a_chip_that_is_priced_apart_costs_the_sum_with_its_host(host, chip, machine_type, prices):
    rows = [f",{chip},,,,4,2,here,here-a", *([f"{host},,,8,30,,1.5,0.5,here,here-a"] if host else [])]

    listings, report = load(*rows)

    assert [(line.machine_type, line.usd_per_hour) for line in listings] == [
        (machine_type, Decimal(price)) for price in prices
    ]
    assert (report.loaded, report.not_gpu, report.rows) == (1, len(rows) - 1, len(rows))


def test_a_chip_whose_host_is_not_sold_in_its_zone_is_skipped():
    listings, report = load("a2-highgpu-2g,,,24,170,,1.5,0.5,here,here-b", ",A100,2,,,,4,2,here,here-a")

    assert not listings
    assert report.skipped == {"accelerator without a host": 1}


def test_the_same_line_twice_is_skipped_and_counted():
    row = "p5,H100,8,192,2048,,98.32,40.1,us-east-1,us-east-1a"

    listings, report = load(row, row)

    assert len(listings) == 2
    assert (report.loaded, report.skipped) == (1, {"the same line twice": 1})
