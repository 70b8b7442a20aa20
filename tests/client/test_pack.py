"""A program's bytes depend on its content alone."""

import gzip
import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest
from gpuyard import pack as packing
from gpuyard.errors import InvalidProgram
from gpuyard.pack import of_files, pack


def members(content: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as tar:
        return {entry.name: entry for entry in tar.getmembers()}


def project(folder: Path) -> Path:
    (folder / "lib").mkdir(parents=True)
    (folder / "train.py").write_text("import lib.model")
    (folder / "lib" / "model.py").write_text("x = 1")
    for unwanted in (".git/HEAD", ".venv/bin/python", "__pycache__/train.pyc", "lib/model.pyc", ".env", "env/x.py"):
        (folder / unwanted).parent.mkdir(parents=True, exist_ok=True)
        (folder / unwanted).write_text("secret")
    return folder


def test_the_same_content_is_the_same_bytes_wherever_and_whenever_it_lies(tmp_path: Path) -> None:
    first, second = project(tmp_path / "a"), project(tmp_path / "b")
    os.utime(second / "train.py", (1_000_000, 1_000_000))

    one = pack(script=first / "train.py", workdir=first)
    other = pack(script=second / "train.py", workdir=second)

    assert one.sha256 == other.sha256
    assert one.content == other.content


def test_other_content_is_other_bytes(tmp_path: Path) -> None:
    folder = project(tmp_path / "a")
    before = pack(script=folder / "train.py", workdir=folder)
    (folder / "lib" / "model.py").write_text("x = 2")

    after = pack(script=folder / "train.py", workdir=folder)

    assert before.sha256 != after.sha256


def test_entries_are_sorted_and_belong_to_nobody(tmp_path: Path) -> None:
    folder = project(tmp_path / "a")

    content = pack(script=folder / "train.py", workdir=folder).content
    found = members(content)

    assert list(found) == ["lib/model.py", "train.py"]
    assert content[4:8] == bytes(4)  # gzip's own date, https://www.rfc-editor.org/rfc/rfc1952#page-5
    assert {(entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname) for entry in found.values()} == {
        (0, 0, 0, "", "")
    }


def test_what_stays_out_is_said(tmp_path: Path) -> None:
    folder = project(tmp_path / "a")

    program = pack(script=folder / "train.py", workdir=folder)

    assert program.left_out == (".env", ".git/", ".venv/", "__pycache__/", "env/", "lib/model.pyc")


def test_a_script_alone_goes_with_its_requirements_at_the_top(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("pass")
    (tmp_path / "needs-gpu.txt").write_text("einops\n")

    program = pack(script=tmp_path / "train.py", requirements=tmp_path / "needs-gpu.txt")

    assert list(members(program.content)) == ["requirements.txt", "train.py"]
    assert program.script == "train.py"


def test_a_script_in_a_subfolder_keeps_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = project(tmp_path / "a")
    (folder / "lib" / "go.py").write_text("pass")
    monkeypatch.chdir(tmp_path)

    program = pack(script=Path("lib/go.py"), workdir=Path("a"))

    assert program.script == "lib/go.py"


def test_a_link_to_a_file_is_packed_as_what_it_points_at(tmp_path: Path) -> None:
    folder = project(tmp_path / "a")
    (tmp_path / "words.txt").write_text("words")
    (folder / "words.txt").symlink_to(tmp_path / "words.txt")

    found = members(pack(script=folder / "train.py", workdir=folder).content)

    assert found["words.txt"].isfile()
    assert found["words.txt"].size == 5


def test_too_much_is_refused_and_the_largest_file_is_named(tmp_path: Path) -> None:
    folder = project(tmp_path / "a")
    with (folder / "weights.bin").open("wb") as file:
        file.truncate(packing.LIMIT_BYTES + 1)

    with pytest.raises(InvalidProgram, match=r"more than 200 MB; largest: weights.bin \(200 MB\)"):
        pack(script=folder / "train.py", workdir=folder)


@pytest.mark.parametrize(
    ("script", "workdir", "requirements", "said"),
    [
        ("none.py", None, None, "script none.py does not exist"),
        ("notes.txt", None, None, "not a Python script or notebook"),
        ("train.py", "nowhere", None, "folder nowhere does not exist"),
        ("train.py", "a/lib", None, "train.py is not inside a/lib"),
        ("train.py", None, "none.txt", "requirements file none.txt does not exist"),
        ("a/env/x.py", "a", None, "env/x.py is among what is left out"),
    ],
)
def test_wrong_input_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, workdir: str, requirements: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    project(tmp_path / "a")
    (tmp_path / "train.py").write_text("pass")

    with pytest.raises(InvalidProgram, match=said):
        pack(
            script=Path(script),
            workdir=Path(workdir) if workdir else None,
            requirements=Path(requirements) if requirements else None,
        )


# Of the same files as in the dashboard's tests: who packs in a browser finds the speed that `yard run` measured.
GOLDEN = "b524fc3d5b51cd0a698643c5058368d94140ae788b3dec0370998c16dfaa0913"


def test_what_a_program_is_does_not_depend_on_who_packed_it(tmp_path: Path) -> None:
    contents = {"train.py": b"print('hello')\n", "data/empty.txt": b"", "zähler/模型.py": b"x = 1\n"}
    files = {name: tmp_path / str(number) for number, name in enumerate(contents)}
    for name, path in files.items():
        path.write_bytes(contents[name])
    plain = of_files(files, script="train.py")
    files["train.py"].chmod(0o755)
    executable = of_files(files, script="train.py")

    assert plain.sha256 != executable.sha256
    assert plain.tar_sha256 == executable.tar_sha256 == GOLDEN
    assert plain.tar_sha256 == hashlib.sha256(gzip.decompress(plain.content)).hexdigest()
