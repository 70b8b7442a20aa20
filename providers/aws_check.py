"""
Whether a credential may do what the verbs need: every call is tried, and what would change something only as a dry run.

Written from https://docs.aws.amazon.com/AWSEC2/latest/APIReference/CommonParameters.html ("DryRun": DryRunOperation
where it would be allowed, UnauthorizedOperation where not) and the Service Authorization Reference of EC2.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from providers import aws_machines, fields
from providers.aws_api import HOME, Account, code_of, matching
from providers.base import Permission, ProviderError, Reason, Unreachable

TRIAL = "g4dn.xlarge"  # Sold in every region with GPUs.
READS: Mapping[str, dict[str, Any]] = {
    "DescribeRegions": {},
    "DescribeInstances": {},
    "DescribeInstanceTypes": {"InstanceTypes": [TRIAL]},
    "DescribeInstanceTypeOfferings": {"Filters": matching("instance-type", TRIAL)},
    "DescribeImages": {"Owners": ["self"]},
    "DescribeSpotPriceHistory": {"InstanceTypes": [TRIAL], "MaxResults": 1},
    "DescribeSpotInstanceRequests": {"Filters": matching("status-code", "marked-for-termination")},
    "GetSpotPlacementScores": {"TargetCapacity": 1, "InstanceTypes": [TRIAL]},
}


def permissions(account: Account, region: str, image: str, machine_id: str = "") -> list[Permission]:
    """
    Say of each permission whether it is granted. Raises Unreachable.

    image: an AMI's id or an SSM parameter; machine_id: one of ours to try TerminateInstances on, if there is any.
    """
    ask = account.ask
    found = [_tried(f"ec2:{name}", _dry(account, region, name, options)) for name, options in READS.items()]
    priced = _tried(
        "pricing:GetProducts",
        lambda: ask(HOME, "get_products", service="pricing", ServiceCode="AmazonEC2", MaxResults=1),
    )
    found.append(priced)
    image_id = [image] if image.startswith("ami-") else []
    if not image_id:
        read = _reading(account, region, image.format(architecture="x86_64"), image_id)
        found.append(_tried("ssm:GetParameter", read))
    return [*found, *_launching(account, region, *image_id), _ending(account, region, machine_id)]


def _launching(account: Account, region: str, image_id: str = "") -> list[Permission]:
    """Try to launch with tags: that asks for two permissions, and a refusal names the one that is missing."""
    if not image_id:
        why = "without an image it cannot be tried"
        return [Permission(name=name, granted=None, why=why) for name in ("ec2:RunInstances", "ec2:CreateTags")]
    wanted = {"ImageId": image_id, "InstanceType": TRIAL, "MinCount": 1, "MaxCount": 1,
              "TagSpecifications": [{"ResourceType": "instance", "Tags": aws_machines.tags("check")}]}  # fmt: skip
    run = _tried("ec2:RunInstances", _dry(account, region, "RunInstances", wanted))
    if run.granted is not False:
        return [run, Permission(name="ec2:CreateTags", granted=run.granted, why=run.why)]
    if re.search(r"perform: ec2:CreateTags\b", run.why):
        return [Permission(name="ec2:RunInstances", granted=None, why="tags are refused before it"),
                Permission(name="ec2:CreateTags", granted=False, why=run.why)]  # fmt: skip
    return [run, Permission(name="ec2:CreateTags", granted=None, why="it is asked for after ec2:RunInstances")]


def _ending(account: Account, region: str, machine_id: str) -> Permission:
    """Try to end a machine of ours: a policy that is bound to our tag refuses what does not exist."""
    if not machine_id:
        return Permission(name="ec2:TerminateInstances", granted=None, why="there is no machine of ours to try it on")
    return _tried("ec2:TerminateInstances", _dry(account, region, "TerminateInstances", {"InstanceIds": [machine_id]}))


def _reading(account: Account, region: str, parameter: str, into: list[str]) -> Callable[[], None]:
    def read() -> None:
        answer = account.ask(region, "get_parameter", service="ssm", Name=parameter)
        into.append(str(fields.record(answer.get("Parameter"))["Value"]))

    return read


def _dry(account: Account, region: str, name: str, options: Mapping[str, Any]) -> Callable[[], Any]:
    return lambda: account.ask(region, re.sub("(?<=[a-z])[A-Z]", r"_\g<0>", name).lower(), DryRun=True, **options)


def _tried(name: str, call: Callable[[], Any]) -> Permission:
    try:
        call()
    except Unreachable:
        raise
    except ProviderError as error:
        if code_of(error) == "DryRunOperation":
            return Permission(name=name, granted=True)
        return Permission(name=name, granted=False if error.reason is Reason.AUTH else None, why=str(error))
    return Permission(name=name, granted=True)
