"""Microsoft's own SDKs drive the fake that the Azure adapter is tested with, and read what the adapter has made."""

from __future__ import annotations

import time
from decimal import Decimal

import pytest

compute = pytest.importorskip("azure.mgmt.compute")
network = pytest.importorskip("azure.mgmt.network")
resourcegraph = pytest.importorskip("azure.mgmt.resourcegraph")

from azure.core.credentials import AccessToken  # noqa: E402  needs the SDK
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError  # noqa: E402  needs the SDK

from providers.azure import Azure  # noqa: E402  after the skip
from providers.base import LaunchOrder, MachineState, Market  # noqa: E402  after the skip
from tests.providers.azure_cloud import CLIENT, GROUP, SECRET, SUBSCRIPTION, TENANT, AzureCloud  # noqa: E402
from tests.providers.azure_market import A100, H100  # noqa: E402

PEER = {
    "provider": "azure",
    "peer": "azure-mgmt-compute 39.0.0",
    "verbs": ["listings", "launch", "machines", "terminate"],
}
PLAIN = {"enforce_https": False}
WAIT = {"polling_interval": 0, **PLAIN}


class Credential:
    """A token of the fake's, where azure-identity would fetch one."""

    def __init__(self, token):
        self.token = token

    def get_token(self, *scopes, **options):
        return AccessToken(self.token, int(time.time()) + 3600)

    def get_token_info(self, *scopes, **options):
        from azure.core.credentials import AccessTokenInfo

        return AccessTokenInfo(self.token, int(time.time()) + 3600)


@pytest.fixture
def cloud():
    with AzureCloud() as cloud:
        yield cloud


@pytest.fixture
def machines(cloud):
    return compute.ComputeManagementClient(Credential(cloud.token), SUBSCRIPTION, base_url=cloud.url)


@pytest.fixture
def networks(cloud):
    return network.NetworkManagementClient(Credential(cloud.token), SUBSCRIPTION, base_url=cloud.url)


@pytest.fixture
def graph(cloud):
    return resourcegraph.ResourceGraphClient(Credential(cloud.token), base_url=cloud.url)


@pytest.fixture
def adapter(cloud):
    return Azure(
        tenant_id=TENANT, client_id=CLIENT, client_secret=SECRET, subscription_id=SUBSCRIPTION,
        base_url=cloud.url, login_url=cloud.url, prices_url=cloud.url, settle_s=0,
    )  # fmt: skip


def order(key="lease-123", market=Market.SPOT):
    return LaunchOrder(
        key=key, region="eastus", machine_type=A100, market=market, max_usd_per_hour=Decimal(5),
        startup_script="#!/bin/bash\necho hello",
    )  # fmt: skip


def made(machines, networks, name="gpuyard-lease-7", **more):
    """Make a Spot machine the way Microsoft's samples do: network, address, interface, machine."""
    space = {"addressSpace": {"addressPrefixes": ["10.0.0.0/16"]},
             "subnets": [{"name": "default", "properties": {"addressPrefix": "10.0.0.0/24"}}]}  # fmt: skip
    net = networks.virtual_networks.begin_create_or_update(
        GROUP, "net", {"location": "eastus", "properties": space}, **WAIT
    ).result()
    ip = networks.public_ip_addresses.begin_create_or_update(
        GROUP, name, {"location": "eastus", "sku": {"name": "Standard"},
                      "properties": {"publicIPAllocationMethod": "Static"}}, **WAIT
    ).result()  # fmt: skip
    nic = networks.network_interfaces.begin_create_or_update(
        GROUP, name, {"location": "eastus", "properties": {"ipConfigurations": [
            {"name": "one", "properties": {"subnet": {"id": net.subnets[0].id}, "publicIPAddress": {"id": ip.id}}}]}},
        **WAIT,
    ).result()  # fmt: skip
    body = compute.models.VirtualMachine(
        location="eastus",
        properties=compute.models.VirtualMachineProperties(
            hardware_profile=compute.models.HardwareProfile(vm_size=A100),
            storage_profile=compute.models.StorageProfile(
                image_reference=compute.models.ImageReference(
                    publisher="microsoft-dsvm", offer="ubuntu-hpc", sku="2204", version="latest"
                ),
                os_disk=compute.models.OSDisk(create_option="FromImage"),
            ),
            os_profile=compute.models.OSProfile(
                computer_name=name, admin_username="gpuyard", admin_password="Not-a-secret-1", custom_data="aGVsbG8="
            ),
            network_profile=compute.models.NetworkProfile(
                network_interfaces=[compute.models.NetworkInterfaceReference(id=nic.id)]
            ),
            priority="Spot",
            eviction_policy="Delete",
            billing_profile=compute.models.BillingProfile(max_price=2.0),
            **more,
        ),
    )
    return machines.virtual_machines.begin_create_or_update(GROUP, name, body, **WAIT)


def test_the_sdk_lists_what_is_for_sale(machines, graph):
    skus = [sku for sku in machines.resource_skus.list(filter="location eq 'eastus'", **PLAIN) if sku.name == A100]
    rates = graph.resources(
        {"query": "SpotResources | where type =~ 'microsoft.compute/skuspotevictionrate/location' | project id"},
        **PLAIN,
    )

    assert {told.name: told.value for told in skus[0].capabilities}["vCPUs"] == "24"
    assert skus[0].restrictions[0].reason_code == "NotAvailableForSubscription"
    assert skus[0].restrictions[0].restriction_info.zones == ["1"]
    assert rates.total_records == 2
    assert rates.data[0]["rate"] == "20+"
    assert rates.skip_token


def test_the_sdk_launches_lists_and_terminates(machines, networks, cloud):
    vm = made(machines, networks).result()

    assert vm.provisioning_state == "Succeeded"
    assert [one.name for one in machines.virtual_machines.list(GROUP, **PLAIN)] == ["gpuyard-lease-7"]
    seen = machines.virtual_machines.get(GROUP, vm.name, expand="instanceView", **PLAIN)
    assert [status.code for status in seen.instance_view.statuses] == [
        "ProvisioningState/succeeded",
        "PowerState/running",
    ]
    (status,) = machines.virtual_machines.list_all(status_only="true", **PLAIN)
    assert status.instance_view.statuses[1].code == "PowerState/running"
    machines.virtual_machines.begin_delete(GROUP, vm.name, **WAIT).result()
    assert not list(machines.virtual_machines.list(GROUP, **PLAIN))
    with pytest.raises(ResourceNotFoundError):
        machines.virtual_machines.get(GROUP, vm.name, **PLAIN)


def test_the_sdk_learns_why_a_machine_did_not_come_up(machines, networks, cloud):
    cloud.doom = "AllocationFailed"

    with pytest.raises(HttpResponseError) as caught:
        made(machines, networks).result()

    assert caught.value.error.code == "AllocationFailed"
    seen = machines.virtual_machines.get(GROUP, "gpuyard-lease-7", expand="instanceView", **PLAIN)
    assert seen.provisioning_state == "Failed"
    assert seen.instance_view.statuses[0].code == "ProvisioningState/failed/AllocationFailed"


def test_the_adapter_sees_what_the_sdk_has_made(machines, networks, adapter, cloud):
    made(machines, networks).result()

    (machine,) = adapter.machines()

    assert (machine.key, machine.state) == ("lease-7", MachineState.RUNNING)
    assert machine.address


def test_the_sdk_reads_every_field_that_the_adapter_has_sent(machines, networks, adapter, cloud):
    """The SDK's own model knows the names of what we sent; a name that it does not know would be missing in it."""
    adapter.launch(order())
    (sent,) = [one.body for one in cloud.requests if one.method == "PUT" and "/virtualMachines/" in one.path]

    read = compute.models.VirtualMachine(sent)

    assert read.properties.priority == compute.models.VirtualMachinePriorityTypes.SPOT
    assert read.properties.eviction_policy == compute.models.VirtualMachineEvictionPolicyTypes.DELETE
    assert read.properties.billing_profile.max_price == pytest.approx(4.98184)
    assert read.properties.hardware_profile.vm_size == A100
    assert read.properties.os_profile.custom_data
    assert read.properties.storage_profile.os_disk.delete_option == compute.models.DiskDeleteOptionTypes.DELETE
    assert read.properties.storage_profile.os_disk.managed_disk.storage_account_type == "StandardSSD_LRS"
    assert read.properties.network_profile.network_api_version == compute.models.NetworkApiVersion("2022-11-01")
    (nic,) = read.properties.network_profile.network_interface_configurations
    assert nic.properties.delete_option == compute.models.DeleteOptions.DELETE
    (ip,) = nic.properties.ip_configurations
    assert ip.properties.subnet.id.endswith("/virtualNetworks/gpuyard-eastus/subnets/gpuyard")
    assert ip.properties.public_ip_address_configuration.properties.delete_option == compute.models.DeleteOptions.DELETE
    assert ip.properties.public_ip_address_configuration.sku.name == "Standard"
    unknown = set(_names(sent)) - set(_known(compute.models))
    assert not unknown - {"gpuyard"}


def test_the_sdk_ends_what_the_adapter_has_made(machines, networks, adapter, cloud):
    adapter.launch(order())
    cloud.boot()
    (vm,) = machines.virtual_machines.list(GROUP, **PLAIN)
    (nic,) = networks.network_interfaces.list(GROUP, **PLAIN)
    (ip,) = networks.public_ip_addresses.list(GROUP, **PLAIN)

    machines.virtual_machines.begin_delete(GROUP, vm.name, **WAIT).result()

    assert vm.properties.network_profile.network_interfaces[0].id == nic.id
    assert ip.properties.ip_address == "20.1.2.10"
    assert not list(adapter.machines())
    assert not list(networks.network_interfaces.list(GROUP, **PLAIN))
    assert not list(networks.public_ip_addresses.list(GROUP, **PLAIN))


def test_the_adapter_ends_what_the_sdk_has_made(machines, networks, adapter, cloud):
    made(machines, networks).result()

    adapter.terminate("lease-7")
    adapter.terminate("lease-7")

    assert not list(machines.virtual_machines.list(GROUP, **PLAIN))
    assert not list(networks.network_interfaces.list(GROUP, **PLAIN))
    assert not list(networks.public_ip_addresses.list(GROUP, **PLAIN))


def test_the_networks_sdk_finds_the_network_that_the_adapter_has_made(networks, adapter):
    adapter.launch(order())

    net = networks.virtual_networks.get(GROUP, "gpuyard-eastus", **PLAIN)

    assert net.properties.subnets[0].name == "gpuyard"
    assert net.properties.provisioning_state == "Succeeded"


def test_listings_and_sdk_agree_on_what_is_restricted(machines, adapter):
    lines = {(line.machine_type, line.region): str(line.stock) for line in adapter.listings()}

    assert lines[A100, "eastus"] == "none"
    assert lines[H100, "eastus"] == ""


def _names(value):
    """Every name of a field in a JSON object."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from _names(inner)
    if isinstance(value, list):
        for inner in value:
            yield from _names(inner)


def _known(models):
    """Every name that the SDK's models write on the wire."""
    for model in vars(models).values():
        for field in getattr(model, "_attr_to_rest_field", {}).values():
            yield field._rest_name
