"""
Machines: what RunInstances is asked for by an order, and what an Instance says.

Written from https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RunInstances.html and API_Instance.html, the
DLAMI guide ("Find the ID") and the Neuron documentation ("Neuron DLAMI", SSM parameters).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from decimal import ROUND_DOWN, Decimal
from typing import Any

from providers import aws_prices, fields
from providers.aws_api import Account
from providers.base import BAD_ROW, LaunchOrder, Machine, MachineState, Market, Reason, Rejected, Unreachable

STATES = {"pending": MachineState.BOOTING, "running": MachineState.RUNNING, "shutting-down": MachineState.STOPPING,
          "stopping": MachineState.STOPPING}  # fmt: skip
TAG, PREFIX = "gpuyard-key", "gpuyard-"
# The newest image with the vendor's driver.
GPU_IMAGE = "/aws/service/deeplearning/ami/{architecture}/base-oss-nvidia-driver-gpu-ubuntu-22.04/latest/ami-id"
NEURON_IMAGE = "/aws/service/neuron/dlami/multi-framework/ubuntu-22.04/latest/image_id"
CENT_OF_A_CENT = Decimal("0.0001")
LEAST_BID_USD = Decimal("0.001")  # API_SpotMarketOptions, "MaxPrice": it must be more.


def request(account: Account, order: LaunchOrder, image: str = "") -> dict[str, Any]:
    """
    Return RunInstances' arguments for one machine.

    image: an AMI's id or an SSM parameter's name; empty for the newest with the driver. Raises Rejected (also when the
    machine is dearer than agreed), Unreachable.
    """
    if order.market is Market.RESERVED:
        raise Rejected("a reservation is bought at AWS; launched on demand it is used", reason=Reason.BAD_REQUEST)
    image_id, device, disk_gib = _image(account, order, image)
    script = order.startup_script
    wanted: dict[str, Any] = {
        "ImageId": image_id,
        "InstanceType": order.machine_type,
        "MinCount": 1,
        "MaxCount": 1,
        "ClientToken": PREFIX + order.key,
        "TagSpecifications": [{"ResourceType": kind, "Tags": tags(order.key)} for kind in ("instance", "volume")],
        "BlockDeviceMappings": [
            {"DeviceName": device, "Ebs": {"VolumeSize": disk_gib, "VolumeType": "gp3", "DeleteOnTermination": True}}
        ],
        "InstanceInitiatedShutdownBehavior": "terminate",
        # cloud-init runs as a script only what begins with "#!".
        "UserData": script if script.startswith("#!") or not script else "#!/bin/bash\n" + script,
    }
    if order.zone:
        wanted["Placement"] = {"AvailabilityZone": order.zone}
    left = order.max_usd_per_hour - extra(account, order.region, disk_gib, Counter())
    if order.market is Market.SPOT:
        wanted["InstanceMarketOptions"] = {"MarketType": "spot", "SpotOptions": _bid(order, left)}
    elif _on_demand_usd(account, order) > left:
        raise Rejected(f"{order.machine_type} costs more than {order.max_usd_per_hour}", reason=Reason.PRICE)
    return wanted


def machine(instance: Any, leaving: Mapping[str, datetime] | None = None) -> Machine:
    """Translate an Instance. Raises Unreachable: a machine that cannot be read must not seem gone."""
    try:
        told = {tag["Key"]: tag["Value"] for tag in instance["Tags"]}
        machine_id = fields.text(instance["InstanceId"])
        return Machine(
            key=told[TAG].removeprefix(PREFIX),
            machine_id=machine_id,
            state=STATES.get(instance["State"]["Name"], MachineState.STOPPING),
            address=instance.get("PublicIpAddress") or instance.get("PrivateIpAddress") or None,
            leaving_at=(leaving or {}).get(machine_id),
        )
    except BAD_ROW as error:
        raise Unreachable(f"ec2: a machine that cannot be read: {error!r}", reason=Reason.OUTAGE) from None


def tags(key: str) -> list[dict[str, str]]:
    """Return the tags by which a machine of ours is known."""
    return [{"Key": "Name", "Value": PREFIX + key}, {"Key": TAG, "Value": PREFIX + key}]


def extra(account: Account, region: str, disk_gib: int, skipped: Counter[str]) -> Decimal:
    """Return USD per hour for a root disk and a public address in a region. Raises as `Account.ask`."""
    products = account.products(region, productFamily="Storage", volumeApiName="gp3")
    return aws_prices.extra_usd_per_hour(aws_prices.gp3_usd_per_gib_month(products, skipped), disk_gib)


def _image(account: Account, order: LaunchOrder, image: str) -> tuple[str, str, int]:
    """Return the image's id, the name of its root device, and the GiB of a root disk that holds it and is asked for."""
    try:
        types = account.ask(order.region, "describe_instance_types", InstanceTypes=[order.machine_type])
        shape = types["InstanceTypes"][0]
        architecture = shape["ProcessorInfo"]["SupportedArchitectures"][0]
        image = image or (NEURON_IMAGE if shape.get("NeuronInfo") else GPU_IMAGE)
        if not image.startswith("ami-"):
            name = image.format(architecture=architecture)
            image = account.ask(order.region, "get_parameter", service="ssm", Name=name)["Parameter"]["Value"]
        found = account.ask(order.region, "describe_images", ImageIds=[image])["Images"][0]
        needed = (disk["Ebs"].get("VolumeSize", 0) for disk in found["BlockDeviceMappings"] if "Ebs" in disk)
        return image, found["RootDeviceName"], max(order.disk_gib, *needed)
    except BAD_ROW as error:
        raise Unreachable(f"no image for {order.machine_type} can be read: {error!r}", reason=Reason.OUTAGE) from None


def _bid(order: LaunchOrder, left: Decimal) -> dict[str, str]:
    highest = left.quantize(CENT_OF_A_CENT, ROUND_DOWN)
    if highest <= LEAST_BID_USD:
        raise Rejected(f"{order.max_usd_per_hour} USD an hour pay for no spot machine", reason=Reason.PRICE)
    return {"MaxPrice": str(highest), "SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate"}


def _on_demand_usd(account: Account, order: LaunchOrder) -> Decimal:
    products = account.products(order.region, **aws_prices.PLAIN, instanceType=order.machine_type)
    price = aws_prices.plain_prices(products, Counter()).get(order.machine_type, {}).get("")
    if price is None:
        raise Rejected(f"{order.machine_type} has no price on demand in {order.region}", reason=Reason.BAD_REQUEST)
    return price
