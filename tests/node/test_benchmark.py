"""A host measures itself when it is idle, once, and never in the way of a lease."""

import json
import os
import signal

import pytest

from workloads.node import benchmark
from workloads.node.benchmark import IDLE_S, Benchmark

from .conftest import wait_for

CPU = [{"kind": "CPU", "memory_gib": 4.0, "uuid": "cpu-0"}]
MEASURED = [{"precision": "fp32", "compute": [[1, 1]], "memory": [[1, 1]], "launch_s": 1e-6}]


def failing(*given, **more):
    raise OSError("no space left on device")


class Measurer:
    """Stands for `subprocess.Popen` of the yardstick."""

    def __init__(self, command, **options):
        self.command, self.pid, self.returncode = command, os.getpid(), None
        self.code, self.ended = 0, False

    def poll(self):
        self.returncode = self.code if self.ended else None
        return self.returncode

    def communicate(self):
        return json.dumps(MEASURED).encode(), None


@pytest.fixture
def now():
    return [1000.0]


@pytest.fixture
def started(monkeypatch):
    started = []
    monkeypatch.setattr(benchmark.subprocess, "Popen", lambda *a, **k: started.append(Measurer(*a, **k)) or started[-1])
    monkeypatch.setattr(benchmark.os, "setpriority", lambda *given: None)
    monkeypatch.setattr(benchmark.os, "killpg", lambda *given: None)
    return started


@pytest.fixture
def bench(tmp_path, now):
    return Benchmark(state=tmp_path, shares=1, clock=lambda: now[0])


class TestBenchmark:
    def idle(self, bench, now, seconds):
        bench.go_on(CPU, leased=False)
        now[0] += seconds
        bench.go_on(CPU, leased=False)

    def test_measures_once_after_a_while_without_a_lease(self, bench, now, started, tmp_path):
        self.idle(bench, now, IDLE_S - 1)
        assert started == []
        self.idle(bench, now, 1)
        assert len(started) == 1
        assert bench.measured(CPU) == []
        started[0].ended = True
        self.idle(bench, now, 100)
        self.idle(bench, now, 100)

        assert bench.measured(CPU) == MEASURED
        assert len(started) == 1
        assert Benchmark(state=tmp_path, shares=1).measured(CPU) == MEASURED

    def test_ends_when_a_lease_comes_and_begins_again_later(self, bench, now, started):
        self.idle(bench, now, IDLE_S)
        bench.go_on(CPU, leased=True)
        self.idle(bench, now, IDLE_S - 1)
        assert len(started) == 1

        self.idle(bench, now, 1)

        assert len(started) == 2

    def test_another_machine_is_measured_anew(self, bench, tmp_path, now, started):
        self.idle(bench, now, IDLE_S)
        started[0].ended = True
        self.idle(bench, now, 1)

        assert bench.measured([*CPU, *CPU]) == []
        assert bench.measured([{**CPU[0], "kind": "NVIDIA A10"}]) == []

    @pytest.mark.parametrize("ends", ["fails", "hangs"])
    def test_that_fails_or_hangs_is_left_at_that(self, bench, now, started, ends):
        self.idle(bench, now, IDLE_S)
        started[0].ended, started[0].code = ends == "fails", 1
        self.idle(bench, now, benchmark.WITHIN_S + 1)
        self.idle(bench, now, IDLE_S)
        self.idle(bench, now, IDLE_S)

        assert bench.measured(CPU) == []
        assert len(started) == 1

    @pytest.mark.parametrize("trouble", ["no process", "a full disk", "garbage"])
    def test_no_trouble_of_its_own_ends_the_agent(self, bench, now, started, monkeypatch, trouble, tmp_path):
        if trouble == "no process":
            monkeypatch.setattr(benchmark.os, "setpriority", failing)
        self.idle(bench, now, IDLE_S)
        if trouble == "a full disk":
            monkeypatch.setattr(benchmark.Path, "write_text", failing)
        elif trouble == "garbage":
            monkeypatch.setattr(Measurer, "communicate", lambda self: (b"?", None))
        started[0].ended = True
        self.idle(bench, now, IDLE_S)
        self.idle(bench, now, IDLE_S)

        assert bench.measured(CPU) == []
        assert len(started) == 1

    def test_a_file_that_was_spoilt_counts_as_none(self, bench, tmp_path):
        for text in ("", "[]", '{"of": 1}', "{"):
            (tmp_path / "benchmark.json").write_text(text)
            assert bench.measured(CPU) == []


def test_the_yardstick_runs_as_a_process_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "IDLE_S", 0.0)
    bench = Benchmark(state=tmp_path, shares=1)

    def step():
        bench.go_on(CPU, leased=False)
        return bench.measured(CPU)

    wait_for(step, within_s=60)

    assert bench.measured(CPU)[0]["launch_s"] > 0


def test_a_lease_ends_the_process_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "IDLE_S", 0.0)
    bench = Benchmark(state=tmp_path, shares=1)
    bench.go_on(CPU, leased=False)
    measurer = bench._measurer

    bench.go_on(CPU, leased=True)

    assert measurer.returncode == -signal.SIGKILL
    assert bench.measured(CPU) == []


def test_an_agent_tells_what_was_measured(broker, start_agent):
    agent = start_agent()
    wait_for(lambda: broker.beats.get(7))
    assert broker.beats[7][-1]["hardware"]["benchmarks"] == []
    kinds = [chip["kind"] for chip in broker.beats[7][-1]["hardware"]["accelerators"]]
    threads = max(1, len(os.sched_getaffinity(0)) // len(kinds))
    (agent.state / "benchmark.json").write_text(json.dumps({"of": [threads, *kinds], "measured": MEASURED}))

    wait_for(lambda: broker.beats[7][-1]["hardware"]["benchmarks"] == MEASURED)
