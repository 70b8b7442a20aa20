"""The other commands of `yard`, as a person and as a program meet them."""

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from . import objects_of_a_broker as given
from .contract_broker import KEY, ContractBroker, Reply, refusal

SOURCE = str(Path(__file__).parents[2] / "frontend" / "client")
REPORT = {
    "provider": "aws",
    "rows": 10,
    "loaded": 6,
    "not_gpu": 1,
    "skipped": {"no price": 3},
    "examples": [{"line": 4, "reason": "no price", "text": "p5.48xlarge,H100"}],
    "offers": 6,
}
BILL: dict[str, Any] = {
    "workload": 12,
    "total_usd": "0.420000",
    "leases": [
        {
            "lease": 4,
            "site": "home/berlin",
            "provider": "home",
            "region": "berlin",
            "host": "attic",
            "usd_per_hour": "0.100000",
            "opened_at": "2026-11-22T10:00:30Z",
            "closed_at": None,
            "seconds": "540.000000",
            "usd": "0.015000",
        }
    ],
    "billed_usd": "0.420000",
    "final": False,
}
ROUND = {
    "version": 1,
    "opened_at": "2026-11-22T10:02:00Z",
    "called_at": "2026-11-22T10:02:16Z",
    "closed_at": None,
    "merge_s": None,
    "contributors": [
        {
            "site": "home/berlin",
            "placement": 3,
            "samples": 320,
            "steps": 10,
            "loss": 2.5,
            "status": "accepted",
            "why": "",
            "share": 0.5,
            "norm": 1.25,
            "cosine": None,
            "base": 1,
            "size_bytes": 120_000,
            "train_s": 16.0,
            "stall_s": 0.25,
            "put_s": 1.5,
            "fetch_s": None,
        }
    ],
    "samples": 320,
    "update_sha256": "",
    "update_bytes": 0,
    "codec": "",
    "fingerprint": "",
}
DECISION = given.event(
    3,
    **{"from": "running", "to": "running", "why": "stay at home/berlin"},
    figures={"slack_h": 1.25, "usd": {"stay": 3.2, "move to home/paris": 3.4}},
)
LEDGER_ROW = {
    "id": 1,
    "at": "2026-11-22T10:02:00Z",
    "debit": "ada",
    "credit": "revenue",
    "amount_usd": "0.420000",
    "what": "lease",
    "workload": 12,
    "lease": 4,
}


@pytest.fixture
def world(logged_in: ContractBroker) -> ContractBroker:
    """A broker with one of everything."""
    broker = logged_in
    broker.on("GET", "/v1/me", given.ME)
    broker.on("GET", "/v1/offers", {"results": [given.OFFER], "next": None})
    broker.on("POST", "/v1/quotes", Reply(201, given.quotes()))
    broker.on("GET", "/v1/workloads", {"results": [given.workload()], "next": None})
    broker.on("GET", "/v1/workloads/12", given.workload("succeeded"))
    broker.on("GET", "/v1/workloads/12/events", {"results": [given.event(1)]})
    broker.on("GET", "/v1/workloads/12/decisions", {"results": [DECISION]})
    broker.on("GET", "/v1/quotes/7", given.quote(7))
    broker.on("GET", "/v1/workloads/12/logs", {"results": [given.log_line(1, "a\x1b[2Jb [red]")]})
    broker.on("GET", "/v1/workloads/12/metrics", {"results": [given.metric(1)]})
    broker.on("GET", "/v1/workloads/12/artifacts", {"results": [given.artifact("ab" * 32, 5, metrics={"loss": 2.1})]})
    broker.on("GET", "/v1/workloads/12/versions", {"newest": 9, "kept": [[0, 0], [5, 9]]})
    broker.on("GET", "/v1/workloads/12/rounds", {"results": [ROUND]})
    broker.on("POST", "/v1/workloads/12/stop", Reply(202, given.workload("stopping")))
    broker.on("GET", "/v1/workloads/12/bill", BILL)
    broker.on("GET", "/v1/ledger", {"results": [LEDGER_ROW], "sum_usd": "0.000000"})
    broker.on("GET", "/v1/hosts", {"results": [given.host()], "next": None})
    broker.on("POST", "/v1/hosts", Reply(201, given.host(enrol_token="tok")))
    broker.on("POST", "/v1/hosts/2/token", Reply(201, given.host(enrol_token="tok")))
    broker.on("POST", "/v1/hosts/2/reclaim", Reply(202, given.host(state="reclaiming")))
    broker.on("POST", "/v1/hosts/2/return", Reply(202, given.host(state="offered")))
    broker.on("GET", "/dl/", {"wheel": "gpuyard-0.1.0-py3-none-any.whl", "version": "0.1.0", "sha256": "ab"})
    return broker


@pytest.mark.parametrize(
    ("line", "keys"),
    [
        ("offers", {"results", "next"}),
        ("quote --gpu CPU:2", {"quotes", "excluded", "offers_considered", "curve"}),
        ("ps", {"results"}),
        ("show 12", set(given.workload())),
        ("logs 12", {"results"}),
        ("events 12", {"results"}),
        ("explain 12", {"quote", "decisions"}),
        ("metrics 12", {"results"}),
        ("artifacts 12", {"results"}),
        ("versions 12", {"newest", "kept"}),
        ("me", set(given.ME)),
        ("top", {"results"}),
        ("top --once", {"results"}),
        ("rounds 12", {"results"}),
        ("stop 12", set(given.workload())),
        ("stop 12 --wait", set(given.workload())),
        ("bill 12", set(BILL)),
        ("ledger", {"results", "sum_usd"}),
        ("host add attic --region home/berlin --usd-per-hour 0.1", {"host", "install", "run"}),
        ("host list", {"results"}),
        ("host reclaim 2 --notice 0", set(given.host())),
        ("host return 2", set(given.host())),
    ],
)
def test_every_command_speaks_json_and_plain_text(world: ContractBroker, yard: Any, line: str, keys: set[str]) -> None:
    as_json, plain = yard(*line.split(), "--json"), yard(*line.split())

    assert (as_json.code, plain.code) == (0, 0)
    assert set(as_json.json) == keys
    assert plain.out.strip()
    assert "\x1b" not in plain.out


@pytest.mark.parametrize("what", ["logs", "events", "metrics"])
def test_a_followed_list_is_one_json_object_a_line(world: ContractBroker, yard: Any, what: str) -> None:
    said = yard(what, "12", "-f", "--json")

    assert said.code == 0
    assert [row["id"] for row in said.rows] == [1]


def test_what_a_node_wrote_cannot_steer_the_terminal(world: ContractBroker, yard: Any) -> None:
    said = yard("logs", "12")

    assert said.out == "2026-11-22 10:02:00Z  home/berlin attic stdout| a\N{REPLACEMENT CHARACTER}[2Jb [red]\n"


def test_a_workload_is_shown_with_forecast_and_how_machines_were_bought(world: ContractBroker, yard: Any) -> None:
    world.on("GET", "/v1/workloads/12", given.workload())

    shown = yard("show", "12").out

    assert "1 x CPU on-demand" in shown
    assert "  forecast $0.455 at the end, done 2026-11-22 10:35:00Z" in shown


@pytest.mark.parametrize(
    ("status", "code", "exit_code"),
    [(401, "no", 3), (403, "no", 3), (404, "no", 1), (409, "no", 1), (422, "no_capacity", 4), (402, "no", 5)],
)
def test_an_error_is_one_message_with_a_hint_and_no_stack_trace(
    world: ContractBroker, yard: Any, status: int, code: str, exit_code: int
) -> None:
    world.on("GET", "/v1/workloads/12", refusal(status, code, hint="look there", fields={"id": "odd"}))

    plain, as_json = yard("show", "12"), yard("show", "12", "--json")

    assert plain.code == as_json.code == exit_code
    assert plain.err == f"Error: about {code}\n  id: odd\nHint: look there\n"
    assert plain.out == ""
    assert as_json.json["error"]["code"] == code


def test_a_field_that_the_message_names_already_is_not_told_twice(world: ContractBroker, yard: Any) -> None:
    fields = {"sites": "about invalid", "args": ["about invalid"], "id": "odd"}
    world.on("GET", "/v1/workloads/12", refusal(422, "invalid", fields=fields))

    assert yard("show", "12").err == "Error: about invalid\n  id: odd\n"


def test_an_unmet_need_tells_how_to_ask_for_what_would_do(world: ContractBroker, yard: Any) -> None:
    told = [
        ("deadline_hours", 4.55, "with a deadline of 4.55 h"),
        ("providers", ["aws", "gcp"], "also at gcp"),
        ("queue", True, "with waiting"),
        ("accelerators_per_site", 4, "with 4 accelerators a site instead of 8"),
        ("residency", None, "also outside the EU, in US"),
    ]
    ways = [{"field": field, "value": value, "change": change, "usd": "4.02"} for field, value, change in told]
    fields = {"excluded": [{"constraint": "deadline_hours: 1", "offers": 3}], "relaxations": ways}
    world.on("POST", "/v1/quotes", refusal(422, "need_unmet", hint="loosen", fields=fields))

    assert yard("quote").err.splitlines()[1:] == [
        "  with a deadline of 4.55 h: -w deadline_hours=4.55",
        "  also at gcp: -w providers=aws,gcp",
        "  with waiting: -w queue=true",
        "  with 4 accelerators a site instead of 8: --gpu KIND:4",
        "  also outside the EU, in US: without residency",
        "Hint: loosen",
    ]


def test_offers_ask_for_what_the_flags_say_and_go_on_over_pages(world: ContractBroker, yard: Any) -> None:
    world.in_turn(
        "GET",
        "/v1/offers",
        {"results": [given.OFFER] * 2, "next": "c2"},
        {"results": [given.OFFER] * 2, "next": "c3"},
    )

    said = yard("offers", "--gpu", "H100-SXM", "--max-price", "3", "--leasable", "--limit", "4", "--json")

    assert len(said.json["results"]) == 4
    assert said.json["next"] == "c3"
    assert [asked.query.get("cursor") for asked in world.asked] == [None, "c2"]
    assert world.asked[1].query == {
        "gpu": "H100-SXM",
        "max_usd_per_gpu_hour": "3.000000",
        "leasable": "true",
        "limit": "2",
        "cursor": "c2",
    }


def test_import_uploads_every_catalog_and_a_refused_one_does_not_stop_the_others(
    world: ContractBroker, yard: Any, tmp_path: Path
) -> None:
    for provider in ("aws", "broken", "verda"):
        (tmp_path / "catalogs" / provider).mkdir(parents=True)
        (tmp_path / "catalogs" / provider / "vms.csv").write_text(f"of {provider}")
    world.on("PUT", "/v1/catalogs/.*", lambda asked: Reply(200, {**REPORT, "provider": asked.path.split("/")[-1]}))
    world.on("PUT", "/v1/catalogs/broken", refusal(422, "not_a_catalog"))

    plain, as_json = yard("offers", "import", "catalogs"), yard("offers", "import", "catalogs", "--json")

    assert plain.code == as_json.code == 1
    assert [asked.raw for asked in world.calls("PUT", "/v1/catalogs/verda")] == [b"of verda"] * 2
    assert "aws: 10 rows = 6 loaded + 1 not a GPU + 3 skipped; 6 offers" in plain.out
    assert "line 4: p5.48xlarge,H100" in plain.out
    assert "total: 20 rows = 12 loaded + 2 not a GPU + 6 skipped; 12 offers" in plain.out
    assert [each["provider"] for each in as_json.json["catalogs"]] == ["aws", "verda"]
    assert as_json.json["failed"][0]["provider"] == "broken"
    assert as_json.json["total"]["skipped"] == {"no price": 6}


def test_import_of_a_folder_without_catalogs_says_what_was_expected(yard: Any, tmp_path: Path) -> None:
    (tmp_path / "aws").mkdir()
    (tmp_path / "aws" / "vms.csv").write_text("")
    (tmp_path / "empty").mkdir()

    assert yard("offers", "import", "empty").code == 2
    assert "expected files such as empty/aws/vms.csv" in yard("offers", "import", "empty").err
    assert "name the folder above it" in yard("offers", "import", "aws").err
    assert "is not a folder" in yard("offers", "import", "nowhere").err


def test_rounds_tells_how_long_each_was_open(world: ContractBroker, yard: Any) -> None:
    closed = {**ROUND, "version": 0, "closed_at": "2026-11-22T10:02:07.250000Z"}
    world.on("GET", "/v1/workloads/12/rounds", {"results": [closed, ROUND]})

    header, first, second, *_ = yard("rounds", "12").out.splitlines()

    assert [re.split(" {2,}", line.strip())[2] for line in (header, first, second)] == ["took", "7.2 s", "-"]


def test_rounds_tells_when_each_was_closed_without_its_microseconds(world: ContractBroker, yard: Any) -> None:
    world.on("GET", "/v1/workloads/12/rounds", {"results": [{**ROUND, "closed_at": "2026-11-22T10:02:07.250123Z"}]})

    assert "  2026-11-22 10:02:07Z  7.3 s  " in yard("rounds", "12").out


@pytest.mark.parametrize("line", ["add attic --region home/berlin --usd-per-hour 0.1", "token 2"])
def test_a_token_comes_with_the_commands_to_paste(world: ContractBroker, yard: Any, line: str) -> None:
    said = yard("host", *line.split(), "--json")

    assert said.json["install"] == (
        f"pip install 'gpuyard[node] @ {world.url}/dl/gpuyard-0.1.0-py3-none-any.whl#sha256=ab'"
    )
    assert said.json["run"] == (f"python -m gpuyard.node --broker {world.url} --token tok --state ~/.gpuyard/host-2")


@pytest.mark.parametrize("seconds", [540, "540.000000"])
def test_a_bill_tells_time_and_money(world: ContractBroker, yard: Any, seconds: Any) -> None:
    world.on("GET", "/v1/workloads/12/bill", {**BILL, "leases": [{**BILL["leases"][0], "seconds": seconds}]})

    said = yard("bill", "12")

    assert "9 min 00 s  $0.015" in said.out
    assert "Total $0.42, booked $0.42; not final yet." in said.out


def test_host_add_makes_no_host_when_the_broker_is_away(logged_in: ContractBroker, yard: Any) -> None:
    logged_in.drop = 99

    said = yard("host", "add", "attic", "--region", "home/berlin", "--usd-per-hour", "0.1")

    assert said.code == 1
    assert not logged_in.calls("POST", ".*")


@pytest.mark.parametrize("how", ["flag", "piped"])
def test_login_checks_the_key_and_keeps_it_for_its_owner_alone(
    broker: ContractBroker, tmp_path: Path, how: str
) -> None:
    broker.on("GET", "/v1/me", given.ME)
    path = tmp_path / "deep" / "config.json"
    key = ["--key", KEY] if how == "flag" else []

    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-W", "error", "-m", "gpuyard", "login", broker.url, *key],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": SOURCE, "GPUYARD_CONFIG": str(path)},
        input=f"{KEY}\n",
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "Logged in" in done.stdout
    assert KEY not in done.stdout + done.stderr
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text()) == {"url": broker.url, "api_key": KEY}


def test_login_with_a_wrong_key_keeps_nothing(logged_in: ContractBroker, yard: Any, tmp_path: Path) -> None:
    said = yard("login", logged_in.url, "--key", "wrong", "--json")

    assert said.code == 3
    assert said.json["error"]["status"] == 401
    assert not (tmp_path / "config").exists()


def test_without_a_key_every_command_says_to_log_in(yard: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GPUYARD_API_KEY")

    said = yard("ps")

    assert said.code == 3
    assert "yard login" in said.err


def test_help_is_light_and_needs_no_network_library() -> None:
    code = (
        "import sys; from gpuyard.cli import run; run(['--help']);"
        "print([name for name in ('requests', 'rich', 'torch', 'django', 'numpy', 'ray') if name in sys.modules])"
    )

    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-c", code],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": SOURCE},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )

    assert done.stdout.splitlines()[-1] == "[]"


def test_an_explanation_shows_the_quote_and_the_figures_of_each_decision(world: ContractBroker, yard: Any) -> None:
    said = yard("explain", "12")

    assert "Ordered as quote 7:" in said.out
    assert "2026-11-22 10:01:00Z  stay at home/berlin" in said.out
    assert re.search(r"slack h +1\.25", said.out)
    assert re.search(r"move to home/paris +3\.4", said.out)
