"""A broker in memory that speaks sections 2 and 3 of docs/protocol.md, for the node's tests only."""

import hashlib
import json
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np

from workloads import outer_step
from workloads.node.training import codec, outer, quantise, wire
from workloads.node.training.layout import Layout


class Problem(Exception):
    """An answer that is an error."""

    def __init__(self, status, code, message):
        super().__init__(message)
        self.status, self.code = status, code


class Hub:
    """The rounds of one workload. All its methods are called with the stand-in's lock held."""

    def __init__(self, *, settings=(1.0, 0.0), codec="fp32"):
        self.settings, self.codec = settings, codec
        self.objects, self.sites, self.draining, self.worlds = {}, {}, set(), []
        self.every = 50
        self.away = set()  # (site, version): that round need not wait for it.
        self.answers = {}  # What a site was given for its question of a number.
        self.merged_of = {}  # (site, version): sha256
        self.plan = self.layout = self.vectors = self.theta = self.state = None
        self.version, self.free, self.merged = 0, [], []
        self.leased, self.contributed, self.history, self.rows, self.artifacts = {}, {}, [], {}, []
        self.refuse_next, self.refused = None, []
        self.is_held = False  # No round closes.
        self.why_stopped = ""

    def hello(self, site, body):
        plan = {key: body[key] for key in ("dataset_samples", "total_samples", "tensors")}
        if self.plan is None:
            self.plan, self.free = plan, [(0, body["total_samples"])]
            self.every = body.get("sync_every_steps") or self.every
        for key, value in plan.items():
            if self.plan[key] != value:
                raise Problem(409, "model_differs", f"this site's {key} is not that of the other sites")
        self.sites[site] = body
        self.worlds.append((site, body["world"]))
        self.free = self.leased.pop(site, []) + self.free  # Its script runs anew.
        self.answers = {key: ranges for key, ranges in self.answers.items() if key[0] != site}
        return {"workload": 1, "version": self.version, "state": self.state, "evaluates": site == min(self.sites)}

    def initial(self, site, body):
        if self.state is None:
            self.layout = Layout(self.plan["tensors"])
            self.vectors = [self.layout.flat(codec.decode(self.objects[body["sha256"]]))]
            self.vectors += [np.zeros_like(self.vectors[0]) for _ in range(2)]
            self._set_state([])
        return {"version": self.version, "state": self.state}

    def _set_state(self, updates):
        self.theta = {name: part.copy() for name, part in self.layout.named(self.vectors[0]).items()}
        sha256 = self._keep(codec.encode(self.theta))
        fingerprint = outer.fingerprint(self.vectors[0])
        self.state = {"version": self.version, "codec": self.codec, "sync_every_steps": self.every,
                      "fingerprint": fingerprint, "snapshot": {"version": self.version, "sha256": sha256},
                      "updates": updates}  # fmt: skip

    def _keep(self, raw):
        sha256 = hashlib.sha256(raw).hexdigest()
        self.objects[sha256] = raw
        return sha256

    def samples(self, site, body):
        def answer(status, ranges=()):
            left = sum(end - start for start, end in self.free)
            progress = 1 - left / self.plan["total_samples"]
            return {"status": status, "version": self.version, "ranges": list(ranges), "progress": progress}

        if site in self.draining:
            return answer("drain")
        if sum(end - start for start, end in self.merged) == self.plan["total_samples"]:
            return answer("done")
        if self.why_stopped:
            return answer("wait" if any(self.leased.values()) or self.contributed else "done")
        if (site, body["number"]) in self.answers:
            return answer("leased", self.answers[site, body["number"]])
        taken, wanted = [], body["count"]
        while self.free and wanted:
            start, end = self.free.pop(0)
            stop = min(end, start + wanted)
            taken.append((start, stop))
            wanted -= stop - start
            if stop < end:
                self.free.insert(0, (stop, end))
        if not taken:
            return answer("wait")
        self.leased[site] = self.leased.get(site, []) + taken
        self.answers[site, body["number"]] = taken
        return answer("leased", taken)

    def stop(self, site, body):
        self.why_stopped = body["why"]
        return {}

    def contributions(self, site, body):
        if not body["samples"]:
            self.away.add((site, body["version"]))
            self.close_if_complete()
            return {"status": "accepted", "why": ""}
        known = [row for row in self.history if (row["site"], row["version"]) == (site, body["version"])]
        if known and known[0]["sha256"] == body["sha256"]:
            return {"status": known[0]["status"], "why": ""}
        if body["version"] != self.version or known:
            return {"status": "late", "why": "closed"}
        used, held = _positions(body["ranges"]), _positions(self.leased.get(site, []))
        assert used <= held, "it says it used what it does not hold"
        assert len(used) == body["samples"]
        assert body["version"] - 1 <= body["base"] <= body["version"]
        if self.refuse_next:
            why, self.refuse_next = self.refuse_next, None
            self.refused.append(body)
            self.leased[site] = _ranges(sorted(held - used))
            self.free = _ranges(sorted(used)) + self.free
            return {"status": "refused", "why": why}
        delta = self._unpacked(self.objects[body["sha256"]])
        self.leased[site] = _ranges(sorted(held - used))
        if body["partial"]:
            self.free = self.leased.pop(site) + self.free
        self.contributed[site] = (body, delta, [tuple(pair) for pair in body["ranges"]])
        self.history.append({**body, "site": site, "status": "accepted", "codec": delta[0]})
        self.close_if_complete()
        return {"status": "accepted", "why": ""}

    def drop(self, site):
        """The site is dead: what it held is free again."""
        self.sites.pop(site, None)
        self.free = self.leased.pop(site, []) + self.free
        self.close_if_complete()

    def contribution_of_nothing(self):
        """A contribution that leaves the parameters where they are, on no samples."""
        parts = quantise.encode(np.zeros(self.layout.size, np.float32), "fp32")
        return {"samples": 1, "steps": 1, "partial": False, "sha256": ""}, ("fp32", parts), []

    def close_if_complete(self):
        missing = [site for site, ranges in self.leased.items() if ranges and site not in self.contributed]
        missing = [site for site in missing if (site, self.version) not in self.away]
        if not self.contributed or missing or self.is_held:
            return
        self.merged_of |= {(site, self.version): body["sha256"] for site, (body, _, _) in self.contributed.items()}
        given = [self.contributed[site] for site in sorted(self.contributed, key=str)]
        shares = outer.shares([outer.weight(samples=body["samples"], steps=body["steps"]) for body, _, _ in given])
        deltas = []
        for share, (_, (name, parts), used) in zip(shares, given, strict=True):
            deltas.append(outer_step.Delta(parts=parts, codec=name, share=share))
            self.merged += used
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "update"
            update = wire.create(path, codec=self.codec, size=self.layout.size)
            lr, momentum = self.settings
            merged = outer_step.merge(
                *self.vectors, deltas, lr=lr, momentum_factor=momentum, codec=self.codec, update=update
            )
            sha256 = self._keep(path.read_bytes())
        self.version, self.contributed = self.version + 1, {}
        self._set_state([{"version": self.version - 1, "sha256": sha256, "fingerprint": merged.fingerprint}])

    def _unpacked(self, raw):
        with tempfile.NamedTemporaryFile() as file:
            file.write(raw)
            file.flush()
            return wire.read(Path(file.name), size=self.layout.size)

    def round(self, site, version, called):
        if self.version > version:
            status = "closed"
        else:
            calls = any(not body["partial"] for body, _, _ in self.contributed.values())
            status = "called" if calls and not called and site not in self.contributed else "open"
        merged = self.merged_of.get((site, version))
        return {"status": status, "version": self.version, "merged": merged, "state": self.state,
                "evaluates": site == min(self.sites, default=None)}  # fmt: skip

    def metrics(self, site, body):
        for row in body["rows"]:
            self.rows.setdefault((site, row["seq"]), row)
        return {}

    def artifact(self, site, body):
        self.artifacts.append({**body, "site": site, "raw": self.objects[body["sha256"]]})
        return {"id": len(self.artifacts)}

    def put(self, sha256, raw):
        if hashlib.sha256(raw).hexdigest() != sha256:
            raise Problem(422, "hash_mismatch", "these bytes have another hash")
        self.objects[sha256] = raw
        return {"sha256": sha256, "size_bytes": len(raw)}


class StandIn:
    """The whole broker: hosts by token, orders by host, one Hub. Change its attributes under `lock`."""

    def __init__(self, **hub):
        self.lock, self.hub = threading.RLock(), Hub(**hub)
        self.tokens, self.keys, self.hosts = {}, {}, {}
        self.orders, self.beats, self.logs, self.programs = {}, {}, {}, {}
        self.down, self.lose_answers, self.next_beat_s = False, 0, 0.3
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def keep_program(self, raw):
        """Keep a program's bytes; how an order names them."""
        sha256 = hashlib.sha256(raw).hexdigest()
        self.programs[sha256] = raw
        return {"sha256": sha256, "size_bytes": len(raw), "url": f"/v1/agent/programs/{sha256}"}

    def lines(self, lease):
        with self.lock:
            return [line["text"] for _, line in sorted(self.logs.get(lease, {}).items())]

    def node(self, host, lease):
        """What the host's last beat said about the lease, or None."""
        with self.lock:
            beat = self.beats.get(host, [{"nodes": []}])[-1]
            return next((node for node in beat["nodes"] if node["lease"] == lease), None)

    def answer(self, method, path, query, key, raw):
        who, _, secret = key.partition(" ")[2].partition(".")
        if path == "/v1/agent/enrol":
            return self._enrol(json.loads(raw))
        if path.startswith("/v1/agent/"):
            if self.hosts.get(int(who or 0)) != hashlib.sha256(secret.encode()).hexdigest():
                raise Problem(401, "key_unknown", "no host has this key")
            return self._agent(path, int(who), raw)
        if self.keys.get(int(who or 0)) != secret:
            raise Problem(401, "key_unknown", "no placement has this key")
        return self._site(method, path, query, int(who), raw)

    def _enrol(self, body):
        if body["token"] not in self.tokens:
            raise Problem(403, "token_unknown", "no host waits for this token")
        host = self.tokens[body["token"]]
        if self.hosts.setdefault(host, body["key_sha256"]) != body["key_sha256"]:
            raise Problem(403, "token_used", "this token was used by another machine")
        return {"host": host, "name": "h", "region": "home/test"}

    def _agent(self, path, host, raw):
        if path.startswith("/v1/agent/programs/"):
            return self.programs[path.rsplit("/", 1)[1]]
        body = json.loads(raw)
        if path == "/v1/agent/beat":
            self.beats.setdefault(host, []).append(body)
            return {"next_beat_s": self.next_beat_s, "reclaim_at": None, "nodes": self.orders.get(host, [])}
        lines = self.logs.setdefault(body["lease"], {})
        for seq, line in enumerate(body["lines"], start=body["first_seq"]):
            lines.setdefault(seq, line)
        return {"next_seq": body["first_seq"] + len(body["lines"])}

    def _site(self, method, path, query, site, raw):
        name = path.removeprefix("/v1/site/")
        if name.startswith("objects/"):
            sha256 = name.split("/")[1]
            return self.hub.put(sha256, raw) if method == "PUT" else self.hub.objects[sha256]
        if name.startswith("rounds/"):
            return self.hub.round(site, int(name.split("/")[1]), query.get("called") == ["1"])
        calls = {"artifacts": self.hub.artifact}
        return calls.get(name, getattr(self.hub, name, None))(site, json.loads(raw))


def _positions(ranges):
    return {position for start, end in ranges for position in range(start, end)}


def _ranges(positions):
    ranges = []
    for position in positions:
        if ranges and ranges[-1][1] == position:
            ranges[-1] = (ranges[-1][0], position + 1)
        else:
            ranges.append((position, position + 1))
    return ranges


def _handler(stand_in):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def handle_any(self):
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = urlsplit(self.path)
            key = self.headers.get("Authorization") or ""
            query = parse_qs(parts.query)
            until = time.monotonic() + float(query.get("wait_s", ["0"])[0])
            while True:
                with stand_in.lock:
                    status, answer = self.decided(parts.path, query, key, raw)
                    waits = isinstance(answer, dict) and answer.get("status") == "open" and time.monotonic() < until
                    lost = not waits and status == 200 and stand_in.lose_answers > 0
                    stand_in.lose_answers -= lost
                if not waits:
                    break
                time.sleep(0.02)
            if lost:  # The work is done, the answer never arrives.
                self.close_connection = True
                return
            body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def decided(self, path, query, key, raw):
            if stand_in.down:
                return 503, {"error": {"code": "down", "message": "down"}}
            try:
                return 200, stand_in.answer(self.command, path, query, key, raw)
            except Problem as problem:
                return problem.status, {"error": {"code": problem.code, "message": str(problem)}}
            except KeyError as missing:
                return 404, {"error": {"code": "not_found", "message": str(missing)}}

        do_GET = do_POST = do_PUT = handle_any

        def log_message(self, *args):
            pass

        def handle(self):
            try:
                super().handle()
            except (ConnectionError, TimeoutError):
                pass

    return Handler
