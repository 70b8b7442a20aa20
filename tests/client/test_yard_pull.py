"""`yard pull`: the model, or any version that is kept, whole or not at all, in the form that one wants."""

import io
import json
import os
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file
from torch import nn

from workloads.node.training import checkpoint, outer, wire
from workloads.node.training.layout import Floats, Layout

from . import objects_of_a_broker as given
from .contract_broker import Asked, ContractBroker, Reply, refusal, serving, sha256

SPEC = {"body.weight": {"shape": [1200, 300], "dtype": "float32"}, "head": {"shape": [5], "dtype": "float32"}}
CONFIG = {"config.json": json.dumps({"model_type": "gpt2", "n_layer": 2}), "tokenizer.json": "{}"}

pytestmark = pytest.mark.usefixtures("whole_package")


class Kept:
    """A run's versions at a broker: a snapshot at 4 and updates to 7, as a hub makes them; 0 to 3 are gone."""

    def __init__(self, broker: ContractBroker, folder: Path) -> None:
        self.broker, self.layout = broker, Layout(SPEC)
        random = np.random.default_rng(7)
        theta = self.layout.flat({name: random.normal(size=one["shape"]) for name, one in SPEC.items()})
        self.theta = {4: theta.copy()}
        wire.write_named(folder / "snapshot", self.layout.named(theta))
        self.objects: list[dict[str, Any]] = [self.keep((folder / "snapshot").read_bytes(), 4, theta)]
        for version in (4, 5, 6):
            step = self.layout.flat({name: random.normal(size=one["shape"]) for name, one in SPEC.items()})
            path = folder / "update"
            outer.packed(step, "int8", wire.create(path, codec="int8", size=self.layout.size))
            outer.apply(theta, wire.read(path, size=self.layout.size)[1], "int8")
            self.theta[version + 1] = theta.copy()
            self.objects.append(self.keep(path.read_bytes(), version, theta))
        broker.on("GET", "/v1/workloads/12/versions", {"newest": 7, "kept": [[4, 7]]})
        broker.on("GET", r"/v1/workloads/12/versions/\d+", self.version)
        broker.on("GET", "/v1/workloads/12/artifacts", {"results": []})

    def keep(self, raw: bytes, version: int, theta: Floats) -> dict[str, Any]:
        self.serve(sha256(raw), serving(raw))
        return {"version": version, "sha256": sha256(raw), "size_bytes": len(raw),
                "fingerprint": outer.fingerprint(theta)}  # fmt: skip

    def serve(self, digest: str, answer: Callable[[Asked], Reply] | Reply) -> None:
        self.broker.on("GET", f"/v1/workloads/12/objects/{digest}", answer)

    def version(self, asked: Asked) -> Reply:
        version = int(asked.path.rpartition("/")[2])
        if version not in self.theta:
            return refusal(404, "version_gone", fields={"kept": [[4, 7]]})
        return Reply(200, {"workload": 12, "version": version, "tensors": SPEC, "snapshot": self.objects[0],
                           "updates": self.objects[1 : version - 3],
                           "fingerprint": self.objects[version - 4]["fingerprint"]})  # fmt: skip

    def is_in(self, path: Path, version: int) -> bool:
        tensors = load_file(path)
        return all((tensors[name] == told).all() for name, told in self.layout.named(self.theta[version]).items())


@pytest.fixture
def kept(logged_in: ContractBroker, tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """A run that trains and has left no model yet."""
    return Kept(logged_in, tmp_path_factory.mktemp("hub"))


@pytest.mark.parametrize("version", [4, 5, 7])
def test_a_version_is_put_together_to_the_bits_of_the_hub(kept: Kept, yard: Any, tmp_path: Path, version: int) -> None:
    said = yard("pull", "12", "--version", str(version), "--json")

    name = f"run-12-version-{version}.safetensors"
    assert said.json == {"artifact": None, "version": version, "format": "safetensors", "file": name}
    assert kept.is_in(tmp_path / name, version)
    assert os.listdir(tmp_path) == [name], "nothing is left beside it"


def test_without_a_model_the_newest_version_is_brought_and_that_is_said(kept: Kept, yard: Any, tmp_path: Path) -> None:
    said = yard("pull", "12", "-o", "now.safetensors")

    assert said.code == 0
    assert "There is no model; these are the parameters of version 7" in said.err
    assert said.out == "now.safetensors: version 7, verified.\n"
    assert kept.is_in(tmp_path / "now.safetensors", 7)


def test_the_model_goes_before_any_version(kept: Kept, yard: Any, tmp_path: Path) -> None:
    model = given.artifact(sha256(b"weights"), 7, name="mine.safetensors")
    kept.broker.on("GET", "/v1/workloads/12/artifacts", {"results": [model]})
    kept.broker.on("GET", "/v1/artifacts/9/content", serving(b"weights"))

    said = yard("pull", "12", "--json")

    assert (said.json["artifact"]["id"], said.json["file"]) == (9, "mine.safetensors")
    assert (tmp_path / "mine.safetensors").read_bytes() == b"weights"


def test_a_run_that_left_nothing_says_what_to_do(kept: Kept, yard: Any) -> None:
    kept.broker.on("GET", "/v1/workloads/12/versions", {"newest": None, "kept": []})

    said = yard("pull", "12", "--json")

    assert said.code == 1
    assert said.json["error"]["code"] == "no_artifact"


def test_a_version_that_is_gone_is_told_with_those_that_are_kept(kept: Kept, yard: Any, tmp_path: Path) -> None:
    said = yard("pull", "12", "--version", "2", "--json")

    assert said.code == 1
    assert said.json["error"]["code"] == "version_gone"
    assert said.json["error"]["fields"] == {"kept": [[4, 7]]}
    assert os.listdir(tmp_path) == []


def test_a_download_that_broke_off_goes_on_with_what_is_here(kept: Kept, client: Any, tmp_path: Path) -> None:
    from gpuyard import versions
    from gpuyard.errors import BrokerUnreachable

    snapshot, first, second, _ = (each["sha256"] for each in kept.objects)
    raw = kept.broker.answer(Asked("GET", f"/v1/workloads/12/objects/{second}", {}, HEADERS, b""))
    assert raw is not None
    kept.serve(second, serving(raw.content, cuts=[300_000, 0, 0]))
    with pytest.raises(BrokerUnreachable):
        versions.pull(client, 12, 6, to=tmp_path / "six", patience_s=(0.01, 0.01))
    assert sorted(os.listdir(tmp_path / "six.parts")) == sorted([snapshot, first, f"{second}.part"])
    kept.broker.asked.clear()

    versions.pull(client, 12, 6, to=tmp_path / "six", patience_s=(0.01, 0.01))

    fetched = [(asked.path.rpartition("/")[2], asked.headers.get("Range"))
               for asked in kept.broker.asked if "objects" in asked.path]  # fmt: skip
    assert fetched == [(second, "bytes=262144-")]
    assert kept.is_in(tmp_path / "six", 6)
    assert os.listdir(tmp_path) == ["six"]


def test_progress_counts_all_objects_together(kept: Kept, client: Any, tmp_path: Path) -> None:
    from gpuyard import versions

    told: list[tuple[int, int]] = []
    versions.pull(client, 12, 7, to=tmp_path / "x", progress=lambda done, total: told.append((done, total)))

    total = sum(each["size_bytes"] for each in kept.objects)
    assert told[-1] == (total, total)
    assert told == sorted(told)


def test_updates_that_lead_elsewhere_never_get_the_name(kept: Kept, yard: Any, tmp_path: Path) -> None:
    kept.objects[2]["fingerprint"] = "0" * 64
    (tmp_path / "x").write_bytes(b"what was here")

    said = yard("pull", "12", "--version", "7", "-o", "x", "--json")

    assert said.json["error"]["code"] == "hash_mismatch"
    assert "leads to other parameters than 000000000000" in said.json["error"]["message"]
    assert (tmp_path / "x").read_bytes() == b"what was here"
    assert os.listdir(tmp_path) == ["x"]


def test_an_object_that_goes_meanwhile_is_asked_for_by_its_version_again(kept: Kept, yard: Any, tmp_path: Path) -> None:
    way, digest = kept.version, kept.objects[1]["sha256"]
    kept.serve(digest, refusal(404, "object_missing"))
    looks = iter([way, lambda asked: refusal(404, "version_gone", fields={"kept": [[8, 9]]})])
    kept.broker.on("GET", "/v1/workloads/12/versions/5", lambda asked: next(looks)(asked))

    said = yard("pull", "12", "--version", "5", "--json")

    assert said.json["error"]["code"] == "version_gone"
    assert said.json["error"]["fields"] == {"kept": [[8, 9]]}


def test_without_numpy_a_snapshot_can_be_had_and_the_rest_says_so(
    kept: Kept, yard: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gpuyard.node.training.assembly", None)
    monkeypatch.delattr("gpuyard.node.training.assembly", raising=False)

    assert yard("pull", "12", "--version", "4").code == 0
    said = yard("pull", "12", "--version", "6", "--json")

    assert said.json["error"]["code"] == "package_missing"
    assert "take --version 4, which needs nothing" in said.json["error"]["hint"]
    assert os.listdir(tmp_path) == ["run-12-version-4.safetensors"], "it says so before it fetches"


def test_a_file_for_torch_loads_without_trust_into_the_model(kept: Kept, yard: Any, tmp_path: Path) -> None:
    said = yard("pull", "12", "--version", "7", "--format", "torch", "--json")

    assert said.json["file"] == "run-12-version-7.pt"
    state = torch.load(tmp_path / "run-12-version-7.pt", weights_only=True)
    told = kept.layout.named(kept.theta[7])
    assert {name: tensor.shape for name, tensor in state.items()} == {name: t.shape for name, t in told.items()}
    assert all((state[name].numpy() == tensor).all() for name, tensor in told.items())
    assert os.listdir(tmp_path) == ["run-12-version-7.pt"]
    assert (tmp_path / "run-12-version-7.pt").stat().st_size < 1.2 * 4 * sum(t.size for t in told.values())


class Tied(nn.Module):
    """As language models are: the head is the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.norm = nn.Embedding(10, 4), nn.BatchNorm1d(4)
        self.head = nn.Linear(4, 10, bias=False)
        self.head.weight = self.embedding.weight


def test_a_saved_models_tied_tensors_and_buffers_are_all_in_the_file_for_torch(
    kept: Kept, yard: Any, tmp_path: Path
) -> None:
    model, fresh = Tied(), Tied()
    keep_model(kept, checkpoint.packed(model))

    yard("pull", "12", "--format", "torch", "-o", "model.pt")

    assert fresh.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True)).missing_keys == []
    assert torch.equal(fresh.head.weight, model.embedding.weight)


def test_without_torch_that_is_said_before_anything_is_fetched(
    kept: Kept, yard: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gpuyard.node.training.checkpoint", None)
    monkeypatch.delattr("gpuyard.node.training.checkpoint", raising=False)

    said = yard("pull", "12", "--format", "torch", "--json")

    assert said.json["error"]["code"] == "package_missing"
    assert not [asked for asked in kept.broker.asked if "objects" in asked.path]
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("where", ["", "model/"], ids=["at the top", "in a folder"])
def test_a_hugging_face_folder_has_what_the_program_holds_beside_the_weights(
    kept: Kept, yard: Any, tmp_path: Path, where: str
) -> None:
    others = {"train.py": "", "data/config.json": "1", "more/tokenizer.json": "another", where + "notes.json": "{}"}
    keep_program(kept, others | {where + name: text for name, text in CONFIG.items()})

    said = yard("pull", "12", "--version", "6", "--format", "huggingface", "-o", "out", "--json")

    assert said.code == 0, said.err
    assert sorted(os.listdir(tmp_path / "out")) == ["config.json", "model.safetensors", "tokenizer.json"]
    assert {name: (tmp_path / "out" / name).read_text() for name in CONFIG} == CONFIG
    assert kept.is_in(tmp_path / "out" / "model.safetensors", 6)
    with safe_open(tmp_path / "out" / "model.safetensors", "np") as file:
        assert file.metadata() == {"format": "pt"}
    assert os.listdir(tmp_path) == ["out"]
    assert "no tokenizer" not in said.err


def test_the_names_of_tied_tensors_stay_in_a_hugging_face_folder(kept: Kept, yard: Any, tmp_path: Path) -> None:
    keep_model(kept, checkpoint.packed(Tied()))
    keep_program(kept, {"config.json": CONFIG["config.json"]})

    said = yard("pull", "12", "--format", "huggingface")

    assert "model holds no tokenizer" in said.err
    with safe_open(tmp_path / "model" / "model.safetensors", "np") as file:
        assert file.metadata() == {"format": "pt", "head.weight": "embedding.weight"}


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"train.py": ""}, "the program has no config.json with a model_type"),
        ({"config.json": '{"lr": 0.1}'}, "the program has no config.json with a model_type"),
        ({"a/config.json": CONFIG["config.json"], "b/config.json": CONFIG["config.json"]},
         "several configurations: a/config.json, b/config.json"),
    ],
    ids=["none", "another's", "several"],
)  # fmt: skip
def test_what_a_hugging_face_folder_lacks_is_said_and_can_be_named(
    kept: Kept, yard: Any, tmp_path: Path, files: dict[str, str], why: str
) -> None:
    keep_program(kept, files)

    said = yard("pull", "12", "--format", "huggingface", "--json")

    assert said.json["error"]["code"] == "no_config"
    assert why in said.json["error"]["message"]
    assert os.listdir(tmp_path) == []
    (tmp_path / "mine").mkdir()
    assert "mine has no config.json" in yard("pull", "12", "--format", "huggingface", "--config", "mine").err
    for name, text in CONFIG.items():
        (tmp_path / "mine" / name).write_text(text)
    assert yard("pull", "12", "--format", "huggingface", "--config", "mine", "-o", "out").code == 0
    assert sorted(os.listdir(tmp_path / "out")) == ["config.json", "model.safetensors", "tokenizer.json"]


HEADERS = {"Authorization": "Bearer yk_test_secret"}


def keep_model(kept: Kept, raw: bytes) -> None:
    kept.broker.on("GET", "/v1/workloads/12/artifacts", {"results": [given.artifact(sha256(raw), len(raw))]})
    kept.broker.on("GET", "/v1/artifacts/9/content", serving(raw))


def keep_program(kept: Kept, files: dict[str, str]) -> None:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w:gz") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    raw = sink.getvalue()
    kept.broker.on("GET", "/v1/workloads/12", given.workload("running", program=sha256(raw)))
    kept.broker.on("GET", f"/v1/programs/{sha256(raw)}", Reply(200, raw=raw))
