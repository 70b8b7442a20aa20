"""The keyless feeds and the door to the network, against a real HTTP server on loopback."""

from __future__ import annotations

import json
import threading
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from providers import http
from providers.base import Rejected, Unreachable
from providers.lium import Lium
from providers.vultr import Vultr

PLAN = {"id": "vcg-a100-12c-120g-80vram", "vcpu_count": 12, "ram": 122880, "disk": 1400, "monthly_cost": 1750,
        "hourly_cost": 2.397, "type": "vcg", "locations": ["ewr", "ams"], "gpu_vram_gb": 80,
        "gpu_type": "NVIDIA_A100"}  # fmt: skip
NODE = {"id": "5f0c", "gpu_model": "NVIDIA H100 80GB HBM3", "gpu_count": 8, "available_gpu_count": 4,
        "price_per_gpu_hour": 1.9, "gpu_memory_gb": 80, "cpu_count": 128, "ram_gb": 1024, "country_code": "FI",
        "region": "Helsinki", "a_new_field": {}}  # fmt: skip


@pytest.fixture
def world():
    """A server that answers every GET with (status, body)."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            status, body = server.answer
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.answer = (200, {})
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_vultr_has_a_line_per_plan_and_location(world):
    world.answer = (200, {"plans": [PLAN]})

    lines = list(Vultr(base_url=world.url).listings())

    assert [(line.region, line.usd_per_hour, line.accelerator_label) for line in lines] == [
        ("ewr", Decimal("2.397"), "A100"),
        ("ams", Decimal("2.397"), "A100"),
    ]
    assert lines[0].memory_gib == 80


def test_lium_is_priced_per_gpu_and_sold_by_what_is_free(world):
    world.answer = (200, {"nodes": [NODE]})

    (line,) = Lium(base_url=world.url).listings()

    assert (line.accelerator_count, line.usd_per_hour, line.country) == (4, Decimal("7.6"), "FI")


@pytest.mark.parametrize("bad", [{}, {**PLAN, "hourly_cost": "free"}, {**PLAN, "locations": None}, None])
def test_a_bad_plan_does_not_hide_the_good_one(world, bad):
    world.answer = (200, {"plans": [bad, PLAN]})

    assert len(list(Vultr(base_url=world.url).listings())) == 2


@pytest.mark.parametrize("bad", [{}, {**NODE, "available_gpu_count": 0}, {**NODE, "price_per_gpu_hour": None}, None])
def test_a_bad_node_does_not_hide_the_good_one(world, bad):
    world.answer = (200, {"nodes": [bad, NODE]})

    assert len(list(Lium(base_url=world.url).listings())) == 1


@pytest.mark.parametrize(
    ("status", "error"), [(400, Rejected), (401, Rejected), (429, Unreachable), (503, Unreachable)]
)
def test_a_status_is_told_apart_as_one_of_the_errors(world, status, error):
    world.answer = (status, {})

    with pytest.raises(error):
        http.call("GET", world.url)


def test_an_answer_that_is_no_json_is_rejected(world):
    world.answer = (200, b"<html>maintenance</html>")

    with pytest.raises(Rejected, match="not JSON"):
        http.call("GET", world.url)


def test_nobody_there_is_unreachable():
    with pytest.raises(Unreachable):
        http.call("GET", "http://127.0.0.1:9")
