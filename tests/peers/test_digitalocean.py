"""DigitalOcean's own SDK reads our fake of its list of sizes."""

from __future__ import annotations

import pytest

pydo = pytest.importorskip("pydo")

from tests.providers.test_digitalocean import KEY, DigitalOceanCloud  # noqa: E402  after importorskip


def test_the_sdk_reads_the_price_list_page_by_page():
    with DigitalOceanCloud() as cloud:
        sdk = pydo.Client(token=KEY, endpoint=cloud.url)

        pages = [sdk.sizes.list(per_page=3, page=page, enforce_https=False) for page in (1, 2)]

    sizes = {size["slug"]: size for page in pages for size in page["sizes"]}
    assert sizes["gpu-h100x8-640gb"]["price_hourly"] == 23.92
    assert sizes["gpu-h100x8-640gb"]["gpu_info"]["vram"] == {"amount": 640, "unit": "gib"}
    assert pages[0]["meta"]["total"] == len(sizes)
    assert "next" in pages[0]["links"]["pages"]
    assert "pages" not in pages[1]["links"] or "next" not in pages[1]["links"]["pages"]


PEER = {"provider": "digitalocean", "peer": "pydo 0.44.0", "verbs": ["listings"]}
