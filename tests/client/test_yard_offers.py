"""`yard offers` in all its forms, against a broker that keeps to the contract."""

from __future__ import annotations

from typing import Any

import pytest

from tests.client import objects_of_a_broker as given
from tests.client.contract_broker import ContractBroker, Reply

POINT = {"at": "2026-11-20T00:00:00Z", "min": "1.000000", "median": "2.000000", "max": "3.000000", "prices": 4}
LINE = {"gpu": "H100-SXM", "provider": "", "region": "", "market": "spot", "width": "day",
        "points": [POINT, {**POINT, "median": "2.500000"}, {**POINT, "median": "1.500000"}]}  # fmt: skip
SOURCE = {"provider": "vast", "seen_at": "2026-11-20T10:00:00.123Z", "stale": True, "tried_at": None,
          "next_try_at": None, "failures": 2, "error": "503", "took_s": 1.0, "lines": 4321, "quarantined": 3,
          "skipped": {"no price": 7}, "unknown": {"Z9000": 2}}  # fmt: skip


def test_every_filter_can_be_given(logged_in: ContractBroker, yard: Any) -> None:
    logged_in.on("GET", "/v1/offers", {"results": [given.OFFER], "next": None})

    said = yard(
        *("offers", "--gpu", "H100", "--gpu", "MI300X", "--country", "DE", "--find", "nvl pcie", "--count", "8"),
        *("-w", "min_ram_gib=500", "--where", "not-provider=aws", "-w", "not_provider=gcp", "--sort", "-reliability"),
    )

    assert said.code == 0
    assert logged_in.asked[0].query == {
        "gpu": "H100,MI300X",
        "country": "DE",
        "q": "nvl pcie",
        "count": "8",
        "min_ram_gib": "500",
        "not_provider": "aws,gcp",
        "sort": "-reliability",
        "limit": "50",
    }


@pytest.mark.parametrize("where", ["min_ram_gib", "=5", "min_ram_gib="])
def test_a_filter_without_name_or_value_is_a_usage_error(yard: Any, where: str) -> None:
    said = yard("offers", "-w", where)

    assert said.code == 2
    assert "NAME=VALUE" in said.err


def test_stale_and_gone_offers_are_marked(logged_in: ContractBroker, yard: Any) -> None:
    offer = {**given.OFFER, "stale": True, "gone_at": "2026-11-20T00:00:00Z", "leasable": True, "available": 3}
    logged_in.on("GET", "/v1/offers", {"results": [offer], "next": None})

    assert "3      leasable, stale, gone" in yard("offers").out


def test_groups_are_a_table(logged_in: ContractBroker, yard: Any) -> None:
    row = {"gpu": "H100-SXM", "offers": 1234, "providers": 7, "available": None, "min_usd_per_gpu_hour": "1.990000",
           "median_usd_per_gpu_hour": "2.500000", "max_usd_per_gpu_hour": "12.290000"}  # fmt: skip
    logged_in.on("GET", "/v1/offers", {"results": [row], "next": None})

    said = yard("offers", "--group-by", "gpu")

    assert logged_in.asked[0].query == {"group_by": "gpu"}
    assert said.out.splitlines()[1].split() == ["H100-SXM", "1,234", "7", "$1.99", "$2.50", "$12.29"]


def test_history_shows_the_range_and_the_shape(logged_in: ContractBroker, yard: Any) -> None:
    logged_in.on("GET", "/v1/offers/history", {"results": [LINE]})

    said = yard("offers", "history", "H100", "--days", "30", "--by", "market")

    assert logged_in.asked[0].query == {"gpu": "H100", "days": "30.0", "by": "market"}
    assert said.out.splitlines()[1].split() == [
        "H100-SXM", "all", "all", "spot", "$1.00", "$2.00", "$3.00", "$1.50", "▄█▁",
    ]  # fmt: skip
    assert yard("offers", "history", "H100", "--json").json["results"] == [LINE]


def test_a_gpu_without_history_is_told(logged_in: ContractBroker, yard: Any) -> None:
    logged_in.on("GET", "/v1/offers/history", {"results": []})

    assert "No price of Z9 is remembered" in yard("offers", "history", "Z9").out


def test_sources_tell_what_failed_and_what_was_not_understood(logged_in: ContractBroker, yard: Any) -> None:
    logged_in.on("GET", "/v1/offers/sources", {"results": [SOURCE]})

    out = yard("offers", "sources").out

    assert "stale" in out
    assert "503" in out
    assert "vast: skipped 7: no price" in out
    assert "vast: unknown accelerators: Z9000" in out


def test_filters_come_from_the_brokers_own_schema(logged_in: ContractBroker, yard: Any) -> None:
    parameters = [{"name": "min_ram_gib", "in": "query", "description": "At least so many GiB of main memory."}]
    logged_in.on("GET", "/v1/schema.json", {"paths": {"/v1/offers": {"get": {"parameters": parameters}}}})

    assert "min_ram_gib  At least so many GiB of main memory." in yard("offers", "filters").out


def test_watching_goes_on_after_a_break(logged_in: ContractBroker, yard: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpuyard.stream.RETRY_S", 0)
    data = (
        '{"usd_per_gpu_hour":"1.500000","changed_at":"2026-11-20T10:11:12Z","accelerators":8,"accelerator":"H100-SXM",'
        '"provider":"gcp","region":"us","instance_type":"a3","market":"spot"}'
    )
    logged_in.in_turn(
        "GET",
        "/v1/offers/stream",
        Reply(raw=f": hello\n\nevent: offer\nid: 7-1\ndata: {data}\n\n".encode()),
        Reply(raw=f"event: gone\nid: 8-1\ndata: {data}\n\n".encode()),
        Reply(401, {"error": {"code": "bad_key", "message": "revoked", "hint": "", "fields": {}}}),
    )

    said = yard("offers", "watch", "--gpu", "H100")

    assert said.code == 3
    assert [line.split()[2] for line in said.out.splitlines()] == ["$1.50/gpu-h", "gone"]
    assert [asked.headers.get("Last-Event-ID") for asked in logged_in.asked] == [None, "7-1", "8-1"]
