"""How Azure's adapter signs in, tells errors apart and says what it may do."""

from __future__ import annotations

import json

import pytest

from providers.azure import Azure
from providers.azure_account import IN_GROUP, IN_SUBSCRIPTION, ON_NETWORK, ON_SUBNET, meaning
from providers.base import NoCapacity, Reason, Rejected, Unreachable
from tests.pages import blocks
from tests.providers.azure_cloud import CLIENT, GROUP, SECRET, SUBSCRIPTION, TENANT, AzureCloud, connected
from tests.providers.cloud import Reply


@pytest.fixture(autouse=True)
def pauses(monkeypatch):
    """Count the pauses instead of taking them."""
    taken: list[float] = []
    monkeypatch.setattr("providers.http.time.sleep", taken.append)
    return taken


@pytest.fixture
def cloud():
    with AzureCloud() as cloud:
        yield cloud


@pytest.fixture
def provider(cloud):
    return connected(cloud)


class TestSignIn:
    def test_a_token_is_kept(self, provider, cloud):
        list(provider.machines())
        list(provider.machines())

        assert cloud.sign_ins == 1

    def test_a_token_that_ends_soon_is_renewed(self, provider, cloud):
        cloud.trouble.append(("POST", "/token", Reply({"access_token": cloud.token, "expires_in": "299"})))

        list(provider.machines())
        list(provider.machines())

        assert cloud.sign_ins == 1

    def test_a_token_that_was_revoked_is_renewed(self, provider, cloud):
        list(provider.machines())
        cloud.token = "another.token.entirely"

        with pytest.raises(Rejected) as caught:
            list(provider.machines())

        assert caught.value.reason is Reason.AUTH
        assert not list(provider.machines())

    @pytest.mark.parametrize("wrong", ["tenant_id", "client_id", "client_secret"])
    def test_a_wrong_credential_is_told_as_such(self, cloud, wrong):
        right = {"tenant_id": TENANT, "client_id": CLIENT, "client_secret": SECRET, "subscription_id": SUBSCRIPTION}
        stranger = Azure(
            **(right | {wrong: "wr0ng-value"}), base_url=cloud.url, login_url=cloud.url, prices_url=cloud.url
        )

        with pytest.raises(Rejected, match="AADSTS") as caught:
            list(stranger.machines())

        assert caught.value.reason is Reason.AUTH

    @pytest.mark.parametrize("answer", [None, {}, {"access_token": None}, {"access_token": "a\nb"}, []])
    def test_a_sign_in_without_a_token_is_an_error_of_ours(self, provider, cloud, answer):
        cloud.trouble.append(("POST", "/token", Reply(answer)))

        with pytest.raises(Rejected) as caught:
            list(provider.machines())

        assert caught.value.reason is Reason.AUTH


class TestCheck:
    def test_what_is_missing_is_named(self, provider, cloud):
        cloud.permissions = [
            {"actions": ["*/read", "Microsoft.Compute/*"], "notActions": ["Microsoft.Compute/disks/delete"]},
            {"actions": ["Microsoft.Network/*/join/action", "Microsoft.Network/publicIPAddresses/*"]},
        ]

        missing = {permission.name for permission in provider.check() if permission.granted is False}

        assert missing == {
            "Microsoft.Compute/disks/delete",
            "Microsoft.Network/networkInterfaces/write",
            "Microsoft.Network/networkInterfaces/delete",
            "Microsoft.Network/virtualNetworks/write",
        }

    def test_another_role_may_grant_what_one_leaves_out(self, provider, cloud):
        cloud.permissions = [
            {"actions": ["*"], "notActions": ["Microsoft.Compute/disks/delete"]},
            {"actions": ["microsoft.compute/DISKS/delete"], "notActions": []},
        ]

        assert not [permission for permission in provider.check() if permission.granted is False]

    def test_a_missing_resource_group_is_named(self, cloud):
        permissions = connected(cloud, resource_group="nowhere").check()

        missing = [permission for permission in permissions if permission.granted is False]
        assert "'nowhere'" in missing[0].why
        assert {permission.granted for permission in permissions} == {True, False}

    def test_what_may_not_be_asked_is_not_known(self, provider, cloud):
        refusal = Reply({"error": {"code": "AuthorizationFailed", "message": "not allowed"}}, 403)
        cloud.trouble.append(("GET", f"(?i)resourceGroups/{GROUP}/.*/permissions", refusal))

        granted = {permission.name: permission.granted for permission in provider.check()}

        assert granted["Microsoft.Network/networkInterfaces/write"] is None
        assert granted["Microsoft.Compute/skus/read"] is True

    def test_a_wrong_secret_forbids_everything(self, cloud):
        cloud.trouble = [("POST", "/token", Reply({"error": "invalid_client"}, 401)) for _ in range(9)]

        assert {permission.granted for permission in connected(cloud).check()} == {False}

    def test_an_outage_is_not_a_missing_permission(self, provider, cloud):
        cloud.trouble = [("GET", "/permissions", Reply({}, 503)) for _ in range(9)]

        with pytest.raises(Unreachable):
            provider.check()

    def test_nothing_is_made(self, provider, cloud):
        provider.check()

        assert not cloud.resources


@pytest.mark.parametrize(
    ("code", "message", "kind", "reason"),
    [
        ("PublicIPCountLimitReached", "", NoCapacity, Reason.QUOTA),
        ("SpotPriceGreaterThanProvidedMaxPrice", "", Rejected, Reason.PRICE),
        ("AnotherOperationInProgress", "", Unreachable, Reason.OUTAGE),
        ("AuthorizationFailed", "", Rejected, Reason.AUTH),
    ],
)
def test_a_code_is_told_apart(code, message, kind, reason):
    error = meaning(code, message)

    assert type(error) is kind
    assert error.reason is reason


def test_a_code_without_a_meaning_of_its_own_is_left_to_the_status():
    assert meaning("OperationNotAllowed", "The operation is not allowed now.") is None


def test_the_roles_of_the_manual_grant_what_is_needed_and_no_more():
    roles = [block.text for block in blocks("docs/providers/azure.md") if block.language == "json"]
    machines, prices = (set(json.loads(role)["Actions"]) for role in roles)

    asking = {"Microsoft.Authorization/permissions/read"}
    assert machines == {*IN_GROUP, *ON_NETWORK, *ON_SUBNET} | asking
    assert prices == {*IN_SUBSCRIPTION} | asking
