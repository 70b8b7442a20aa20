"""Time, people, hosts and sites for tests. The hosts and sites speak the real protocol to the real views."""

from __future__ import annotations

import io
import json
import os
import tarfile
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np
import pytest
from django.test import Client
from hypothesis import settings as hypothesis

from providers import registry

hypothesis.register_profile("patient", deadline=None)  # How long an example takes says how busy the machine is.
hypothesis.load_profile("patient")
collect_ignore = [] if os.environ.get("GPUYARD_E2E") else ["e2e"]  # Those need a browser: `make e2e`.
NOON = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


class Clock:
    """Time for tests. It moves when told to."""

    def __init__(self) -> None:
        self.now = NOON

    def forward(self, **span: float) -> datetime:
        self.now += timedelta(**span)
        return self.now


@pytest.fixture
def clock(monkeypatch):
    ticking = Clock()
    monkeypatch.setattr("django.utils.timezone.now", lambda: ticking.now)
    return ticking


@pytest.fixture(autouse=True)
def _quiet_world(settings, tmp_path, monkeypatch):
    """No test reads the real internet, another test's objects or a real bell."""
    settings.PRICE_LISTS = []
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": str(tmp_path)}
    }  # Attempts are counted anew.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # Good ones are slow on purpose.
    settings.CATALOG_DIR = ""
    settings.OBJECTS_URL = str(tmp_path / "objects")
    monkeypatch.setattr("offers.accounts.mark", lambda: "")  # A fake cloud is looked into by bare keys.
    monkeypatch.setitem(registry.PROVIDERS, "fake", "providers.fake.Fake")
    monkeypatch.setattr("workloads.bell.ring", lambda kind, pk: None)
    monkeypatch.setattr("workloads.bell.ring_for_seekers", lambda: None)
    # A test's own transaction never commits: what waits for the commit happens at once.
    monkeypatch.setattr("django.db.transaction.on_commit", lambda act, using=None, robust=False: act())


class Caller:
    """A program with an API key, speaking JSON; `team` is whose key it is."""

    def __init__(self, client: Any, key: str, user: Any = None, team: Any = None) -> None:
        self.client, self.key, self.user, self.team = client, key, user, team

    def call(self, method: str, path: str, body: Any = None, *, raw: bytes | None = None, **headers: str) -> Any:
        data = raw if raw is not None else json.dumps(body) if body is not None else b""
        kind = "application/octet-stream" if raw is not None else "application/json"
        sent = {"HTTP_AUTHORIZATION": f"Bearer {self.key}"} | {f"HTTP_{k.upper()}": v for k, v in headers.items()}
        return self.client.generic(method, path, data, content_type=kind, **sent)

    def ok(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        answer = self.call(method, path, body, **more)
        assert answer.status_code < 300, (answer.status_code, answer.content)
        return answer.json()

    def refused(self, method: str, path: str, body: Any = None, **more: Any) -> tuple[int, str]:
        answer = self.call(method, path, body, **more)
        assert answer.status_code >= 400, answer.content
        return answer.status_code, answer.json()["error"]["code"]


@pytest.fixture
def _contract(monkeypatch):
    """Every answer that a test gets is held against the schema."""
    from tests import contract

    ask = Client.request

    def request(self: Client, **environ: Any) -> Any:
        answer = ask(self, **environ)
        contract.check(environ["REQUEST_METHOD"], environ["PATH_INFO"], environ.get("QUERY_STRING", ""), answer)
        return answer

    monkeypatch.setattr(Client, "request", request)


@pytest.fixture
def make_caller(db, client, _contract):
    from django.utils import timezone

    from billing.operations import grant
    from broker.identity.models import Team, User
    from broker.identity.operations import make_key, own_team
    from broker.identity.scopes import OF_STAFF, SCOPES

    def make(name: str, *, scopes: tuple[str, ...] = SCOPES, credit: str = "100") -> Caller:
        now = timezone.now()
        # No team has its owner's number: who takes one for the other is found out.
        Team.objects.get_or_create(name="nobody's", defaults={"created_at": now})
        user, _ = User.objects.get_or_create(username=name, defaults={"is_staff": bool(OF_STAFF & set(scopes))})
        own = own_team(user=user, now=now)
        grant(team_id=own.team_id, amount_usd=Decimal(credit), source=f"test-{user.pk}", now=now)
        _, key = make_key(membership=own, name="test", scopes=scopes, now=now)
        return Caller(client, key, user, own.team)

    return make


@pytest.fixture
def ada(make_caller, clock):
    return make_caller("ada")


@pytest.fixture
def owner(make_caller, clock):
    """A supplier."""
    return make_caller("owner", credit="1")


CPU = {"kind": "CPU", "memory_gib": 8.0, "uuid": "cpu-0"}


class Agent:
    """A host's agent, as far as the broker can see."""

    def __init__(self, client: Any, host: int, secret: str, address: str, hardware: dict[str, Any]) -> None:
        self.client, self.host, self.secret, self.address, self.hardware = client, host, secret, address, hardware
        self.phase: dict[int, dict[str, Any]] = {}
        self.orders: dict[int, dict[str, Any]] = {}

    def post(self, path: str, body: dict[str, Any]) -> Any:
        header = f"Agent {self.host}.{self.secret}"
        return self.client.post(path, json.dumps(body), content_type="application/json", HTTP_AUTHORIZATION=header)

    def beat(self, **said: Any) -> list[dict[str, Any]]:
        """Say what is true and do what the answer orders: a head that is ordered runs at once."""
        nodes = [{"lease": lease, **phase} for lease, phase in self.phase.items()]
        body = {"boot_id": "b", "version": "t", "address": self.address, "hardware": self.hardware, "nodes": nodes}
        answer = self.post("/v1/agent/beat", body | said)
        assert answer.status_code == 200, answer.content
        self.orders = {order["lease"]: order for order in answer.json()["nodes"]}
        self.phase = {
            lease: self.phase.get(lease, {"phase": "running", "exit_code": None, "error": None})
            for lease in self.orders
        }
        return list(self.orders.values())

    def exit(self, code: int, message: str = "") -> None:
        error = {"code": "script_error", "message": message} if message else None
        for phase in self.phase.values():
            phase.update(phase="exited", exit_code=code, error=error)

    def fail(self, code: str, message: str) -> None:
        for phase in self.phase.values():
            phase.update(phase="failed", error={"code": code, "message": message})


@pytest.fixture
def make_host(owner, client):
    def make(
        name: str, region: str, *, usd: str = "0.06", hardware: dict[str, Any] | None = None, by: Any = None
    ) -> Agent:
        supplier = by or owner
        host = supplier.ok("POST", "/v1/hosts", {"name": name, "region": region, "usd_per_hour": usd})
        secret = f"secret-of-{name}" * 3
        hardware = hardware or {"hostname": name, "vcpus": 2, "ram_gib": 8, "accelerators": [CPU]}
        body = {
            "token": host["enrol_token"],
            "key_sha256": sha256(secret.encode()).hexdigest(),
            "address": f"127.0.0.{10 + host['id'] % 200}",
            "hardware": hardware,
        }
        answer = client.post("/v1/agent/enrol", json.dumps(body), content_type="application/json")
        assert answer.status_code == 200, answer.content
        return Agent(client, host["id"], secret, body["address"], hardware)

    return make


THETA = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.zeros(2, dtype=np.float32)}


def packed_delta(tensors: dict[str, Any], codec: str = "fp32") -> bytes:
    """Return a contribution as a site sends it."""
    from workloads.node.training import outer, wire
    from workloads.node.training.layout import Layout

    layout = Layout({name: {"shape": list(t.shape)} for name, t in tensors.items()})
    with NamedTemporaryFile() as file:
        outer.packed(layout.flat(tensors), codec, wire.create(Path(file.name), codec=codec, size=layout.size))
        return Path(file.name).read_bytes()


def hello_body(**changed: Any) -> dict[str, Any]:
    """Return what a site says of itself when it comes."""
    spec = {name: {"shape": list(t.shape), "dtype": "float32"} for name, t in THETA.items()}
    body = {"incarnation": 1_795_000_000_000, "world": 1, "tensors": spec, "dataset_samples": 150, "total_samples": 400,
            "batch_size": 10, "sync_every_steps": 10}  # fmt: skip
    return body | changed


class Site:
    """A training leader: it moves every parameter by `pull` a round."""

    def __init__(
        self, client: Any, order: dict[str, Any], *, total: int = 400, count: int = 100, world: int = 1
    ) -> None:
        self.client, self.total, self.count, self.world = client, total, count, world
        self.secret = order["site"]["secret"]
        self.header = f"Site {order['placement']}.{self.secret}"
        self.placement = order["placement"]
        self.version: int | None = None
        self.theta: dict[str, Any] = {}
        self.number = 0

    def call(self, method: str, path: str, body: Any = None, *, raw: bytes | None = None) -> Any:
        data = raw if raw is not None else json.dumps(body or {})
        return self.client.generic(
            method, f"/v1/site/{path}", data, content_type="application/json", HTTP_AUTHORIZATION=self.header
        )

    def ok(self, method: str, path: str, body: Any = None, *, raw: bytes | None = None) -> Any:
        answer = self.call(method, path, body, raw=raw)
        assert answer.status_code < 300, (path, answer.status_code, answer.content)
        return answer.json()

    def put(self, tensors: dict[str, Any]) -> str:
        from workloads.node.training import codec

        return self.put_raw(codec.encode(tensors))

    def put_raw(self, raw: bytes) -> str:
        digest = sha256(raw).hexdigest()
        self.ok("PUT", f"objects/{digest}", raw=raw)
        return digest

    def hello(self, **changed: Any) -> None:
        answer = self.ok("POST", "hello", hello_body(world=self.world, total_samples=self.total) | changed)
        if answer["state"] is None:
            answer = self.ok("POST", "initial", {"sha256": self.put(THETA)})
        self.fetch(answer["state"])

    def get(self, digest: str) -> bytes:
        answer = self.call("GET", f"objects/{digest}")
        assert answer.status_code == 200
        raw = b"".join(answer.streaming_content)
        assert sha256(raw).hexdigest() == digest
        return raw

    def fetch(self, state: dict[str, Any]) -> None:
        """By the updates since the version that is held, or from the snapshot: as a leader does."""
        from workloads.node.training import codec, outer, wire
        from workloads.node.training.layout import Layout

        layout = Layout({name: {"shape": list(t.shape)} for name, t in THETA.items()})
        if self.theta and state["updates"] and state["updates"][0]["version"] == self.version:
            theta = layout.flat(self.theta)
        else:
            theta, self.version = layout.flat(codec.decode(self.get(state["snapshot"]["sha256"]))), None
        for update in state["updates"]:
            with NamedTemporaryFile() as file:
                Path(file.name).write_bytes(self.get(update["sha256"]))
                name, parts = wire.read(Path(file.name), size=layout.size)
                assert outer.apply(theta, parts, name) == update["fingerprint"]
        assert outer.fingerprint(theta) == state["fingerprint"]
        self.theta, self.version = layout.named(theta), state["version"]

    def poll(self, *, called: bool = False) -> dict[str, Any]:
        return self.ok("GET", f"rounds/{self.version}?wait_s=0&called={int(called)}")

    def catch_up(self) -> None:
        if (answer := self.poll())["status"] == "closed":
            self.fetch(answer["state"])

    def lease(self, *, again: bool = False) -> tuple[str, list[list[int]]]:
        """Samples for the newest version."""
        self.catch_up()
        self.number += not again
        answer = self.ok("POST", "samples", {"number": self.number, "count": self.count})
        return answer["status"], answer["ranges"]

    def give(
        self, ranges: list[list[int]], *, pull: float = 0.1, partial: bool = False, **changed: Any
    ) -> dict[str, Any]:
        delta = packed_delta({name: np.full_like(tensor, pull) for name, tensor in self.theta.items()})
        samples = sum(end - start for start, end in ranges)
        body = {"version": self.version, "sha256": self.put_raw(delta), "samples": samples,
                "steps": max(1, samples // 10), "ranges": ranges, "partial": partial, "loss": 2.0}  # fmt: skip
        return self.ok("POST", "contributions", body | changed)

    def report(self, step: int, at: datetime, **values: float) -> None:
        row = {"seq": step, "at": at.isoformat(), "step": step, "version": self.version or 0, "values": values}
        self.ok("POST", "metrics", {"rows": [row]})

    def save(self) -> int:
        return self.ok("POST", "artifacts", {"name": "model.safetensors", "sha256": self.put(self.theta),
                                             "metrics": {"val_loss": 1.5}})["id"]  # fmt: skip


def packed(files: dict[str, str]) -> bytes:
    """Return a .tar.gz."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w:gz") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return sink.getvalue()


@pytest.fixture
def order_run(ada):
    """Quote and order a run; return its id."""

    def order(*, sites: int = 2, by: Caller | None = None, budget: str = "5", resume: Any = None, **need: Any) -> int:
        caller = by or ada
        raw = packed({"train.py": "print('hello')\n"})
        digest = sha256(raw).hexdigest()
        caller.ok("PUT", f"/v1/programs/{digest}", raw=raw)
        quotes = caller.ok("POST", "/v1/quotes", {"accelerator": "CPU", "sites": sites, **need})["quotes"]
        body = {"quote": quotes[0]["id"], "program": digest, "script": "train.py", "args": [], "budget_usd": budget,
                "resume": resume}  # fmt: skip
        return caller.ok("POST", "/v1/workloads", body)["id"]

    return order


@pytest.fixture
def settle(clock):
    """Let time pass: a second, a beat of every agent that is up, and a tick."""
    from billing import operations as money
    from workloads.tick import tick

    def run(*agents: Agent, seconds: int = 10) -> None:
        for _ in range(seconds):
            clock.forward(seconds=1)
            for agent in agents:
                agent.beat()
            for _ in range(4):
                if not tick(clock.now):
                    break
            money.watch_budgets(now=clock.now)
            money.settle(now=clock.now)

    return run
