"""`yard reserved`: capacity that is paid for already, so that it costs nothing more in quotes and bills."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from gpuyard import quoting
from gpuyard.cli import flags
from gpuyard.cli.output import Output
from gpuyard.cli.session import connect
from gpuyard.cli.times import day
from gpuyard.money import dollars

reserved_app = typer.Typer(help="Capacity that you have paid for already.", rich_markup_mode=None)
HINT = "Nothing is reserved yet: yard reserved add OFFER --machines N --until DATE"


def instant(text: str) -> str:
    """A day (its beginning in UTC) or an instant, as RFC 3339 in UTC. Raises: typer.BadParameter."""
    try:
        when = datetime.fromisoformat(text)
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        return when.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    except (ValueError, OverflowError):
        raise typer.BadParameter(f"{text!r} is no date; write it as 2027-06-30 or 2027-06-30T12:00:00Z") from None


@reserved_app.callback(invoke_without_command=True)
def reserved(ctx: typer.Context, json: flags.JsonFlag = False) -> None:
    """What you have reserved at clouds, and how many machines of it are in use."""
    if ctx.invoked_subcommand:
        return
    out, found = Output(json=json), connect().reservations()
    out.document({"results": found})
    if not found:
        out.line(HINT)
        return
    show(out, found)


@reserved_app.command("add")
def add(
    offer: Annotated[int, typer.Argument(metavar="OFFER", min=1, help="The id of an on-demand offer: yard offers.")],
    machines: Annotated[int, typer.Option(min=1, metavar="N", help="How many machines are reserved.")],
    until: Annotated[
        str, typer.Option(parser=instant, metavar="DATE", help="When that ends: 2027-06-30, or an instant; UTC.")
    ],
    json: flags.JsonFlag = False,
) -> None:
    """Tell of machines that are reserved and paid for in your own account at a cloud; nothing is bought."""
    tell(Output(json=json), connect().create_reservation(offer=offer, machines=machines, until=until))


@reserved_app.command("remove")
def remove(
    reservation: Annotated[int, typer.Argument(metavar="ID", min=1, help="The reservation.")],
    json: flags.JsonFlag = False,
) -> None:
    """Have the broker forget a reservation; what runs on its machines keeps its price."""
    tell(Output(json=json), connect().remove_reservation(reservation))


def tell(out: Output, one: quoting.Reserved) -> None:
    """One reservation, as it is or was."""
    out.document(one)
    show(out, [one])


def show(out: Output, rows: list[quoting.Reserved]) -> None:
    """The reservations as a table; `list $/h` is what one machine more costs."""
    headers = ["id", "offer", "site", "instance type", "accelerator", "machines", "in use", "list $/h", "until"]
    cells = [
        [
            str(one["id"]),
            str(one["offer"]),
            one["site"],
            one["instance_type"],
            f"{one['accelerators']} x {one['accelerator']}",
            str(one["machines"]),
            str(one["in_use"]),
            dollars(one["usd_per_hour"]),
            day(one["until"]),
        ]
        for one in rows
    ]
    out.table(headers, cells, right=["id", "offer", "machines", "in use", "list $/h"])
