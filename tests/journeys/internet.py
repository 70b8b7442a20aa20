"""The world outside, for pages that speak of it: a proxy behind which clouds and brokers of our own answer."""

from __future__ import annotations

import contextlib
import ipaddress
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.providers.cloud import Reply

Answer = Callable[[str, str, dict[str, str], bytes], Reply | str]  # method, path with query, headers, body


class Internet:
    """
    {host: what answers there}, reached by HTTPS_PROXY and http_proxy; every other host cannot be reached.

    `env` is what a process needs to see it: the proxy's address and the authority that signed the hosts' certificate.
    """

    def __init__(self, folder: Path, hosts: Mapping[str, Answer]) -> None:
        self.hosts = hosts
        authority, chain = _certificate(folder, list(hosts))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self, context))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        proxy = f"http://127.0.0.1:{self._server.server_port}"
        self.env = {
            "HTTPS_PROXY": proxy,
            "https_proxy": proxy,
            "http_proxy": proxy,
            "no_proxy": "127.0.0.1,localhost",
            "REQUESTS_CA_BUNDLE": str(authority),
            "SSL_CERT_FILE": str(authority),
            "AWS_CA_BUNDLE": str(authority),
        }

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(internet: Internet, context: ssl.SSLContext) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        host = ""

        def do_CONNECT(self) -> None:
            self.host = self.path.partition(":")[0]
            if self.host not in internet.hosts:
                self.send_error(502)
                return
            self.send_response(200)
            self.end_headers()
            self.close_connection = False
            self.connection = context.wrap_socket(self.connection, server_side=True)
            self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)

        def _do(self) -> None:
            url = urlsplit(self.path)
            host = self.host or url.hostname or ""
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if host not in internet.hosts:
                self.send_error(502)
                return
            path = (url.path or "/") + (f"?{url.query}" if url.query else "")
            reply = internet.hosts[host](self.command, path, dict(self.headers.items()), raw)
            assert isinstance(reply, Reply), "nothing is lost on this way"
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if isinstance(reply.body, Iterator):  # It may take its time, as a stream of events does.
                self.close_connection = True
                self.send_header("Connection", "close")
                self.end_headers()
                for piece in reply.body:
                    self.wfile.write(piece)
                return
            sent = reply.raw()
            if isinstance(reply.body, dict | list):
                self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _do

        def log_message(self, *_args: object) -> None:
            pass

        def finish(self) -> None:
            with contextlib.suppress(OSError, ValueError):
                super().finish()
            self.connection.close()

    return Handler


def _certificate(folder: Path, hosts: list[str]) -> tuple[Path, Path]:
    """Write an authority, and a certificate of it with its key for all hosts; return both files."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "An authority for tests")])
    names = [x509.IPAddress(ipaddress.ip_address(h)) if h[0].isdigit() else x509.DNSName(h) for h in hosts]

    def signed(subject: x509.Name, extension: x509.ExtensionType, *, critical: bool) -> x509.Certificate:
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(name).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        return builder.add_extension(extension, critical=critical).sign(key, hashes.SHA256())

    authority = signed(name, x509.BasicConstraints(ca=True, path_length=None), critical=True)
    host = signed(x509.Name([]), x509.SubjectAlternativeName(names), critical=True)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "authority.pem").write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    (folder / "hosts.pem").write_bytes(private + host.public_bytes(serialization.Encoding.PEM))
    return folder / "authority.pem", folder / "hosts.pem"
