"""What the files that stand on the pages are held against: who reads such a file, or the schema of one who does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cfnlint.data
import yaml
from jsonschema import Draft7Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT7

from tests.pages import ROOT

CFN = Path(cfnlint.data.__path__[0])


def policy_of_aws(text: str) -> None:
    """An identity policy by the schema of cfn-lint, with actions that exist."""
    policy = json.loads(text)
    schemas = {path.stem: json.loads(path.read_text()) for path in (CFN / "schemas/other/iam").glob("policy*.json")}
    named = [(name, Resource.from_contents(one, default_specification=DRAFT7)) for name, one in schemas.items()]
    Draft7Validator(schemas["policy_identity"], registry=Registry().with_resources(named)).validate(policy)
    known = json.loads((CFN / "AdditionalSpecs/Policies.json").read_text())
    actions = {f"{service}:{action}".lower() for service, one in known.items() for action in one["Actions"]}
    for statement in policy["Statement"]:
        wanted = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        assert {each.lower() for each in wanted} <= actions


def role_of_azure(text: str) -> None:
    """What `az role definition create` takes; tests/providers/test_azure_account.py holds the actions against ours."""
    role = json.loads(text)
    assert set(role) == {"Name", "Description", "AssignableScopes", "Actions", "NotActions"}
    assert all(scope.startswith("/subscriptions/") for scope in role["AssignableScopes"])


def permissions_of_vast(text: str) -> None:
    """The categories of a key, those and only those that the adapter asks for."""
    asked = re.findall(r'_may\(\s*"(\w+)"', (ROOT / "providers" / "vast.py").read_text())
    assert set(json.loads(text)["api"]) == set(asked)


def scrape_of_prometheus(text: str) -> None:
    """One job with a key in a file, as Prometheus' configuration has it."""
    (job,) = yaml.safe_load(text)["scrape_configs"]
    assert set(job) == {"job_name", "authorization", "static_configs"}
    assert set(job["authorization"]) == {"credentials_file"}


FILES = {
    "policy.json": policy_of_aws,
    "machines.json": role_of_azure,
    "prices.json": role_of_azure,
    "permissions.json": permissions_of_vast,
    "prometheus.yml": scrape_of_prometheus,
}
