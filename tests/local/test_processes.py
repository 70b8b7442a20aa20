"""The supervisor keeps children running and leaves nothing behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from broker.local import leftovers
from broker.local.processes import LOG_BYTES, AlreadyRunning, Child, NotReady, Supervisor

PROJECT = Path(__file__).resolve().parents[2]
SLEEP = (sys.executable, "-S", "-c", "import time; time.sleep(300)")
STUBBORN = (
    sys.executable,
    "-S",
    "-c",
    "import signal, time\nfor n in (signal.SIGTERM, signal.SIGINT): signal.signal(n, signal.SIG_IGN)\n"
    "print('deaf', flush=True)\ntime.sleep(300)",
)
# A child that starts a process in a session of its own, as Ray does, and tells its number.
HIDER = (
    sys.executable,
    "-S",
    "-c",
    "import subprocess, sys, time\n"
    "hidden = subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(300)'], start_new_session=True)\n"
    "print(hidden.pid, flush=True)\ntime.sleep(300)",
)


def eventually(question: Callable[[], bool], *, within_s: float = 10.0) -> bool:
    deadline = time.monotonic() + within_s
    while not question():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def marked(state: Path) -> set[int]:
    return leftovers.carriers(variable="GPUYARD_RUN", value=str(state.resolve()))


def test_starts_a_crashed_child_again_with_growing_patience(
    supervisor: Supervisor, state: Path, said: list[str]
) -> None:
    supervisor.start(Child("crasher", (sys.executable, "-S", "-c", "print('once'); raise SystemExit(3)")))

    supervisor.wait_until(lambda: supervisor.crashes("crasher") == 3, timeout_s=10, what="three crashes")

    assert [line.split(" in ")[1].split(";")[0] for line in said] == ["0.5 s", "1 s", "2 s"]
    assert all("ended with code 3" in line for line in said)
    assert (state / "log" / "crasher.log").read_text() == "once\n" * 3


def test_a_killed_child_is_another_process_afterwards(supervisor: Supervisor, state: Path) -> None:
    supervisor.start(Child("sleeper", SLEEP, environment={"COLOUR": "green"}))
    (former,) = marked(state)

    os.kill(former, signal.SIGKILL)
    supervisor.wait_until(lambda: marked(state) not in ({former}, set()), timeout_s=10, what="another process")

    assert len(marked(state)) == 1
    assert marked(state) == leftovers.carriers(variable="COLOUR", value="green")


def test_a_child_that_is_held_down_stays_down_until_it_may_rise(supervisor: Supervisor, state: Path) -> None:
    stay_down = state / "stay-down"
    supervisor.start(Child("host", SLEEP, stay_down=stay_down))
    (former,) = marked(state)

    stay_down.touch()
    os.kill(former, signal.SIGKILL)
    supervisor.wait_until(lambda: supervisor.crashes("host") == 1, timeout_s=5, what="its end")
    with pytest.raises(NotReady):
        supervisor.wait_until(lambda: supervisor.is_running("host"), timeout_s=1.0, what="a start")
    stay_down.unlink()

    supervisor.wait_until(lambda: supervisor.is_running("host"), timeout_s=5, what="a start")


def test_ends_all_even_what_hides_in_another_session_or_does_not_listen(state: Path, said: list[str]) -> None:
    with Supervisor(state, say=said.append, cwd=state) as supervisor:
        supervisor.start(Child("hider", HIDER))
        supervisor.start(Child("stubborn", STUBBORN, grace_s=0.3))
        logs = (supervisor.log_of("hider"), supervisor.log_of("stubborn"))
        supervisor.wait_until(lambda: all(log.stat().st_size for log in logs), timeout_s=5, what="both")
        hidden = int(logs[0].read_text())
        assert len(marked(state)) == 3

    assert marked(state) == set()
    assert not Path(f"/proc/{hidden}/cwd").exists()


def test_stops_in_reverse_order_of_rank(state: Path, said: list[str]) -> None:
    program = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print(time.monotonic(), flush=True), sys.exit()))\n"
        "print('up', flush=True)\ntime.sleep(300)"
    )
    with Supervisor(state, say=said.append, cwd=state) as supervisor:
        for name, rank in (("low", 0), ("high", 2), ("middle", 1)):
            supervisor.start(Child(name, (sys.executable, "-S", "-c", program), rank=rank))
        logs = {name: supervisor.log_of(name) for name in ("high", "middle", "low")}
        supervisor.wait_until(lambda: all(log.stat().st_size for log in logs.values()), timeout_s=5, what="all")

    ended = [float(log.read_text().split()[1]) for log in logs.values()]
    assert ended == sorted(ended)


def test_runs_a_command_to_its_end_and_says_why_it_failed(supervisor: Supervisor) -> None:
    told = supervisor.run("tell", ("sh", "-c", "echo $WORD"), environment={"WORD": "yes"}, timeout_s=5)

    assert told == "yes\n"
    with pytest.raises(NotReady, match="(?s)code 4.*no table"):
        supervisor.run("fail", ("sh", "-c", "echo no table >&2; exit 4"), environment={}, timeout_s=5)
    with pytest.raises(NotReady, match="within 0 s"):
        supervisor.run("slow", SLEEP, environment={}, timeout_s=0.2)


def test_a_second_supervisor_is_told_who_holds_the_place(supervisor: Supervisor, state: Path, said: list[str]) -> None:
    supervisor.start(Child("sleeper", SLEEP))

    with (
        pytest.raises(AlreadyRunning, match=rf"in use by process {os.getpid()}\b.*GPUYARD_HOME"),
        Supervisor(state, say=said.append, cwd=state),
    ):
        pytest.fail("two supervisors hold one place")

    assert supervisor.is_running("sleeper")


def test_a_log_that_grew_too_large_is_set_aside(supervisor: Supervisor, state: Path) -> None:
    log = state / "log" / "sleeper.log"
    log.write_bytes(b"x" * (LOG_BYTES + 1))

    supervisor.start(Child("sleeper", SLEEP))

    assert log.stat().st_size == 0
    assert log.with_suffix(".log.1").stat().st_size == LOG_BYTES + 1


SUPERVISE = """
import pathlib, sys
from broker.local.processes import Child, StopRequested, Supervisor, stop_on_signals
state = pathlib.Path(sys.argv[1])
try:
    with stop_on_signals(), Supervisor(state, say=print, cwd=state) as supervisor:
        supervisor.start(Child("hider", eval(sys.argv[2])))
        supervisor.watch()
except StopRequested as request:
    print("stopped by", request)
"""


def supervise_elsewhere(state: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SUPERVISE, str(state), repr(HIDER)]
    process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    log = state / "log" / "hider.log"
    assert eventually(lambda: log.exists() and log.read_text().strip().isdigit())
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything(state: Path, number: signal.Signals) -> None:
    process = supervise_elsewhere(state)
    assert len(marked(state)) == 2

    process.send_signal(number)
    output, _ = process.communicate(timeout=15)

    assert output == f"stopped by {number.name}\n"
    assert marked(state) == set()


def test_a_start_after_kill_9_ends_what_the_former_life_left(state: Path, said: list[str]) -> None:
    process = supervise_elsewhere(state)
    former = marked(state)
    process.kill()
    process.communicate()
    assert marked(state) == former
    assert len(former) == 2

    with Supervisor(state, say=said.append, cwd=state):
        assert marked(state) == set()

    assert said == ["ended 2 processes that a former life had left"]


def test_never_ends_itself_or_the_shell_it_was_started_from(state: Path) -> None:
    program = "from broker.local import leftovers\nprint(leftovers.carriers(variable='GPUYARD_RUN', value='here'))"
    shell = f'{sys.executable} -c "{program}"; true'

    done = subprocess.run(
        ["sh", "-c", shell], cwd=PROJECT, env={**os.environ, "GPUYARD_RUN": "here"}, capture_output=True, text=True
    )

    assert done.stdout == "set()\n"
