"""`yard run`: from a script to a model, through outages and interruptions."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from . import objects_of_a_broker as given
from .contract_broker import Asked, ContractBroker, Reply, refusal, serving, sha256

MODEL = os.urandom(50_000)
ARTIFACT = given.artifact(sha256(MODEL), len(MODEL))


@pytest.fixture
def story(logged_in: ContractBroker, tmp_path: Path) -> ContractBroker:
    """A broker that takes an order, runs it in three looks, and has the model at the end."""
    (tmp_path / "train.py").write_text("print('training')")
    broker = logged_in
    broker.on("POST", "/v1/quotes", Reply(201, given.quotes(given.quote(7), given.quote(8, rank=2))))
    broker.on("PUT", "/v1/programs/.*", Reply(201, {"sha256": "x", "size_bytes": 1}))
    broker.on("POST", "/v1/workloads", Reply(201, given.workload("placing")))
    broker.in_turn(
        "GET",
        "/v1/workloads/12",
        given.workload("placing", version=None, loss=None),
        given.workload("running"),
        given.workload("running"),
        given.workload("succeeded", version=4, artifact=ARTIFACT),
    )
    growing(broker, "events", [given.event(1), given.event(2, **{"from": "starting", "to": "running"}), given.event(5)])
    growing(broker, "metrics", [given.metric(3), given.metric(4)])
    broker.on("GET", "/v1/workloads/12/logs", {"results": []})
    broker.on("GET", "/v1/workloads/12/artifacts", {"results": [ARTIFACT]})
    broker.on("GET", "/v1/artifacts/9/content", serving(MODEL))
    return broker


def growing(broker: ContractBroker, what: str, rows: list[dict[str, Any]]) -> None:
    """A list that has one row more at each look, and honours `after`."""
    looks = [0]

    def answer(asked: Asked) -> Reply:
        looks[0] += 1
        after = int(asked.query.get("after", 0))
        return Reply(200, {"results": [row for row in rows[: looks[0]] if row["id"] > after]})

    broker.on("GET", f"/v1/workloads/12/{what}", answer)


def ends_as(broker: ContractBroker, state: str, reason: str | None) -> None:
    broker.on("GET", "/v1/workloads/12", given.workload(state, end_reason=reason, why="so it was"))
    broker.on("GET", "/v1/workloads/12/artifacts", {"results": []})


def test_json_tells_the_whole_story_and_each_row_once(story: ContractBroker, yard: Any) -> None:
    said = yard("run", "train.py", "--yes", "--json", "--pull", "out.safetensors", "--", "--lr", "0.1")

    rows = said.rows
    assert [row["type"] for row in rows if row["type"] not in ("workload", "event", "metrics")] == [
        "program",
        "quotes",
        "end",
    ]
    assert [row["event"]["id"] for row in rows if row["type"] == "event"] == [1, 2, 5]
    assert [row["metrics"]["id"] for row in rows if row["type"] == "metrics"] == [3, 4]
    states = [row["workload"]["state"] for row in rows if row["type"] == "workload"]
    assert states == ["placing", "running", "succeeded"]
    assert rows[-1]["workload"]["state"] == "succeeded"
    assert rows[-1]["artifact"]["id"] == 9
    assert rows[-1]["file"] == "out.safetensors"
    assert said.code == rows[-1]["exit_code"] == 0
    assert Path("out.safetensors").read_bytes() == MODEL


def test_the_order_names_the_packed_program_and_the_arguments(story: ContractBroker, yard: Any) -> None:
    yard("run", "train.py", "--yes", "--budget", "5", "--name", "mine", "--", "--lr", "0.1", "--json")

    (uploaded,) = story.calls("PUT", "/v1/programs/.*")
    (ordered,) = story.calls("POST", "/v1/workloads")
    assert uploaded.path.endswith(sha256(uploaded.raw))
    assert ordered.body == {
        "quote": 7,
        "program": sha256(uploaded.raw),
        "script": "train.py",
        "args": ["--lr", "0.1", "--json"],
        "name": "mine",
        "budget_usd": "5.000000",
    }


def test_the_need_is_what_the_flags_say(story: ContractBroker, yard: Any) -> None:
    flags = "--gpu H100-SXM:8 --sites 2 --min-memory 80 --provider a --provider b --region r --country DE --market spot"

    yard("run", "train.py", "--dry-run", *flags.split(), *"--samples 9 --speed 3.5 --deadline 2 --budget 5".split())

    (asked,) = story.calls("POST", "/v1/quotes")
    need = asked.body
    assert len(need.pop("program")) == 64
    assert need == {
        "accelerator": "H100-SXM",
        "accelerators_per_site": 8,
        "sites": 2,
        "min_memory_gib": 80,
        "providers": ["a", "b"],
        "regions": ["r"],
        "countries": ["DE"],
        "markets": ["spot"],
        "samples": 9,
        "samples_per_s": 3.5,
        "deadline_hours": 2,
        "budget_usd": "5.000000",
    }


def test_a_wish_is_any_other_field_of_the_need(story: ContractBroker, yard: Any) -> None:
    flags = "-w accelerators=16 -w not_countries=US,CN -w prefer_own=true -w max_spot_share=0.5 -w residency=EU"

    yard("run", "train.py", "--dry-run", *flags.split(), "-w", "max_usd_per_hour=4.50")

    need = story.calls("POST", "/v1/quotes")[0].body
    assert (need["accelerators"], need["not_countries"], need["prefer_own"]) == (16, ["US", "CN"], True)
    assert (need["max_spot_share"], need["residency"], need["max_usd_per_hour"]) == (0.5, "EU", "4.50")
    assert need["accelerators_per_site"] is None


@pytest.mark.parametrize("wish", ["gpus=8", "sites", "sites=", "sites=two", "prefer_own=maybe", "program=x"])
def test_a_wish_that_is_none_is_refused_before_anything_is_sent(story: ContractBroker, yard: Any, wish: str) -> None:
    assert yard("run", "train.py", "--dry-run", "-w", wish).code == 2
    assert not story.calls("POST", "/v1/quotes")


def test_the_quotes_show_what_may_become_of_them(story: ContractBroker, yard: Any) -> None:
    said = yard("run", "train.py", "--dry-run", "--gpu", "CPU")

    assert "cheapest" in said.out
    assert "$0.59 to $0.71" in said.out
    assert "97 %" in said.out
    assert "1: 1.20 USD more and 11 % slower: home/paris" in said.out


@pytest.mark.parametrize(
    ("said", "meant"), [("12", {"workload": 12, "version": None}), ("12@180", {"workload": 12, "version": 180})]
)
def test_the_order_says_what_it_goes_on_from(story: ContractBroker, yard: Any, said: str, meant: Any) -> None:
    yard("run", "train.py", "--yes", "--detach", "--resume", said)

    assert story.calls("POST", "/v1/workloads")[0].body["resume"] == meant


@pytest.mark.parametrize("said", ["twelve", "12@", "12@newest", "@3"])
def test_what_it_is_to_go_on_from_must_be_understood(story: ContractBroker, yard: Any, said: str) -> None:
    result = yard("run", "train.py", "--yes", "--resume", said)

    assert result.code == 2
    assert "write 12, or 12@180" in result.err
    assert not story.calls("POST", "/v1/workloads")


def test_the_order_says_its_priority(story: ContractBroker, yard: Any) -> None:
    yard("run", "train.py", "--yes", "--detach", "--priority", "-5")

    assert story.calls("POST", "/v1/workloads")[0].body["priority"] == -5


def test_people_read_states_moves_loss_cost_and_where_the_model_is(story: ContractBroker, yard: Any) -> None:
    said = yard("run", "train.py", "--yes")

    assert said.code == 0
    assert "$0.63" in said.out
    assert "deadline_hours: shut out 31" in said.out
    assert "2026-11-22 10:01:00Z  workload 12: placing -> starting  two sites found" in said.out
    assert "version 3  32,000/200,000 samples (16 %)  loss 2.1034  $0.42" in said.out
    assert "Take it home: yard pull 12" in said.out
    assert "\x1b" not in said.out


def test_a_dry_run_sends_and_orders_nothing(story: ContractBroker, yard: Any) -> None:
    said = yard("run", "train.py", "--dry-run", "--json")

    assert [row["type"] for row in said.rows] == ["program", "quotes", "dry_run"]
    assert said.code == 0
    assert {asked.path for asked in story.asked} == {"/v1/quotes"}


def test_detach_returns_at_once(story: ContractBroker, yard: Any) -> None:
    said = yard("run", "train.py", "--yes", "--detach", "--json")

    assert [row["type"] for row in said.rows] == ["program", "quotes", "workload", "detached"]
    assert said.rows[-1]["workload"] == 12
    assert not story.calls("GET", ".*")


def test_a_quote_of_before_is_ordered_without_asking_for_another(story: ContractBroker, yard: Any) -> None:
    said = yard("run", "train.py", "--quote", "77", "--detach")

    assert said.code == 0
    assert not story.calls("POST", "/v1/quotes")
    assert story.calls("POST", "/v1/workloads")[0].body["quote"] == 77


@pytest.mark.parametrize(
    ("state", "reason", "code"),
    [
        ("succeeded", "finished", 0),
        ("failed", "script_error", 10),
        ("failed", "silent", 10),
        ("failed", "no_capacity", 4),
        ("cancelled", "budget", 5),
        ("cancelled", "asked", 11),
    ],
)
def test_the_exit_code_tells_how_it_ended(story: ContractBroker, yard: Any, state: str, reason: str, code: int) -> None:
    ends_as(story, state, reason)

    said = yard("run", "train.py", "--yes")

    assert said.code == code
    assert f"Workload 12 {state} ({reason}): so it was" in said.out


def test_a_run_that_lost_its_machines_and_got_no_others_was_preempted_out(story: ContractBroker, yard: Any) -> None:
    begun = given.workload("failed", end_reason="no_capacity", first_step_at="2026-11-22T10:02:00Z")
    story.on("GET", "/v1/workloads/12", begun)

    assert yard("run", "train.py", "--yes").code == 12
    assert yard("watch", "12", "--json").rows[-1]["exit_code"] == 12


def test_waiting_says_nothing_until_it_has_ended(story: ContractBroker, yard: Any) -> None:
    said = yard("run", "train.py", "--yes", "--wait")

    after = said.out[said.out.index("Ordered workload 12") :].splitlines()
    assert said.code == 0
    assert after[1].startswith("Workload 12 succeeded (finished)")


def test_an_order_keeps_the_idempotency_key_that_it_is_given(story: ContractBroker, yard: Any) -> None:
    yard("run", "train.py", "--yes", "--detach", "--idempotency-key", "night-7")

    assert story.calls("POST", "/v1/workloads")[0].headers["Idempotency-Key"] == "night-7"


def test_an_outage_is_waited_for_and_nothing_is_lost_or_doubled(story: ContractBroker, yard: Any) -> None:
    def metrics_then_dark(asked: Asked) -> Reply:
        if len(story.calls("GET", "/v1/workloads/12/metrics")) == 1:
            story.drop = 3
        after = int(asked.query["after"])
        return Reply(200, {"results": [row for row in [given.metric(3), given.metric(4)] if row["id"] > after]})

    story.on("GET", "/v1/workloads/12/metrics", metrics_then_dark)

    said = yard("run", "train.py", "--yes", "--json")

    assert said.code == 0
    assert said.err.count("broker unreachable, waiting") == 1
    assert said.err.count("broker is back") == 1
    assert [row["event"]["id"] for row in said.rows if row["type"] == "event"] == [1, 2, 5]
    assert [row["metrics"]["id"] for row in said.rows if row["type"] == "metrics"] == [3, 4]
    assert [asked.query["after"] for asked in story.calls("GET", "/v1/workloads/12/metrics")[:2]] == ["0", "4"]


def test_a_pull_that_fails_does_not_hide_how_it_ended(story: ContractBroker, yard: Any) -> None:
    story.on("GET", "/v1/artifacts/9/content", serving(b"?" * len(MODEL)))

    said = yard("run", "train.py", "--yes", "--json", "--pull", "m")

    assert [row["type"] for row in said.rows[-2:]] == ["end", "error"]
    assert said.rows[-1]["error"]["code"] == "hash_mismatch"
    assert said.code == 1
    assert not Path("m").exists()


@pytest.mark.parametrize(
    ("call", "status", "code", "exit_code"),
    [
        ("/v1/quotes", 422, "need_unmet", 4),
        ("/v1/quotes", 422, "budget_below_cheapest", 5),
        ("/v1/workloads", 402, "credit_exhausted", 5),
        ("/v1/workloads", 409, "quote_expired", 1),
        ("/v1/workloads", 403, "scope_missing", 3),
    ],
)
def test_a_refused_order_ends_with_its_code(
    story: ContractBroker, yard: Any, call: str, status: int, code: str, exit_code: int
) -> None:
    story.on("POST", call, refusal(status, code))

    said = yard("run", "train.py", "--yes", "--json")

    assert said.code == exit_code
    assert said.rows[-1] == {"type": "error", "error": {**said.rows[-1]["error"], "code": code, "status": status}}
    assert f"Error: about {code}" in said.err


@pytest.mark.parametrize(
    ("arguments", "said_so"),
    [
        (["nope.py", "--yes"], "script nope.py does not exist"),
        (["train.py"], "add --yes, --quote ID or --dry-run"),
        (["train.py", "--yes", "--gpu", "H100:x"], "is not KIND or KIND:COUNT"),
        (["train.py", "--yes", "--budget", "-3"], "is not an amount of USD"),
        (["train.py", "--yes", "--budget", "nan"], "is not an amount of USD"),
        (["train.py", "--yes", "--deadline", "0"], "is not a positive number"),
        (["train.py", "--yes", "--sites", "0"], "--sites"),
        (["train.py", "--yes", "--market", "free"], "--market"),
        (["train.py", "--yes", "--epochs", "3"], "--epochs"),
        (["train.py", "--quote", "7", "--sites", "2"], "leave out"),
        (["train.py", "--yes", "--detach", "--pull", "x"], "yard pull ID"),
        (["train.py", "--yes", "--detach", "--wait"], "they do not wait"),
    ],
)
def test_wrong_usage_is_told_with_2_and_nothing_is_asked(
    story: ContractBroker, yard: Any, arguments: list[str], said_so: str
) -> None:
    said = yard("run", *arguments)
    as_json = yard("run", *arguments, "--json")

    assert said.code == as_json.code == 2
    assert said_so in said.err
    assert said.out == ""
    assert as_json.rows[-1]["type"] == "error"
    assert as_json.rows[-1]["error"]["exit_code"] == 2
    assert story.asked == []


def test_json_after_the_two_dashes_is_for_the_script(story: ContractBroker, yard: Any) -> None:
    said = yard("run", "train.py", "--", "--json")

    assert said.code == 2
    assert said.out == ""


def test_on_a_terminal_the_quote_is_asked_for_and_a_bar_is_shown(story: ContractBroker, tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    source = str(Path(__file__).parents[2] / "frontend" / "client")
    process = subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, "-W", "error", "-m", "gpuyard", "run", "train.py", "--pull", "m"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": source, "TERM": "xterm", "COLUMNS": "150"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    while b"Which rank?" not in shown:
        shown += os.read(ours, 65536)

    os.write(ours, b"9\n2\n")
    while True:
        try:
            shown += os.read(ours, 65536)
        except OSError:  # The other side has closed: the end.
            break
    os.close(ours)

    assert process.wait(timeout=30) == 0, shown.decode()
    assert story.calls("POST", "/v1/workloads")[0].body["quote"] == 8
    assert b"There is no rank 9" in shown
    assert b"Machines found: two sites found" in shown
    assert b"\xe2\x94\x81" in shown  # the bar
    assert (tmp_path / "m").read_bytes() == MODEL


def test_ctrl_c_leaves_it_running_and_says_how_to_stop_it(story: ContractBroker, tmp_path: Path) -> None:
    story.on("GET", "/v1/workloads/12", given.workload("running"))
    command = [sys.executable, "-W", "error", "-m", "gpuyard", "run", "train.py", "--yes"]
    source = str(Path(__file__).parents[2] / "frontend" / "client")
    process = subprocess.Popen(  # noqa: S603 - our own command
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": source, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "two sites found" in line:
            break

    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)

    assert process.returncode == 130
    assert "Workload 12 goes on" in err
    assert "yard stop 12" in err
    assert "Traceback" not in err
    assert not story.calls("POST", "/v1/workloads/12/stop")
