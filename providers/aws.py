"""
Amazon EC2: on-demand and spot machines, and the prices of reservations.

Written from https://docs.aws.amazon.com/AWSEC2/latest/APIReference/Welcome.html: DescribeInstances, RunInstances,
DescribeSpotPriceHistory, DescribeSpotInstanceRequests, GetSpotPlacementScores, TerminateInstances.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

from providers import aws_check, aws_machines, aws_prices, fields
from providers.aws_api import HOME, Account, code_of, matching
from providers.aws_machines import PREFIX, STATES, TAG, machine
from providers.aws_prices import Region
from providers.base import (
    BAD_ROW,
    LaunchOrder,
    Listing,
    Machine,
    Permission,
    PricePoint,
    ProviderError,
    Reason,
    Rejected,
    Unreachable,
    translated,
)

Found = TypeVar("Found")
AT_ONCE = 8  # Regions that are asked side by side.
NOTICE = timedelta(minutes=2)  # User Guide, "Spot Instance interruption notices".
COSTING = ("pending", "running", "stopping", "stopped")  # A stopped machine's disk costs on.
FILTER_MAX = 200  # Values of a filter, "Using filtering" in the EC2 API guide.
TYPES = matching("instance-type", *aws_prices.TYPE_PATTERNS)
# An account may ask for few sets in a day, and a set of less than three types scores low (GetSpotPlacementScores).
SCORED = (("p5.48xlarge", "p5e.48xlarge", "p5en.48xlarge"), ("p4d.24xlarge", "p4de.24xlarge", "p5.48xlarge"),
          ("g6e.12xlarge", "g6e.24xlarge", "g6e.48xlarge"))  # fmt: skip


class Aws:
    """One account. A machine bears our key in the tag `gpuyard-key`."""

    name = "aws"
    credentials = {"access_key_id": True, "secret_access_key": True, "session_token": False, "role_arn": False,
                   "regions": False, "image": False}  # fmt: skip
    look_every_s = 15
    keeps_price_history = True  # Of 90 days.

    def __init__(
        self, *, access_key_id: str, secret_access_key: str, session_token: str = "", role_arn: str = "",
        regions: str = "", image: str = "", endpoint_url: str | None = None,
    ) -> None:  # fmt: skip
        """
        regions: with commas between; empty for all that the account has enabled. image: an AMI's id or an SSM
        parameter's name; empty for the newest with the driver. endpoint_url: one for all services, for tests.
        """
        self.account = Account(access_key_id, secret_access_key, session_token or "", role_arn or "", endpoint_url)
        self.image = image or ""
        self.skipped: Counter[str] = Counter()
        self._regions = (regions or "").replace(",", " ").split()

    def listings(self) -> Iterable[Listing]:
        """Return a line per type, zone and market, with a 100 GiB disk and a public address. Raises ProviderError."""
        self.skipped = Counter()
        scores: dict[tuple[str, str], float] = {}
        for types in SCORED:
            scores = self.placement_scores(types) | scores
        answers = self._everywhere(lambda region: self._lines(region, scores))
        failures = [answer for _, answer in answers if isinstance(answer, ProviderError)]
        if len(failures) == len(answers):
            raise failures[0]
        lines: list[Listing] = []
        for region, answer in answers:
            if isinstance(answer, ProviderError):  # A region that does not answer hides no other.
                self.skipped[f"{region}: {answer}"[:80]] += 1
            else:
                lines += answer[0]
                self.skipped += answer[1]
        return lines

    def placement_scores(self, machine_types: Iterable[str]) -> dict[tuple[str, str], float]:
        """Return {(type, zone's id): 0 to 1}: how likely a spot machine of any of the types starts. Empty if denied."""
        regions, types = self.regions(), list(machine_types)
        try:
            rows = self.account.pages(
                HOME, "get_spot_placement_scores", "SpotPlacementScores", InstanceTypes=types, RegionNames=regions,
                TargetCapacity=1, TargetCapacityUnitType="units", SingleAvailabilityZone=True,
            )  # fmt: skip
        except ProviderError as error:
            self.skipped[f"placement scores: {code_of(error) or error}"[:80]] += 1
            return {}
        scored = aws_prices.readable(rows, aws_prices.score, self.skipped)
        return {(name, zone_id): score for zone_id, score in scored for name in types}

    def price_history(self, *, since: datetime, until: datetime) -> Iterable[PricePoint]:
        """Return the spot prices that began in [since, until), oldest first within a region. Raises ProviderError."""
        for region in self.regions():
            here = self._region(region, self.skipped)
            rows = self._spot_rows(here, StartTime=since, EndTime=until)
            points = [point for row in aws_prices.readable(rows, here.point, self.skipped) for point in row]
            yield from sorted((point for point in points if since <= point.at < until), key=lambda point: point.at)

    def launch(self, order: LaunchOrder) -> Machine:
        """Rent a machine; its ClientToken is the key too. Raises ProviderError."""
        if running := self._instances(order.region, ("pending", "running"), order.key):
            return machine(running[0])
        answer = self.account.ask(
            order.region, "run_instances", **aws_machines.request(self.account, order, self.image)
        )
        return machine(next(iter(fields.all_of(answer, "Instances", "ec2:run_instances")), None))

    def machines(self) -> Iterable[Machine]:
        """Return our machines in every region. Raises ProviderError, also when a single region does not answer."""
        return [one for found in self._from_all(self._machines_in) for one in found]

    def terminate(self, key: str) -> None:
        """End what bears the key, wherever it is, stopped machines included. Raises ProviderError."""
        self._from_all(lambda region: self._end(region, key))

    def check(self) -> list[Permission]:
        """Try every call in the first region, as a dry run where it would change something. Raises Unreachable."""
        region = self._regions[0] if self._regions else HOME
        try:
            ours = [str(instance["InstanceId"]) for instance in self._instances(region, COSTING)]
        except Rejected:  # The same refusal is among the answers.
            ours = []
        return aws_check.permissions(self.account, region, self.image or aws_machines.GPU_IMAGE, *ours[:1])

    def regions(self) -> list[str]:
        """Return the regions to work in: those that were given, or all that the account has enabled."""
        if not self._regions:
            try:
                rows = self.account.pages(HOME, "describe_regions", "Regions")
                self._regions = [fields.text(row["RegionName"]) for row in rows]
            except BAD_ROW:  # What runs there would seem gone.
                raise Unreachable("ec2:describe_regions: no name of a region", reason=Reason.OUTAGE) from None
        if not self._regions:  # No region would mean that every machine is gone.
            raise Unreachable("ec2:describe_regions: no region", reason=Reason.OUTAGE)
        return self._regions

    def _everywhere(self, ask: Callable[[str], Found]) -> list[tuple[str, Found | ProviderError]]:
        def answer(region: str) -> Found | ProviderError:
            try:
                return ask(region)
            except ProviderError as error:
                return error

        regions = self.regions()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(zip(regions, pool.map(answer, regions), strict=True))

    def _from_all(self, ask: Callable[[str], Found]) -> list[Found]:
        """Ask every region, and only then raise the first failure."""
        found: list[Found] = []
        for _, answer in self._everywhere(ask):
            if isinstance(answer, ProviderError):
                raise answer
            found.append(answer)
        return found

    def _lines(self, region: str, scores: Mapping[tuple[str, str], float]) -> tuple[list[Listing], Counter[str]]:
        skipped: Counter[str] = Counter()
        products = [
            text
            for family in aws_prices.INSTANCE_FAMILIES
            for text in self.account.products(region, **aws_prices.PLAIN, instanceFamily=family)
        ]
        here = self._region(region, skipped, aws_prices.plain_prices(products, skipped), scores)
        types = sorted(here.shapes)
        offerings = [
            row
            for begin in range(0, len(types), FILTER_MAX)
            for row in self.account.pages(
                region, "describe_instance_type_offerings", "InstanceTypeOfferings", LocationType="availability-zone",
                Filters=matching("instance-type", *types[begin : begin + FILTER_MAX]),
            )
        ]  # fmt: skip
        spot = aws_prices.newest(self._spot_rows(here, StartTime=here.now), skipped)
        lines = [
            *translated(offerings, here.on_demand, skipped),
            *translated(here.plain, here.reserved, skipped),
            *translated(spot, here.spot, skipped),
        ]
        return lines, skipped

    def _region(
        self,
        region: str,
        skipped: Counter[str],
        plain: Mapping[str, Mapping[str, Decimal]] | None = None,
        scores: Mapping[tuple[str, str], float] | None = None,
    ) -> Region:
        rows = self.account.pages(region, "describe_instance_types", "InstanceTypes", Filters=TYPES)
        return Region(
            name=region, shapes=aws_prices.shapes(rows, skipped), plain=plain or {}, scores=scores or {},
            extra=aws_machines.extra(self.account, region, aws_prices.ROOT_DISK_GIB, skipped), now=datetime.now(UTC),
        )  # fmt: skip

    def _spot_rows(self, here: Region, **period: Any) -> list[Any]:
        """Return SpotPrices of a period; with a start that is now, EC2 tells the prices that hold now."""
        if not here.shapes:
            return []
        return self.account.pages(
            here.name, "describe_spot_price_history", "SpotPriceHistory", InstanceTypes=sorted(here.shapes),
            ProductDescriptions=["Linux/UNIX"], **period,
        )  # fmt: skip

    def _instances(self, region: str, states: Iterable[str], key: str = "*") -> list[Any]:
        ours = matching(f"tag:{TAG}", PREFIX + key) + matching("instance-state-name", *states)
        reservations = self.account.pages(region, "describe_instances", "Reservations", Filters=ours)
        return [instance for reservation in reservations for instance in fields.all_of(reservation, "Instances", "ec2")]

    def _machines_in(self, region: str) -> list[Machine]:
        instances = self._instances(region, STATES)
        has_spot = any(instance.get("InstanceLifecycle") == "spot" for instance in instances)
        leaving = self._leaving(region) if has_spot else {}
        return [machine(instance, leaving) for instance in instances]

    def _leaving(self, region: str) -> dict[str, datetime]:
        """Return {machine's id: when it ends} of the spot machines that EC2 has marked. Empty when that is denied."""
        marked = matching("status-code", "marked-for-termination")
        try:
            rows = self.account.pages(region, "describe_spot_instance_requests", "SpotInstanceRequests", Filters=marked)
        except Rejected:
            return {}
        told = aws_prices.readable(rows, lambda row: (row["InstanceId"], row["Status"]["UpdateTime"]), self.skipped)
        return {machine_id: aws_prices.instant(at) + NOTICE for machine_id, at in told}

    def _end(self, region: str, key: str) -> None:
        ids = [fields.needed(instance, "InstanceId", "ec2") for instance in self._instances(region, COSTING, key)]
        try:
            if ids:
                self.account.ask(region, "terminate_instances", InstanceIds=ids)
        except Rejected as error:
            if code_of(error) != "InvalidInstanceID.NotFound":
                raise
