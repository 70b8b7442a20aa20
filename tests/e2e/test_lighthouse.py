"""What Lighthouse says of each page's accessibility; how fast they are is measured by `make bench-dashboard`."""

import json

import pytest

from tests.e2e.lighthouse import scores
from tests.journeys.yard import Yard


@pytest.mark.parametrize("path", ["/offers", "/launch", "/workloads", "/hosts"])
def test_a_page_is_within_reach_of_everybody(yard: Yard, path: str) -> None:
    key = json.loads((yard.home / "client.json").read_text())["api_key"]

    found = scores(yard.client.url + path, key=key, form="desktop", categories=("accessibility", "best-practices"))

    assert found == {"accessibility": 100, "best-practices": 100}
