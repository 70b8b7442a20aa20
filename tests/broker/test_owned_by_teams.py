"""Rows that belonged to users belong to teams of the same number, and nothing else about them changes."""

from __future__ import annotations

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

BEFORE = [("identity", "0001_initial"), ("offers", "0007_matching"), ("workloads", "0011_elastic_sites"),
          ("billing", "0003_ledger_is_append_only")]  # fmt: skip
AT = "2026-01-01T00:00:00Z"


@pytest.fixture
def then():
    """The models as they were; afterwards everything is as it is today."""
    executor = MigrationExecutor(connection)
    today = executor.loader.graph.leaf_nodes()
    executor.migrate(BEFORE)
    yield executor.loader.project_state(BEFORE).apps
    executor = MigrationExecutor(connection)
    executor.migrate(today)


@pytest.mark.django_db(transaction=True)
def test_every_user_becomes_a_team_that_owns_what_he_owned(then):
    users = then.get_model("identity", "User").objects
    for number, name in ((5, "ada"), (9, "b" * 150)):
        users.create(pk=number, username=name)
    host = then.get_model("offers", "Host").objects.create(
        supplier_id=9, name="h", region="home/x", usd_per_hour="1", created_at=AT,
        enrol_token_sha256="x", enrol_expires_at=AT,
    )  # fmt: skip
    program = then.get_model("workloads", "Program").objects.create(
        owner_id=5, sha256="0" * 64, size_bytes=1, created_at=AT
    )
    keys = then.get_model("identity", "ApiKey").objects
    for user, prefix, scopes in ((5, "one", ["read", "operate"]), (9, "two", ["read"])):
        keys.create(user_id=user, name=prefix, prefix=prefix, sha256="x", scopes=scopes, created_at=AT)

    executor = MigrationExecutor(connection)
    executor.migrate(executor.loader.graph.leaf_nodes())

    from broker.identity.models import ApiKey, Membership, Team, User
    from offers.models import Host
    from workloads.models import Program

    assert list(Membership.objects.order_by("team").values_list("team", "user", "role")) == [
        (5, 5, "owner"),
        (9, 9, "owner"),
    ]
    assert (Host.objects.get(pk=host.pk).supplier.name, Program.objects.get(pk=program.pk).owner.name) == (
        "b" * 80,
        "ada",
    )
    assert {row.prefix: row.membership.team_id for row in ApiKey.objects.all()} == {"one": 5, "two": 9}
    assert set(User.objects.filter(is_staff=True).values_list("pk", flat=True)) == {5}
    assert Team.objects.create(name="new", created_at=AT).pk == 10
