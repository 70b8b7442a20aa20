"""Objects as the contract describes them, for tests to change."""

from typing import Any

ME = {
    "id": 1,
    "username": "ada",
    "scopes": ["read", "run"],
    "balance_usd": "100.000000",
    "available_usd": "87.500000",
}
OFFER = {
    "id": 5,
    "provider": "verda",
    "region": "FIN-03",
    "zone": "",
    "country": "FI",
    "instance_type": "1H100.80S",
    "market": "spot",
    "accelerator": "H100-SXM",
    "vendor": "NVIDIA",
    "accelerators": 1,
    "memory_gib": 80,
    "vcpus": 30,
    "ram_gib": 120,
    "usd_per_hour": "1.990000",
    "usd_per_gpu_hour": "1.990000",
    "leasable": True,
    "seen_at": "2026-11-22T10:00:00Z",
}


def quote(number: int = 7, **changes: Any) -> dict[str, Any]:
    """A Quote of two sites."""
    site = {
        "site": "verda/FIN-03",
        "provider": "verda",
        "region": "FIN-03",
        "market": "spot",
        "instance_type": "1H100.80S",
        "accelerator": "H100-SXM",
        "accelerators": 1,
        "nodes": 1,
        "usd_per_hour": "1.990000",
        "offer": 5,
    }
    return {
        "id": number,
        "expires_at": "2026-11-22T10:10:00Z",
        "rank": 1,
        "need": {},
        "usd_per_hour": "3.980000",
        "cost_usd": "0.630000",
        "finish_s": 570.0,
        "speed": {"source": "stated", "samples_per_s": 175.0},
        "sites": [site, {**site, "site": "home/berlin", "provider": "home", "region": "berlin"}],
        "labels": ["cheapest"],
        "outcome": {
            "finish_s": {"p10": 540.0, "p50": 570.0, "p90": 640.0},
            "cost_usd": {"p10": "0.590000", "p50": "0.630000", "p90": "0.710000"},
            "expected_usd": "0.640000",
            "egress_usd": "0.000000",
            "storage_usd": "0.000000",
            "deadline_chance": 0.97,
            "budget_chance": None,
            "losses": 0.02,
            "loss_chance": 0.02,
            "energy_kwh": 0.2,
            "carbon_kg": 0.07,
            "late_s": 640.0,
        },
        "why": "cheapest to finish",
        "why_not": "1.20 USD more and 11 % slower: home/paris",
        **changes,
    }


def quotes(*each: dict[str, Any]) -> dict[str, Any]:
    """The answer to a need."""
    return {
        "quotes": list(each) or [quote()],
        "excluded": [{"constraint": "deadline_hours", "offers": 31}],
        "offers_considered": 420,
        "curve": [[0.2, "0.710000"], [0.1, "1.300000"]],
    }


def artifact(content_sha256: str, size_bytes: int, **changes: Any) -> dict[str, Any]:
    """An Artifact, a model."""
    return {
        "id": 9,
        "name": "model.safetensors",
        "kind": "model",
        "version": 4,
        "sha256": content_sha256,
        "size_bytes": size_bytes,
        "metrics": {},
        "created_at": "2026-11-22T10:09:00Z",
        **changes,
    }


def workload(state: str = "running", **changes: Any) -> dict[str, Any]:
    """A Workload."""
    ended = state in ("succeeded", "failed", "cancelled")
    return {
        "id": 12,
        "name": "train",
        "state": state,
        "end_reason": {"succeeded": "finished"}.get(state),
        "why": "",
        "created_at": "2026-11-22T10:00:00Z",
        "started_at": "2026-11-22T10:01:00Z",
        "first_step_at": None,
        "ended_at": "2026-11-22T10:09:00Z" if ended else None,
        "script": "train.py",
        "args": [],
        "program": "ab" * 32,
        "quote": 7,
        "budget_usd": None,
        "priority": 0,
        "resumes": None,
        "sites_wanted": 2,
        "hold_usd": "1.000000",
        "spent_usd": "0.420000",
        "forecast": {
            "finish_at": "2026-11-22T10:35:00Z" if state == "running" else None,
            "cost_usd": "0.455000" if state == "running" else "0.420000" if ended else None,
            "over_budget": False,
        },
        "version": 3,
        "samples": {"total": 200_000, "merged": 32_000, "leased": 64, "free": 167_936},
        "loss": 2.1034,
        "step": 120,
        "need": {},
        "sites": [
            {
                "placement": 3,
                "site": "home/berlin",
                "provider": "home",
                "region": "berlin",
                "state": "training",
                "why": "",
                "nodes": [
                    {
                        "lease": 4,
                        "state": "held",
                        "host": "attic",
                        "address": "127.0.0.11",
                        "accelerator": "CPU",
                        "accelerators": 1,
                        "market": "on_demand",
                        "usd_per_hour": "0.100000",
                        "opened_at": "2026-11-22T10:00:30Z",
                        "closed_at": None,
                        "phase": "running",
                    }
                ],
            }
        ],
        "artifact": None,
        **changes,
    }


def event(number: int, **changes: Any) -> dict[str, Any]:
    """An Event."""
    return {
        "id": number,
        "at": "2026-11-22T10:01:00Z",
        "subject": "workload",
        "subject_id": 12,
        "from": "placing",
        "to": "starting",
        "why": "two sites found",
        "figures": None,
        **changes,
    }


def metric(number: int, **changes: Any) -> dict[str, Any]:
    """A metrics row."""
    return {
        "id": number,
        "at": "2026-11-22T10:02:00Z",
        "site": "home/berlin",
        "placement": 3,
        "step": number,
        "version": 1,
        "values": {"loss": 2.5},
        **changes,
    }


def log_line(number: int, text: str = "hello") -> dict[str, Any]:
    """A log line."""
    return {
        "id": number,
        "at": "2026-11-22T10:02:00Z",
        "site": "home/berlin",
        "host": "attic",
        "stream": "stdout",
        "text": text,
    }


def host(**changes: Any) -> dict[str, Any]:
    """A Host."""
    return {
        "id": 2,
        "name": "attic",
        "region": "home/berlin",
        "country": "DE",
        "usd_per_hour": "0.100000",
        "state": "new",
        "why": "",
        "hardware": None,
        "address": None,
        "seen_at": None,
        "earned_usd": "0.000000",
        "lease": None,
        **changes,
    }
