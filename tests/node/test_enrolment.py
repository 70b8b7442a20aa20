"""Enrolling: once, asked as often as needed, with a key nobody else has."""

import json
import stat
import threading

import pytest

from workloads.node.enrolment import NotEnrolled, StateTaken, Stopped, identify, take

from .conftest import wait_for


def enrol(broker, state, *, token="token", stop=None):
    state.mkdir(exist_ok=True)
    return identify(
        broker=broker.url,
        token=token,
        state=state,
        hardware={"hostname": "h"},
        address="127.0.0.1",
        stop=stop or threading.Event(),
    )


def test_a_lost_answer_is_asked_for_again_with_the_same_key(broker, tmp_path):
    broker.tokens["token"] = 7
    broker.lose_answers = 2

    identity = enrol(broker, tmp_path)

    assert identity.host == 7
    assert broker.lose_answers == 0
    assert identity.authorization.startswith("Agent 7.")


def test_the_key_is_on_the_disk_for_its_owner_alone_and_serves_without_a_token(broker, tmp_path):
    broker.tokens["token"] = 7

    first = enrol(broker, tmp_path)
    again = enrol(broker, tmp_path, token=None)

    assert again == first
    assert stat.S_IMODE((tmp_path / "key.json").stat().st_mode) == 0o600
    assert len(json.loads((tmp_path / "key.json").read_text())["secret"]) >= 43  # 32 bytes in base64


@pytest.mark.parametrize(("token", "says"), [("wrong", "no host waits"), (None, "--token")])
def test_without_a_good_token_it_says_why(broker, tmp_path, token, says):
    with pytest.raises(NotEnrolled, match=says):
        enrol(broker, tmp_path, token=token)


def test_a_token_serves_one_machine(broker, tmp_path):
    broker.tokens["token"] = 7
    enrol(broker, tmp_path / "one")

    with pytest.raises(NotEnrolled, match="used by another machine"):
        enrol(broker, tmp_path / "two")


def test_it_waits_for_a_broker_that_is_away_and_can_be_stopped(broker, tmp_path):
    broker.tokens["token"], broker.down, stop, ended = 7, True, threading.Event(), []

    def wait_in_vain():
        with pytest.raises(Stopped):
            enrol(broker, tmp_path, stop=stop)
        ended.append(True)

    thread = threading.Thread(target=wait_in_vain)
    thread.start()
    wait_for((tmp_path / "key.json").exists)
    stop.set()
    thread.join(5)

    assert ended


def test_a_state_directory_has_one_agent(tmp_path):
    with take(tmp_path), pytest.raises(StateTaken, match="another agent"):
        take(tmp_path)
    take(tmp_path).close()
