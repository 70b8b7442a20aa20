"""`yard quote`: what a need would cost to finish."""

from gpuyard import objects
from gpuyard.cli import flags, plans
from gpuyard.cli.output import Output, duration
from gpuyard.cli.session import connect
from gpuyard.cli.times import moment
from gpuyard.money import dollars


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
    wish: flags.Wished = None,
    json: flags.JsonFlag = False,
) -> None:
    """What a need would cost to finish, best way first, and what shut the other offers out."""
    out = Output(json=json)
    wishes = flags.Wishes(
        gpu, sites, min_memory, provider, region, country, market, samples, speed, deadline, budget, wish
    )
    answer = connect().create_quotes(wishes.need())
    out.document(answer)
    show_quotes(out, answer["quotes"])
    show_curve(out, answer["curve"])
    show_excluded(out, answer)


def show_quotes(out: Output, quotes: list[objects.Quote]) -> None:
    """The quotes as a table, in the broker's order, and why the next best was not chosen."""
    if out.is_terminal:
        plans.show(quotes)
    else:
        show_table(out, quotes)
    for each in quotes:
        if each["why_not"]:
            out.line(f"{each['rank']}: {each['why_not']}")
    if quotes:
        out.line(f"Promised until {moment(min(each['expires_at'] for each in quotes))}.")


def show_table(out: Output, quotes: list[objects.Quote]) -> None:
    """A line a quote, for pipes and files."""
    headers = ["rank", "id", "best at", "to finish", "10 to 90 %", "$/h", "time", "in time", "CO2e", "speed", "sites"]
    cells = [
        [
            str(each["rank"]),
            str(each["id"]),
            ", ".join(each["labels"]) or "-",
            dollars(each["cost_usd"]),
            plans.cost_range(each["outcome"]) or "-",
            dollars(each["usd_per_hour"]),
            duration(each["finish_s"]),
            plans.percent(each["outcome"]["deadline_chance"] if each["outcome"] else None),
            plans.carbon(each["outcome"]),
            speed_of(each["speed"]),
            "; ".join(site_of(site) for site in each["sites"]),
        ]
        for each in quotes
    ]
    out.table(headers, cells, right=["rank", "id", "to finish", "10 to 90 %", "$/h", "time", "in time", "CO2e"])


def show_curve(out: Output, curve: list[tuple[float, str]]) -> None:
    """What the run costs for each deadline that changes anything."""
    if len(curve) > 1:
        steps = (f"{dollars(usd)} within {hours:.3g} h" for hours, usd in curve)
        out.line(f"Sooner costs more: {', '.join(steps)}.")


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
