"""
What may be asked of the book: filters, orders, groups and pages, all in SQL.

One table of filters serves the API, its schema and the CLI. A value may be several, with commas between them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import connection
from django.db.models import Aggregate, Count, F, FloatField, Max, Min, Q, QuerySet, Sum, Value
from django.db.models.functions import ACos, Concat, Cos, Least, Radians, Sin
from django.db.models.lookups import LessThanOrEqual

from offers import gpus
from offers.models import STOCK, Offer, Source

EARTH_KM = 6371.0
NEVER_NULL = ("usd_per_gpu_hour", "usd_per_hour", "accelerators", "changed_at", "id")
Apply = Callable[[str, datetime], Q]


class Median(Aggregate):
    """The lower median of a group."""

    template = "percentile_disc(0.5) WITHIN GROUP (ORDER BY %(expressions)s)"


class SearchInvalid(Exception):
    """A filter, an order or a group that is none, or a value that means nothing; `hint` says what would."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Filter:
    """One thing that may be asked for by name."""

    name: str
    help: str
    apply: Apply


def _words(value: str) -> list[str]:
    return [word.strip() for word in value.split(",") if word.strip()]


def _number(value: str) -> Decimal:
    try:
        found = Decimal(value.strip())
    except InvalidOperation:
        raise SearchInvalid(f"{value!r} is not a number", "write it like 1.5") from None
    if not found.is_finite() or abs(found) > 10**15:
        raise SearchInvalid(f"{value!r} is out of range", "write it like 1.5")
    return found


def flag(name: str, value: str) -> bool:
    """Return whether a control says yes. Raises SearchInvalid."""
    try:
        return _flag(value)
    except SearchInvalid as wrong:
        raise SearchInvalid(f"{name}: {wrong}", wrong.hint) from None


def _flag(value: str) -> bool:
    if value.lower() not in ("1", "0", "true", "false", "yes", "no"):
        raise SearchInvalid(f"{value!r} is neither true nor false", "write true or false")
    return value.lower() in ("1", "true", "yes")


def _any_of(column: str, how: str = "iexact") -> Apply:
    def apply(value: str, now: datetime) -> Q:
        found = Q(pk__in=[])
        for word in _words(value):
            found |= Q(**{f"{column}__{how}": word})
        return found

    return apply


def _exactly(column: str, spelled: Callable[[str], str]) -> Apply:
    return lambda value, now: Q(**{f"{column}__in": [spelled(word) for word in _words(value)]})


def _but_not(apply: Apply) -> Apply:
    return lambda value, now: ~apply(value, now)


def _at_least(column: str) -> Apply:
    return lambda value, now: Q(**{f"{column}__gte": _number(value)})


def _at_most(column: str) -> Apply:
    return lambda value, now: Q(**{f"{column}__lte": _number(value)})


def _gpu(value: str, now: datetime) -> Q:
    """By family where a family is meant, so that one index gives them in the order of their price."""
    found = Q(pk__in=[])
    for word in _words(value):
        if family := gpus.family(word):
            found |= Q(family=family)
            continue
        chip = gpus.identify(word)
        known = Q(family=chip.family, accelerator=chip.name)
        found |= known if chip.known else known | Q(accelerator__iexact=chip.name)
    return found


def _market(word: str) -> str:
    name = word.lower().replace("-", "_").replace("preemptible", "spot").replace("ondemand", "on_demand")
    if name not in ("on_demand", "spot", "reserved"):
        raise SearchInvalid(f"market: {word!r} is none", "one of on_demand, spot, reserved")
    return name


def _stock(value: str, now: datetime) -> Q:
    if value.lower() not in STOCK:
        raise SearchInvalid(f"stock: {value!r} is none", f"at least one of {', '.join(STOCK)}")
    return Q(stock__gte=STOCK.index(value.lower()))


def _count(value: str, now: datetime) -> Q:
    counts = [_number(word) for word in _words(value)]
    if any(count != int(count) or not 0 < count < 10**9 for count in counts):
        raise SearchInvalid(f"{value!r} is no number of accelerators", "write it like 8, or 4,8")
    return Q(accelerators__in=[int(count) for count in counts])


def _numbered(value: str, now: datetime) -> Q:
    numbers = [_number(word) for word in _words(value)]
    if any(number != int(number) or not 0 < number < 2**63 for number in numbers):
        raise SearchInvalid(f"id: {value!r} names no offers", "write it like 12, or 12,15")
    return Q(pk__in=[int(number) for number in numbers])


def _fresh(value: str, now: datetime) -> Q:
    fresh = Q(provider__in=Source.objects.filter(fresh_until__gt=now).values("provider"))
    return fresh if _flag(value) else ~fresh


def _seen_within(value: str, now: datetime) -> Q:
    seconds = min(float(_number(value)), 1e9)
    return Q(provider__in=Source.objects.filter(seen_at__gte=now - timedelta(seconds=seconds)).values("provider"))


def _hours_left(value: str, now: datetime) -> Q:
    return Q(ends_at=None) | Q(ends_at__gte=now + timedelta(hours=min(float(_number(value)), 1e6)))


def _near(value: str, now: datetime) -> Q:
    parts = _words(value)
    if len(parts) != 3:
        raise SearchInvalid(f"near: {value!r} is no place", "near=LATITUDE,LONGITUDE,KILOMETRES")
    latitude, longitude, kilometres = (float(_number(part)) for part in parts)
    here, there = Radians(Value(latitude)), Radians(F("latitude"))
    turn = Radians(F("longitude")) - Radians(Value(longitude))
    cosine = Sin(here) * Sin(there) + Cos(here) * Cos(there) * Cos(turn)
    distance = ACos(Least(Value(1.0), cosine), output_field=FloatField()) * Value(EARTH_KM)
    return Q(latitude__isnull=False) & Q(LessThanOrEqual(distance, Value(kilometres)))


def _text(value: str, now: datetime) -> Q:
    """Every word somewhere in what names the offer."""
    found = Q()
    for word in value.split()[:8]:
        found &= Q(name_text__icontains=word)
    return found


def _ranges() -> Iterable[Filter]:
    for name, column, what in (
        ("count", "accelerators", "accelerators of a machine"),
        ("memory_gib", "memory_gib", "GiB of each accelerator"),
        ("total_memory_gib", "total_memory_gib", "GiB of all accelerators of a machine"),
        ("vcpus", "vcpus", "virtual CPUs"),
        ("ram_gib", "ram_gib", "GiB of main memory"),
        ("disk_gib", "disk_gib", "GiB of disk in the price"),
        ("usd_per_hour", "usd_per_hour", "USD an hour for the machine"),
        ("usd_per_gpu_hour", "usd_per_gpu_hour", "USD an hour for each accelerator"),
    ):
        yield Filter(f"min_{name}", f"At least so many {what}.", _at_least(column))
        yield Filter(f"max_{name}", f"At most so many {what}.", _at_most(column))


PROVIDER, COUNTRY, REGION = _exactly("provider", str.lower), _exactly("country", str.upper), _any_of("region")
FILTERS = {
    one.name: one
    for one in (
        Filter("gpu", "Accelerators by name or family: H100 is every variant, H100-PCIE is one.", _gpu),
        Filter("accelerator", "The same as gpu.", _gpu),
        Filter("not_gpu", "None of these accelerators.", _but_not(_gpu)),
        Filter("vendor", "Makers: NVIDIA, AMD, Google, AWS, Intel.", _any_of("vendor")),
        Filter("count", "Exactly so many accelerators.", _count),
        *_ranges(),
        Filter("provider", "Only of these providers.", PROVIDER),
        Filter("not_provider", "Of none of these providers.", _but_not(PROVIDER)),
        Filter("region", "Only in these regions.", REGION),
        Filter("not_region", "In none of these regions.", _but_not(REGION)),
        Filter("zone", "Only in these zones.", _any_of("zone")),
        Filter("country", "Only in these countries (ISO 3166, two letters): where the data would be.", COUNTRY),
        Filter("not_country", "In none of these countries.", _but_not(COUNTRY)),
        Filter("near", "Not farther than this: LATITUDE,LONGITUDE,KILOMETRES.", _near),
        Filter("id", "These very offers.", _numbered),
        Filter("instance_type", "The provider's own names of machine types.", _any_of("machine_type")),
        Filter("market", "on_demand, spot, reserved.", _exactly("market", _market)),
        Filter("term", "Of a reservation: 1mo, 1y, 3y.", _any_of("term")),
        Filter("stock", "At least low, medium or high, as the provider says.", _stock),
        Filter("min_available", "At least so many machines free, as the provider says.", _at_least("available")),
        Filter("min_reliability", "Share of time that the machine was up, 0 to 1.", _at_least("reliability")),
        Filter("max_interruptions_per_hour", "Chance of losing it in an hour.", _at_most("interruptions_per_hour")),
        Filter("min_placement_score", "The cloud's own chance of a launch.", _at_least("placement_score")),
        Filter("interconnect", "One of nvlink, infiniband, pcie, efa.", _any_of("interconnect", "icontains")),
        Filter("min_internet_mbit_per_s", "Upwards, as measured or promised.", _at_least("internet_mbit_per_s")),
        Filter("max_egress_usd_per_gib", "For what leaves the provider.", _at_most("egress_usd_per_gib")),
        Filter("max_gco2_per_kwh", "Of the grid at the region.", _at_most("gco2_per_kwh")),
        Filter("max_boot_s", "Until it can be used, as the provider says.", _at_most("boot_s")),
        Filter("min_hours_left", "Not taken back by its owner before that.", _hours_left),
        Filter("leasable", "What this broker can rent itself (true) or only knows the price of.",
               lambda value, now: Q(leasable=_flag(value))),
        Filter("fresh", "Not stale (true), or only what is stale.", _fresh),
        Filter("seen_within_s", "Seen on its provider's page at most so many seconds ago.", _seen_within),
        Filter("gone", "Also (true) what is no longer offered.", lambda value, now: Q()),
        Filter("q", "Free text: words in provider, region, instance type, accelerator.", _text),
    )
}  # fmt: skip
SORTS = (
    "usd_per_gpu_hour", "usd_per_hour", "accelerators", "memory_gib", "total_memory_gib", "vcpus", "ram_gib",
    "disk_gib", "reliability", "interruptions_per_hour", "gco2_per_kwh", "available", "changed_at", "id",
)  # fmt: skip
GROUPS = {"gpu": "accelerator", "vendor": "vendor", "provider": "provider", "region": "region", "country": "country",
          "market": "market", "count": "accelerators"}  # fmt: skip


def matching(wishes: Mapping[str, str], *, now: datetime) -> QuerySet[Offer]:
    """Return the offers that fit every wish {filter: value}; what is gone only when asked for. Raises SearchInvalid."""
    book = Offer.objects.all()
    if not _flag(wishes.get("gone", "false")):
        book = book.filter(gone_at=None)
    if any(name.endswith("total_memory_gib") for name in wishes):
        book = book.annotate(total_memory_gib=F("memory_gib") * F("accelerators"))
    if "q" in wishes:
        names = [F(name) for name in ("provider", "region", "zone", "country", "machine_type", "accelerator", "vendor")]
        spaced = [part for name in names for part in (name, Value(" "))]
        book = book.annotate(name_text=Concat(*spaced))
    for name, value in wishes.items():
        one = FILTERS.get(name)
        if one is None:
            raise SearchInvalid(f"{name}: no such filter", f"filters: {', '.join(FILTERS)}")
        if "\x00" in value:
            raise SearchInvalid(f"{name}: a text that nothing can be named", "leave control characters out")
        try:
            book = book.filter(one.apply(value, now))
        except SearchInvalid as wrong:
            text = str(wrong)
            raise SearchInvalid(text if text.startswith(name) else f"{name}: {text}", wrong.hint) from None
    return book


def ordered(book: QuerySet[Offer], sort: str) -> QuerySet[Offer]:
    """Sort by a column ("-" before it: downwards), what nobody knows last, equal ones by id. Raises SearchInvalid."""
    column = sort.lstrip("-")
    if column not in SORTS:
        raise SearchInvalid(f"sort: {sort!r} cannot be sorted by", f"one of {', '.join(SORTS)}, or -name")
    if column == "total_memory_gib":
        book = book.annotate(total_memory_gib=F("memory_gib") * F("accelerators"))
    down = sort.startswith("-")
    if column in NEVER_NULL:
        return book.order_by(sort, "-id" if down else "id")
    order = F(column).desc(nulls_last=True) if down else F(column).asc(nulls_last=True)
    return book.order_by(order, "-id" if down else "id")


def grouped(book: QuerySet[Offer], by: str) -> list[dict[str, Any]]:
    """
    Return a row for each group: its names, offers, min, median and max USD per GPU-hour, providers, machines free.

    by: names of GROUPS with commas between them. The cheapest group is first. Raises SearchInvalid.
    """
    names = _words(by)
    if not names or any(name not in GROUPS for name in names):
        raise SearchInvalid(f"group_by: {by!r} is no group", f"of {', '.join(GROUPS)}, with commas between them")
    rows = (
        book.order_by()
        .values(**{f"group_{name}": F(GROUPS[name]) for name in names})
        .annotate(
            offers=Count("id"),
            providers=Count("provider", distinct=True),
            available=Sum("available"),
            min_usd_per_gpu_hour=Min("usd_per_gpu_hour"),
            median_usd_per_gpu_hour=Median("usd_per_gpu_hour"),
            max_usd_per_gpu_hour=Max("usd_per_gpu_hour"),
        )
        .order_by("min_usd_per_gpu_hour")
    )
    return [{name.removeprefix("group_"): value for name, value in row.items()} for row in rows]


def facets(book: QuerySet[Offer]) -> dict[str, list[dict[str, Any]]]:
    """Return {name of GROUPS: [{value, offers}], most frequent first}, from one reading of the book."""
    columns = list(GROUPS.values())
    try:
        sql, params = book.order_by().values(*columns).query.sql_with_params()
    except EmptyResultSet:  # Django sees that nothing can fit.
        return {name: [] for name in GROUPS}
    sets = ", ".join(f"({column})" for column in columns)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT GROUPING({', '.join(columns)}), {', '.join(columns)}, count(*) FROM ({sql}) t"
            f" GROUP BY GROUPING SETS ({sets}) ORDER BY count(*) DESC",
            params,
        )
        rows = cursor.fetchall()
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in GROUPS}
    whole = (1 << len(columns)) - 1
    for grouping, *values, count in rows:
        at = len(columns) - (whole ^ grouping).bit_length()  # The one that is not rolled up.
        found[list(GROUPS)[at]].append({"value": str(values[at]), "offers": count})
    return found
