"""What a member of a team may do there."""

from __future__ import annotations

from broker.identity.models import Membership, Role

SCOPES = ("read", "run", "supply", "operate", "observe")
OF_A_ROLE = {
    Role.OWNER: {"read", "run", "supply"},
    Role.MEMBER: {"read", "run", "supply"},
    Role.VIEWER: {"read"},
}
OF_STAFF = {"operate", "observe"}  # They concern the whole broker, not a team.


def scopes_of(membership: Membership) -> tuple[str, ...]:
    """Return what the role allows and, to the broker's staff, the broker itself."""
    allowed = OF_A_ROLE[Role(membership.role)] | (OF_STAFF if membership.user.is_staff else set())
    return tuple(scope for scope in SCOPES if scope in allowed)
