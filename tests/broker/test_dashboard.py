"""The dashboard as a browser is given it: pages, files, what lies beside them."""

import asyncio
import gzip
import subprocess
import sys

import pytest

from broker.dashboard import Dashboard


async def beyond(scope, receive, send):
    """The application behind it."""
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


@pytest.fixture
def ask(tmp_path, settings):
    """ask(path, method=, headers=) -> (status, headers, body)"""
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<title>GPUYard</title>" * 100)
    (tmp_path / "theme.js").write_text("// theme\n" * 100)
    (tmp_path / "assets" / "index-Ab3_x9.js").write_text("export const one = 1;\n" * 100)
    subprocess.run([sys.executable, "-m", "servestatic.compress", "--quiet", tmp_path], check=True)
    settings.DASHBOARD_DIR = str(tmp_path)
    dashboard = Dashboard(beyond)

    def ask(path, method="GET", headers=()):
        sent = []
        scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": list(headers)}

        async def send(message):
            sent.append(message)

        async def receive():
            return {"type": "http.request", "body": b"", "more_body": False}

        asyncio.run(dashboard(scope, receive, send))
        told = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return sent[0]["status"], told, b"".join(message.get("body", b"") for message in sent[1:])

    return ask


@pytest.mark.parametrize(
    "path", ["/", "/offers", "/workloads/12", "/account/verify-email/MQ:1x", "/account/password/reset/key/a-b"]
)
def test_each_of_its_addresses_is_the_page(ask, path):
    status, headers, body = ask(path)

    assert (status, body[:22]) == (200, b"<title>GPUYard</title>")
    assert headers["content-type"] == 'text/html; charset="utf-8"'
    assert headers["cache-control"] == "max-age=0, public"
    assert "script-src" not in headers["content-security-policy"]  # default-src 'self' holds for scripts.
    assert "frame-ancestors 'none'" in headers["content-security-policy"]


NAVIGATES = [(b"sec-fetch-mode", b"navigate")]


@pytest.mark.parametrize("path", ["/offersx", "/no/such/page"])
def test_who_mistypes_an_address_is_told_by_the_page(ask, path):
    assert ask(path, headers=NAVIGATES)[2][:22] == b"<title>GPUYard</title>"


@pytest.mark.parametrize("path", ["/v1/offers", "/healthz", "/theme.js"])
def test_an_address_of_the_broker_is_no_page_for_a_browser_either(ask, path):
    assert ask(path, headers=NAVIGATES)[2][:22] != b"<title>GPUYard</title>"


@pytest.mark.parametrize("path", ["/v1/offers", "/offersx", "/assets/gone.js", "/index", "/../settings.py", "/healthz"])
def test_what_is_no_page_is_answered_by_the_application(ask, path):
    assert ask(path) == (404, {}, path.encode())


def test_nobody_posts_to_a_page(ask):
    assert ask("/offers", method="POST")[0] == 404


def test_files_with_a_hash_in_their_name_are_kept_for_ever(ask):
    _, headers, _ = ask("/assets/index-Ab3_x9.js")

    assert headers["cache-control"] == "max-age=315360000, public, immutable"


def test_who_takes_it_compressed_gets_it_compressed(ask):
    _, headers, body = ask("/assets/index-Ab3_x9.js", headers=[(b"accept-encoding", b"gzip")])

    assert headers["content-encoding"] == "gzip"
    assert gzip.decompress(body) == b"export const one = 1;\n" * 100


def test_a_page_that_is_here_already_is_not_sent_again(ask):
    tag = ask("/offers")[1]["etag"]

    status, _, body = ask("/offers", headers=[(b"if-none-match", tag.encode())])

    assert (status, body) == (304, b"")
