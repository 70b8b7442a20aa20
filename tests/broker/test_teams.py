"""Teams: who may what in them, how one gets in and out, and the keys that are made for them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.conf import settings
from django.core import mail
from django.utils import timezone

from broker.identity import teams
from broker.identity.models import ApiKey, Invitation, Membership, Role, Team, User
from tests.broker.browser import Person, link_in, signed_up
from tests.conftest import Caller

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada():
    return signed_up("ada@example.com")


@pytest.fixture
def bob():
    return signed_up("bob@example.com")


def number(person):
    return person.me()["id"]


def own(person):
    return person.me()["team"]["id"]


def let_in(owner, person, role):
    """Make somebody a member of the owner's own team; return the team."""
    team = own(owner)
    Membership.objects.create(team_id=team, user_id=number(person), role=role, created_at=timezone.now())
    return str(team)


class TestRoles:
    def test_a_viewer_reads_and_nothing_else(self, ada, bob):
        team = let_in(ada, bob, Role.VIEWER)

        assert bob.me(x_team=team)["scopes"] == ["read"]
        assert bob.ok("GET", "/v1/workloads", x_team=team)["results"] == []
        assert bob.refused("POST", "/v1/quotes", {}, x_team=team) == (403, "scope_missing")
        assert bob.refused("GET", "/v1/hosts", x_team=team) == (403, "scope_missing")
        assert bob.ok("GET", "/v1/hosts")["results"] == [], "in his own team he is the owner"

    def test_a_member_works_but_does_not_manage(self, ada, bob):
        team = let_in(ada, bob, Role.MEMBER)

        bob.ok("POST", "/v1/hosts", {"name": "h", "region": "home/x", "usd_per_hour": "1"}, x_team=team)
        assert len(ada.ok("GET", "/v1/hosts")["results"]) == 1, "it is the team's"
        assert bob.ok("GET", "/v1/hosts")["results"] == []
        assert bob.refused("PATCH", f"/v1/teams/{team}", {"name": "bob's"}) == (403, "owner_needed")
        invited = {"email": "eve@example.com", "role": "owner"}
        assert bob.refused("POST", f"/v1/teams/{team}/invitations", invited) == (403, "owner_needed")
        assert bob.refused("GET", f"/v1/teams/{team}/invitations") == (403, "owner_needed")
        promoted = bob.refused("PATCH", f"/v1/teams/{team}/members/{number(bob)}", {"role": "owner"})
        assert promoted == (403, "owner_needed")
        assert bob.refused("DELETE", f"/v1/teams/{team}/members/{number(ada)}") == (403, "owner_needed")

    def test_the_whole_broker_is_the_staffs_alone(self, ada):
        assert ada.refused("PUT", "/v1/catalogs/aws", {}) == (403, "scope_missing")
        User.objects.update(is_staff=True)
        assert ada.me()["scopes"] == ["read", "run", "supply", "operate", "observe"]
        assert ada.call("GET", "/metrics").status_code == 200

    @pytest.mark.parametrize("team", ["0", "x", "-1", "9" * 30, "²"])
    def test_a_team_that_one_is_not_in_is_refused(self, ada, team):
        assert ada.refused("GET", "/v1/workloads", x_team=team) == (403, "not_a_member")

    def test_a_team_of_others_is_refused(self, ada, bob):
        assert bob.refused("GET", "/v1/workloads", x_team=str(own(ada))) == (403, "not_a_member")


class TestTeams:
    def test_one_is_made_named_and_left(self, ada, bob):
        made = ada.ok("POST", "/v1/teams", {"name": "Lab"})

        assert made["role"] == "owner"
        assert ada.ok("PATCH", f"/v1/teams/{made['id']}", {"name": "The Lab"})["name"] == "The Lab"
        assert [team["name"] for team in ada.ok("GET", "/v1/teams")["results"]] == ["ada", "The Lab"]
        assert ada.me()["team"]["name"] == "ada", "the first is meant where none is said"
        assert ada.me(x_team=str(made["id"]))["team"]["name"] == "The Lab"
        Membership.objects.create(team_id=made["id"], user_id=number(bob), role=Role.OWNER, created_at=timezone.now())
        assert ada.ok("DELETE", f"/v1/teams/{made['id']}/members/{number(ada)}") is None
        assert ada.refused("GET", f"/v1/teams/{made['id']}") == (404, "not_found")

    @pytest.mark.parametrize("body", [{}, {"name": ""}, {"name": "x" * 81}, {"name": None}, [], {"name": {}}])
    def test_a_name_that_is_none_is_refused(self, ada, body):
        assert ada.refused("POST", "/v1/teams", body) == (422, "invalid")

    def test_the_last_owner_neither_leaves_nor_steps_down(self, ada, bob):
        team = let_in(ada, bob, Role.MEMBER)
        me = f"/v1/teams/{team}/members/{number(ada)}"

        assert ada.refused("DELETE", me) == (409, "last_owner")
        assert ada.refused("PATCH", me, {"role": "viewer"}) == (409, "last_owner")
        ada.ok("PATCH", f"/v1/teams/{team}/members/{number(bob)}", {"role": "owner"})
        assert ada.ok("PATCH", me, {"role": "viewer"})["role"] == "viewer"
        assert bob.refused("DELETE", f"/v1/teams/{team}/members/{number(bob)}") == (409, "last_owner")

    def test_members_are_listed_changed_and_let_go(self, ada, bob):
        team = let_in(ada, bob, Role.VIEWER)

        rows = ada.ok("GET", f"/v1/teams/{team}/members")["results"]
        assert [(row["username"], row["email"], row["role"]) for row in rows] == [
            ("ada", "ada@example.com", "owner"),
            ("bob", "bob@example.com", "viewer"),
        ]
        his = f"/v1/teams/{team}/members/{number(bob)}"
        assert ada.ok("PATCH", his, {"role": "member"})["role"] == "member"
        assert ada.refused("PATCH", his, {"role": "king"}) == (422, "invalid")
        ada.ok("DELETE", his)
        assert ada.refused("DELETE", his) == (404, "not_found")
        assert bob.refused("GET", "/v1/me", x_team=team) == (403, "not_a_member")


class TestInvitations:
    def invite(self, owner, email="bob@example.com", role="member"):
        return owner.ok("POST", f"/v1/teams/{own(owner)}/invitations", {"email": email, "role": role})

    def token(self, made):
        return made["link"].rpartition("/")[2]

    def test_the_link_that_is_mailed_lets_its_address_in_once(self, ada, bob):
        made = self.invite(ada, "Bob@Example.com")

        (letter,) = [one for one in mail.outbox if "invites" in one.subject]
        token = link_in(letter, "/invitations/")
        assert (letter.to, made["mailed"], self.token(made)) == (["bob@example.com"], True, token)
        assert token not in str(Invitation.objects.values()), "only its hash is kept"
        shown = Person().ok("GET", f"/v1/invitations/{token}")
        assert (shown["team"], shown["email"], shown["role"]) == ("ada", "bob@example.com", "member")
        assert bob.ok("POST", f"/v1/invitations/{token}") == {"id": own(ada), "name": "ada", "role": "member"}
        assert [team["name"] for team in bob.me()["teams"]] == ["bob", "ada"]
        assert bob.refused("POST", f"/v1/invitations/{token}") == (404, "invitation_gone")

    def test_who_found_the_link_does_not_get_in(self, ada, bob):
        token = self.token(self.invite(ada))
        eve = signed_up("eve@example.com")

        assert Person().refused("POST", f"/v1/invitations/{token}") == (401, "no_key")
        assert eve.refused("POST", f"/v1/invitations/{token}") == (403, "another_address")
        eve.auth("POST", "account/email", {"email": "second@example.com"})
        assert eve.refused("POST", f"/v1/invitations/{token}") == (403, "another_address")
        assert bob.ok("POST", f"/v1/invitations/{token}")["role"] == "member"

    def test_where_addresses_are_verified_an_unverified_one_does_not_count(self, ada, bob, settings):
        token = self.token(self.invite(ada))
        settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"

        assert bob.refused("POST", f"/v1/invitations/{token}") == (403, "another_address")
        (letter,) = [one for one in mail.outbox if one.to == ["bob@example.com"] and "verify-email" in one.body]
        bob.auth("POST", "auth/email/verify", {"key": link_in(letter, "/account/verify-email/")})
        assert bob.ok("POST", f"/v1/invitations/{token}")["role"] == "member"

    def test_open_ones_are_listed_replaced_and_withdrawn(self, ada, bob):
        first, second = self.invite(ada), self.invite(ada, role="viewer")

        rows = ada.ok("GET", f"/v1/teams/{own(ada)}/invitations")["results"]
        assert [(row["id"], row["role"], row["invited_by"]) for row in rows] == [(second["id"], "viewer", "ada")]
        assert "link" not in rows[0]
        assert bob.refused("POST", f"/v1/invitations/{self.token(first)}") == (404, "invitation_gone")
        ada.ok("DELETE", f"/v1/teams/{own(ada)}/invitations/{second['id']}")
        assert bob.refused("POST", f"/v1/invitations/{self.token(second)}") == (404, "invitation_gone")
        assert ada.refused("DELETE", f"/v1/teams/{own(ada)}/invitations/{second['id']}") == (404, "not_found")

    def test_one_is_open_for_a_week(self, ada, bob):
        token = self.token(self.invite(ada))
        Invitation.objects.update(expires_at=timezone.now())

        assert bob.refused("POST", f"/v1/invitations/{token}") == (404, "invitation_gone")
        assert timedelta(days=7) == teams.OPEN_FOR

    def test_a_member_who_accepts_stays_what_he_is(self, ada, bob):
        let_in(ada, bob, Role.VIEWER)
        token = self.token(self.invite(ada, role="owner"))

        assert bob.ok("POST", f"/v1/invitations/{token}")["role"] == "viewer"

    def test_nobody_mails_to_the_whole_world(self, ada):
        for n in range(20):
            self.invite(ada, f"friend-{n}@example.com")

        path = f"/v1/teams/{own(ada)}/invitations"
        assert ada.refused("POST", path, {"email": "one@example.com"}) == (429, "too_many")

    def test_a_mail_server_that_is_down_leaves_the_link_to_be_handed_over(self, ada, bob, settings):
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1

        made = self.invite(ada)

        assert made["mailed"] is False
        assert bob.ok("POST", f"/v1/invitations/{self.token(made)}")

    @pytest.mark.parametrize("body", [{}, {"email": "nobody"}, {"email": "a@b.example", "role": "king"}])
    def test_an_invitation_that_means_nothing_is_refused(self, ada, body):
        assert ada.refused("POST", f"/v1/teams/{own(ada)}/invitations", body) == (422, "invalid")


class TestKeys:
    def make(self, person, *, x_team=None, **said):
        headers = {"x_team": x_team} if x_team else {}
        return person.ok("POST", "/v1/keys", {"name": "ci", "scopes": ["read", "run"], **said}, **headers)

    def test_one_is_made_shown_once_used_and_revoked(self, ada, client):
        made = self.make(ada)

        program = Caller(client, made["key"])
        assert program.ok("GET", "/v1/me")["team"]["name"] == "ada"
        assert program.ok("GET", "/v1/me")["scopes"] == ["read", "run"]
        (row,) = ada.ok("GET", "/v1/keys")["results"]
        assert (row["id"], row["name"], row["made_by"], row["revoked_at"]) == (made["id"], "ci", "ada", None)
        assert row["last_used_at"] is not None
        assert "key" not in row
        assert made["key"].startswith(f"yk_{row['prefix']}_")
        assert ada.ok("DELETE", f"/v1/keys/{made['id']}")["revoked_at"] is not None
        assert program.refused("GET", "/v1/me") == (401, "bad_key")

    def test_one_can_expire(self, ada):
        later = (timezone.now() + timedelta(days=1)).isoformat()

        assert self.make(ada, expires_at=later)["expires_at"] is not None
        over = {"name": "x", "expires_at": "2020-01-01T00:00:00Z"}
        assert ada.refused("POST", "/v1/keys", over) == (422, "invalid")

    @pytest.mark.parametrize("body", [{}, {"name": "x", "scopes": []}, {"name": "x", "scopes": ["all"]}, {"name": ""}])
    def test_one_that_means_nothing_is_refused(self, ada, body):
        assert ada.refused("POST", "/v1/keys", body) == (422, "invalid")

    def test_nobody_gives_what_he_has_not(self, ada, bob):
        team = let_in(ada, bob, Role.VIEWER)

        assert bob.refused("POST", "/v1/keys", {"name": "x", "scopes": ["run"]}, x_team=team) == (403, "scope_missing")
        assert ada.refused("POST", "/v1/keys", {"name": "x", "scopes": ["operate"]}) == (403, "scope_missing")

    def test_it_can_do_no_more_than_its_maker_and_ends_with_his_membership(self, ada, bob, client):
        team = let_in(ada, bob, Role.MEMBER)
        program = Caller(client, self.make(bob, x_team=team)["key"])
        assert program.ok("GET", "/v1/me")["scopes"] == ["read", "run"]

        ada.ok("PATCH", f"/v1/teams/{team}/members/{number(bob)}", {"role": "viewer"})
        assert program.ok("GET", "/v1/me")["scopes"] == ["read"]
        ada.ok("DELETE", f"/v1/teams/{team}/members/{number(bob)}")

        assert program.refused("GET", "/v1/me") == (401, "bad_key")
        assert not ApiKey.objects.exists()

    def test_an_owner_sees_and_revokes_all_of_the_team_and_others_their_own(self, ada, bob):
        team = let_in(ada, bob, Role.MEMBER)
        of_bob, of_ada = self.make(bob, x_team=team), self.make(ada)

        assert [row["id"] for row in ada.ok("GET", "/v1/keys")["results"]] == [of_ada["id"], of_bob["id"]]
        assert [row["id"] for row in bob.ok("GET", "/v1/keys", x_team=team)["results"]] == [of_bob["id"]]
        assert bob.refused("DELETE", f"/v1/keys/{of_ada['id']}", x_team=team) == (404, "not_found")
        assert ada.ok("DELETE", f"/v1/keys/{of_bob['id']}")["revoked_at"]

    def test_a_program_manages_neither_keys_nor_people(self, ada, client):
        made = self.make(ada)
        program, team = Caller(client, made["key"]), own(ada)

        for method, path, body in [
            ("POST", "/v1/keys", {"name": "more"}),
            ("DELETE", f"/v1/keys/{made['id']}", None),
            ("POST", "/v1/teams", {"name": "x"}),
            ("PATCH", f"/v1/teams/{team}", {"name": "x"}),
            ("POST", f"/v1/teams/{team}/invitations", {"email": "x@example.com"}),
            ("DELETE", f"/v1/teams/{team}/members/{number(ada)}", None),
            ("POST", "/v1/invitations/x", None),
        ]:
            error = program.call(method, path, body).json()["error"]
            assert error["code"] == "sign_in_needed", path
            where = "account#keys" if path.startswith("/v1/keys") else "account#team"
            assert error["hint"] == f"a person does it, signed in: {settings.PUBLIC_URL}/{where}"

    def test_a_key_knows_its_own_team_only(self, ada, client):
        other = ada.ok("POST", "/v1/teams", {"name": "Lab"})["id"]
        program = Caller(client, self.make(ada)["key"])

        assert [team["name"] for team in program.ok("GET", "/v1/teams")["results"]] == ["ada"]
        assert program.refused("GET", f"/v1/teams/{other}/members") == (404, "not_found")
        assert program.ok("GET", "/v1/me", x_team=str(other))["team"]["name"] == "ada"


def test_a_team_loses_what_was_said_of_it_with_itself(ada):
    Team.objects.all().delete()

    assert not Membership.objects.exists()
