"""Codecs: fewer bits, a bounded error, nothing that is not finite gets through, and any slice stands for itself."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from workloads.node.training import quantise
from workloads.node.training.quantise import CODECS, STRIDE, Unpackable

BLOCK = {"fp16": (256, 2**-11), "int8": (256, 0.5 / 127), "int4": (128, 0.5 / 7)}  # Of the largest in each block.
vectors = arrays.arrays(
    np.float32, st.sampled_from([1, 255, 256, 4095, 4096, 5000]),
    elements=st.floats(-(2.0**100), 2.0**100, width=32), fill=st.nothing(),
)  # fmt: skip


def normal(size, seed=0):
    return np.random.default_rng(seed).standard_normal(size, np.float32)


def there_and_back(vector, codec):
    return quantise.decode(quantise.encode(vector, codec), codec, size=len(vector))


@pytest.mark.parametrize("codec", BLOCK)
@given(vectors)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.data_too_large])
def test_the_error_is_at_most_half_a_step_of_the_blocks_largest(codec, vector):
    block, share = BLOCK[codec]
    back = there_and_back(vector, codec)

    padded = np.pad(np.abs(vector), (0, -len(vector) % block)).reshape(-1, block).max(axis=1)
    largest = np.repeat(padded, block)[: len(vector)]
    assert (np.abs(back.astype(np.float64) - vector) <= largest * np.float64(share) * (1 + 1e-5) + 1e-42).all()


def test_fp32_is_exact():
    assert (there_and_back(normal(5000), "fp32") == normal(5000)).all()


def test_top2_keeps_place_and_sign_of_the_64_largest_of_4096():
    vector = normal(3 * STRIDE)
    back = there_and_back(vector, "top2")

    for start in range(0, len(vector), STRIDE):
        piece, kept = vector[start : start + STRIDE], back[start : start + STRIDE]
        largest = np.argsort(np.abs(piece))[-64:]
        assert sorted(np.flatnonzero(kept)) == sorted(largest)
        assert (np.sign(kept[largest]) == np.sign(piece[largest])).all()
        assert len(set(np.abs(kept[largest]).tolist())) == 2
        np.testing.assert_allclose(np.abs(kept[largest]).sum(), np.abs(piece[largest]).sum(), rtol=1e-5)


@pytest.mark.parametrize("codec", CODECS)
def test_no_norm_is_larger_than_its_bound(codec):
    for vector in (normal(9000), np.eye(1, 9000, 77, dtype=np.float32)[0] * 5):
        parts = quantise.encode(vector, codec)
        norm, bound = np.linalg.norm(quantise.decode(parts, codec, size=9000)), quantise.norm_bound(parts, codec)

        assert norm <= bound * (1 + 1e-5)
        assert quantise.norm_bound(quantise.encode(vector * 30, codec), codec) == pytest.approx(30 * bound, rel=1e-3)


@pytest.mark.parametrize("codec", CODECS)
def test_zeros_stay_zeros(codec):
    assert not there_and_back(np.zeros(5000, np.float32), codec).any()


@pytest.mark.parametrize("codec", CODECS)
def test_zeros_among_numbers_stay_zeros(codec):
    vector = np.zeros(2 * STRIDE, np.float32)
    vector[10:30] = np.arange(1, 21)
    vector[5000:5060:3] = -3
    back = there_and_back(vector, codec)

    assert not back[vector == 0].any()
    assert np.sign(back[10:30]).sum() >= 19
    assert np.abs(back).sum() == pytest.approx(np.abs(vector).sum(), rel=0.1)


@pytest.mark.parametrize(("codec", "bits"), [("fp32", 32), ("fp16", 16.2), ("int8", 8.2), ("int4", 4.3), ("top2", 0.3)])
def test_takes_no_more_bits_than_it_says(codec, bits):
    parts = quantise.encode(normal(1 << 20), codec)

    assert sum(part.nbytes for part in parts.values()) * 8 / (1 << 20) == pytest.approx(CODECS[codec].bits)
    assert CODECS[codec].bits <= bits


@pytest.mark.parametrize("codec", CODECS)
def test_a_slice_can_be_unpacked_by_itself(codec):
    vector = normal(3 * STRIDE + 100)
    parts = quantise.encode(vector, codec)
    whole = quantise.decode(parts, codec, size=len(vector))

    for start, end in ((0, STRIDE), (STRIDE, 3 * STRIDE), (2 * STRIDE, len(vector))):
        piece = quantise.decode(quantise.cut(parts, codec, start, end), codec, size=end - start)
        assert (piece == whole[start:end]).all()


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("strange", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_shows(codec, strange):
    vector = normal(2 * STRIDE)
    vector[STRIDE + 5] = strange

    parts = quantise.encode(vector, codec)

    assert not all(np.isfinite(part).all() for part in parts.values() if part.dtype.kind == "f")


class TestCheck:
    @pytest.mark.parametrize("codec", CODECS)
    def test_takes_what_encode_makes(self, codec):
        quantise.check(quantise.encode(normal(5000), codec), codec, size=5000)

    @pytest.mark.parametrize(
        ("change", "why"),
        [
            (lambda parts: parts.pop("scales"), "has the arrays"),
            (lambda parts: parts.update(more=parts["scales"]), "has the arrays"),
            (lambda parts: parts.update(scales=parts["scales"][:-1]), "scales is"),
            (lambda parts: parts.update(values=parts["values"].view(np.uint8)), "values is"),
        ],
    )
    def test_refuses_others(self, change, why):
        parts = quantise.encode(normal(5000), "int8")
        change(parts)

        with pytest.raises(Unpackable, match=why):
            quantise.check(parts, "int8", size=5000)

    def test_refuses_a_codec_that_nobody_knows(self):
        with pytest.raises(Unpackable, match="none of fp32, fp16, int8, int4, top2"):
            quantise.check({}, "int3", size=1)
