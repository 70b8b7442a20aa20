"""Files of packed vectors: safetensors that the library reads too, and nothing else is taken for one."""

import json

import numpy as np
import pytest
import safetensors.numpy

from workloads.node.training import outer, wire
from workloads.node.training.codec import CorruptTensors, NotFinite, TensorsDiffer
from workloads.node.training.layout import ALIGNED, Layout
from workloads.node.training.quantise import CODECS, decode

TENSORS = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.full(300, 7, np.float32), "c": np.float32(2)}
SPEC = {name: {"shape": list(np.shape(tensor)), "dtype": "float32"} for name, tensor in TENSORS.items()}


def packed(path, vector, codec):
    outer.packed(vector, codec, wire.create(path, codec=codec, size=len(vector)))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file"


class TestLayout:
    def test_puts_tensors_in_the_order_of_their_names_each_at_a_boundary(self):
        layout = Layout(SPEC)
        vector = layout.flat(TENSORS)

        assert layout.size == 4 * ALIGNED
        assert [start for start, _ in layout.slots.values()] == [0, 2 * ALIGNED, 3 * ALIGNED]
        assert vector.sum() == 300 * 7 + 15 + 2

    def test_gives_views_that_write_through(self):
        layout = Layout(SPEC)
        vector = layout.flat(TENSORS)
        layout.named(vector)["b"][1, 2] = 50

        assert vector[2 * ALIGNED + 5] == 50
        assert all(part.shape == np.shape(TENSORS[name]) for name, part in layout.named(vector).items())


class TestPacked:
    @pytest.mark.parametrize("codec", CODECS)
    def test_comes_back_and_the_library_reads_it(self, path, codec):
        vector = np.random.default_rng(0).standard_normal(10_000, np.float32)
        packed(path, vector, codec)

        name, parts = wire.read(path, size=10_000)
        by_library = safetensors.numpy.load_file(path)

        assert name == codec
        assert by_library.keys() == parts.keys()
        assert all((by_library[each] == parts[each]).all() for each in parts)
        assert decode(parts, codec, size=10_000).shape == (10_000,)

    def test_of_another_model_is_refused(self, path):
        packed(path, np.zeros(512, np.float32), "int8")

        with pytest.raises(TensorsDiffer, match="a vector of 512 numbers, the model has 256"):
            wire.read(path, size=256)

    @pytest.mark.parametrize("codec", CODECS)
    def test_that_holds_what_is_not_finite_is_refused(self, path, codec):
        vector = np.zeros(5000, np.float32)
        vector[4999] = np.nan
        packed(path, vector, codec)

        with pytest.raises(NotFinite, match="not finite"):
            wire.read(path, size=5000)

    @pytest.mark.parametrize("codec", CODECS)
    def test_whose_numbers_could_leave_the_range_of_float32_is_refused(self, path, codec):
        packed(path, np.full(5000, 1e35, np.float32), codec)

        with pytest.raises(NotFinite, match=r"beyond 1e\+30"):
            wire.read(path, size=5000)

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda raw: b"",
            lambda raw: b"garbage garbage garbage",
            lambda raw: b"\xff" * 64,
            lambda raw: raw[:-1],
            lambda raw: raw[:100],
            lambda raw: raw.replace(b'"F32"', b'"F99"'),
            lambda raw: raw.replace(b'"data_offsets"', b'"data_offsetz"'),
            lambda raw: (10).to_bytes(8, "little") + b'["a", "b"]' + raw,
            lambda raw: (60_000).to_bytes(8, "little") + b"[" * 60_000 + raw,
            lambda raw: raw.replace(b'"data_offsets": [0,', b'"data_offsets": [1e999,').replace(b" " * 4, b"", 1),
        ],
    )
    def test_that_is_none_is_refused(self, path, spoil):
        packed(path, np.ones(5000, np.float32), "int8")
        path.write_bytes(spoil(path.read_bytes()))

        with pytest.raises(CorruptTensors):
            wire.read(path, size=5000)

    @pytest.mark.parametrize(("field", "value"), [("codec", "int3"), ("codec", "int4"), ("size", "4999"), ("size", "")])
    def test_that_says_something_else_of_itself_is_refused(self, path, field, value):
        packed(path, np.ones(5000, np.float32), "int8")
        raw = path.read_bytes()
        length = int.from_bytes(raw[:8], "little")
        header = json.loads(raw[8 : 8 + length])
        header["__metadata__"][field] = value
        text = json.dumps(header).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + length :])

        with pytest.raises((TensorsDiffer, CorruptTensors)):
            wire.read(path, size=5000)


class TestNamed:
    def test_is_what_the_library_writes_and_reads(self, path):
        wire.write_named(path, TENSORS)

        loaded = safetensors.numpy.load_file(path)
        again = wire.read_named(path, like=TENSORS)

        for name, tensor in TENSORS.items():
            assert (loaded[name] == tensor).all()
            assert (again[name] == tensor).all()

    def test_with_other_shapes_is_refused(self, path):
        wire.write_named(path, {**TENSORS, "a": np.zeros(299, np.float32)})

        with pytest.raises(TensorsDiffer, match=r"a is float32\[299\]"):
            wire.read_named(path, like=TENSORS)
