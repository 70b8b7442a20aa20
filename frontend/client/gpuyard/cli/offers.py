"""`yard offers`: the whole market as the broker sees it; its groups, its past, where it comes from, what changes."""

from decimal import Decimal
from typing import Annotated, Any

import typer

from gpuyard import objects
from gpuyard.cli import completing, flags
from gpuyard.cli.catalogs import import_catalogs
from gpuyard.cli.chart import sparkline
from gpuyard.cli.output import Output, text
from gpuyard.cli.session import connect
from gpuyard.cli.times import moment
from gpuyard.money import dollars

offers_app = typer.Typer(help="What can be rented, cheapest first.", rich_markup_mode=None)
offers_app.command("import")(import_catalogs)
Words = list[str] | None


def filter_of(given: str) -> str:
    """Check that it reads NAME=VALUE. Raises: typer.BadParameter."""
    name, equals, value = given.partition("=")
    if not (name.strip() and equals and value.strip()):
        raise typer.BadParameter(f"{given!r} is not NAME=VALUE; `yard offers filters` lists the names")
    return given


Gpu = Annotated[
    Words,
    typer.Option(
        "--gpu",
        "--accelerator",
        help="Name or family: H100 is every variant of it.",
        autocompletion=completing.gpus,
    ),
]
Provider = Annotated[Words, typer.Option(help="Only of this provider.", autocompletion=completing.providers)]
Region = Annotated[Words, typer.Option(help="Only in this region.")]
Country = Annotated[Words, typer.Option(help="Only in this country (two letters).")]
Market = Annotated[Words, typer.Option(help="on_demand, spot or reserved.")]
Where = Annotated[
    Words,
    typer.Option("--where", "-w", parser=filter_of, metavar="NAME=VALUE", help="Any filter of `yard offers filters`."),
]


@offers_app.callback(invoke_without_command=True)
def offers(
    ctx: typer.Context,
    gpu: Gpu = None,
    count: Annotated[int | None, typer.Option(min=1, help="Exactly so many accelerators.")] = None,
    min_count: Annotated[int | None, typer.Option(min=1, help="At least so many accelerators.")] = None,
    provider: Provider = None,
    region: Region = None,
    country: Country = None,
    market: Market = None,
    max_price: Annotated[
        Decimal | None, typer.Option(parser=flags.amount, metavar="USD", help="At most so much per GPU and hour.")
    ] = None,
    leasable: Annotated[
        bool | None, typer.Option("--leasable/--not-leasable", help="Only what this broker can rent itself.")
    ] = None,
    find: Annotated[str | None, typer.Option("--find", metavar="WORDS", help="Words in any of its names.")] = None,
    where: Where = None,
    group_by: Annotated[str | None, typer.Option(help="A row for each gpu, provider, region, ...")] = None,
    sort: Annotated[str | None, typer.Option(help="By this field; -FIELD downwards.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Go on from here (the `next` of an earlier answer).")] = None,
    json: flags.JsonFlag = False,
) -> None:
    """What can be rented, cheapest first. Repeatable filters mean any of their values."""
    if ctx.invoked_subcommand:
        return
    wishes = {
        "gpu": joined(gpu),
        "count": count,
        "min_count": min_count,
        "provider": joined(provider),
        "region": joined(region),
        "country": joined(country),
        "market": joined(market),
        "max_usd_per_gpu_hour": max_price,
        "leasable": leasable,
        "q": find,
        **wanted(where),
    }
    out = Output(json=json)
    if group_by:
        groups = connect().offer_groups(by=group_by, **wishes)
        out.document({"results": groups})
        show_groups(out, groups, group_by)
        return
    rows, cursor = pages(wishes, sort=sort, limit=limit, cursor=cursor)
    out.document({"results": rows, "next": cursor})
    show_offers(out, rows)
    if cursor and not json:
        out.note(f"There are more: --limit {limit * 2}, or go on with --cursor {cursor}")


def joined(words: Words) -> str | None:
    """Several values as one filter."""
    return ",".join(words) if words else None


def wanted(where: Words) -> dict[str, str]:
    """The filters of --where; one that is named twice means any of its values."""
    found: dict[str, str] = {}
    for each in where or []:
        name, _, value = each.partition("=")
        name = name.strip().replace("-", "_")
        found[name] = f"{found[name]},{value.strip()}" if name in found else value.strip()
    return found


def pages(
    wishes: dict[str, Any], *, sort: str | None, limit: int, cursor: str | None
) -> tuple[list[objects.Offer], str | None]:
    """So many offers, over as many pages as it takes, and where the rest begins."""
    client, rows = connect(), list[objects.Offer]()
    while True:
        page = client.offers(sort=sort, limit=limit - len(rows), cursor=cursor, **wishes)
        rows += page["results"]
        cursor = page["next"]
        if not cursor or len(rows) >= limit:
            return rows, cursor


def show_offers(out: Output, rows: list[objects.Offer]) -> None:
    """The offers as a table."""
    if not rows:
        out.line("No offer fits.")
        return
    headers = [
        "id",
        "provider",
        "region",
        "cc",
        "instance",
        "gpu",
        "n",
        "GiB",
        "market",
        "$/h",
        "$/gpu-h",
        "stock",
        "note",
    ]
    cells = [
        [
            str(row["id"]),
            row["provider"],
            row["region"],
            row["country"],
            row["instance_type"],
            text(row["accelerator"]),
            str(row["accelerators"]),
            text(row["memory_gib"]),
            row["market"] + (f" {row['term']}" if row.get("term") else ""),
            dollars(row["usd_per_hour"]),
            dollars(row["usd_per_gpu_hour"]),
            stock_of(row),
            ", ".join(notes_of(row)),
        ]
        for row in rows
    ]
    out.table(headers, cells, right=["id", "n", "GiB", "$/h", "$/gpu-h"])


def stock_of(row: objects.Offer) -> str:
    """What the provider says of its stock."""
    if row.get("available") is not None:
        return str(row["available"])
    return row.get("stock") or "-"


def notes_of(row: objects.Offer) -> list[str]:
    """What else a person should know before choosing it."""
    notes = ["leasable"] if row["leasable"] else []
    if row.get("stale"):
        notes.append("stale")
    if row.get("gone_at"):
        notes.append("gone")
    return notes


def show_groups(out: Output, groups: list[dict[str, Any]], by: str) -> None:
    """The groups as a table, the cheapest first."""
    if not groups:
        out.line("No offer fits.")
        return
    names = [name.strip() for name in by.split(",")]
    headers = [*names, "offers", "providers", "from $/gpu-h", "median", "to"]
    cells = [
        [
            *(text(row[name]) for name in names),
            f"{row['offers']:,}",
            str(row["providers"]),
            *(dollars(row[f"{which}_usd_per_gpu_hour"]) for which in ("min", "median", "max")),
        ]
        for row in groups
    ]
    out.table(headers, cells, right=headers[len(names) :])


@offers_app.command()
def history(
    gpu: Annotated[str, typer.Argument(help="Name or family: H100 is a line for every variant of it.")],
    days: Annotated[float, typer.Option(min=0.1, help="So many days back.")] = 30,
    provider: Annotated[str | None, typer.Option(help="Only of this provider.")] = None,
    region: Annotated[str | None, typer.Option(help="Only in this region.")] = None,
    market: Annotated[str | None, typer.Option(help="on_demand, spot or reserved.")] = None,
    by: Annotated[str | None, typer.Option(help="A line for each provider, region or market.")] = None,
    json: flags.JsonFlag = False,
) -> None:
    """What prices per GPU-hour were: lowest, median and highest in force, over the days."""
    out = Output(json=json)
    lines = connect().price_history(gpu, days=days, provider=provider, region=region, market=market, by=by)
    out.document({"results": lines})
    if not lines:
        out.line(f"No price of {gpu} is remembered from these days.")
        return
    headers = ["gpu", "provider", "region", "market", "lowest", "median", "highest", "now", "medians"]
    cells = []
    for line in lines:
        points = line["points"]
        medians = [Decimal(point["median"]) for point in points]
        cells.append(
            [
                *(line[name] or "all" for name in ("gpu", "provider", "region", "market")),
                dollars(str(min(Decimal(point["min"]) for point in points))),
                dollars(str(sorted(medians)[len(medians) // 2])),
                dollars(str(max(Decimal(point["max"]) for point in points))),
                dollars(points[-1]["median"]),
                sparkline(medians),
            ]
        )
    out.table(headers, cells, right=["lowest", "median", "highest", "now"])


@offers_app.command("fetch-history")
def fetch_history(
    provider: Annotated[str, typer.Argument(help="A connected provider that publishes what its prices were.")],
    days: Annotated[int, typer.Option(min=1, help="So many days back.")] = 90,
    json: flags.JsonFlag = False,
) -> None:
    """Fetch a provider's published prices into the history. Needs a key with the scope `operate`."""
    out = Output(json=json)
    answer = connect().fetch_price_history(provider, days=days)
    out.document(answer)
    out.line(f"The broker fetches {days} days of {provider}; `yard offers history` shows them as they come.")


@offers_app.command()
def sources(json: flags.JsonFlag = False) -> None:
    """Where the offers come from: when each was read, what failed, and what it could not say."""
    out, rows = Output(json=json), connect().sources()
    out.document({"results": rows})
    headers = ["source", "lines", "seen", "state", "next", "skipped", "unknown", "quarantined", "error"]
    cells = [
        [
            row["provider"],
            f"{row['lines']:,}",
            moment(row["seen_at"]),
            "stale" if row["stale"] else "fresh",
            moment(row["next_try_at"]),
            str(sum(row["skipped"].values())),
            str(len(row["unknown"])),
            str(row["quarantined"]),
            row["error"],
        ]
        for row in rows
    ]
    out.table(headers, cells, right=["lines", "skipped", "unknown", "quarantined"])
    for row in rows:
        for reason, number in row["skipped"].items():
            out.line(f"{row['provider']}: skipped {number:,}: {reason}")
        if row["unknown"]:
            out.line(f"{row['provider']}: unknown accelerators: {', '.join(row['unknown'])}")


@offers_app.command()
def quarantine(json: flags.JsonFlag = False) -> None:
    """Lines that are kept out of the book because their price cannot be right."""
    out, rows = Output(json=json), connect().quarantined()
    out.document({"results": rows})
    names = ["provider", "region", "instance_type", "market", "usd_per_hour", "why", "since"]
    cells = [[moment(row[name]) if name == "since" else text(row[name]) for name in names] for row in rows]
    out.table(names, cells, right=["usd_per_hour"])


@offers_app.command()
def filters(json: flags.JsonFlag = False) -> None:
    """Every filter that --where takes, as this broker knows them."""
    out, rows = Output(json=json), connect().offer_filters()
    out.document({"results": rows})
    out.table(["name", "what it means"], [[row["name"], row["help"]] for row in rows])


@offers_app.command()
def watch(gpu: Gpu = None, provider: Provider = None, market: Market = None, where: Where = None,
          json: flags.JsonFlag = False) -> None:  # fmt: skip
    """Offers as they change, until Ctrl-C. What no longer fits the filters is not told."""
    out = Output(json=json)
    wishes = {"gpu": joined(gpu), "provider": joined(provider), "market": joined(market), **wanted(where)}
    out.note("Waiting for changes; Ctrl-C ends.")
    for told in connect().offers_stream(**wishes):
        offer = told.data
        out.row({"type": told.kind, "offer": offer})
        price = "gone" if told.kind == "gone" else f"{dollars(offer['usd_per_gpu_hour'])}/gpu-h"
        out.line(
            f"{moment(offer['changed_at'])}  {price:>14}  {offer['accelerators']} x {offer['accelerator']}"
            f"  {offer['provider']}/{offer['region']}  {offer['instance_type']}  {offer['market']}"
        )
