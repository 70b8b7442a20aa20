"""The object store, in a directory and on S3 (moto's server, which is not ours)."""

from __future__ import annotations

import os
import uuid
from hashlib import sha256

import boto3
import fsspec
import pytest
from django.conf import settings
from moto.server import ThreadedMotoServer

from workloads import storage

RAW = os.urandom(3_000_000)
DIGEST = sha256(RAW).hexdigest()


@pytest.fixture(params=["directory", "s3"])
def store(request, settings, tmp_path, monkeypatch):
    if request.param == "directory":
        settings.OBJECTS_URL = str(tmp_path / "objects")
        yield
        return
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in (
        ("AWS_ENDPOINT_URL", f"http://{host}:{port}"),
        ("AWS_ACCESS_KEY_ID", "k"),
        ("AWS_SECRET_ACCESS_KEY", "s"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    bucket = f"yard-{uuid.uuid4().hex}"  # moto remembers from server to server.
    boto3.client("s3").create_bucket(Bucket=bucket)
    settings.OBJECTS_URL = f"s3://{bucket}/objects"
    yield
    fsspec.filesystem("s3").clear_instance_cache()
    server.stop()


def everything():
    filesystem, root = fsspec.core.url_to_fs(settings.OBJECTS_URL)
    filesystem.invalidate_cache()
    return [path.rpartition("/")[2] for path in filesystem.find(root)]


def test_an_object_is_kept_once_and_read_from_anywhere(store):
    assert storage.put(DIGEST, [RAW[:1000], RAW[1000:]]) == len(RAW)
    assert storage.put_bytes(RAW) == DIGEST

    assert storage.exists(DIGEST)
    assert storage.size(DIGEST) == len(RAW)
    assert storage.get(DIGEST) == RAW
    assert b"".join(storage.read(DIGEST, 2_999_990)) == RAW[-10:]
    assert everything() == [DIGEST]


def test_bytes_that_are_not_what_was_announced_leave_nothing(store):
    with pytest.raises(storage.HashMismatch):
        storage.put(DIGEST, [RAW[:-1]])

    assert not storage.exists(DIGEST)
    assert everything() == []


def test_an_upload_that_breaks_off_leaves_nothing(store):
    def torn():
        yield RAW[:1000]
        raise ConnectionResetError("the site went away")

    with pytest.raises((ConnectionResetError, storage.StoreFull)):
        storage.put(DIGEST, torn())

    assert everything() == []


def test_what_is_not_there_is_missing_and_forgetting_it_is_no_error(store):
    with pytest.raises(storage.ObjectMissing):
        storage.get(DIGEST)
    with pytest.raises(storage.ObjectMissing):
        storage.size(DIGEST)

    storage.delete(DIGEST)
    storage.put_bytes(RAW)
    storage.delete(DIGEST)
    assert not storage.exists(DIGEST)


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "0" * 63])
def test_a_name_that_is_no_hash_is_refused(store, name):
    with pytest.raises(storage.HashMismatch):
        storage.exists(name)


def test_a_file_is_kept_and_comes_back_as_a_file(store, tmp_path):
    path = tmp_path / "raw"
    path.write_bytes(RAW)

    assert storage.put_file(path) == storage.put_file(path) == DIGEST
    with storage.local(DIGEST) as copy:
        assert copy.read_bytes() == RAW
        assert copy != path
    assert everything() == [DIGEST]


def test_bytes_that_rotted_in_the_store_are_not_handed_out(store):
    storage.put_bytes(RAW)
    filesystem, root = fsspec.core.url_to_fs(settings.OBJECTS_URL)
    filesystem.pipe_file(f"{root}/{DIGEST[:2]}/{DIGEST}", RAW[:-1] + bytes([RAW[-1] ^ 1]))

    with pytest.raises(storage.HashMismatch), storage.local(DIGEST):
        pass
    with pytest.raises(storage.HashMismatch):
        storage.verify(DIGEST)
