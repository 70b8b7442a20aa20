"""A program is known by what is in it, however it was packed."""

from __future__ import annotations

import gzip
import io
import tarfile
from hashlib import sha256

import pytest

from tests.conftest import packed
from tests.offers.test_benchmarks import PROFILE
from tests.workloads.test_rounds import close_round, sites  # noqa: F401 - `sites` is a fixture
from workloads import queries
from workloads.models import Program, Workload

pytestmark = pytest.mark.django_db
FILES = {"train.py": "print('hello')\n", "data/empty.txt": "", "zähler/模型.py": "x = 1\n"}
# As the command line and the dashboard name the same files, in their own tests.
GOLDEN = "b524fc3d5b51cd0a698643c5058368d94140ae788b3dec0370998c16dfaa0913"


def packed_otherwise(files):
    """As `tar -cz --mode=755 .` does."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, text in reversed(files.items()):
            info = tarfile.TarInfo(f"./{name}")
            info.size, info.mode, info.mtime, info.uname = len(text), 0o755, 1_800_000_000, "ada"
            archive.addfile(info, io.BytesIO(text.encode()))
    return gzip.compress(sink.getvalue(), 9)


def upload(caller, raw):
    return caller.ok("PUT", f"/v1/programs/{sha256(raw).hexdigest()}", raw=raw)


def test_two_archives_of_the_same_files_are_one_program(ada):
    one, other = upload(ada, packed(FILES)), upload(ada, packed_otherwise(FILES))
    changed = upload(ada, packed(FILES | {"train.py": "print('hallo')\n"}))

    assert one["sha256"] != other["sha256"]
    assert one["tar_sha256"] == other["tar_sha256"] == GOLDEN != changed["tar_sha256"]


def test_a_profile_is_found_by_the_files_and_by_any_archive_that_was_probed(ada):
    one, other = upload(ada, packed(FILES)), upload(ada, packed_otherwise(FILES))
    ada.ok("PUT", f"/v1/programs/{one['sha256']}/profile", PROFILE.as_json())

    found = {name: queries.profile_of(owner_id=ada.team.pk, program_sha256=name) is not None
             for name in (one["sha256"], one["tar_sha256"], other["sha256"], "")}  # fmt: skip

    assert found == {one["sha256"]: True, one["tar_sha256"]: True, other["sha256"]: False, "": False}


def test_a_speed_is_found_by_the_files_and_from_before_there_was_such_a_name(sites, clock):  # noqa: F811
    for site in sites:
        site.give(site.lease()[1], train_s=10.0)
    close_round(clock)
    run = Workload.objects.get()

    def speed(name):
        return queries.measured_speed(owner_id=run.owner_id, program_sha256=name)

    assert speed(run.program.tar_sha256) == speed(run.program.sha256) == {"CPU": 10.0}
    assert speed("") == {}
    Program.objects.update(tar_sha256=None)
    assert speed(run.program.sha256) == {"CPU": 10.0}
    assert queries.speed(Workload.objects.get()).by_accelerator == {"CPU": 10.0}
    assert speed("") == {}
