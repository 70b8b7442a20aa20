"""Datasets from paths, web servers and S3, against servers we did not write: Flask, http.server and moto."""

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import boto3
import numpy as np
import pytest
import torch
from moto.server import ThreadedMotoServer

import workloads.node.training as yard
from workloads.node.training import copies, fetching, sources
from workloads.node.training.copies import CacheFull, HashDiffers
from workloads.node.training.datasets import DatasetMisshapen
from workloads.node.training.sources import DatasetChanged, DatasetForbidden, DatasetUnreachable, NoSuchDataset

from .conftest import ROOT, wait_for
from .stores import FileServer, Hub, Wire

RAW = np.random.default_rng(0).integers(0, 256, 3_000_000, dtype=np.uint8).tobytes()
SHA256 = hashlib.sha256(RAW).hexdigest()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GPUYARD_DATA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(copies, "WAITS_S", ())
    return tmp_path / "cache"


@pytest.fixture
def files(tmp_path):
    """What the servers serve."""
    root = tmp_path / "served"
    root.mkdir()
    (root / "train.bin").write_bytes(RAW)
    return root


@pytest.fixture
def web(files):
    server = FileServer(files)
    yield server
    server.close()


@pytest.fixture
def s3(monkeypatch):
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
    bucket = f"yard-{uuid.uuid4().hex}"
    client = boto3.client("s3")
    client.create_bucket(Bucket=bucket)
    yield client, bucket
    sources.fsspec.filesystem("s3").clear_instance_cache()
    server.stop()


def elsewhere(code, *args, **env):
    """Python code in another process of this machine, with the same cache."""
    program = [sys.executable, "-W", "error", "-c", code, *args]
    return subprocess.Popen(program, env={**os.environ, **env}, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def replaced(path, content):
    """Another file in the place of one that may be open."""
    draft = path.with_name("draft")
    draft.write_bytes(content)
    os.utime(draft, (1, 1))
    draft.replace(path)


def parts(cache):
    return [path for path in cache.glob("*/parts/**/*") if path.is_file()]


def test_a_file_comes_once_and_is_used_from_the_cache(web, cache, capsys):
    path = yard.fetch(f"{web.url}/train.bin")

    assert path.read_bytes() == RAW
    assert path.is_relative_to(cache)
    assert yard.fetch(f"{web.url}/train.bin") == path
    assert len(web.gets()) == 1
    assert capsys.readouterr().err == f"fetching {web.url}/train.bin: 1 files, 0.00 GiB\n"
    assert {encoding for method, _, _, encoding in web.asked if method == "GET"} == {"identity"}
    assert parts(cache) == []


def test_a_connection_that_is_cut_again_and_again_goes_on_where_it_stands(web, cache):
    wire = Wire(web.port, cut_after=700_000)

    path = yard.fetch(f"{wire.url}/train.bin", sha256=SHA256)

    wire.close()
    assert path.read_bytes() == RAW
    assert wire.cuts >= 4
    starts = [int(asked.removeprefix("bytes=").split("-")[0]) for asked in web.gets()]
    assert starts == sorted(starts)
    assert starts[-1] > 2_000_000


def test_a_half_file_of_a_killed_process_is_gone_on_with(web, cache):
    wire = Wire(web.port, cut_after=1_000_000, stall=True)
    code = (
        "import sys; from workloads.node.training import copies, fetch\ncopies.BLOCK_BYTES = 65536; fetch(sys.argv[1])"
    )
    child = elsewhere(code, f"{wire.url}/train.bin")
    assert wire.stalled.wait(60)
    child.kill()
    child.communicate()
    (part,) = parts(cache)
    have = part.stat().st_size
    wire.cut_after = None

    path = yard.fetch(f"{wire.url}/train.bin")

    wire.close()
    assert path.read_bytes() == RAW
    assert 0 < have < len(RAW)
    assert web.gets()[-1].startswith(f"bytes={have}-")


def test_processes_of_one_machine_fetch_a_file_once(web):
    # The first answer waits until all have asked for the file's version: they want it at the same time.
    web.while_sent = lambda: wait_for(lambda: sum(method == "HEAD" for method, *_ in web.asked) >= 3)
    code = "import sys; from workloads.node.training import fetch\nprint(fetch(sys.argv[1]))"
    children = [elsewhere(code, f"{web.url}/train.bin") for _ in range(3)]

    said = {child.communicate(timeout=60)[0].strip() for child in children}

    assert [child.returncode for child in children] == [0, 0, 0]
    assert len(said) == 1
    assert Path(said.pop()).read_bytes() == RAW
    assert len(web.gets()) == 1


def test_a_file_that_changes_while_it_is_read_is_told_and_not_kept(web, files, cache):
    def change():
        web.while_sent = None
        replaced(files / "train.bin", bytes(len(RAW)))

    web.while_sent = change

    with pytest.raises(DatasetChanged, match="train.bin changed while it was read"):
        yard.fetch(f"{web.url}/train.bin")
    assert parts(cache) == []
    assert yard.fetch(f"{web.url}/train.bin").read_bytes() == bytes(len(RAW))


@pytest.mark.parametrize("content", [RAW[:1_000_000], None], ids=["shorter", "gone"])
def test_a_file_that_shrinks_or_goes_under_way_is_no_network_error(web, files, monkeypatch, content):
    monkeypatch.setattr(copies, "BLOCK_BYTES", 500_000)

    def change():
        web.while_sent = None
        (files / "train.bin").unlink() if content is None else replaced(files / "train.bin", content)

    web.while_sent = change

    with pytest.raises(DatasetChanged):
        yard.fetch(f"{web.url}/train.bin")


def test_a_hash_that_differs_is_told_whether_the_file_comes_or_is_here(web, cache):
    with pytest.raises(HashDiffers, match=f"{SHA256}, announced was {'0' * 64}"):
        yard.fetch(f"{web.url}/train.bin", sha256="0" * 64)
    assert parts(cache) == []
    assert yard.fetch(f"{web.url}/train.bin", sha256=SHA256.upper()).read_bytes() == RAW
    with pytest.raises(HashDiffers):
        yard.fetch(f"{web.url}/train.bin", sha256="0" * 64)


@pytest.mark.parametrize("status", [401, 403])
def test_a_store_that_refuses_is_told_from_one_that_has_nothing(web, status):
    web.refuse = status
    with pytest.raises(DatasetForbidden, match="credentials"):
        yard.fetch(f"{web.url}/train.bin")

    web.refuse = None
    with pytest.raises(NoSuchDataset):
        yard.fetch(f"{web.url}/other.bin")


def test_a_store_that_fails_or_is_away_is_unreachable(web):
    web.refuse = 503
    with pytest.raises(DatasetUnreachable):
        yard.fetch(f"{web.url}/train.bin")

    with pytest.raises(DatasetUnreachable):
        yard.fetch("http://127.0.0.1:1/train.bin")


def test_a_site_behind_a_proxy_goes_through_it(web, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, web.url)
    monkeypatch.setenv("no_proxy", "")

    yard.fetch("http://example.test/train.bin", sha256=SHA256)

    assert len(web.gets("train.bin")) == 1


def test_a_signature_in_an_address_is_in_no_message(web):
    web.refuse = 403

    with pytest.raises(DatasetForbidden) as refused:
        yard.fetch(f"{web.url}/train.bin?X-Signature=secret".replace("//", "//user:password@", 1))
    assert "secret" not in str(refused.value)
    assert "password" not in str(refused.value)


@pytest.fixture
def plain(files):
    """http.server: pages of links, Last-Modified, no ranges."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _silent(files)) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def _silent(directory):
    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=directory)

        def log_message(self, *_):
            pass

    return Handler


def test_a_server_without_ranges_gives_its_files_whole(plain, monkeypatch):
    monkeypatch.setattr(copies, "BLOCK_BYTES", 1_000_000)

    assert yard.fetch(f"{plain}/train.bin").read_bytes() == RAW


def test_a_directory_comes_with_all_that_is_below_it(plain, files):
    (files / "more" / "deep er").mkdir(parents=True)
    (files / "more" / "deep er" / "b.bin").write_bytes(b"b")
    (files / "more" / "empty.bin").touch()

    path = yard.fetch(f"{plain}/")

    names = {file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()}
    assert names == {"train.bin", "more/deep er/b.bin", "more/empty.bin"}
    assert (path / "more/deep er/b.bin").read_bytes() == b"b"
    assert yard.fingerprint(path) == yard.fingerprint(files)


def test_s3_gives_files_and_directories(s3):
    client, bucket = s3
    client.put_object(Bucket=bucket, Key="corpus/a.bin", Body=RAW)
    client.put_object(Bucket=bucket, Key="corpus/more/b.bin", Body=b"b")
    client.put_object(Bucket=bucket, Key="corpus-of-others/c.bin", Body=b"c")

    path = yard.fetch(f"s3://{bucket}/corpus")

    assert (path / "a.bin").read_bytes() == RAW
    assert {file.name for file in path.rglob("*") if file.is_file()} == {"a.bin", "b.bin"}
    assert (yard.fetch(f"s3://{bucket}/corpus/") / "a.bin").read_bytes() == RAW
    assert (yard.fetch(f"s3://{bucket}") / "corpus-of-others" / "c.bin").read_bytes() == b"c"
    assert yard.fetch(f"s3://{bucket}/corpus/a.bin", sha256=SHA256).read_bytes() == RAW
    for nothing in (f"s3://{bucket}/corpse", f"s3://{bucket}x/corpus"):
        with pytest.raises(NoSuchDataset):
            yard.fetch(nothing)


def test_s3_says_that_an_object_changed(s3, monkeypatch):
    client, bucket = s3
    client.put_object(Bucket=bucket, Key="train.bin", Body=RAW)
    copy = copies.Copy(f"s3://{bucket}/train.bin")
    client.put_object(Bucket=bucket, Key="train.bin", Body=bytes(len(RAW)))

    with pytest.raises(DatasetChanged):
        copy.bring(copy.entries[0], None)


def test_the_hugging_face_hub_gives_files_and_their_hashes(tmp_path):
    hub = Hub(RAW, b"{}")
    code = "import sys; from workloads.node.training import copies, fetch; copies.WAITS_S = ()\n"
    code += "try: print(fetch(sys.argv[1]))\nexcept Exception as e: print(type(e).__name__, e)"
    home = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": "hf_token"}

    def fetched(address):
        return elsewhere(code, address, **home).communicate(timeout=60)[0].strip()

    path = Path(fetched("hf://datasets/org/corpus/data"))
    assert (path / "train.bin").read_bytes() == RAW
    assert (path / "meta.json").read_bytes() == b"{}"
    assert {token for _, token in hub.asked} == {"Bearer hf_token"}
    assert "NoSuchDataset" in fetched("hf://datasets/org/other/data")
    hub.sha256 = "0" * 64
    assert "HashDiffers" in fetched("hf://datasets/org/corpus/data/train.bin")
    hub.close()


def test_what_a_manifest_lists_is_checked(web, s3, files):
    client, bucket = s3
    (files / "b.bin").write_bytes(b"b")
    done = subprocess.run(["sha256sum", "train.bin", "./b.bin"], cwd=files, capture_output=True, text=True, check=True)
    (files / "SHA256SUMS").write_text(done.stdout)
    for name in ("train.bin", "b.bin", "SHA256SUMS"):
        client.put_object(Bucket=bucket, Key=f"corpus/{name}", Body=(files / name).read_bytes())

    for address in (str(files), f"s3://{bucket}/corpus"):
        assert (yard.fetch(address) / "b.bin").read_bytes() == b"b"

    (files / "b.bin").write_bytes(b"c")
    client.put_object(Bucket=bucket, Key="corpus/b.bin", Body=b"c")
    for address in (str(files), f"s3://{bucket}/corpus"):
        with pytest.raises(HashDiffers, match="b.bin"):
            yard.fetch(address)
    (files / "c.bin").write_bytes(b"c")
    client.put_object(Bucket=bucket, Key="corpus/c.bin", Body=b"c")
    for address in (str(files), f"s3://{bucket}/corpus"):
        with pytest.raises(HashDiffers, match="does not list c.bin"):
            yard.fetch(address)
        with pytest.raises(NoSuchDataset, match="has no OTHER"):
            yard.fetch(address, manifest="OTHER")


def test_the_fingerprint_is_of_the_content_wherever_it_lies(web, files, s3):
    client, bucket = s3
    client.put_object(Bucket=bucket, Key="renamed.bin", Body=RAW)
    places = [str(files / "train.bin"), f"{web.url}/train.bin", f"s3://{bucket}/renamed.bin"]

    prints = {yard.fingerprint(yard.fetch(place)) for place in places}

    assert len(prints) == 1
    (files / "train.bin").write_bytes(RAW[:-1] + b"?")
    assert yard.fingerprint(files / "train.bin") not in prints


def test_the_fingerprint_of_a_directory_is_of_all_names_and_all_contents(files):
    (files / "z.bin").write_bytes(b"z")
    before = yard.fingerprint(files)

    (files / "z.bin").write_bytes(b"y")
    other = yard.fingerprint(files)
    (files / "z.bin").rename(files / "y.bin")

    assert len({before, other, yard.fingerprint(files)}) == 3
    (files / "y.bin").rename(files / "z.bin")
    (files / "z.bin").write_bytes(b"z")
    assert yard.fingerprint(files) == before


def test_a_dataset_larger_than_the_disk_is_refused_before_it_comes(web, files, cache):
    with (files / "huge.bin").open("wb") as sparse:
        sparse.truncate(2**43)
    web.while_sent = web.fail  # Should the check fail one day, no disk is filled.

    with pytest.raises(CacheFull, match="GPUYARD_DATA_CACHE"):
        yard.fetch(f"{web.url}/huge.bin")
    assert web.gets() == []


def test_copies_nobody_uses_make_room_and_those_in_use_do_not(web, files, cache, monkeypatch):
    (files / "next.bin").write_bytes(RAW)
    monkeypatch.setenv("GPUYARD_DATA_CACHE_GIB", str(5_000_000 / 2**30))
    code = "import sys; from workloads.node.training import fetch\nprint(fetch(sys.argv[1]), flush=True); input()"
    user = subprocess.Popen(
        [sys.executable, "-c", code, f"{web.url}/train.bin"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    used = Path(user.stdout.readline().strip())
    with pytest.raises(CacheFull):
        yard.fetch(f"{web.url}/next.bin")
    assert used.read_bytes() == RAW
    user.communicate("\n", timeout=60)

    path = yard.fetch(f"{web.url}/next.bin")

    assert path.read_bytes() == RAW
    assert not used.exists()


def test_the_cache_of_a_placed_run_ends_with_its_lease(monkeypatch, tmp_path):
    monkeypatch.delenv("GPUYARD_DATA_CACHE")
    monkeypatch.setenv("GPUYARD_LEASE_DIR", str(tmp_path / "lease"))
    assert copies.cache_root() == tmp_path / "lease" / "datasets"

    monkeypatch.delenv("GPUYARD_LEASE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    assert copies.cache_root() == tmp_path / "home" / "gpuyard" / "datasets"


def test_a_package_that_is_missing_is_named():
    with pytest.raises(sources.PackageMissing, match="pip install gcsfs"):
        yard.fetch("gs://bucket/corpus")

    code = "import sys; sys.modules['litdata'] = None\nfrom workloads.node.training import Shards\n"
    code += "try: Shards('.')\nexcept Exception as e: print(e)"
    said, _ = elsewhere(code).communicate(timeout=60)
    assert "pip install litdata" in said


def test_a_protocol_nobody_knows_is_told():
    with pytest.raises(sources.DatasetError, match="gopher"):
        yard.fetch("gopher://example/corpus")


def test_a_local_file_is_used_where_it_is(files, cache):
    (files / "a b.bin").write_bytes(RAW)

    for address in (files / "a b.bin", str(files / "a b.bin"), (files / "a b.bin").as_uri()):
        assert yard.fetch(address, sha256=SHA256) == files / "a b.bin"
    with pytest.raises(HashDiffers):
        yard.fetch(files / "a b.bin", sha256="0" * 64)
    assert not cache.exists()


def test_windows_of_tokens_are_inputs_and_what_comes_next(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("corpus").mkdir()
    np.arange(100, dtype="<u2").tofile("corpus/a.bin")
    np.save("corpus/b.npy", np.arange(70_000, 70_021, dtype=np.uint32))
    Path("corpus/meta.pkl").write_bytes(b"not tokens")

    dataset = yard.TokenWindows("corpus", context=10)

    assert len(dataset) == 9 + 2
    inputs, targets = dataset[9]
    assert inputs.tolist() == list(range(70_000, 70_010))
    assert targets.tolist() == list(range(70_001, 70_011))
    assert dataset[8][1].tolist() == list(range(81, 91))
    assert inputs.dtype == np.int64
    for outside in (-1, 11):
        with pytest.raises(IndexError):
            dataset[outside]


def test_the_header_of_llm_c_is_not_taken_for_tokens(tmp_path):
    for name, magic, version, dtype in (("a.bin", 20240520, 1, "<u2"), ("b.bin", 20240801, 7, "<u4")):
        header = np.zeros(256, "<i4")
        header[:3] = magic, version, 11
        (tmp_path / name).write_bytes(header.tobytes() + np.arange(11, dtype=dtype).tobytes())

    dataset = yard.TokenWindows(str(tmp_path), context=10)

    assert [inputs.tolist() for inputs, _ in (dataset[0], dataset[1])] == [list(range(10))] * 2
    assert len(dataset) == 2


def test_files_that_are_no_tokens_are_refused(tmp_path):
    (tmp_path / "odd.bin").write_bytes(b"123")
    np.arange(10, dtype="<u2").tofile(tmp_path / "short.bin")
    np.save(tmp_path / "floats.npy", np.zeros(100))
    (tmp_path / "empty.bin").touch()
    (tmp_path / "directory").mkdir()
    (tmp_path / "directory" / "README").touch()

    for name in ("odd.bin", "short.bin", "floats.npy", "empty.bin", "directory"):
        with pytest.raises(DatasetMisshapen, match=name.split(".")[0]):
            yard.TokenWindows(str(tmp_path / name), context=10)
    with pytest.raises(NoSuchDataset, match="program's directory"):
        yard.TokenWindows("no-such-corpus", context=10)


def test_a_session_sees_every_window_and_line_once_an_epoch(tmp_path):
    np.arange(41, dtype="<u2").tofile(tmp_path / "train.bin")
    (tmp_path / "lines.jsonl").write_text('{"n": 1}\n\n{"n": 2}\r\n{"n": 3}')
    model = torch.nn.Linear(1, 1)
    firsts, numbers = [], []

    with yard.session(model, torch.optim.SGD(model.parameters(), lr=0.1)) as run:
        for inputs, targets in run.batches(yard.TokenWindows(str(tmp_path / "train.bin"), context=4), batch_size=4):
            assert torch.equal(inputs[:, 1:], targets[:, :-1])
            firsts += inputs[:, 0].tolist()
    with yard.session(model, torch.optim.SGD(model.parameters(), lr=0.1)) as run:
        for batch in run.batches(yard.Lines(str(tmp_path / "lines.jsonl"), parse=json.loads), batch_size=2, epochs=2):
            numbers += batch["n"].tolist()

    assert sorted(firsts) == list(range(0, 40, 4))
    assert sorted(numbers[:3]) == sorted(numbers[3:]) == [1, 2, 3]


@pytest.mark.parametrize("change", ["cut", "written", "gone"])
def test_a_local_file_that_changes_under_way_stops_the_run(tmp_path, change):
    path = tmp_path / "train.bin"
    np.arange(100_000, dtype="<u2").tofile(path)
    dataset = yard.TokenWindows(str(path), context=10)
    dataset[0]

    if change == "cut":
        os.truncate(path, 100)
    elif change == "written":
        path.write_bytes(bytes(200_000))
        os.utime(path, (1, 1))
    else:
        path.unlink()

    with pytest.raises(DatasetChanged, match="train.bin changed"):
        dataset[9000]


def test_the_fingerprint_of_a_dataset_says_how_samples_are_made(tmp_path):
    np.arange(100, dtype="<u2").tofile(tmp_path / "a.bin")
    one = yard.TokenWindows(str(tmp_path), context=10)
    (tmp_path / "README").write_text("is not read")

    assert yard.TokenWindows(str(tmp_path), context=10).fingerprint == one.fingerprint
    assert yard.TokenWindows(str(tmp_path), context=11).fingerprint != one.fingerprint
    assert yard.TokenWindows(str(tmp_path), context=10, dtype="int16").fingerprint != one.fingerprint


@pytest.fixture
def shards(files):
    """100 samples in 12 shards, as litdata writes them."""
    from litdata.streaming import Cache

    directory = files / "shards"
    writer = Cache(str(directory), chunk_bytes=4000)
    for number in range(100):
        writer[number] = {"tokens": np.full(50, number), "number": number}
    writer.done()
    writer.merge()
    return directory


def uploaded(s3, directory):
    client, bucket = s3
    for file in directory.iterdir():
        client.put_object(Bucket=bucket, Key=f"shards/{file.name}", Body=file.read_bytes())
    return f"s3://{bucket}/shards"


def here(dataset):
    return {entry.name for entry in dataset._copy.present()}


def test_shards_come_when_a_sample_of_theirs_is_wanted(shards, s3):
    dataset = yard.Shards(uploaded(s3, shards))
    assert len(dataset) == 100
    assert here(dataset) == {"index.json"}

    assert dataset[95]["number"] == 95

    assert here(dataset) == {"index.json", "chunk-0-10.bin"}
    assert [int(dataset[number]["tokens"][49]) for number in range(100)] == list(range(100))
    assert [yard.Shards(str(shards))[number]["number"] for number in (99, 0, 50)] == [99, 0, 50]
    for outside in (-1, 100):
        with pytest.raises(IndexError):
            dataset[outside]


def test_shards_that_were_not_used_for_longest_go_when_the_cache_is_full(shards, s3):
    dataset = yard.Shards(uploaded(s3, shards), cache_gib=8000 / 2**30)  # Two shards of 3,788 bytes.

    seen = []
    for number in (0, 20, 0, 40, 0):
        assert dataset[number]["number"] == number
        seen.append(here(dataset) - {"index.json"})

    assert seen[1] == {"chunk-0-0.bin", "chunk-0-2.bin"}
    assert seen[3] == seen[4] == {"chunk-0-0.bin", "chunk-0-4.bin"}
    assert [dataset[number]["number"] for number in (30, 0, 77)] == [30, 0, 77]


def test_a_shard_in_use_is_not_evicted_by_another_process(shards, s3):
    copy = copies.Copy(uploaded(s3, shards))
    entry = next(entry for entry in copy.entries if entry.name == "chunk-0-0.bin")

    for _ in ("fetched", "there already"):
        with copy.using(entry, None) as path:
            copies.Copy(copy.source.address).shrink(0)
            assert path.exists()
    copy.shrink(0)
    assert not path.exists()


def test_a_shard_that_changed_since_the_dataset_was_opened_stops_the_run(shards, s3):
    client, bucket = s3
    address = uploaded(s3, shards)
    dataset, before = yard.Shards(address), yard.Shards(address).fingerprint
    raw = (shards / "chunk-0-3.bin").read_bytes()
    client.put_object(Bucket=bucket, Key="shards/chunk-0-3.bin", Body=raw[::-1])

    assert dataset[0]["number"] == 0
    with pytest.raises(DatasetChanged, match="chunk-0-3.bin changed"):
        dataset[30]
    assert yard.Shards(address).fingerprint != before

    local = yard.Shards(str(shards))
    replaced(shards / "chunk-0-3.bin", raw[::-1])
    with pytest.raises(DatasetChanged, match="chunk-0-3.bin changed"):
        local[30]


def test_a_damaged_shard_is_known_by_the_manifest(shards, s3):
    client, bucket = s3
    names = [file.name for file in shards.iterdir()]
    done = subprocess.run(["sha256sum", *names], cwd=shards, capture_output=True, text=True, check=True)
    (shards / "SHA256SUMS").write_text(done.stdout)
    raw = (shards / "chunk-0-3.bin").read_bytes()
    address = uploaded(s3, shards)
    client.put_object(Bucket=bucket, Key="shards/chunk-0-3.bin", Body=raw[:-1] + b"?")
    dataset = yard.Shards(address)

    assert dataset[0]["number"] == 0
    with pytest.raises(HashDiffers, match="chunk-0-3.bin"):
        dataset[30]
    client.put_object(Bucket=bucket, Key="shards/chunk-0-3.bin", Body=raw)
    assert yard.Shards(address)[30]["number"] == 30


def test_what_litdata_did_not_write_or_is_not_read_here_is_refused(shards, files):
    with pytest.raises(DatasetMisshapen, match="litdata.optimize"):
        yard.Shards(str(files))
    index = json.loads((shards / "index.json").read_text())
    for change, said in (
        ({"config": {**index["config"], "compression": "zstd"}}, "compression"),
        ({"config": {**index["config"], "item_loader": "TokensLoader"}}, "TokensLoader"),
        ({"chunks": [*index["chunks"], {"filename": "chunk-9.bin", "chunk_size": 1}]}, "chunk-9.bin"),
        ({"chunks": None}, "not litdata's"),
    ):
        (shards / "index.json").write_text(json.dumps({**index, **change}))
        with pytest.raises(DatasetMisshapen, match=said):
            yard.Shards(str(shards))


def test_the_hub_gets_neither_torch_nor_fsspec_from_the_package():
    code = "import sys, workloads.node.training.outer; print([n for n in ('torch', 'fsspec') if n in sys.modules])"

    said, _ = elsewhere(code).communicate(timeout=60)

    assert said.strip() == "[]"
    named = [name for name in yard.__all__ if not name.endswith("Callback")]  # Those import whole frameworks.
    assert all(getattr(yard, name) for name in named)
    assert fetching.fetch is yard.fetch
