"""People sign up, sign in, forget their password and use a second factor; what a browser sends is protected."""

from __future__ import annotations

import time
from decimal import Decimal

import pytest
from allauth.mfa.models import Authenticator
from asgiref.sync import async_to_sync
from django.core import mail
from django.core.cache import caches
from django.core.management import call_command
from django.db import connection
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext

from billing.models import LedgerEntry
from broker import env
from broker import settings as broker_settings  # As no test has changed them.
from broker.identity.models import Membership, Team, User
from tests.broker.browser import PASSWORD, Person, link_in, signed_up, totp

pytestmark = pytest.mark.django_db
ADA = "ada@example.com"


class TestSigningUp:
    def test_a_newcomer_has_a_team_of_his_own_and_no_credit(self):
        ada = signed_up(ADA)

        me = ada.me()
        own = Team.objects.get()
        assert (me["email"], me["username"], me["is_staff"]) == (ADA, "ada", False)
        assert me["team"] == {"id": own.pk, "name": "ada", "role": "owner"}
        assert me["teams"] == [me["team"]]
        assert me["scopes"] == ["read", "run", "supply"]
        assert me["balance_usd"] == "0.000000"

    def test_a_newcomer_is_given_what_the_broker_gives_once(self, settings):
        settings.SIGNUP_CREDIT_USD = Decimal("2.50")

        ada = signed_up(ADA)

        assert ada.me()["available_usd"] == "2.500000"
        (entry,) = LedgerEntry.objects.all()
        assert entry.source == f"sign-up-credit/{User.objects.get().pk}"

    @pytest.mark.parametrize("password", ["short", "1234567890"])
    def test_a_weak_password_is_refused_with_a_reason(self, password):
        answer = Person().sign_up(ADA, password)

        assert answer.status_code == 400
        assert answer.json()["errors"][0]["param"] == "password"
        assert not User.objects.exists()

    def test_an_address_has_one_account(self):
        signed_up(ADA)

        assert Person().sign_up(ADA.upper()).status_code in (400, 401)
        assert User.objects.count() == 1

    def test_passwords_are_kept_with_argon2(self, settings):
        settings.PASSWORD_HASHERS = broker_settings.PASSWORD_HASHERS

        signed_up(ADA)

        assert User.objects.get().password.startswith("argon2$argon2id$")

    def test_with_a_mail_server_the_address_is_verified_first(self, settings):
        settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"
        ada = Person()

        assert ada.sign_up(ADA).status_code == 401
        assert ada.sign_in(email=ADA).status_code == 401
        assert ada.refused("GET", "/v1/me") == (401, "no_key")
        key = link_in(mail.outbox[0], "/account/verify-email/")
        ada.auth("POST", "auth/email/verify", {"key": key})

        assert ada.sign_in(email=ADA).status_code == 200
        assert ada.me()["email"] == ADA


class TestSigningIn:
    def test_by_address_and_out_again(self):
        signed_up(ADA)
        ada = Person()

        assert ada.sign_in(email=ADA).status_code == 200
        assert ada.me()["username"] == "ada"
        ada.auth("DELETE", "auth/session")
        assert ada.refused("GET", "/v1/me") == (401, "no_key")

    def test_by_name_for_a_user_without_an_address_even_where_addresses_are_verified(self, settings):
        settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"
        User.objects.create_user(username="first", password=PASSWORD, is_staff=True)
        first = Person()

        assert first.sign_in(username="first").status_code == 200
        assert first.me()["scopes"] == ["read", "run", "supply", "operate", "observe"]
        assert first.me()["team"]["name"] == "first", "who was made by hand gets his team when he comes"
        assert Team.objects.count() == 1

    def test_a_wrong_password_is_told_as_such(self):
        signed_up(ADA)
        eve = Person()

        assert eve.sign_in("another-password", email=ADA).status_code == 400
        assert eve.refused("GET", "/v1/me") == (401, "no_key")

    def test_too_many_wrong_passwords_are_not_even_looked_at(self):
        signed_up(ADA)
        for _ in range(5):
            Person().sign_in("another-password", email=ADA)

        answer = Person().sign_in(email=ADA)

        assert answer.status_code == 400
        assert answer.json()["errors"][0]["code"] == "too_many_login_attempts"

    def test_attempts_are_counted_over_all_processes(self, settings):
        settings.CACHES = {"default": {**broker_settings.CACHES["default"], "KEY_PREFIX": "test"}}
        caches["default"].set("attempt", [1.5], 5)

        assert caches.create_connection("default").get("attempt") == [1.5]
        caches["default"].delete("attempt")

    def test_a_user_who_was_closed_out_is_out(self):
        ada = signed_up(ADA)
        User.objects.update(is_active=False)

        assert ada.refused("GET", "/v1/me") == (401, "no_key")


def test_a_forgotten_password_is_set_anew_by_mail():
    signed_up(ADA)
    mail.outbox.clear()
    ada = Person()

    ada.auth("POST", "auth/password/request", {"email": ADA})
    key = link_in(mail.outbox[0], "/account/password/reset/key/")
    ada.auth("POST", "auth/password/reset", {"key": key, "password": "quite-another-secret"})

    assert Person().sign_in(email=ADA).status_code == 400
    assert Person().sign_in("quite-another-secret", email=ADA).status_code == 200
    again = ada.auth("POST", "auth/password/reset", {"key": key, "password": "a-third-long-secret"})
    assert again.status_code == 400, "a link works once"


class TestSecondFactor:
    @pytest.fixture
    def now(self, monkeypatch):
        """Seconds since 1970, in the middle of a code's life."""
        now = [time.time() // 30 * 30 + 15]
        monkeypatch.setattr(time, "time", lambda: now[0])
        return now

    @pytest.fixture
    def ada(self, now):
        return signed_up(ADA)

    def enable(self, ada):
        ada.auth("POST", "auth/reauthenticate", {"password": PASSWORD})
        secret = ada.auth("GET", "account/authenticators/totp").json()["meta"]["secret"]
        assert ada.auth("POST", "account/authenticators/totp", {"code": totp(secret)}).status_code == 200
        return secret

    def test_the_password_alone_does_not_let_in(self, ada, now):
        secret = self.enable(ada)
        other = Person()

        answer = other.sign_in(email=ADA)

        assert answer.status_code == 401
        flows = {flow["id"]: flow for flow in answer.json()["data"]["flows"]}
        assert flows["mfa_authenticate"]["is_pending"]
        assert other.refused("GET", "/v1/me") == (401, "no_key")
        assert other.auth("POST", "auth/2fa/authenticate", {"code": "000000"}).status_code == 400
        code = totp(secret)
        assert other.auth("POST", "auth/2fa/authenticate", {"code": code}).status_code == 200
        assert other.me()["email"] == ADA
        again = Person()
        again.sign_in(email=ADA)
        assert again.auth("POST", "auth/2fa/authenticate", {"code": code}).status_code == 400, "a code is good once"
        now[0] += 30
        assert again.auth("POST", "auth/2fa/authenticate", {"code": totp(secret)}).status_code == 200

    def test_a_recovery_code_lets_in_once(self, ada):
        self.enable(ada)
        ada.auth("POST", "account/authenticators/recovery-codes")
        codes = ada.auth("GET", "account/authenticators/recovery-codes").json()["data"]["unused_codes"]

        tries = []
        for _ in range(2):
            other = Person()
            other.sign_in(email=ADA)
            tries.append(other.auth("POST", "auth/2fa/authenticate", {"code": codes[0]}).status_code)

        assert tries == [200, 400]

    def test_its_secret_is_sealed_and_sealed_anew(self, ada, capsys):
        secret = self.enable(ada)
        before = Authenticator.objects.get(type="totp").data["secret"]

        call_command("rotate_credential_keys")

        after = Authenticator.objects.get(type="totp").data["secret"]
        assert secret not in (before, after)
        assert before != after
        other = Person()
        other.sign_in(email=ADA)
        assert other.auth("POST", "auth/2fa/authenticate", {"code": "123"}).status_code == 400


class TestWhatABrowserSends:
    def test_what_changes_something_needs_the_csrf_token(self):
        ada = signed_up(ADA)

        assert ada.refused("POST", "/v1/teams", {"name": "x"}, csrf=False) == (403, "csrf_failed")
        assert ada.refused("POST", "/v1/quotes", {}, csrf=False) == (403, "csrf_failed")
        assert ada.auth("DELETE", "auth/session", csrf=False).status_code == 403
        assert ada.ok("POST", "/v1/teams", {"name": "x"})["role"] == "owner"

    def test_a_page_elsewhere_cannot_use_the_session(self, settings):
        settings.CSRF_TRUSTED_ORIGINS = ["https://yard.example"]
        ada = signed_up(ADA)

        elsewhere = ada.refused("POST", "/v1/teams", {"name": "x"}, origin="https://evil.example")

        assert elsewhere == (403, "csrf_failed")
        assert ada.ok("POST", "/v1/teams", {"name": "x"}, origin="https://yard.example")

    def test_cookies_are_kept_from_scripts_and_other_sites(self, settings):
        settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = True

        cookies = signed_up(ADA).client.cookies

        session, csrf = cookies["sessionid"], cookies["csrftoken"]
        assert (session["httponly"], session["secure"], session["samesite"]) == (True, True, "Lax")
        assert (csrf["httponly"], csrf["secure"], csrf["samesite"]) == ("", True, "Lax"), "the page reads it"

    def test_pages_load_nothing_from_elsewhere(self, client):
        answer = client.get("/healthz")

        assert "default-src 'self'" in answer["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in answer["Content-Security-Policy"]
        assert answer["X-Content-Type-Options"] == "nosniff"

    def test_a_key_has_nothing_to_do_with_sessions(self, ada):
        with CaptureQueriesContext(
            connection,
        ) as asked:
            ada.client.cookies["sessionid"] = "made-up"
            ada.ok("GET", "/v1/me")

        assert not [query for query in asked if "session" in query["sql"]]
        assert (
            Client(enforce_csrf_checks=True)
            .post("/v1/quotes", {}, content_type="application/json", HTTP_AUTHORIZATION=f"Bearer {ada.key}")
            .status_code
            != 403
        )

    def test_allauth_knows_no_keys(self, ada, client):
        answer = client.get("/_allauth/browser/v1/auth/session", HTTP_AUTHORIZATION=f"Bearer {ada.key}")

        assert answer.status_code == 401


class TestStreams:
    """Asked from a thread of their own, so what is there is committed."""

    pytestmark = pytest.mark.django_db(transaction=True)

    def ask(self, path, cookies=None):
        client = AsyncClient()
        client.cookies.update(cookies or {})
        answer = async_to_sync(client.get)(path)
        answer.close()
        return answer

    def test_a_session_reads_them_for_a_team_of_its_own(self):
        ada = signed_up(ADA)
        cookies = ada.client.cookies
        own, others = ada.me()["team"]["id"], Team.objects.create(name="others", created_at="2026-01-01T00:00Z").pk

        assert self.ask("/v1/offers/stream").status_code == 401
        assert self.ask("/v1/offers/stream", cookies).status_code == 200
        assert self.ask(f"/v1/offers/stream?team={own}", cookies).status_code == 200
        refused = self.ask(f"/v1/offers/stream?team={others}", cookies)
        assert refused.json()["error"]["code"] == "not_a_member"


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("", None),
        ("smtp+tls://me:p%40ss@mail.example", ("mail.example", 587, "me", "p@ss", False, True)),
        ("smtps://mail.example:4650", ("mail.example", 4650, "", "", True, False)),
        ("smtp://127.0.0.1", ("127.0.0.1", 25, "", "", False, False)),
    ],
)
def test_a_mail_server_is_named_by_an_address(monkeypatch, url, found):
    monkeypatch.setenv("GPUYARD_EMAIL_URL", url)

    server = env.mail_server("GPUYARD_EMAIL_URL")

    assert (server and tuple(getattr(server, name) for name in server.__slots__)) == found


@pytest.mark.parametrize("url", ["mail.example", "http://mail.example", "smtp://", "smtp://me:secret@host:port"])
def test_what_is_no_mail_server_is_refused_without_being_shown(monkeypatch, url):
    monkeypatch.setenv("GPUYARD_EMAIL_URL", url)

    with pytest.raises(env.SettingWrong, match="smtps://") as told:
        env.mail_server("GPUYARD_EMAIL_URL")
    assert "secret" not in str(told.value)


@pytest.mark.parametrize("amount", ["-1", "x", "0.0000001", "NaN", "1e12"])
def test_a_credit_that_is_none_is_refused(monkeypatch, amount):
    monkeypatch.setenv("GPUYARD_SIGNUP_CREDIT_USD", amount)

    with pytest.raises(env.SettingWrong, match="GPUYARD_SIGNUP_CREDIT_USD"):
        env.usd("GPUYARD_SIGNUP_CREDIT_USD", "0")


def test_a_mail_server_that_is_down_is_told_as_such(settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    User.objects.create_user(username="ada", email=ADA, password=PASSWORD)

    answer = Person().auth("POST", "auth/password/request", {"email": ADA})

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "mail_failed")


def test_everybody_is_in_his_own_team_once(ada):
    assert list(Membership.objects.values_list("team", "user", "role")) == [(ada.team.pk, ada.user.pk, "owner")]
