"""gpuhunt's catalogs, and what they say about our own readings."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.base import Listing, Market, ProviderError, Rejected
from providers.gpuhunt_feed import GpuHunt, cross_check
from tests.providers.cloud import Cloud, Reply, Request
from tests.providers.contract import PriceListContract, assert_sound

HEADER = (
    "instance_name,location,price,cpu,memory,gpu_count,gpu_name,gpu_memory,spot,disk_size,gpu_vendor,flags,cpu_arch,"
    "provider_data\n"
)
AWS = "p4d.24xlarge,us-east-1,32.7726,96,1152.0,8,A100,40.0,False,,nvidia,[],x86,{}\nm5.large,us-east-1,0.096,2,8.0,0,,,False,,,[],x86,{}\n"  # noqa: E501 - as it stands in the file.
GCP = "a3-highgpu-8g,us-central1-a,88.25,208,1872.0,8,H100,80.0,True,6000.0,nvidia,[],x86,{}\n"
LAMBDA = "gpu_1x_h100_pcie,us-west-1,2.49,26,200.0,1,H100,80.0,False,1024.0,nvidia,[],x86,{}\n"
NEBIUS = "gpu-h100-sxm 8gpu-128vcpu-1600gb,eu-north1,23.6,128,1600.0,8,H100,80.0,False,,nvidia,[],x86,{}\n"


@pytest.fixture
def folder(tmp_path):
    for name, rows in {"aws": AWS, "gcp": GCP, "lambdalabs": LAMBDA, "nebius": NEBIUS}.items():
        (tmp_path / f"{name}.csv").write_text(HEADER + rows)
    return tmp_path


class TestGpuHunt(PriceListContract):
    @pytest.fixture
    def provider(self, folder):
        return GpuHunt(source=str(folder))

    def test_listings_are_priced_and_counted(self, provider):
        """Each line bears the name of the provider that sells it, and not the feed's."""
        for listing in provider.listings():
            assert_sound(listing, listing.provider)
            assert listing.usd_per_hour > 0
            assert listing.accelerator_count > 0

    def test_every_line_of_its_page_enters_the_book_under_a_name_that_we_know(self, provider):
        """Its lines are other providers', so they are compared with the book and never enter it."""
        for listing in provider.listings():
            assert listing.provider != provider.name

    def test_whatever_the_answers_hold_a_poll_ends_well(self, provider, cloud, monkeypatch):
        """Its answers are files of CSV; they are spoilt below."""


def test_a_folder_holds_a_file_per_provider(folder):
    feed = GpuHunt(source=str(folder))

    aws, gcp, lambda_, nebius = feed.listings()

    assert (aws.provider, aws.region, aws.machine_type, aws.usd_per_hour) == (
        "aws",
        "us-east-1",
        "p4d.24xlarge",
        Decimal("32.7726"),
    )
    assert (aws.accelerator_label, aws.accelerator_count, aws.memory_gib, aws.market) == (
        "A100-40GB",
        8,
        40,
        Market.ON_DEMAND,
    )
    assert (gcp.region, gcp.zone, gcp.market, gcp.disk_gib) == ("us-central1", "us-central1-a", Market.SPOT, 6000)
    assert lambda_.provider == "lambda"
    assert nebius.machine_type == "gpu-h100-sxm/8gpu-128vcpu-1600gb"
    assert not feed.skipped


def test_a_zip_file_holds_the_same(folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "catalog.zip", "w") as packed:
        packed.writestr("aws.csv", HEADER + AWS)

    assert [line.provider for line in GpuHunt(source=str(tmp_path / "catalog.zip")).listings()] == ["aws"]


def test_one_file_may_be_read_from_a_url():
    class Shelf(Cloud):
        def answer(self, request: Request) -> Reply | None:
            return Reply(HEADER + LAMBDA) if request.path == "/v3/lambdalabs.csv" else None

    with Shelf() as shelf:
        (line,) = GpuHunt(source=f"{shelf.url}/v3/lambdalabs.csv").listings()

    assert line.provider == "lambda"


@pytest.mark.parametrize(
    "bad", ["", "x", "t,r,free,1,1,1,H100,80,False,,,,,\n", "t,r,1,1,1,1,H100,80,maybe,,,,,\n", "t,r,1,1,1,,\n"]
)
def test_a_bad_row_does_not_hide_the_good_one(tmp_path, bad):
    (tmp_path / "aws.csv").write_text(HEADER + bad.rstrip("\n") + "\n" + AWS)

    assert [line.machine_type for line in GpuHunt(source=str(tmp_path)).listings()] == ["p4d.24xlarge"]


def test_a_file_of_another_kind_is_left_out(folder):
    (folder / "notes.csv").write_text("a,b\n1,2\n")
    feed = GpuHunt(source=str(folder))

    assert len(list(feed.listings())) == 4
    assert [why for why in feed.skipped if why.startswith("notes.csv: no column")]


def test_what_is_not_there_is_rejected(tmp_path):
    (tmp_path / "no.zip").write_text("not a zip")
    for source in ("nothing.csv", "no.zip"):
        with pytest.raises(Rejected):
            list(GpuHunt(source=str(tmp_path / source)).listings())


@given(st.text(st.characters(exclude_categories=("Cs",))))
def test_whatever_the_rows_hold_a_reading_ends_well(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("catalog")
    (folder / "aws.csv").write_text(HEADER + rows, "utf-8")

    try:
        assert all(isinstance(line, Listing) for line in GpuHunt(source=str(folder)).listings())
    except ProviderError:
        pass


LINE = Listing(
    provider="aws",
    region="us-east-1",
    zone="us-east-1a",
    machine_type="p5.48xlarge",
    accelerator_label="H100",
    accelerator_count=8,
    memory_gib=80,
    vcpus=192,
    ram_gib=2048,
    market=Market.ON_DEMAND,
    usd_per_hour=Decimal("55"),
    seen_at=datetime(2026, 11, 1, tzinfo=UTC),
)
SPOT = replace(LINE, market=Market.SPOT, usd_per_hour=Decimal("20"))


def test_the_share_of_prices_that_agree_is_told():
    ours = [
        LINE,
        replace(LINE, zone="us-east-1b", usd_per_hour=Decimal("60")),
        SPOT,
        replace(SPOT, region="eu-west-1"),
        replace(LINE, provider="vast"),
    ]
    theirs = [
        replace(LINE, zone="", usd_per_hour=Decimal("55.5")),
        replace(SPOT, zone="", usd_per_hour=Decimal("25")),
        replace(LINE, machine_type="p4d.24xlarge"),
        replace(LINE, provider="runpod"),
    ]

    found = cross_check(ours, theirs)

    aws = found.pop("aws")
    assert found == {}
    assert aws.agreeing_share == 0.5
    assert (len(aws.matched), aws.ours_only, aws.theirs_only) == (2, 1, 1)
    assert aws.differences == ((("aws", "p5.48xlarge", "us-east-1", Market.SPOT), Decimal("20"), Decimal("25")),)


@pytest.mark.parametrize(("usd", "share"), [("99", 1.0), ("101", 1.0), ("98.99", 0.0), ("101.01", 0.0)])
def test_one_per_cent_is_near_enough(usd, share):
    ours, theirs = replace(LINE, usd_per_hour=Decimal(usd)), replace(LINE, usd_per_hour=Decimal(100))

    assert cross_check([ours], [theirs])["aws"].agreeing_share == share


def test_nothing_in_common_says_nothing():
    aws = cross_check([LINE], [SPOT])["aws"]

    assert (aws.agreeing_share, aws.matched, aws.differences) == (None, (), ())
