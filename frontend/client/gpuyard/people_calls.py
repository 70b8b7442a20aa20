"""The SDK's calls about keys and teams."""

from collections.abc import Sequence
from typing import Any, cast

from gpuyard.asking import Asking
from gpuyard.objects import Page
from gpuyard.people import Invitation, Invited, Key, Member, Role, Scope, Team


class PeopleCalls(Asking):
    """Who may do what at the broker. Most of it no key can do: SignInNeeded is raised, and a person goes on."""

    def keys(self, *, cursor: str | None = None) -> Page:
        """One page of API keys; none of them tells its secret."""
        return cast(Page, self.read("/v1/keys", cursor=cursor))

    def create_key(self, name: str, *, scopes: Sequence[Scope | str], expires_at: str | None = None) -> Key:
        """Make an API key; the answer holds it in `key`, once. `expires_at`: RFC 3339, None = never."""
        body: dict[str, Any] = {"name": name, "scopes": list(scopes)}
        if expires_at is not None:
            body["expires_at"] = expires_at
        return cast(Key, self.create("/v1/keys", body))

    def revoke_key(self, key_id: int) -> Key | None:
        """Have the broker refuse a key from now on. Raises: NotFound."""
        return cast(Key | None, self.ask("DELETE", f"/v1/keys/{key_id}"))

    def teams(self) -> list[Team]:
        """The teams that one belongs to."""
        return cast(list[Team], self.rows("/v1/teams"))

    def create_team(self, name: str) -> Team:
        """Found a team."""
        return cast(Team, self.create("/v1/teams", {"name": name}))

    def team(self, team_id: int) -> Team:
        """One team."""
        return cast(Team, self.read(f"/v1/teams/{team_id}"))

    def change_team(self, team_id: int, **changes: Any) -> Team:
        """Change what is said of a team: name="...". Raises: ScopeMissing, NotFound."""
        return cast(Team, self.ask("PATCH", f"/v1/teams/{team_id}", changes))

    def members(self, team_id: int) -> list[Member]:
        """Who belongs to a team."""
        return cast(list[Member], self.rows(f"/v1/teams/{team_id}/members"))

    def change_member(self, team_id: int, user_id: int, *, role: Role) -> Member:
        """Give a member another role."""
        return cast(Member, self.ask("PATCH", f"/v1/teams/{team_id}/members/{user_id}", {"role": role}))

    def remove_member(self, team_id: int, user_id: int) -> Any:
        """Take somebody out of a team, or leave it."""
        return self.ask("DELETE", f"/v1/teams/{team_id}/members/{user_id}")

    def invitations(self, team_id: int) -> list[Invitation]:
        """The invitations to a team that are open."""
        return cast(list[Invitation], self.rows(f"/v1/teams/{team_id}/invitations"))

    def invite(self, team_id: int, *, email: str, role: Role) -> Invitation:
        """Invite somebody into a team, by e-mail."""
        return cast(Invitation, self.create(f"/v1/teams/{team_id}/invitations", {"email": email, "role": role}))

    def withdraw_invitation(self, team_id: int, invitation_id: int) -> Any:
        """Take an invitation back. Raises: NotFound."""
        return self.ask("DELETE", f"/v1/teams/{team_id}/invitations/{invitation_id}")

    def invitation(self, token: str) -> Invited:
        """What an invitation is to. Raises: NotFound."""
        return cast(Invited, self.read(f"/v1/invitations/{token}"))

    def accept_invitation(self, token: str) -> Team:
        """Join the team that one was invited to."""
        return cast(Team, self.ask("POST", f"/v1/invitations/{token}"))
