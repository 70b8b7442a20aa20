"""`yard quote`: what a need would cost to finish."""

from gpuyard import objects
from gpuyard.cli import flags
from gpuyard.cli.output import Output, duration
from gpuyard.cli.session import connect
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
