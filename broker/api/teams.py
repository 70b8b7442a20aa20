"""Teams, who is in them, and who is invited."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from broker.api import people_shapes as shapes
from broker.api.errors import Refused
from broker.api.keys import ANYBODY
from broker.api.people import person_of
from broker.identity import adapter, teams
from broker.identity.models import Membership, Role


class Teams(APIView):
    """The teams that one is in."""

    scopes = {"GET": "read", "POST": "read"}

    @extend_schema(operation_id="list_teams", responses=shapes.TeamListShape)
    def get(self, request: Request) -> Response:
        """List your teams, your own first; to a key, only its own is shown."""
        return Response({"results": shapes.TeamShape(teams.seen_by(request.auth), many=True).data})

    @extend_schema(operation_id="make_team", request=shapes.NewTeamShape, responses={201: shapes.TeamShape})
    def post(self, request: Request) -> Response:
        """Make a team; you are its owner."""
        person = person_of(request)
        name = _said(shapes.NewTeamShape, request)["name"]
        made = teams.make_team(user=person.user, name=name, now=timezone.now())
        return Response(shapes.TeamShape(made).data, status=201)


class OneTeam(APIView):
    """One team."""

    scopes = {"GET": "read", "PATCH": "read"}

    @extend_schema(operation_id="get_team", responses=shapes.TeamShape)
    def get(self, request: Request, pk: int) -> Response:
        """Show it."""
        return Response(shapes.TeamShape(_mine(request, pk)).data)

    @extend_schema(operation_id="rename_team", request=shapes.NewTeamShape, responses=shapes.TeamShape)
    def patch(self, request: Request, pk: int) -> Response:
        """Give it another name. Owners only."""
        owner = _owned(request, pk)
        owner.team.name = _said(shapes.NewTeamShape, request)["name"]
        owner.team.save(update_fields=["name"])
        return Response(shapes.TeamShape(owner).data)


class Members(APIView):
    """Who is in a team."""

    scopes = {"GET": "read"}

    @extend_schema(operation_id="list_members", responses=shapes.MemberListShape)
    def get(self, request: Request, pk: int) -> Response:
        """List the members, oldest first."""
        rows = teams.members_of(_mine(request, pk).team_id)
        return Response({"results": shapes.MemberShape(rows, many=True).data})


class OneMember(APIView):
    """Somebody in a team."""

    scopes = {"PATCH": "read", "DELETE": "read"}

    @extend_schema(operation_id="set_role", request=shapes.NewRoleShape, responses=shapes.MemberShape)
    def patch(self, request: Request, pk: int, user: int) -> Response:
        """Change what a member is. Owners only; the last owner stays one."""
        team_id = _owned(request, pk).team_id
        role = _said(shapes.NewRoleShape, request)["role"]
        try:
            return Response(shapes.MemberShape(teams.set_role(team_id=team_id, user_id=user, role=role)).data)
        except teams.MemberMissing:
            raise _no_member(pk, user) from None
        except teams.LastOwner:
            raise _last_owner(pk) from None

    @extend_schema(operation_id="remove_member", responses={204: None})
    def delete(self, request: Request, pk: int, user: int) -> Response:
        """Let a member go, or leave yourself; keys made for the team by who goes end with it."""
        mine = _mine(request, pk)
        if person_of(request).user.pk != user:
            mine = _owned(request, pk)
        try:
            teams.remove(team_id=mine.team_id, user_id=user)
        except teams.MemberMissing:
            raise _no_member(pk, user) from None
        except teams.LastOwner:
            raise _last_owner(pk) from None
        return Response(status=204)


class Invitations(APIView):
    """Who is invited to a team. Owners only."""

    scopes = {"GET": "read", "POST": "read"}

    @extend_schema(operation_id="list_invitations", responses=shapes.InvitationListShape)
    def get(self, request: Request, pk: int) -> Response:
        """List the invitations that are open, oldest first."""
        rows = teams.open_invitations(now=timezone.now()).filter(team_id=_owned(request, pk).team_id)
        return Response({"results": shapes.InvitationShape(rows, many=True).data})

    @extend_schema(
        operation_id="invite", request=shapes.NewInvitationShape, responses={201: shapes.MadeInvitationShape}
    )
    def post(self, request: Request, pk: int) -> Response:
        """Mail a link that lets an address in, for a week, in place of an earlier one; it is shown this once, too."""
        owner = _owned(request, pk)
        given = _said(shapes.NewInvitationShape, request)
        if not adapter.may_invite(request._request):
            raise Refused(429, "too_many", "you have invited many people within an hour", "go on in an hour")
        invitation, token = teams.invite(team=owner.team, by=owner.user, now=timezone.now(), **given)
        link = f"{settings.PUBLIC_URL}/invitations/{token}"
        mailed = adapter.mail("people/invitation", invitation.email, {"invitation": invitation, "link": link})
        return Response({**shapes.InvitationShape(invitation).data, "link": link, "mailed": mailed}, status=201)


class OneInvitation(APIView):
    """An invitation. Owners only."""

    scopes = {"DELETE": "read"}

    @extend_schema(operation_id="withdraw_invitation", responses={204: None})
    def delete(self, request: Request, pk: int, invitation: int) -> Response:
        """Withdraw it: its link leads nowhere."""
        rows = _owned(request, pk).team.invitations.filter(pk=invitation, accepted_at=None)
        if not rows.delete()[0]:
            hint = f"`GET /v1/teams/{pk}/invitations` lists them"
            raise Refused(404, "not_found", f"there is no open invitation {invitation} to team {pk}", hint)
        return Response(status=204)


class Link(APIView):
    """The link of an invitation."""

    scopes = {"GET": ANYBODY, "POST": "read"}

    @extend_schema(operation_id="read_invitation", auth=[], responses=shapes.LinkShape)
    def get(self, request: Request, token: str) -> Response:
        """Show what it invites to, to anybody who has it."""
        try:
            return Response(shapes.LinkShape(teams.find_invitation(token=token, now=timezone.now())).data)
        except teams.InvitationGone:
            raise _gone() from None

    @extend_schema(operation_id="accept_invitation", request=None, responses=shapes.TeamShape)
    def post(self, request: Request, token: str) -> Response:
        """Join the team. One of your e-mail addresses must be the one that was invited."""
        user = person_of(request).user
        try:
            joined = teams.accept(token=token, user=user, addresses=adapter.addresses_of(user), now=timezone.now())
        except teams.InvitationGone:
            raise _gone() from None
        except teams.AnotherAddress as error:
            hint = "sign in with that address; or add it to your account, and verify it where that is asked for"
            raise Refused(403, "another_address", f"the invitation is for {error}", hint) from None
        return Response(shapes.TeamShape(joined).data)


def _said(shape: Any, request: Request) -> dict[str, Any]:
    said = shape(data=request.data)
    said.is_valid(raise_exception=True)
    return dict(said.validated_data)


def _mine(request: Request, pk: int) -> Membership:
    """Return the asker's part in the team of the address. Raises Refused."""
    mine = {one.team_id: one for one in teams.seen_by(request.auth)}
    if pk not in mine:
        raise Refused(404, "not_found", f"there is no team {pk} of yours", "`GET /v1/teams` lists them")
    return mine[pk]


def _owned(request: Request, pk: int) -> Membership:
    """Return the asker's part in the team if he is signed in and owns it. Raises Refused."""
    mine = _mine(request, pk)
    person_of(request)
    if mine.role != Role.OWNER:
        raise Refused(403, "owner_needed", f"you are a {mine.role} of team {pk}", "ask an owner to do it")
    return mine


def _no_member(pk: int, user: int) -> Refused:
    return Refused(404, "not_found", f"team {pk} has no member {user}", f"`GET /v1/teams/{pk}/members` lists them")


def _last_owner(pk: int) -> Refused:
    return Refused(409, "last_owner", f"team {pk} would have no owner", "make another member its owner first")


def _gone() -> Refused:
    return Refused(404, "invitation_gone", "nobody waits behind this link any more", "ask for a new invitation")
