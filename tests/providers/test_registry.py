"""None is unregistered, untested or undocumented, and every page about one speaks of what there is."""

from __future__ import annotations

import ast
import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

from providers.registry import PRICE_LISTS, PROVIDERS, credentials_of

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "providers"
UNREGISTERED = {"providers.fake.Fake": "for tests"}  # {adapter: why nobody shall reach it by a name}.
CONTRACTS = {"ProviderContract": PROVIDERS, "PriceListContract": PRICE_LISTS}


def classes_in(path: Path) -> list[ast.ClassDef]:
    return [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)]


def is_adapter(node: ast.ClassDef) -> bool:
    """Whether a class has prices and the name under which they are kept; protocols have none."""
    methods = {part.name for part in node.body if isinstance(part, ast.FunctionDef)}
    given = [target for part in node.body if isinstance(part, ast.Assign) for target in part.targets]
    return "listings" in methods and any(isinstance(target, ast.Name) and target.id == "name" for target in given)


def held_to(contract: str) -> set[str]:
    """Return the names of the test classes that inherit a contract."""
    files = sorted((ROOT / "tests" / "providers").glob("test_*.py"))
    bases = {node.name: {base.id for base in node.bases if isinstance(base, ast.Name)}
             for file in files for node in classes_in(file)}  # fmt: skip
    return {name for name, own in bases.items() if contract in own}


def commands(page: Path) -> list[list[str]]:
    found = re.findall(r"^(yard providers add .*?)(?: +#.*)?$", page.read_text(), re.MULTILINE)
    return [shlex.split(re.sub("[<>]", "", line)) for line in found]


@pytest.mark.parametrize("path", [*PROVIDERS.values(), *PRICE_LISTS.values()])
def test_everything_registered_exists(path):
    module, _, name = path.rpartition(".")

    assert hasattr(import_module(module), name)


@pytest.mark.parametrize(("name", "path"), [*PROVIDERS.items(), *PRICE_LISTS.items()])
def test_an_adapter_bears_the_name_that_it_is_registered_under(name, path):
    module, _, adapter = path.rpartition(".")

    assert getattr(import_module(module), adapter).name == name


def test_every_adapter_is_registered():
    adapters = {f"providers.{path.stem}.{node.name}" for path in sorted((ROOT / "providers").glob("*.py"))
                for node in classes_in(path) if is_adapter(node)}  # fmt: skip

    assert adapters == {*PROVIDERS.values(), *PRICE_LISTS.values(), *UNREGISTERED}


@pytest.mark.parametrize("contract", CONTRACTS)
def test_every_adapter_is_held_to_its_contract(contract):
    wanted = {f"Test{path.rpartition('.')[2]}" for path in CONTRACTS[contract].values()}

    assert not wanted - held_to(contract)


@pytest.mark.parametrize("name", PROVIDERS)
def test_every_provider_has_a_page_that_names_its_credentials(name):
    page = (PAGES / f"{name}.md").read_text()

    assert not [credential for credential in credentials_of(name) if f"`{credential}`" not in page]
    assert f"({name}.md)" in (PAGES / "README.md").read_text()


@pytest.mark.parametrize("name", PRICE_LISTS)
def test_every_feed_is_on_the_page_of_feeds(name):
    assert f"| `{name}` |" in (PAGES / "feeds.md").read_text()


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_page_shows_a_command_that_works(name):
    shown = commands(PAGES / f"{name}.md")

    assert shown
    for _yard, _providers, _add, provider, *given in shown:
        flags, keys = given[::2], [pair.partition("=")[0] for pair in given[1::2]]
        assert provider == name
        assert set(flags) <= {"--set", "--from-file", "--from-env"}
        assert len(keys) == len(set(keys))
        assert set(keys) <= set(credentials_of(name))
        assert {key for key, required in credentials_of(name).items() if required} <= set(keys)
