"""The metadata services of AWS, GCP and Azure, as a machine sees them on a socket of its own.

AWS answers at the paths of amazon-ec2-metadata-mock (AEMM, its pkg/config/defaults) with IMDSv2 required; GCP and Azure
as their documentation says (workloads/node/notices.py names the pages).
"""

import json
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class Service:
    """An HTTP server; `asked` holds "METHOD path" of every request. Change what it says under `lock`."""

    def __init__(self):
        self.lock, self.asked, self.garbled = threading.Condition(), [], 0
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads = True
        thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def respond(self, method, path, query, headers):
        """(status, headers, text) of one request."""
        raise NotImplementedError

    def asked_for(self, part):
        with self.lock:
            return sum(part in line for line in self.asked)


class Aws(Service):
    """IMDSv2: without a token that it gave out and that has not expired, 401; what there is not, 404."""

    def __init__(self):
        self.tokens, self.given = set(), 0
        self.paths = {
            "/latest/meta-data/instance-id": "i-1234567890abcdef0",
            "/latest/meta-data/instance-life-cycle": "spot",
        }
        super().__init__()

    def respond(self, method, path, query, headers):
        if path == "/latest/api/token":
            ttl_s = headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
            if method != "PUT":
                return 405, {}, ""
            if not ttl_s.isdecimal() or not 1 <= int(ttl_s) <= 21600:
                return 400, {}, ""
            self.given += 1
            self.tokens.add(f"token-{self.given}==")
            return 200, {"X-aws-ec2-metadata-token-ttl-seconds": ttl_s}, f"token-{self.given}=="
        if headers.get("X-aws-ec2-metadata-token") not in self.tokens:
            return 401, {}, ""
        return (200, {}, self.paths[path]) if path in self.paths else (404, {}, "")

    def interrupt(self, at):
        with self.lock:
            words = json.dumps({"action": "terminate", "time": f"{at:%Y-%m-%dT%H:%M:%SZ}"})
            self.paths["/latest/meta-data/spot/instance-action"] = words

    def recommend(self, at):
        with self.lock:
            words = json.dumps({"noticeTime": f"{at:%Y-%m-%dT%H:%M:%SZ}"})
            self.paths["/latest/meta-data/events/recommendations/rebalance"] = words

    def expire_tokens(self):
        with self.lock:
            self.tokens.clear()


class Gcp(Service):
    """Without the header, 403; with wait_for_change, an answer when the ETag is another, or after timeout_sec."""

    def __init__(self):
        self.preempted, self.longest_s = "FALSE", 5.0
        super().__init__()

    @property
    def etag(self):
        return f"{hash(self.preempted) & 0xFFFFFFFF:08x}"

    def respond(self, method, path, query, headers):
        if headers.get("Metadata-Flavor") != "Google":
            return 403, {}, ""
        if path == "/computeMetadata/v1/":
            return 200, {"Metadata-Flavor": "Google"}, "instance/\nproject/\n"
        if path != "/computeMetadata/v1/instance/preempted":
            return 404, {}, ""
        if query.get("wait_for_change") == "true":
            wait_s = min(float(query.get("timeout_sec", "inf")), self.longest_s)
            last = query.get("last_etag") or self.etag
            self.lock.wait_for(lambda: self.etag != last, timeout=wait_s)
        return 200, {"Metadata-Flavor": "Google", "ETag": self.etag}, self.preempted

    def preempt(self):
        with self.lock:
            self.preempted = "TRUE"
            self.lock.notify_all()


class Azure(Service):
    """Without the header or a version, 400; scheduled events for every machine of the scale set."""

    def __init__(self, *, name="vm-spot"):
        self.name, self.events, self.approved = name, [], []
        super().__init__()

    def respond(self, method, path, query, headers):
        if headers.get("Metadata") != "true" or "api-version" not in query:
            return 400, {}, ""
        if path == "/metadata/instance/compute/name":
            return 200, {}, self.name
        if path != "/metadata/scheduledevents" or query["api-version"] != "2020-07-01":
            return 404, {}, ""
        if method == "POST":
            self.approved.append(path)
            return 200, {}, ""
        return 200, {}, json.dumps({"DocumentIncarnation": len(self.events), "Events": self.events})

    def schedule(self, event_type, resources, *, not_before):
        text = not_before and f"{not_before:%a, %d %b %Y %H:%M:%S GMT}"
        event = {
            "EventId": f"C1BF-{len(self.events)}", "EventType": event_type, "ResourceType": "VirtualMachine",
            "Resources": resources, "EventStatus": "Scheduled" if text else "Started", "NotBefore": text or "",
            "Description": "", "EventSource": "Platform", "DurationInSeconds": -1,
        }  # fmt: skip
        with self.lock:
            self.events.append(event)


def soon(seconds):
    """A time on the full second, as the services write them."""
    return datetime.fromtimestamp(int(time.time()) + seconds, UTC)


def _handler(service):
    class Handler(BaseHTTPRequestHandler):
        def handle_any(self):
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            with service.lock:
                service.asked.append(f"{self.command} {self.path}")
                if service.garbled:
                    service.garbled -= 1
                    status, headers, text = 200, {}, "<html>not what was asked for"
                else:
                    status, headers, text = service.respond(self.command, parts.path, query, self.headers)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_PUT = do_POST = handle_any

        def log_message(self, *args):
            pass

        def handle(self):
            try:
                super().handle()
            except (ConnectionError, TimeoutError):
                pass

    return Handler
