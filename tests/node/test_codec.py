"""The wire format: the same bytes for the same tensors, and no tensors from bad bytes."""

import numpy as np
import pytest

from workloads.node.training import codec


def tensors(**changes):
    return {"a": np.ones((2, 3), np.float32), "b": np.zeros(4, np.float32)} | changes


def test_what_was_encoded_is_decoded_and_the_order_does_not_matter():
    raw = codec.encode(tensors())

    assert codec.encode(dict(reversed(tensors().items()))) == raw
    assert all((codec.decode(raw)[name] == value).all() for name, value in tensors().items())


@pytest.mark.parametrize("raw", [b"", b"garbage garbage garbage", codec.encode(tensors())[:-1], b"\xff" * 64])
def test_bytes_that_are_no_tensors_are_named_so(raw):
    with pytest.raises(codec.CorruptTensors, match="not a safetensors file"):
        codec.decode(raw)


@pytest.mark.parametrize(
    ("delta", "error", "says"),
    [
        ({"a": np.ones((2, 3), np.float32)}, codec.TensorsDiffer, r"missing tensors: \['b'\]"),
        (tensors(c=np.zeros(1, np.float32)), codec.TensorsDiffer, r"unknown tensors: \['c'\]"),
        (tensors(b=np.zeros(5, np.float32)), codec.TensorsDiffer, r"b is float32\[5\]"),
        (tensors(b=np.zeros(4, np.float64)), codec.TensorsDiffer, "b is float64"),
        (tensors(b=np.array([0, np.nan, np.inf, 0], np.float32)), codec.NotFinite, "b holds 2 values"),
    ],
)
def test_a_delta_that_does_not_fit_the_model_is_refused(delta, error, says):
    with pytest.raises(error, match=says):
        codec.check(delta, tensors())


def test_a_delta_that_fits_passes():
    codec.check(tensors(), tensors())
