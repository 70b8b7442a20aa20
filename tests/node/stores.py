"""Servers that the dataset tests fetch from: werkzeug's file answers with ranges, and a wire that can be cut."""

import contextlib
import hashlib
import io
import socket
import threading
from pathlib import Path

from flask import Flask, Response, abort, request, send_file, send_from_directory
from werkzeug.serving import WSGIRequestHandler, make_server


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, *_):
        pass


class FileServer:
    """A directory over HTTP with Range, ETag and Last-Modified, as Flask answers. `asked` is who asked for what.

    `while_sent` is called when a file is open to be sent: what replaces it then is in the next answer."""

    def __init__(self, root: Path):
        self.root, self.asked, self.refuse, self.while_sent = root, [], None, None
        app = Flask("files")
        app.add_url_rule("/<path:name>", view_func=self._answer)
        self._server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet)
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def gets(self, name=None):
        """The Range headers of the GET requests, in order."""
        return [range_ for method, path, range_, _ in self.asked if method == "GET" and name in (None, path)]

    def fail(self):
        """Answer from now on, and at once where a file is about to be sent, that the server is broken."""
        self.refuse = 500
        abort(500)

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, name):
        self.asked.append((request.method, name, request.headers.get("Range"), request.headers.get("Accept-Encoding")))
        if self.refuse:
            return Response(status=self.refuse)
        answer = send_from_directory(self.root, name, conditional=True, max_age=0)
        if request.method == "GET" and self.while_sent:
            self.while_sent()
        return answer


class Hub:
    """What huggingface_hub's client asks of a hub, for the repository org/corpus: a large file, whose hash the hub
    knows, and a small one. After https://huggingface.co/docs/hub/api and what the client was seen to ask."""

    def __init__(self, large: bytes, small: bytes):
        self.files = {"data/train.bin": large, "data/meta.json": small}
        self.sha256, self.asked = hashlib.sha256(large).hexdigest(), []
        app = Flask("hub")
        app.add_url_rule("/api/datasets/org/corpus", view_func=lambda: {"id": "org/corpus", "sha": "a" * 40})
        app.add_url_rule("/api/datasets/org/corpus/tree/main/data", view_func=self._tree)
        app.add_url_rule("/api/datasets/org/corpus/tree/main", view_func=self._top)
        app.add_url_rule("/api/agent-harnesses", view_func=dict)
        app.add_url_rule("/datasets/org/corpus/resolve/main/<path:name>", view_func=self._resolve)
        self._server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def _top(self):
        return [{"type": "directory", "oid": "c" * 40, "size": 0, "path": "data"}]

    def _tree(self):
        rows = [
            {"type": "file", "oid": hashlib.sha1(raw).hexdigest(), "size": len(raw), "path": name}
            for name, raw in self.files.items()
        ]
        rows[0]["lfs"] = {"oid": self.sha256, "size": rows[0]["size"], "pointerSize": 130}
        return rows

    def _resolve(self, name):
        self.asked.append((name, request.headers.get("Authorization")))
        return send_file(io.BytesIO(self.files[name]), "application/octet-stream", conditional=True)


class Wire:
    """A TCP relay to a port of this machine. Each time `cut_after` bytes of answers have passed, the connection they
    passed on is cut; with `stall` it is left hanging instead, and `stalled` is set."""

    def __init__(self, port: int, *, cut_after: int | None = None, stall: bool = False):
        self.cut_after, self.stall, self.cuts, self.stalled = cut_after, stall, 0, threading.Event()
        self._target, self._left = port, cut_after
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self):
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._target))
            threading.Thread(target=self._relay, args=(near, far, False), daemon=True).start()
            threading.Thread(target=self._relay, args=(far, near, True), daemon=True).start()

    def _relay(self, source, sink, answers):
        with contextlib.suppress(OSError):
            while some := source.recv(65536):
                if answers and self.cut_after:
                    some = some[: self._left]
                    self._left -= len(some)
                sink.sendall(some)
                if answers and self.cut_after and self._left == 0:
                    self._left, self.cuts = self.cut_after, self.cuts + 1
                    self.stalled.set()
                    if self.stall:
                        return
                    break
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
