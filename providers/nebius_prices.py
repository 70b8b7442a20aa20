"""
What Nebius sells, for how much and how much of it is free: the price list behind providers.nebius.

Source: the API's definitions as nebius 0.6.29 ships them: compute/v1 (platforms and presets), billing/v1alpha1 (the
calculator; spot prices of the last 30 days), capacity/v1 (advice about what is free), iam/v2 (a project's region).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from operator import itemgetter
from typing import Any

from nebius.api.nebius.billing import v1alpha1 as billing
from nebius.api.nebius.capacity import v1 as capacity
from nebius.api.nebius.common.v1 import ResourceMetadata
from nebius.api.nebius.compute import v1 as compute
from nebius.api.nebius.iam import v2 as iam

from providers import fields
from providers.base import BAD_ROW, Listing, Market, PricePoint, Reason, Rejected, Stock, translated
from providers.nebius_calls import Calls

DISK_GIB = 100  # What a listing's price includes; LaunchOrder asks for as much.
IMAGE_FAMILY = "ubuntu24.04-cuda13.0"  # Public, with NVIDIA's driver: docs.nebius.com/compute/storage/boot-disk-images
HISTORY = timedelta(days=30)  # ListSpotPriceSeriesRequest.Filters.start_time
COUNTRIES = {"eu-north1": "FI", "eu-north2": "IS", "eu-west1": "FR", "me-west1": "IL", "uk-south1": "GB",
             "us-central1": "US"}  # docs.nebius.com/overview/regions  # fmt: skip
LABELS = {"RTX6000": "RTX PRO 6000"}  # docs.nebius.com/compute/virtual-machines/types
Level = capacity.ResourceAdviceStatus.Availability.AvailabilityLevel
STOCKS = {Level.AVAILABILITY_LEVEL_LIMIT_REACHED: Stock.NONE, Level.AVAILABILITY_LEVEL_LOW: Stock.LOW,
          Level.AVAILABILITY_LEVEL_MEDIUM: Stock.MEDIUM, Level.AVAILABILITY_LEVEL_HIGH: Stock.HIGH}  # fmt: skip
MACHINES_MAX = 100_000  # More is no count.
NOTHING = (-1, Stock.UNKNOWN)
FRESH = capacity.ResourceAdviceStatus.Availability.DataState.DATA_STATE_FRESH


class Prices:
    """What one project can buy in its region."""

    def __init__(self, calls: Calls, region: str = "") -> None:
        """region: needed only if the project itself may not be read."""
        self.calls, self.region, self.skipped = calls, region, Counter[str]()

    def listings(self) -> Iterable[Listing]:
        """Return a line per preset with GPUs and market. Raises ProviderError."""
        self.skipped.clear()
        region, tenant = self.place()
        stocks, disk_usd, now = self._stocks(tenant, region), self.disk_usd(DISK_GIB), datetime.now(UTC)

        def translate(sold: tuple[Any, Any, Market]) -> Iterator[Listing]:
            platform, preset, market = sold
            machine_type = f"{fields.text(platform.metadata.name)}/{fields.text(preset.name)}"
            try:
                usd = fields.price(self.usd(machine_type, market) + disk_usd)
            except Rejected as error:
                if error.reason is Reason.BAD_REQUEST:
                    raise ValueError(str(error)) from None
                raise
            available, stock = stocks.get((machine_type, market), (None, Stock.UNKNOWN))
            yield Listing(
                provider="nebius",
                region=region,
                country=COUNTRIES.get(region, ""),
                machine_type=machine_type,
                accelerator_label=_label(platform.metadata.name),
                accelerator_count=fields.accelerators(preset.resources.gpu_count),
                memory_gib=fields.positive(platform.spec.gpu_memory_gigabytes),
                vcpus=fields.positive(preset.resources.vcpu_count),
                ram_gib=fields.positive(preset.resources.memory_gibibytes),
                disk_gib=DISK_GIB,
                market=market,
                usd_per_hour=usd,
                available=available,
                stock=stock,
                interconnect="infiniband" if preset.allow_gpu_clustering else "",
                seen_at=now,
            )

        return translated(self.sold(), translate, self.skipped)

    def history(self, *, since: datetime, until: datetime) -> Iterator[PricePoint]:
        """Return the hourly preemptible prices of at most the last 30 days. Raises ProviderError."""
        since = max(since, datetime.now(UTC) - HISTORY + timedelta(minutes=5))
        if since >= until:
            return
        region, disk_usd, wanted = self.place()[0], self.disk_usd(DISK_GIB), billing.ListSpotPriceSeriesRequest
        presets = [(p.metadata.name, s) for p, s, market in self.sold() if market is Market.SPOT]
        how = wanted.Aggregation(
            granularity=wanted.Aggregation.Granularity.GRANULARITY_HOUR_1,
            method=wanted.Aggregation.Method.METHOD_FIRST_PRICE,
        )
        of = wanted.Filters(start_time=since, end_time=until)
        for series in self.calls.pages(
            billing.SpotPriceServiceClient, wanted, "list_series", filters=of, aggregation=how
        ):
            if (series.region, series.currency.lower(), series.unit_title) != (region, "usd", "GPU hour"):
                continue
            for platform, preset in presets:
                if platform != series.compute_instance.platform:
                    continue
                for at, usd_per_gpu in _points(series):
                    if since <= at < until:
                        yield PricePoint(
                            provider="nebius",
                            region=region,
                            machine_type=f"{platform}/{preset.name}",
                            market=Market.SPOT,
                            usd_per_hour=usd_per_gpu * preset.resources.gpu_count + disk_usd,
                            at=at,
                        )

    def project(self) -> Any:
        """Return the project, an iam.v2.Project. Raises ProviderError."""
        return self.calls.do(iam.ProjectServiceClient, "get", iam.GetProjectRequest(id=self.calls.parent_id))

    def place(self) -> tuple[str, str]:
        """Return the project's region and tenant."""
        try:
            project = self.project()
            return self.region or fields.text(project.spec.region), project.metadata.parent_id
        except (Rejected, ValueError) as error:
            if self.region:
                return self.region, ""
            raise Rejected(f"nebius: the project's region is unknown: {error}", reason=Reason.AUTH) from None

    def sold(self) -> Iterator[tuple[Any, Any, Market]]:
        """Return every (platform, preset, market) with accelerators."""
        for platform in self.calls.pages(
            compute.PlatformServiceClient, compute.ListPlatformsRequest, parent_id=self.calls.parent_id
        ):
            for preset in platform.spec.presets:
                if preset.resources.gpu_count:
                    yield platform, preset, Market.ON_DEMAND
                    if platform.status.allowed_for_preemptibles:
                        yield platform, preset, Market.SPOT

    def _stocks(self, tenant: str, region: str) -> dict[tuple[str, Market], tuple[int, Stock]]:
        """Return what is free; a machine lies in one fabric, so the fullest fabric of a region counts."""
        found: dict[tuple[str, Market], tuple[int, Stock]] = {}
        client, request = capacity.ResourceAdviceServiceClient, capacity.ListResourceAdviceRequest
        try:
            advice = list(self.calls.pages(client, request, parent_id=tenant)) if tenant else []
        except Rejected as error:
            self.skipped[f"stock: {error}"[:80]] += 1
            return {}
        for row in advice:
            sold, status = row.spec.compute_instance, row.status
            if sold is None or row.spec.region != region:
                continue
            for market, free in ((Market.ON_DEMAND, status.on_demand), (Market.SPOT, status.preemptible)):
                if free.data_state is not FRESH or free.available > MACHINES_MAX:
                    continue
                line, told = (f"{sold.platform}/{sold.preset.name}", market), STOCKS.get(free.availability_level)
                found[line] = max(found.get(line, NOTHING), (free.available, told or Stock.UNKNOWN), key=itemgetter(0))
        return found

    def usd(self, machine_type: str, market: Market) -> Decimal:
        """Return what a machine without a disk costs now, USD per hour. Raises ProviderError."""
        platform, _, preset = machine_type.partition("/")
        spec = compute.InstanceSpec(resources=compute.ResourcesSpec(platform=platform, preset=preset))
        if market is Market.SPOT:
            spec.preemptible = compute.PreemptibleSpec()
        request = compute.CreateInstanceRequest(metadata=ResourceMetadata(parent_id=self.calls.parent_id), spec=spec)
        return self._estimate(billing.ResourceSpec(compute_instance_spec=request))

    def disk_usd(self, disk_gib: int) -> Decimal:
        """Return what a boot disk costs now, USD per hour. Raises ProviderError."""
        request = compute.CreateDiskRequest(
            metadata=ResourceMetadata(parent_id=self.calls.parent_id), spec=disk(disk_gib)
        )
        return self._estimate(billing.ResourceSpec(compute_disk_spec=request))

    def _estimate(self, spec: billing.ResourceSpec) -> Decimal:
        answer = self.calls.do(billing.CalculatorServiceClient, "estimate", billing.EstimateRequest(resource_spec=spec))
        try:
            return fields.price(answer.hourly_cost.general.total.cost)
        except BAD_ROW as error:
            raise Rejected(f"nebius: an estimate without a price: {error}", reason=Reason.BAD_REQUEST) from None


def disk(disk_gib: int) -> compute.DiskSpec:
    """Return the boot disk that we ask for."""
    return compute.DiskSpec(
        size_gibibytes=disk_gib,
        type=compute.DiskSpec.DiskType.NETWORK_SSD,
        source_image_family=compute.SourceImageFamily(image_family=IMAGE_FAMILY),
    )


def _label(platform: str) -> str:
    """Translate a platform such as gpu-h100-sxm."""
    chip = fields.text(platform).removeprefix("gpu-").split("-")[0].upper()
    return fields.text(LABELS.get(chip, chip))


def _points(series: Any) -> Iterator[tuple[datetime, Decimal]]:
    """Yield (since when, USD per GPU-hour); a point is named by the end of its hour."""
    for point in series.points:
        try:
            told = point.timestamp - timedelta(hours=1), fields.price(point.value)
        except BAD_ROW:
            continue
        yield told
