"""The program: checked before it is unpacked, unpacked nowhere else, and its script must be in it."""

import hashlib
import io
import tarfile

import pytest

from workloads.node.link import Link
from workloads.node.program import ProgramUnavailable, fetch, unpack

from .conftest import pack


def archive_with(tmp_path, member):
    path = tmp_path / "program.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.addfile(member, io.BytesIO(b"x" * member.size))
    return path


@pytest.mark.parametrize("name", ["../outside.py", "/tmp/outside-of-the-lease.py"])
def test_a_way_out_of_the_directory_is_refused_or_kept_inside(tmp_path, name):
    member = tarfile.TarInfo(name)
    member.size = 1

    with pytest.raises(ProgramUnavailable):
        unpack(archive=archive_with(tmp_path, member), into=tmp_path / "into", script="train.py")

    assert not (tmp_path / "outside.py").exists()


def test_a_link_to_the_outside_is_refused(tmp_path):
    member = tarfile.TarInfo("train.py")
    member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"

    with pytest.raises(ProgramUnavailable, match="unpacked"):
        unpack(archive=archive_with(tmp_path, member), into=tmp_path / "into", script="train.py")


def test_a_missing_script_is_named_with_what_there_is(tmp_path):
    (tmp_path / "a.tar.gz").write_bytes(pack({"other.py": ""}))

    with pytest.raises(ProgramUnavailable, match=r"no train\.py .* other\.py"):
        unpack(archive=tmp_path / "a.tar.gz", into=tmp_path / "into", script="train.py")


def test_garbage_is_not_a_program(tmp_path):
    (tmp_path / "a.tar.gz").write_bytes(b"garbage")

    with pytest.raises(ProgramUnavailable, match="unpacked"):
        unpack(archive=tmp_path / "a.tar.gz", into=tmp_path / "into", script="train.py")


def test_bytes_with_another_hash_are_refused(broker, tmp_path):
    broker.hosts[7] = hashlib.sha256(b"s").hexdigest()
    broker.programs["0" * 64] = b"other"
    link = Link(broker=broker.url, authorization="Agent 7.s")

    with pytest.raises(ProgramUnavailable, match="SHA-256"):
        fetch(link=link, url="/v1/agent/programs/" + "0" * 64, sha256="0" * 64, size_bytes=5, to=tmp_path / "a")
    link.close()
