"""`yard host`: offer machines of one's own, take them back, offer them again."""

import shlex
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

import typer

from gpuyard import __version__, objects
from gpuyard.cli import completing, flags
from gpuyard.cli.output import Output, text
from gpuyard.cli.session import connect
from gpuyard.cli.times import moment
from gpuyard.errors import GpuyardError
from gpuyard.money import dollars
from gpuyard.paging import every

if TYPE_CHECKING:
    from gpuyard.client import Client

host_app = typer.Typer(help="Rent out machines of your own.", rich_markup_mode=None, no_args_is_help=True)
HostId = Annotated[int, typer.Argument(metavar="ID", min=1, help="The host.", autocompletion=completing.host_ids)]


@host_app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="A name of your choice.")],
    region: Annotated[str, typer.Option(help="Where it stands, as home/berlin.")],
    usd_per_hour: Annotated[Decimal, typer.Option(parser=flags.amount, metavar="USD", help="What you ask for it.")],
    country: Annotated[str | None, typer.Option(help="Two letters, as DE.")] = None,
    json: flags.JsonFlag = False,
) -> None:
    """Offer a machine, and print what to run on it. The token in there is shown once and is good for an hour."""
    out, client = Output(json=json), connect()
    # Before the host exists: a failure from here on must not cost the token.
    source = wheel_source(client)
    host = client.create_host(name=name, region=region, usd_per_hour=usd_per_hour, country=country)
    tell_commands(out, client, host, source=source)


@host_app.command("token")
def token(host: HostId, json: flags.JsonFlag = False) -> None:
    """A new token for a machine whose agent did not come yet, and what to run there; the one before is dead."""
    out, client = Output(json=json), connect()
    source = wheel_source(client)
    tell_commands(out, client, client.renew_host_token(host), source=source)


def tell_commands(out: Output, client: "Client", host: objects.Host, *, source: str) -> None:
    """What to run on the machine; its token is shown this once."""
    install = shlex.join(["pip", "install", f"gpuyard[node] @ {source}"])
    agent = shlex.join(["python", "-m", "gpuyard.node", "--broker", client.url, "--token", host.get("enrol_token", "")])
    agent += f" --state ~/.gpuyard/host-{host['id']}"
    out.document({"host": host, "install": install, "run": agent})
    show_hosts(out, [host])
    out.line()
    out.line("Run this on the machine, within the hour:")
    out.line()
    out.line(f"  {install}")
    out.line(f"  {agent}")


def wheel_source(client: "Client") -> str:
    """The address of the package of the broker's version; of our own version where the broker does not tell."""
    try:
        wheel = client.wheel()
    except GpuyardError as error:
        if error.exit_code != 1 or error.status is None:
            raise
        return f"{client.url}/dl/gpuyard-{__version__}-py3-none-any.whl"
    return f"{client.url}/dl/{wheel['wheel'].rsplit('/', 1)[-1]}#sha256={wheel['sha256']}"


@host_app.command("list")
def list_hosts(json: flags.JsonFlag = False) -> None:
    """Your machines: how they fare and what they have earned."""
    out, client = Output(json=json), connect()
    hosts = list(every(lambda cursor: client.hosts(cursor=cursor)))
    out.document({"results": hosts})
    if not hosts:
        out.line("No host yet: yard host add NAME --region home/CITY --usd-per-hour USD")
        return
    show_hosts(out, hosts)


@host_app.command("reclaim")
def reclaim(
    host: HostId,
    notice: Annotated[int, typer.Option(min=0, metavar="SECONDS", help="Time to leave; 0 = at once.")] = 30,
    json: flags.JsonFlag = False,
) -> None:
    """Take a machine back; what runs there is moved elsewhere."""
    tell(Output(json=json), connect().reclaim_host(host, notice_s=notice))


@host_app.command("return")
def give_back(host: HostId, json: flags.JsonFlag = False) -> None:
    """Offer a reclaimed machine again."""
    tell(Output(json=json), connect().return_host(host))


def tell(out: Output, host: objects.Host) -> None:
    """One host, as it is now."""
    out.document(host)
    show_hosts(out, [host])


def show_hosts(out: Output, hosts: list[objects.Host]) -> None:
    """The hosts as a table."""
    headers = ["id", "name", "region", "country", "$/h", "state", "earned", "lease", "seen", "why"]
    cells = [
        [
            str(host["id"]),
            host["name"],
            host["region"],
            text(host["country"]),
            dollars(host["usd_per_hour"]),
            host["state"],
            dollars(host["earned_usd"]),
            text(host["lease"]),
            moment(host["seen_at"]),
            text(host["why"]),
        ]
        for host in hosts
    ]
    out.table(headers, cells, right=["id", "$/h", "earned", "lease"])
