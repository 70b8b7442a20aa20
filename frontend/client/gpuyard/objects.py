"""The broker's JSON objects as types: dicts at run time, so what a newer broker adds is passed on untouched.

Money is a decimal string of USD with six places: `Decimal(quote["cost_usd"])`. Times are RFC 3339 strings in UTC.
"""

from typing import Any, Literal, NotRequired, TypedDict

from gpuyard.people import Team
from gpuyard.quoting import Excluded as Excluded
from gpuyard.quoting import Market as Market
from gpuyard.quoting import Need as Need
from gpuyard.quoting import Outcome as Outcome
from gpuyard.quoting import Quote as Quote
from gpuyard.quoting import Quotes as Quotes
from gpuyard.quoting import QuoteSite as QuoteSite
from gpuyard.quoting import Range as Range
from gpuyard.quoting import Speed as Speed

WorkloadState = Literal[
    "placing", "starting", "running", "recovering", "stopping", "succeeded", "failed", "cancelled"
]  # the last three are ends
ENDED = frozenset({"succeeded", "failed", "cancelled"})


class Supplier(TypedDict):
    """The key's owner as one who rents machines out."""

    id: int
    username: str
    hosts: int
    hosts_offered: int
    hosts_rented: int
    owed_usd: str


class Me(TypedDict):
    """Who the key belongs to, for which team it works, and the credit."""

    id: int
    username: str
    scopes: list[str]
    balance_usd: str
    available_usd: str
    email: NotRequired[str]
    team: NotRequired[Team | None]
    teams: NotRequired[list[Team]]


class Offer(TypedDict):
    """What can be rented, as last seen."""

    id: int
    provider: str
    region: str
    zone: str
    country: str
    instance_type: str
    market: Market
    accelerator: str
    vendor: str
    accelerators: int
    memory_gib: float | None
    vcpus: float | None
    ram_gib: float | None
    usd_per_hour: str
    usd_per_gpu_hour: str
    leasable: bool
    seen_at: str | None
    term: NotRequired[str]
    disk_gib: NotRequired[float | None]
    available: NotRequired[int | None]  # Machines free now.
    stock: NotRequired[Literal["none", "low", "medium", "high"] | None]
    interruptions_per_hour: NotRequired[float | None]
    reliability: NotRequired[float | None]
    egress_usd_per_gib: NotRequired[str | None]
    interconnect: NotRequired[str]
    gco2_per_kwh: NotRequired[float | None]
    changed_at: NotRequired[str]
    gone_at: NotRequired[str | None]
    stale: NotRequired[bool]


class CatalogLine(TypedDict):
    """A line of a catalog that was not loaded."""

    line: int
    reason: str
    text: str


class CatalogReport(TypedDict):
    """What became of an uploaded catalog: loaded + not_gpu + all skipped = rows."""

    provider: str
    rows: int
    loaded: int
    not_gpu: int
    skipped: dict[str, int]
    examples: list[CatalogLine]
    offers: int


class StoredProgram(TypedDict):
    """A program that the broker keeps."""

    sha256: str
    size_bytes: int
    tar_sha256: NotRequired[str]  # Of its files, however they were packed.


class Artifact(TypedDict):
    """Bytes with a hash that a workload left."""

    id: int
    name: str
    kind: Literal["model", "checkpoint", "results"]  # Results: what a notebook's cell left.
    version: int
    sha256: str
    size_bytes: int
    metrics: dict[str, Any]
    created_at: str


class Samples(TypedDict):
    """The work: merged + leased + free = total."""

    total: int | None
    merged: int
    leased: int
    free: int | None


class Node(TypedDict):
    """A rented machine."""

    lease: int
    state: str
    host: Any
    address: str | None
    accelerator: str
    accelerators: int
    market: Market
    usd_per_hour: str
    opened_at: str | None
    closed_at: str | None
    phase: str | None
    usage: dict[str, Any] | None


class Site(TypedDict):
    """One placement of a workload."""

    placement: int
    site: str
    provider: str
    region: str
    state: str
    why: str
    nodes: list[Node]


class Resumed(TypedDict):
    """A version of a workload that another goes on from; None in an order: the newest."""

    workload: int
    version: int | None


class Forecast(TypedDict):
    """What comes of a run that goes on as it does now; None while nobody can tell."""

    finish_at: str | None
    cost_usd: str | None
    over_budget: bool


class Workload(TypedDict):
    """What was asked to run, and how it fares."""

    id: int
    name: str
    state: WorkloadState
    end_reason: str | None
    why: str
    created_at: str
    started_at: str | None
    first_step_at: str | None
    ended_at: str | None
    script: str
    args: list[str]
    program: str
    quote: int
    budget_usd: str | None
    priority: int
    sites_wanted: int
    hold_usd: str
    spent_usd: str
    forecast: Forecast
    version: int | None
    samples: Samples
    loss: float | None
    step: int | None
    need: Need
    resumes: Resumed | None
    sites: list[Site]
    artifact: Artifact | None


# "from" is no name a class body can hold.
Event = TypedDict(
    "Event",
    {
        "id": int,
        "at": str,
        "subject": str,
        "subject_id": int,
        "from": str | None,
        "to": str,
        "why": str,
        "figures": dict[str, Any] | None,
    },
)


class LogLine(TypedDict):
    """A line that the program or a node wrote."""

    id: int
    at: str
    site: str
    host: Any
    stream: str
    text: str


class MetricRow(TypedDict):
    """What one site reported at one step."""

    id: int
    at: str
    site: str
    placement: int
    step: int
    version: int
    values: dict[str, float | str | bool]  # not-a-number is the text "nan"


class Contribution(TypedDict):
    """What one site brought to a round."""

    site: str
    placement: int
    samples: int
    steps: int
    loss: float | None
    status: str
    why: str
    share: float | None
    norm: float | None
    cosine: float | None
    base: int
    size_bytes: int
    train_s: float | None
    stall_s: float | None
    put_s: float | None
    fetch_s: float | None


class Round(TypedDict):
    """One synchronisation across sites."""

    version: int
    opened_at: str
    called_at: str | None
    closed_at: str | None
    merge_s: float | None
    contributors: list[Contribution]
    samples: int
    update_sha256: str
    update_bytes: int
    codec: str
    fingerprint: str


class Stored(TypedDict):
    """A snapshot, or the update from its `version` to the next."""

    version: int
    sha256: str
    size_bytes: int
    fingerprint: str  # of the parameters with it; empty for the first ones


class Version(TypedDict):
    """What leads to a version of the parameters: the snapshot, then the updates in their order."""

    workload: int
    version: int
    fingerprint: str
    tensors: dict[str, Any]
    snapshot: Stored
    updates: list[Stored]


class Versions(TypedDict):
    """Which versions of the parameters can be had: (first, last) of each stretch, oldest first."""

    newest: int | None
    kept: list[list[int]]


class Host(TypedDict):
    """A supplier's own machine; `enrol_token` is there once, when it was just added."""

    id: int
    name: str
    region: str
    country: str | None
    usd_per_hour: str
    state: str
    why: str
    hardware: dict[str, Any] | None
    address: str | None
    seen_at: str | None
    earned_usd: str
    lease: int | None
    enrol_token: NotRequired[str]


class LedgerRow(TypedDict):
    """Money that moved from one account to another."""

    id: int
    at: str
    debit: str
    credit: str
    amount_usd: str
    what: str
    workload: int | None
    lease: int | None


class Ledger(TypedDict):
    """Ledger rows; `sum_usd` over all accounts touched is always zero."""

    results: list[LedgerRow]
    sum_usd: str


class BillLine(TypedDict):
    """One lease on a bill."""

    lease: int
    site: str
    provider: str
    region: str
    host: Any
    usd_per_hour: str
    opened_at: str | None
    closed_at: str | None
    seconds: float | str  # a decimal string where the broker is exact
    usd: str


class Bill(TypedDict):
    """What a workload cost: `total_usd` from lease spans, `billed_usd` from ledger rows; equal once `final`."""

    workload: int
    total_usd: str
    leases: list[BillLine]
    billed_usd: str
    final: bool


class Wheel(TypedDict):
    """The package of this broker's version."""

    wheel: str
    version: str
    sha256: str


class Page(TypedDict):
    """One page of a list; `next` is the cursor of the page after it."""

    results: list[Any]
    next: str | None
