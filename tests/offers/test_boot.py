"""What a rented machine boots with. Some of these run the script for real, in directories of their own."""

from __future__ import annotations

import base64
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psutil
import pytest
from django.db import connection
from django.utils import timezone

from offers import boot
from offers.models import Host, Rental
from offers.operations import EnrolRefused, enrol, hashed
from tests.processes import living

BYTES_MAX = 8 << 10  # Of the 16 KiB in base64 that EC2 takes as user data.
HARDWARE = {"vcpus": 8, "accelerators": [{"kind": "NVIDIA L4", "memory_gib": 22.0, "uuid": "GPU-1"}]}


def prepare(now, key="lease-7"):
    return boot.prepare_machine(
        key=key, provider="fake", region="reykjavik", country="IS", usd_per_hour=Decimal("2.5"), now=now
    )


def let_in(key, now, *, secret="secret"):
    return enrol(token=boot.token_of(key), key_sha256=hashed(secret), address="10.0.0.7", hardware=HARDWARE, now=now)


class TestScript:
    @pytest.fixture(autouse=True)
    def _known(self, settings):
        settings.SECRET_KEY = "a key that does not change"
        settings.PUBLIC_URL = "https://broker.example/"

    def test_is_bash_and_small(self):
        script = boot.startup_script(key="lease-7")

        assert subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True).stderr == ""
        assert script.startswith("#!/bin/bash\n"), "cloud-init looks at the first line"
        assert len(script) < BYTES_MAX
        assert len(base64.b64encode(script.encode())) < 16 << 10

    def test_is_the_same_at_every_asking_and_another_for_another_machine(self):
        assert boot.startup_script(key="lease-7") == boot.startup_script(key="lease-7")
        assert boot.token_of("lease-7") != boot.token_of("lease-8")
        assert boot.token_of("lease-7") in boot.startup_script(key="lease-7")

    def test_an_address_that_bash_would_read_otherwise_stays_what_it_is(self, settings, tmp_path):
        settings.PUBLIC_URL = "https://broker.example/$(touch broken)'\" x"
        stub(tmp_path, "setsid", 'grep "^BROKER=" "$2" > told')

        run_script(boot.startup_script(key="lease-7"), tmp_path)

        until((tmp_path / "told").exists)
        assert subprocess.run(
            ["bash", "-c", f'. {tmp_path}/told; printf %s "$BROKER"'], capture_output=True, text=True
        ).stdout == settings.PUBLIC_URL  # fmt: skip
        assert not (tmp_path / "broken").exists()

    def test_with_systemd_it_becomes_a_unit_that_is_restarted(self, tmp_path):
        stub(tmp_path, "systemctl", '[ "$1" = show ]')
        stub(tmp_path, "systemd-run", 'printf "%s\\n" "$@" > unit')

        run_script(boot.startup_script(key="lease-7"), tmp_path)

        unit = (tmp_path / "unit").read_text().splitlines()
        assert "--unit=gpuyard-agent" in unit
        assert "--property=Restart=always" in unit
        assert unit[-2:] == ["bash", str(tmp_path / "gpuyard" / "run.sh")]

    def test_a_unit_that_runs_is_left_alone(self, tmp_path):
        stub(tmp_path, "systemctl", "true")
        stub(tmp_path, "systemd-run", "touch unit")

        run_script(boot.startup_script(key="lease-7"), tmp_path)

        assert not (tmp_path / "unit").exists()

    def test_a_python_that_is_too_old_is_joined_by_one_from_apt(self, tmp_path):
        """As on Ubuntu 22.04: python3 is 3.10, python3.11 is in its archive."""
        for name in ("python3", "python3.12", "python3.13", "python3.11"):
            stub(tmp_path, name, "exit 1")
        new = 'case "$2" in *version_info*) exit 0;; *) echo "$@" > made; exit 1;; esac'
        stub(
            tmp_path,
            "apt-get",
            f"""echo "$@" >> got
            case "$*" in *install*python3.11-venv) printf '#!/bin/bash\\n%s\\n' {shell(new)} > bin/python3.11;; esac""",
        )

        run_script(boot.startup_script(key="lease-7"), tmp_path, foreground_s=1)

        got = [line.split(" -q -y ")[1] for line in (tmp_path / "got").read_text().splitlines()]
        assert got[:3] == ["update", "install python3-venv", "install python3.11-venv"]
        assert "-m venv" in (tmp_path / "made").read_text()


def shell(text):
    return "'" + text.replace("'", "'\\''") + "'"


def stub(root, name, body):
    (root / "bin").mkdir(exist_ok=True)
    (root / "bin" / name).write_text(f"#!/bin/bash\n{body}\n")
    (root / "bin" / name).chmod(0o755)


def environment_of(root, **more):
    keep = {name: value for name, value in os.environ.items() if not name.startswith(("GPUYARD_", "PYTHON", "VIRTUAL"))}
    own = {"GPUYARD_DIR": str(root / "gpuyard"), "GPUYARD_LOG": str(root / "agent.log"), "HOME": str(root)}
    return {**keep, **own, "PATH": f"{root / 'bin'}:{os.environ['PATH']}", **more}


def run_script(script, root, *, foreground_s=None):
    """Run it to its end, or as a container's command for so long."""
    more = {"GPUYARD_FOREGROUND": "1"} if foreground_s else {}
    process = subprocess.Popen(["bash"], stdin=subprocess.PIPE, env=environment_of(root, **more), cwd=root)
    try:
        process.communicate(script.encode(), timeout=foreground_s or 20)
        assert process.returncode == 0
    except subprocess.TimeoutExpired:
        assert foreground_s
        process.terminate()
        process.wait(timeout=20)


def until(true, *, within_s=60.0):
    late_s = time.monotonic() + within_s
    while not (value := true()):
        assert time.monotonic() < late_s, f"not within {within_s} s"
        time.sleep(0.05)
    return value


@pytest.mark.django_db
class TestToken:
    def test_lets_one_agent_in_and_nobody_else(self, clock):
        prepare(clock.now)

        assert let_in("lease-7", clock.now).name == "lease-7"
        assert let_in("lease-7", clock.now).name == "lease-7", "the first answer may have been lost"
        with pytest.raises(EnrolRefused, match="used already"):
            let_in("lease-7", clock.now, secret="another")
        with pytest.raises(EnrolRefused, match="never given out"):
            let_in("lease-8", clock.now)

    def test_is_worth_nothing_once_the_machine_has_ended(self, clock):
        host = prepare(clock.now)
        let_in("lease-7", clock.now)

        boot.end_machine(key="lease-7", now=clock.now)

        for secret in ("secret", "another"):
            with pytest.raises(EnrolRefused, match="expired"):
                let_in("lease-7", clock.now, secret=secret)
        host.refresh_from_db()
        assert host.key_sha256 == ""

    def test_is_worth_nothing_after_an_hour(self, clock):
        prepare(clock.now)

        with pytest.raises(EnrolRefused, match="expired"):
            let_in("lease-7", clock.now + timedelta(hours=1))


@pytest.fixture
def packages(tmp_path):
    """What pip would fetch for the extra [node] is there already, as in an image: all of this environment but us."""
    mirror = tmp_path / "packages"
    mirror.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if not path.name.lower().startswith(("gpuyard", "_gpuyard", "pip")) and path.suffix != ".pth":
            (mirror / path.name).symlink_to(path)
    return mirror


@pytest.fixture
def web(transactional_db, settings, tmp_path):
    """A real web process on this test's database; returns its address."""
    database = urlsplit(os.environ["DATABASE_URL"])
    database = database._replace(path=f"/{connection.settings_dict['NAME']}")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (tmp_path / "web.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "broker.asgi:application", "--port", str(port), "--lifespan", "on"],
            env={**os.environ, "DATABASE_URL": urlunsplit(database)},
            stdout=log,
            stderr=log,
        )
    settings.PUBLIC_URL = f"http://127.0.0.1:{port}"
    until(lambda: "Application startup complete" in (tmp_path / "web.log").read_text())
    yield settings.PUBLIC_URL
    process.terminate()
    process.wait(timeout=20)


@pytest.mark.journey
def test_a_machine_boots_its_agent_calls_home_and_comes_back_when_it_dies(web, tmp_path, packages):
    prepare(timezone.now())
    script = boot.startup_script(key="lease-7")
    environment = environment_of(tmp_path, PYTHONPATH=str(packages), PIP_NO_INDEX="1")
    environment["PATH"] = f"{Path(sys.base_prefix) / 'bin'}:{environment['PATH']}"

    def start():
        return subprocess.run(["bash", "-c", script], env=environment, cwd=tmp_path, timeout=30, check=True)

    try:
        start()
        until(lambda: Host.objects.get().key_sha256)
        (agent,) = agents(tmp_path)
        host = Host.objects.get()
        assert host.hardware["accelerators"]
        assert host.address
        assert Rental.objects.get(key="lease-7").ended_at is None
        until(lambda: Host.objects.get().seen_at > host.seen_at)

        start()
        agent.kill()
        (back,) = until(lambda: agents(tmp_path, but=agent.pid))
        seen_at = Host.objects.get().seen_at
        until(lambda: Host.objects.get().seen_at > seen_at)
        assert len(agents(tmp_path)) == 1
        assert Host.objects.get().key_sha256 == host.key_sha256

        back.parent().send_signal(signal.SIGTERM)
        until(lambda: not back.is_running())
        assert Host.objects.get().reclaim_at is not None, "its last word was that it leaves"
        assert not agents(tmp_path)
    finally:
        for process in ours(tmp_path):
            process.kill()
        sys.stdout.write((tmp_path / "agent.log").read_text() if (tmp_path / "agent.log").exists() else "no log")
        shutil.rmtree(tmp_path / "gpuyard", ignore_errors=True)


def ours(root, word=""):
    """The processes that the script of this directory started, with this word on their command line."""
    found = []
    for process in living():
        try:
            line = process.cmdline()
        except psutil.Error:  # It ended while we looked.
            continue
        if str(root / "gpuyard") in " ".join(line) and (not word or word in line):
            found.append(process)
    return found


def agents(root, but=None):
    return [process for process in ours(root, "gpuyard.node") if process.pid != but]
