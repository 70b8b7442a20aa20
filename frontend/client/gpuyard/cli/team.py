"""`yard team`: with whom one shares workloads, credit and accounts."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gpuyard.cli.flags import JsonFlag
from gpuyard.cli.output import Output, text
from gpuyard.cli.session import connect
from gpuyard.cli.times import day
from gpuyard.errors import NotFound

if TYPE_CHECKING:
    from gpuyard.client import Client

team_app = typer.Typer(
    help="Those you share with. Changes need a person signed in; the answer says where.",
    rich_markup_mode=None,
    no_args_is_help=True,
)
TeamId = Annotated[int | None, typer.Option("--team", min=1, metavar="ID", help="Of this team; yours if not given.")]
UserId = Annotated[int, typer.Argument(metavar="USER", min=1, help="The member: yard team members.")]


class Role(StrEnum):
    """What somebody is in a team."""

    owner = "owner"
    member = "member"
    viewer = "viewer"


def chosen(client: "Client", team: int | None) -> int:
    """The team that was named, else the one that the key works for. Raises: NotFound."""
    if team is not None:
        return team
    mine: Any = client.me()
    if not mine.get("team"):
        raise NotFound("this key works for no team", hint="name one with --team; `yard team list` shows yours")
    return int(mine["team"]["id"])


@team_app.command("list")
def list_teams(json: JsonFlag = False) -> None:
    """The teams that you belong to."""
    out, rows = Output(json=json), connect().teams()
    out.document({"results": rows})
    if not rows:
        out.line("No team yet: yard team make NAME")
        return
    out.table(["id", "name", "role"], [[str(row["id"]), row["name"], text(row.get("role"))] for row in rows])


@team_app.command("make")
def make(name: Annotated[str, typer.Argument(help="A name of your choice.")], json: JsonFlag = False) -> None:
    """Found a team; it is yours."""
    out, team = Output(json=json), connect().create_team(name)
    out.document(team)
    out.line(f"Team {team['id']}: {team['name']}. Invite somebody: yard team invite EMAIL --team {team['id']}")


@team_app.command("rename")
def rename(
    name: Annotated[str, typer.Argument(help="The new name.")], team: TeamId = None, json: JsonFlag = False
) -> None:
    """Give a team another name."""
    out, client = Output(json=json), connect()
    found = client.change_team(chosen(client, team), name=name)
    out.document(found)
    out.line(f"Team {found['id']} is now {found['name']}.")


@team_app.command("members")
def members(team: TeamId = None, json: JsonFlag = False) -> None:
    """Who belongs to a team."""
    out, client = Output(json=json), connect()
    rows = client.members(chosen(client, team))
    out.document({"results": rows})
    cells = [[str(row["user"]), text(row.get("username")), text(row.get("email")), row["role"]] for row in rows]
    out.table(["user", "name", "e-mail", "role"], cells, right=["user"])


@team_app.command("role")
def role(
    user: UserId,
    role: Annotated[Role, typer.Argument(metavar="ROLE", help="owner, member or viewer.")],
    team: TeamId = None,
    json: JsonFlag = False,
) -> None:
    """Give a member another role."""
    out, client = Output(json=json), connect()
    found = client.change_member(chosen(client, team), user, role=role.value)
    out.document(found)
    out.line(f"User {user} is now {role.value}.")


@team_app.command("remove")
def remove(user: UserId, team: TeamId = None, json: JsonFlag = False) -> None:
    """Take somebody out of a team, or leave it yourself."""
    out, client = Output(json=json), connect()
    answer = client.remove_member(chosen(client, team), user)
    out.document(answer or {"user": user, "removed": True})
    out.line(f"User {user} does not belong to the team any more.")


@team_app.command("invite")
def invite(
    email: Annotated[str, typer.Argument(help="Where the invitation goes.")],
    role: Annotated[Role, typer.Option(help="owner, member or viewer.")] = Role.member,
    team: TeamId = None,
    json: JsonFlag = False,
) -> None:
    """Invite somebody by e-mail."""
    out, client = Output(json=json), connect()
    found = client.invite(chosen(client, team), email=email, role=role.value)
    out.document(found)
    out.line(f"Invitation {found['id']} to {found['email']} as {found['role']}.")
    if found.get("link"):
        how = "It was mailed." if found.get("mailed") else "No mail was sent: hand them the link yourself."
        out.line(f"{how} {found['link']}")


@team_app.command("invitations")
def invitations(team: TeamId = None, json: JsonFlag = False) -> None:
    """Invitations that were not answered yet."""
    out, client = Output(json=json), connect()
    rows = client.invitations(chosen(client, team))
    out.document({"results": rows})
    cells = [[str(row["id"]), row["email"], row["role"], day(row.get("expires_at"))] for row in rows]
    out.table(["id", "e-mail", "role", "ends"], cells, right=["id"])


@team_app.command("withdraw")
def withdraw(
    invitation: Annotated[int, typer.Argument(metavar="ID", min=1, help="The invitation.")],
    team: TeamId = None,
    json: JsonFlag = False,
) -> None:
    """Take an invitation back."""
    out, client = Output(json=json), connect()
    answer = client.withdraw_invitation(chosen(client, team), invitation)
    out.document(answer or {"id": invitation, "withdrawn": True})
    out.line(f"Invitation {invitation} is void.")


@team_app.command("join")
def join(
    token: Annotated[str, typer.Argument(help="From the invitation, or its link.")], json: JsonFlag = False
) -> None:
    """Join the team that you were invited to."""
    out = Output(json=json)
    team = connect().accept_invitation(token.rstrip("/").rsplit("/", 1)[-1])
    out.document(team)
    out.line(f"You have joined {team['name']}.")
