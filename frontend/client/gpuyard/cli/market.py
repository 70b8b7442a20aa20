"""`yard offers`, `yard offers import`, `yard quote`: what can be rented, and what a need would cost."""

from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer

from gpuyard import objects
from gpuyard.cli import flags
from gpuyard.cli.output import Output, duration, report, text
from gpuyard.cli.session import connect
from gpuyard.errors import BrokerFailed, InvalidRequest
from gpuyard.money import dollars

offers_app = typer.Typer(help="What can be rented, cheapest first.", rich_markup_mode=None)


@offers_app.callback(invoke_without_command=True)
def offers(
    ctx: typer.Context,
    gpu: Annotated[str | None, typer.Option("--gpu", "--accelerator", help="Kind: H100-SXM, CPU, ...")] = None,
    provider: Annotated[str | None, typer.Option(help="Only of this provider.")] = None,
    region: Annotated[str | None, typer.Option(help="Only in this region.")] = None,
    market: Annotated[str | None, typer.Option(help="on_demand, spot or reserved.")] = None,
    min_count: Annotated[int | None, typer.Option(min=1, help="At least so many accelerators.")] = None,
    max_price: Annotated[
        Decimal | None, typer.Option(parser=flags.amount, metavar="USD", help="At most so much per GPU and hour.")
    ] = None,
    leasable: Annotated[
        bool | None, typer.Option("--leasable/--not-leasable", help="Only what this broker can rent itself.")
    ] = None,
    sort: Annotated[str | None, typer.Option(help="By this field.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Go on from here (the `next` of an earlier answer).")] = None,
    json: flags.JsonFlag = False,
) -> None:
    """What can be rented, cheapest first."""
    if ctx.invoked_subcommand:
        return
    out, client = Output(json=json), connect()
    rows: list[objects.Offer] = []
    while True:
        page = client.offers(
            accelerator=gpu,
            provider=provider,
            region=region,
            market=market,
            min_count=min_count,
            max_usd_per_gpu_hour=max_price,
            leasable=leasable,
            sort=sort,
            limit=limit - len(rows),
            cursor=cursor,
        )
        rows += page["results"]
        cursor = page["next"]
        if not cursor or len(rows) >= limit:
            break
    out.document({"results": rows, "next": cursor})
    show_offers(out, rows)
    if cursor and not json:
        out.note(f"There are more: --limit {limit * 2}, or go on with --cursor {cursor}")


def show_offers(out: Output, rows: list[objects.Offer]) -> None:
    """The offers as a table."""
    if not rows:
        out.line("No offer fits.")
        return
    headers = ["id", "provider", "region", "instance", "gpu", "n", "GiB", "market", "$/h", "$/gpu-h", "leasable"]
    cells = [
        [
            str(row["id"]),
            row["provider"],
            row["region"],
            row["instance_type"],
            text(row["accelerator"]),
            str(row["accelerators"]),
            text(row["memory_gib"]),
            row["market"],
            dollars(row["usd_per_hour"]),
            dollars(row["usd_per_gpu_hour"]),
            "yes" if row["leasable"] else "no",
        ]
        for row in rows
    ]
    out.table(headers, cells, right=["id", "n", "GiB", "$/h", "$/gpu-h"])


@offers_app.command("import")
def import_catalogs(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Holds <provider>/vms.csv for each provider.")],
    json: flags.JsonFlag = False,
) -> None:
    """Load price catalogs (SkyPilot's CSV) into the broker. Needs a key with the scope `operate`.

    What a catalog held before is replaced. A catalog that is refused does not stop the others.
    """
    out = Output(json=json)
    catalogs = find_catalogs(folder)
    client = connect()
    loaded: list[objects.CatalogReport] = []
    failed: list[dict[str, Any]] = []
    code = 0
    for provider, path in catalogs:
        try:
            told = client.put_catalog(provider, csv=path.read_bytes())
        except (InvalidRequest, BrokerFailed) as error:
            failed.append({"provider": provider, "error": error.as_dict()})
            out.note(f"{path}:")
            code = report(error, as_json=False)
            continue
        loaded.append(told)
        tell_catalog(out, told)
    total = total_of(loaded)
    out.document({"catalogs": loaded, "failed": failed, "total": total})
    out.line(f"total: {counts_of(total)}")
    if code:
        raise typer.Exit(code)


def find_catalogs(folder: Path) -> list[tuple[str, Path]]:
    """(provider, path) of every <provider>/vms.csv in the folder. Raises: typer.BadParameter when there is none."""
    if not folder.is_dir():
        raise typer.BadParameter(f"{folder} is not a folder; expected DIR/<provider>/vms.csv", param_hint="DIR")
    found = [(path.parent.name, path) for path in sorted(folder.glob("*/vms.csv"))]
    if not found:
        above = "; name the folder above it" if (folder / "vms.csv").is_file() else ""
        raise typer.BadParameter(
            f"{folder} holds no catalog; expected files such as {folder}/aws/vms.csv, one folder a provider{above}",
            param_hint="DIR",
        )
    return found


def tell_catalog(out: Output, told: objects.CatalogReport) -> None:
    """What became of one catalog, with an example for each reason to skip."""
    out.line(f"{told['provider']}: {counts_of(told)}")
    for reason, count in told["skipped"].items():
        out.line(f"  skipped {count:,}: {reason}")
        for example in [each for each in told["examples"] if each["reason"] == reason][:2]:
            out.line(f"    line {example['line']}: {example['text'][:100]}")


def counts_of(told: Any) -> str:
    """The counts of a catalog or of all."""
    skipped = sum(told["skipped"].values())
    return (
        f"{told['rows']:,} rows = {told['loaded']:,} loaded + {told['not_gpu']:,} not a GPU + {skipped:,} skipped;"
        f" {told['offers']:,} offers"
    )


def total_of(loaded: list[objects.CatalogReport]) -> dict[str, Any]:
    """The counts of all catalogs together."""
    skipped: Counter[str] = Counter()
    for told in loaded:
        skipped.update(told["skipped"])
    return {
        "rows": sum(told["rows"] for told in loaded),
        "loaded": sum(told["loaded"] for told in loaded),
        "not_gpu": sum(told["not_gpu"] for told in loaded),
        "skipped": dict(skipped),
        "offers": sum(told["offers"] for told in loaded),
    }


def quote(
    gpu: flags.Gpu = None,
    sites: flags.Sites = None,
    min_memory: flags.MinMemory = None,
    provider: flags.Providers = None,
    region: flags.Regions = None,
    country: flags.Countries = None,
    market: flags.Markets = None,
    samples: flags.SamplesToDo = None,
    speed: flags.SamplesPerS = None,
    deadline: flags.Deadline = None,
    budget: flags.Budget = None,
    json: flags.JsonFlag = False,
) -> None:
    """What a need would cost to finish, best way first, and what shut the other offers out."""
    out = Output(json=json)
    wishes = flags.Wishes(gpu, sites, min_memory, provider, region, country, market, samples, speed, deadline, budget)
    answer = connect().create_quotes(wishes.need())
    out.document(answer)
    show_quotes(out, answer["quotes"])
    show_excluded(out, answer)


def show_quotes(out: Output, quotes: list[objects.Quote]) -> None:
    """The quotes as a table, in the broker's order."""
    headers = ["rank", "id", "to finish", "$/h", "time", "speed", "sites", "why"]
    cells = [
        [
            str(each["rank"]),
            str(each["id"]),
            dollars(each["cost_usd"]),
            dollars(each["usd_per_hour"]),
            duration(each["finish_s"]),
            speed_of(each["speed"]),
            "; ".join(site_of(site) for site in each["sites"]),
            each["why"],
        ]
        for each in quotes
    ]
    out.table(headers, cells, right=["rank", "id", "to finish", "$/h", "time"])
    if quotes:
        out.line(f"Promised until {min(each['expires_at'] for each in quotes)}.")


def show_excluded(out: Output, answer: objects.Quotes) -> None:
    """Which constraints shut offers out."""
    out.line(f"{answer['offers_considered']:,} offers considered.")
    for each in answer["excluded"]:
        out.line(f"  {each['constraint']}: shut out {each['offers']:,}")


def speed_of(speed: objects.Speed) -> str:
    """Samples per second and how we know."""
    if speed["samples_per_s"] is None:
        return speed["source"]
    return f"{speed['samples_per_s']:g}/s {speed['source']}"


def site_of(site: objects.QuoteSite) -> str:
    """One site of a quote in one phrase."""
    nodes = f"{site['nodes']} x " if site["nodes"] != 1 else ""
    return f"{site['site']} {nodes}{site['instance_type']} {site['market']}"
