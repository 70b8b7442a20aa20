"""Values between a notebook and a run: the same afterwards, and nothing in the file can run."""

from collections import OrderedDict, defaultdict, namedtuple
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some
from safetensors.numpy import save_file

from workloads.node import values

PLAIN = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False) | some.text() | some.binary(),
    lambda inner: (
        some.lists(inner)
        | some.tuples(inner, inner)
        | some.dictionaries(some.text() | some.integers(), inner)
        | some.sets(some.integers())
    ),
    max_leaves=20,
)


def there_and_back(tmp_path, exact=True, saved=None, **named):
    pack = values.Pack(exact=exact, saved=saved)
    for name, value in named.items():
        pack.add(name, value)
    pack.write(tmp_path / "values")
    return values.read(tmp_path / "values")[0]


@given(value=PLAIN)
def test_plain_values_come_back_equal_and_of_the_same_type(tmp_path_factory, value):
    back = there_and_back(tmp_path_factory.mktemp("v"), value=value)["value"]

    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int64", "uint8", "bool", "uint16"])
def test_arrays_keep_their_bits(tmp_path, dtype):
    array = np.arange(12).reshape(3, 4).T.astype(dtype)

    back = there_and_back(tmp_path, array=array, scalar=array[1, 1])

    assert back["array"].dtype == array.dtype
    assert np.array_equal(back["array"], array)
    assert back["scalar"] == array[1, 1]
    assert type(back["scalar"]) is type(array[1, 1])


def test_tensors_keep_dtype_and_bits_also_beside_arrays_and_when_they_share_memory(tmp_path):
    base = torch.arange(6, dtype=torch.bfloat16).reshape(2, 3)

    back = there_and_back(tmp_path, base=base, row=base[1], turned=base.T, nested={"a": [base]}, array=np.ones(2))

    assert back["base"].dtype == torch.bfloat16
    assert torch.equal(back["row"], base[1])
    assert torch.equal(back["turned"], base.T)
    assert torch.equal(back["nested"]["a"][0], base)
    assert np.array_equal(back["array"], np.ones(2))


def test_results_are_taken_for_what_they_mean(tmp_path):
    history = defaultdict(list, loss=[1.0])
    point = namedtuple("point", "x y")(1, 2)
    loss = torch.tensor(2.0, requires_grad=True)

    back = there_and_back(tmp_path, exact=False, history=history, point=point, loss=loss, od=OrderedDict(a=1))

    assert back["history"] == {"loss": [1.0]}
    assert back["point"] == (1, 2)
    assert not back["loss"].requires_grad
    assert back["loss"] == 2


def test_frames_come_back_as_frames(tmp_path):
    frame = pd.DataFrame({"step": [1, 2], "loss": [0.5, 0.25], "site": ["berlin", "paris"]}, index=[10, 20])

    back = there_and_back(tmp_path, exact=False, frame=frame, series=frame["loss"])

    pd.testing.assert_frame_equal(back["frame"], frame)
    pd.testing.assert_series_equal(back["series"], frame["loss"])


def test_a_module_is_its_state_or_says_that_the_run_has_it_saved(tmp_path):
    model, saved = torch.nn.Linear(2, 1), torch.nn.Linear(3, 1)

    back = there_and_back(tmp_path, exact=False, saved=saved, model=model, saved_model=saved)

    assert (back["model"].of, back["model"].is_artifact) == ("Linear", False)
    assert torch.equal(back["model"]["weight"], model.weight)
    assert back["saved_model"].is_artifact


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (open, "builtin_function"),
        (np.array([object()]), "dtype object"),
        (torch.zeros(2, requires_grad=True), "gradient"),
        (torch.zeros(2, dtype=torch.complex64), "complex64"),
        (defaultdict(list), "defaultdict"),
    ],
)
def test_what_would_not_come_back_as_it_is_cannot_travel(value, why):
    with pytest.raises(values.CannotTravel, match=why):
        values.Pack(exact=True).add("value", [value])


def test_what_holds_itself_cannot_travel():
    loop = []
    loop.append(loop)

    with pytest.raises(values.CannotTravel, match="holds itself"):
        values.Pack(exact=True).add("loop", loop)


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {"framework": "np"},
        {"framework": "np", "values": "{"},
        {"framework": "os", "values": "{}"},
        {"framework": "np", "values": '{"a": {"kind": "array", "at": "gone"}}'},
        {"framework": "np", "values": '{"a": {"kind": "exec", "value": "1"}}'},
        {"framework": "np", "values": '{"a": ' + "[" * 5000 + "]" * 5000 + "}"},
    ],
)
def test_a_strangers_file_is_refused_when_it_makes_no_sense(tmp_path, metadata):
    save_file({"0": np.zeros(1)}, tmp_path / "values", metadata)

    with pytest.raises(values.CorruptValues):
        values.read(tmp_path / "values")


def test_no_file_of_values_is_refused(tmp_path):
    (tmp_path / "values").write_bytes(b"garbage")

    with pytest.raises(values.CorruptValues):
        values.read(Path(tmp_path / "values"))
