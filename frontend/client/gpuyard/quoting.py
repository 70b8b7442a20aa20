"""What a need, its quotes and their outcomes look like."""

from typing import Literal, TypedDict

Market = Literal["on_demand", "spot", "reserved"]


class Need(TypedDict, total=False):
    """What a workload asks for; what is absent does not matter."""

    accelerator: str | list[str] | None
    accelerators: int | None
    accelerators_per_site: int | None
    min_accelerators_per_site: int | None
    sites: int | None
    max_sites: int | None
    spread: Literal["provider", "region", "country"] | None
    min_memory_gib: float | None
    interconnect: str | None
    providers: list[str] | None
    not_providers: list[str] | None
    regions: list[str] | None
    not_regions: list[str] | None
    countries: list[str] | None
    not_countries: list[str] | None
    residency: str | None
    markets: list[str] | None
    tiers: list[str] | None
    prefer_own: bool | None
    queue: bool | None
    max_spot_share: float | None
    samples: int | None
    samples_per_s: float | None
    program: str | None
    data_gib: float | None
    checkpoint_gib: float | None
    deadline_hours: float | None
    chance: float | None
    budget_usd: str | None
    max_usd_per_hour: str | None
    max_egress_usd: str | None


class QuoteSite(TypedDict):
    """One site of a quote."""

    site: str
    provider: str
    region: str
    market: Market
    instance_type: str
    accelerator: str
    accelerators: int
    nodes: int
    usd_per_hour: str
    offer: int


class Speed(TypedDict):
    """How fast, in samples per second per accelerator, and how we know."""

    source: Literal["measured", "stated", "probed", "predicted", "unknown"]
    samples_per_s: float | None


class Range(TypedDict):
    """One time of ten it is less than p10, one time of ten more than p90."""

    p10: float
    p50: float
    p90: float


class Outcome(TypedDict):
    """What may become of a plan; None: there is no deadline or budget, or nobody knows."""

    finish_s: Range
    cost_usd: dict[str, str]
    expected_usd: str
    egress_usd: str
    storage_usd: str
    deadline_chance: float | None
    budget_chance: float | None
    losses: float
    loss_chance: float
    energy_kwh: float
    carbon_kg: float | None
    late_s: float


class Quote(TypedDict):
    """A way to meet a need, promised until `expires_at`; `finish_s`, `cost_usd` are null when the speed is unknown."""

    id: int
    expires_at: str
    rank: int
    need: Need
    usd_per_hour: str
    cost_usd: str | None
    finish_s: float | None
    speed: Speed
    sites: list[QuoteSite]
    labels: list[str]
    outcome: Outcome | None
    why: str
    why_not: str


class Excluded(TypedDict):
    """How many offers a constraint shut out."""

    constraint: str
    offers: int


class Quotes(TypedDict):
    """The answer to a need, best quote first."""

    quotes: list[Quote]
    excluded: list[Excluded]
    offers_considered: int
    curve: list[tuple[float, str]]


class Reserved(TypedDict):
    """Machines of an on-demand offer that are paid for until then, in an account of one's own."""

    id: int
    offer: int
    site: str
    provider: str
    region: str
    instance_type: str
    accelerator: str
    accelerators: int
    usd_per_hour: str
    machines: int
    in_use: int
    until: str
