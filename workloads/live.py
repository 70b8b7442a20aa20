"""
What is new of a workload since a reader looked: each event, metric and log line once, each round when it closes.

Rows are written by many processes at once and become visible out of the order of their ids: offers.snapshots.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any

from django.db import connection
from django.db.models import Count, Q, QuerySet

from offers import snapshots
from offers.snapshots import Snapshot
from workloads import queries
from workloads.models import Event, Lease, LogLine, Metric, Placement, Round, Workload

AT_ONCE = 5000  # Of one kind; more than any transaction writes.
# What a reader gets that comes for the first time.
EVENTS_FIRST, LOGS_FIRST, ROUNDS_FIRST = 2000, 500, 200
METRICS_FIRST, METRICS_WHOLE = 2000, 200  # The newest are whole; of those before each n-th of each site,
METRICS_EACH = 200  # but of rows of the same metrics so many, or all: what is held out is reported seldom.
KINDS: tuple[tuple[str, Any], ...] = (
    ("event", Event.objects.all()),
    ("metric", Metric.objects.select_related("placement")),
    ("log", LogLine.objects.select_related("lease__placement")),
)
# By each site's own count of rows of the same metrics: ids of sites alternate, and each second one might be one site's.
THINNED = """
    SELECT id FROM (
        SELECT id, row_number() OVER (PARTITION BY placement_id, names ORDER BY seq) - 1 AS nth,
            count(*) OVER (PARTITION BY placement_id, names) AS many
        FROM (SELECT *, ARRAY(SELECT jsonb_object_keys(values)) AS names FROM ({rows}) told) named
    ) counted WHERE nth %% least(ceil(many / %s::numeric), %s) = 0
"""
# Of each table only the columns' transaction is looked at, and of what changes in place its rows' own mark.
LOOK = f"""
    SELECT w.id, pg_current_snapshot()::text, {
    " OR ".join(
        f'''EXISTS (SELECT FROM {rows.model._meta.db_table} t WHERE t.workload_id = w.id AND t.transaction >= %(xmin)s
            AND NOT pg_visible_in_snapshot(t.transaction::text::xid8, %(seen)s::pg_snapshot))'''
        for _, rows in KINDS
    )
}, md5(concat_ws('|', w.xmin,
        (SELECT t.xmin FROM workloads_training t WHERE t.workload_id = w.id),
        (SELECT string_agg(concat(p.id, ' ', p.xmin), ',' ORDER BY p.id)
            FROM workloads_placement p WHERE p.workload_id = w.id),
        (SELECT string_agg(concat(l.id, ' ', l.xmin, ' ', n.xmin), ',' ORDER BY l.id)
            FROM workloads_placement p JOIN workloads_lease l ON l.placement_id = p.id
            LEFT JOIN workloads_node n ON n.lease_id = l.id WHERE p.workload_id = w.id),
        (SELECT string_agg(concat(r.id, ' ', r.xmin, ' ', c.id, ' ', c.xmin), ',' ORDER BY r.id, c.id)
            FROM workloads_round r LEFT JOIN workloads_contribution c ON c.round_id = r.id
            WHERE r.workload_id = w.id AND r.state = 'open'),
        (SELECT max(a.id) FROM workloads_artifact a WHERE a.workload_id = w.id)))
    FROM workloads_workload w WHERE w.id = ANY(%(ids)s)
"""


@dataclass(frozen=True, slots=True)
class Mark:
    """rows: what saw the newest row; state: differs when anything else of the workload did."""

    rows: Snapshot
    state: str


@dataclass(frozen=True, slots=True)
class Place:
    """
    How far a reader has come: it has all rows that `seen` sees, and rounds up to `round`.

    until, told: and of what `until` sees beyond that the first so many.
    """

    seen: Snapshot
    round: int = -1
    until: Snapshot | None = None
    told: int = 0

    def __str__(self) -> str:
        """Return it as one word."""
        return f"{self.seen}~{self.round}" + (f"~{self.until}~{self.told}" if self.until else "")


@dataclass(frozen=True, slots=True)
class News:
    """A row that a reader has not; place: of who has it. None: history, which is begun anew when it is cut off."""

    kind: str
    row: Any
    place: Place | None


def place(text: str) -> Place | None:
    """Read a place back; None when it is none."""
    seen_text, _, rest = text.partition("~")
    round_text, *more = rest.split("~")
    seen = snapshots.read(seen_text)
    if seen is None or not _is_number(round_text.removeprefix("-")) or len(more) not in (0, 2):
        return None
    if not more:
        return Place(seen, int(round_text))
    until = snapshots.read(more[0])
    return Place(seen, int(round_text), until, int(more[1])) if until and _is_number(more[1]) else None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 10


class Lookout:
    """Looks at many workloads with one question, and remembers how far it looked."""

    def __init__(self) -> None:
        self._seen: Snapshot | None = None
        self._marks: dict[int, Mark] = {}

    def look(self, ids: Collection[int]) -> dict[int, Mark]:
        """Return the mark of each."""
        self._seen = self._seen or snapshots.now()
        with connection.cursor() as cursor:
            cursor.execute(LOOK, {"xmin": self._seen.xmin, "seen": str(self._seen), "ids": list(ids)})
            found = cursor.fetchall()
        marks: dict[int, Mark] = {}
        for pk, text, has_rows, state in found:
            self._seen = snapshots.read(text)
            assert self._seen is not None
            before = self._marks.get(pk)
            marks[pk] = Mark(self._seen if has_rows or before is None else before.rows, state)
        self._marks = marks
        return marks


def history(workload_id: int) -> tuple[list[News], Place, dict[str, int]]:
    """Return what a reader gets first, oldest first, the place after it, and how it was thinned."""
    seen = snapshots.now()
    told = {name: rows.filter(_seen_by(seen), workload_id=workload_id) for name, rows in KINDS}
    one_in = _one_in(told["metric"])
    rows: dict[str, Iterable[Any]] = {
        "event": _newest(told["event"], EVENTS_FIRST),
        "metric": _thinned(told["metric"], one_in),
        "log": _newest(told["log"], LOGS_FIRST),
    }
    return (
        [News(kind, row, None) for kind, found in rows.items() for row in found],
        Place(seen),
        {
            "metrics_one_in": one_in,
            "logs_at_most": LOGS_FIRST,
            "rounds_at_most": ROUNDS_FIRST,
        },
    )


def _seen_by(seen: Snapshot) -> Q:
    return snapshots.between(Snapshot(1, 1), seen, "transaction")


def _newest(rows: QuerySet[Any], count: int) -> list[Any]:
    return list(rows.order_by("-id")[:count])[::-1]


def _one_in(metrics: QuerySet[Metric]) -> int:
    count = metrics.aggregate(count=Count("id"))["count"]
    return max(1, -(-(count - METRICS_WHOLE) // (METRICS_FIRST - METRICS_WHOLE)))


def _thinned(metrics: QuerySet[Metric], one_in: int) -> list[Metric]:
    newest = _newest(metrics, METRICS_WHOLE)
    if not newest:
        return []
    before = metrics.filter(id__lt=newest[0].pk)
    if one_in > 1:
        ids, params = before.order_by().values("id", "placement_id", "seq", "values").query.sql_with_params()
        with connection.cursor() as cursor:
            cursor.execute(THINNED.format(rows=ids), [*params, METRICS_EACH, one_in])
            before = metrics.filter(id__in=[pk for (pk,) in cursor.fetchall()])
    return [*before.order_by("id"), *newest]


def since(workload_id: int, after: Place, until: Snapshot) -> tuple[list[News], Place]:
    """Return the rows that `until` sees and a reader has not, and the place to go on from: there may be more."""
    until = after.until or until
    if after.seen.xmin > until.xmax:  # Of another life of the database.
        return [], replace(after, seen=snapshots.now(), until=None, told=0)
    if not until.is_after(after.seen):
        return [], after
    fresh = snapshots.between(after.seen, until, "transaction")
    found = {
        kind: list(rows.filter(fresh, workload_id=workload_id).order_by("transaction", "id")[: AT_ONCE + 1])
        for kind, rows in KINDS
    }
    if cuts := [rows[AT_ONCE].transaction for rows in found.values() if len(rows) > AT_ONCE]:
        until = until.below(min(cuts))
    told = [(kind, row) for kind, rows in found.items() for row in rows if row.transaction < until.xmax]
    news = [
        News(kind, row, Place(after.seen, after.round, until, number) if number < len(told) else None)
        for number, (kind, row) in enumerate(told, start=1)
    ]
    there = Place(until, after.round)
    if news:
        news[-1] = replace(news[-1], place=there)
    return news[after.told :], there


def closed_rounds(workload_id: int, after: int | None) -> list[Round]:
    """Return rounds that closed after that one, oldest first, there may be more; None: the newest, for a newcomer."""
    closed = queries.rounds_of(workload_id).filter(state=Round.State.CLOSED)
    if after is None:
        return list(closed.order_by("-version")[:ROUNDS_FIRST])[::-1]
    return list(closed.filter(version__gt=after)[:ROUNDS_FIRST])


def open_round(workload_id: int) -> Round | None:
    """Return the round that is open, if one is."""
    return queries.rounds_of(workload_id).filter(state=Round.State.OPEN).first()


def is_over(workload: Workload) -> bool:
    """Whether nothing of a workload can change any more: it has ended, and so have its sites and machines."""
    if workload.state not in Workload.FINAL:
        return False
    open_sites = workload.placements.exclude(state=Placement.State.CLOSED)
    open_leases = Lease.objects.filter(placement__workload=workload).exclude(state__in=Lease.DEAD)
    return not open_sites.exists() and not open_leases.exists()
