"""The session on a laptop: nothing but the loop, and errors that say what to do."""

import subprocess
import sys

import pytest
import safetensors.torch
import torch

from workloads.node.training import data, session
from workloads.node.training.run import SessionMisused


class Line(torch.utils.data.Dataset):
    """y = sum of x, with noise in neither."""

    def __len__(self):
        return 50

    def __getitem__(self, index):
        x = torch.randn(4, generator=torch.Generator().manual_seed(index))
        return x, x.sum()


def fresh():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    return model, torch.optim.AdamW(model.parameters(), lr=1e-2)


def step(model, optimizer, batch):
    x, y = batch
    loss = (model(x).squeeze(1) - y).square().mean()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return loss


def test_alone_it_is_the_plain_loop_bit_for_bit():
    plain, optimizer = fresh()
    dataset, positions = Line(), [data.permutation(samples=50, seed=3, epoch=epoch) for epoch in range(3)]
    order = [int(sample) for epoch in positions for sample in epoch][:120]
    for start in range(0, 120, 16):
        batch = torch.utils.data.default_collate([dataset[index] for index in order[start : start + 16]])
        step(plain, optimizer, batch)

    model, optimizer = fresh()
    with session(model, optimizer, seed=3) as run:
        assert (run.alone, run.rank, run.world) == (True, 0, 1)
        for batch in run.batches(dataset, batch_size=16, samples=120):
            run.report(loss=step(model, optimizer, batch))

    assert all(torch.equal(one, other) for one, other in zip(plain.parameters(), model.parameters(), strict=True))


def test_alone_it_saves_a_file_and_prints_a_line(tmp_path, capsys):
    model, optimizer = fresh()
    with session(model, optimizer) as run:
        for batch in run.batches(Line(), epochs=2):
            run.report(loss=step(model, optimizer, batch), lr=0.1)
    run.save(model, str(tmp_path / "out" / "model.safetensors"), val_loss=1.5)

    other, _ = fresh()
    safetensors.torch.load_model(other, str(tmp_path / "out" / "model.safetensors"))
    assert all(torch.equal(one, two) for one, two in zip(model.parameters(), other.parameters(), strict=True))
    said = capsys.readouterr().out
    assert "step 1  loss " in said
    assert "val_loss 1.5" in said


def test_alone_neither_ray_nor_requests_is_loaded():
    code = """
import sys, torch
from workloads.node.training import session
model = torch.nn.Linear(1, 1)
with session(model, torch.optim.SGD(model.parameters(), lr=.1)) as run:
    for batch in run.batches([torch.zeros(1)] * 4):
        run.report(loss=model(batch).sum())
sys.exit(any(name in sys.modules for name in ("ray", "requests")))
"""
    assert subprocess.run([sys.executable, "-W", "error", "-c", code], check=False).returncode == 0


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # torch.compile looks at it.
def test_several_models_train_in_one_session_and_a_compiled_one_keeps_its_names(tmp_path):
    one, other = torch.nn.Linear(4, 4), torch.nn.Linear(4, 1)
    compiled = torch.compile(other, backend="eager")
    optimizers = [torch.optim.SGD(model.parameters(), lr=0.1) for model in (one, other)]
    with session({"one": one, "other": compiled}, optimizers) as run:
        for x, y in run.batches(Line(), samples=32):
            (compiled(one(x)).squeeze(1) - y).square().mean().backward()
            for optimizer in optimizers:
                optimizer.step()
        with run.evaluation() as mine:
            assert mine
        run.save(compiled, str(tmp_path / "model.safetensors"))

    assert sorted(run._model.state_dict()) == ["one.bias", "one.weight", "other.bias", "other.weight"]
    assert sorted(safetensors.torch.load_file(tmp_path / "model.safetensors")) == ["bias", "weight"]


def test_alone_a_run_that_is_stopped_deals_no_more_and_knows_how_far_it_is():
    model, optimizer = fresh()
    seen = []
    with session(model, optimizer) as run:
        for batch in run.batches(Line(), batch_size=16, samples=160):
            step(model, optimizer, batch)
            seen.append(run.progress)
            if len(seen) == 4:
                run.stop("it is good enough")

    assert seen == [0.1, 0.2, 0.3, 0.4]


def test_a_second_session_is_an_error():
    model, optimizer = fresh()
    with session(model, optimizer), pytest.raises(RuntimeError, match="called twice"):
        session(model, optimizer)


def test_an_optimizer_of_another_model_is_an_error():
    with pytest.raises(ValueError, match="4 of the optimizer's 4 parameters are not in the model"):
        session(fresh()[0], fresh()[1])

    session(*fresh()).__exit__(None, None, None)  # The failed one has left nothing open.


def test_dealing_twice_is_an_error():
    model, optimizer = fresh()
    with session(model, optimizer) as run:
        run.batches(Line())
        with pytest.raises(RuntimeError, match="epochs="):
            run.batches(Line())


@pytest.mark.parametrize(("dataset", "options"), [([], {}), ([1.0], {"samples": 0}), ([1.0], {"epochs": 0})])
def test_nothing_to_train_on_is_an_error(dataset, options):
    with session(*fresh()) as run, pytest.raises(ValueError, match="samples"):
        run.batches(dataset, **options)


@pytest.mark.parametrize("value", [torch.zeros(2), "0.1", None])
def test_what_is_not_a_number_is_not_reported(value):
    with session(*fresh()) as run, pytest.raises(RuntimeError, match="lr is not one number"):
        run.report(lr=value)


def test_outside_of_the_with_block_it_deals_nothing():
    with session(*fresh()) as run:
        pass
    with pytest.raises(RuntimeError, match="not open"):
        run.batches(Line())


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        ({"codec": "int3"}, "codec is 'int3'"),
        ({"sync_every_steps": 0}, "is 0"),
        ({"quorum": 0}, "quorum is 0"),
        ({"outer_mean": "median"}, "outer_mean is 'median'"),
        ({"grace_s": float("nan")}, "grace_s is nan"),
    ],
)
def test_wishes_that_mean_nothing_are_refused_at_once(wish, why):
    model = torch.nn.Linear(1, 1)

    with pytest.raises(SessionMisused, match=why):
        session(model, torch.optim.SGD(model.parameters(), lr=0.1), **wish)
