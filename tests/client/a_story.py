"""A run as the live view knows it: two sites, a curve, moves and a log. The same at each call."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

from gpuyard.cli.story import Story

from . import objects_of_a_broker as given

BEGUN = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
NOW = BEGUN + timedelta(minutes=14)
MOVES = [
    ("workload", 12, "placing", "starting", "on 1 x CPU at home/berlin, 8 x H100-SXM at verda/FIN-03"),
    ("lease", 4, "booting", "held", "its agent was heard"),
    ("placement", 3, "joining", "training", "its first step was reported"),
    ("round", 7, "open", "closed", "2 of 2 sites, 640 samples"),
    ("workload", 12, "running", "running", "stay at home/berlin: a move would save 0.02 USD and cost 40 s"),
]


def workload(state: str = "running", **changes: Any) -> dict[str, Any]:
    """The workload, at two sites."""
    found = given.workload(state, budget_usd="5.000000", first_step_at="2026-11-22T10:01:30Z")
    if state == "running":
        found["forecast"] |= {"finish_at": "2026-11-22T10:40:00Z", "cost_usd": "7.254321", "over_budget": True}
    home = found["sites"][0]
    node = {
        **home["nodes"][0],
        "lease": 5,
        "host": "fin-03-gpu-17",
        "accelerator": "H100-SXM",
        "accelerators": 8,
        "usd_per_hour": "15.920000",
        "usage": {"cpu_percent": 12, "accelerators": [{"utilisation_percent": 97}, {"utilisation_percent": 93}]},
    }
    return found | {"sites": [home, {**home, "placement": 4, "site": "verda/FIN-03", "nodes": [node]}]} | changes


def story(state: str = "running", **changes: Any) -> Story:
    """All of it, at NOW."""
    told: Any = given.quote()
    made = Story(quote=told)
    found = workload(state, **changes)
    for minute, merged in enumerate(range(0, 32001, 8000)):
        seen = found | {"samples": found["samples"] | {"merged": merged}}
        made.take({"type": "workload", "workload": seen}, now=(BEGUN + timedelta(minutes=10 + minute)).timestamp())
    for number, (subject, which, before, to, why) in enumerate(MOVES):
        move = given.event(number, subject=subject, subject_id=which, to=to, why=why, **{"from": before})
        move |= {"at": f"2026-11-22T10:0{number}:17Z", "figures": {} if before == to else None}
        made.take({"type": "event", "event": move}, now=0)
    for number in range(400):
        at = (BEGUN + timedelta(seconds=90 + number * 1.8)).isoformat()
        loss = 2.1 + 1.6 * math.exp(-number / 70) + 0.05 * math.sin(number * 1.7)
        row = given.metric(number, at=at, values={"loss": loss}, site=["home/berlin", "verda/FIN-03"][number % 2])
        made.take({"type": "metrics", "metrics": row}, now=0)
    for number in range(8):
        line = given.log_line(
            number, f"step {number * 10}\rstep {number * 10} \x1b[31mloss {3 - number / 10:.2f}\x1b[0m"
        )
        line["site"] = ["home/berlin", "verda/FIN-03"][number % 2]
        made.take({"type": "log", "log": line}, now=0)
    return made
