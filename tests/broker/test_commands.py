from __future__ import annotations

import io
import json
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command

from broker.identity.models import ApiKey, User
from tests.conftest import Caller

pytestmark = pytest.mark.django_db


def said(*words, **options):
    out = io.StringIO()
    call_command(*words, stdout=out, **options)
    return out.getvalue().strip()


def test_the_first_user_is_made_once_with_a_key_and_credit(client, clock):
    first, again = json.loads(said("first_user")), json.loads(said("first_user"))

    assert again == {"username": "first"}
    assert User.objects.get().check_password(first["password"])
    me = Caller(client, first["api_key"]).ok("GET", "/v1/me")
    assert (me["username"], me["balance_usd"]) == ("first", "100.000000")
    assert me["scopes"] == ["read", "run", "supply", "operate", "observe"]


def test_a_key_made_by_hand_has_the_scopes_and_the_days_that_were_asked(client, clock):
    key = said("make_key", "eve", "--scopes", "read", "supply", "--days", "2")

    caller = Caller(client, key, User.objects.get(username="eve"))
    assert caller.ok("GET", "/v1/hosts")["results"] == []
    assert caller.refused("POST", "/v1/quotes", {}) == (403, "scope_missing")
    assert ApiKey.objects.get().expires_at == clock.now + timedelta(days=2)
    clock.forward(days=2)
    assert caller.refused("GET", "/v1/me") == (401, "bad_key")


def test_a_scope_that_does_not_exist_is_refused():
    with pytest.raises(CommandError, match="invalid choice"):
        call_command("make_key", "eve", "--scopes", "everything")


def test_the_wheel_of_this_version_is_handed_out(client, settings, tmp_path):
    settings.WHEEL_DIR = str(tmp_path)
    assert client.get("/dl/").json()["error"]["code"] == "no_wheel"
    name = f"gpuyard-{settings.VERSION}-py3-none-any.whl"
    (tmp_path / name).write_bytes(b"a wheel")

    assert client.get("/dl/").json()["wheel"] == f"/dl/{name}"
    assert client.get(f"/dl/{name}").content == b"a wheel"
    assert client.get("/dl/gpuyard-9-py3-none-any.whl").status_code == 404
