"""The mean of gradients over a site's workers, taken while backward runs."""

import json
import multiprocessing

import pytest
import torch

from . import averaging_program

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload([averaging_program.__name__])


@pytest.fixture
def both(tmp_path):
    """both(name) -> what two workers came to."""
    workers = []

    def run(name):
        outcomes = [tmp_path / f"outcome-{rank}" for rank in (0, 1)]
        for rank in (0, 1):
            args = (name, rank, str(tmp_path / "meeting"), str(outcomes[rank]))
            workers.append(processes.Process(target=averaging_program.main, args=args))
            workers[-1].start()
        for worker in workers:
            worker.join(timeout=60)
            assert worker.exitcode == 0
        return [json.loads(outcome.read_text()) for outcome in outcomes]

    yield run
    for worker in workers:
        worker.kill()
        worker.join()


def grads(work):
    """Of a single process: {name: gradient}."""
    torch.manual_seed(0)
    model = averaging_program.Branches()
    work(model)
    return {name: p.grad for name, p in model.named_parameters()}


def test_workers_may_use_different_parts_of_the_model(both):
    def whole(model):
        left = model(torch.full((3, 3), 1.0), "left") * 3 / 4
        right = model(torch.full((3, 3), 2.0), "right") * 1 / 4
        (left + right).backward()

    first, second = both("different_branches")

    assert first["grads"] == second["grads"]
    assert (first["heard"], second["heard"]) == (2, 2)
    assert first["buckets"] > 2
    for name, wanted in grads(whole).items():
        got = first["grads"][name]
        if wanted is None:
            assert got is None, "nobody used it"
        else:
            torch.testing.assert_close(torch.tensor(got), wanted)


def test_gradients_of_two_backwards_add_up(both):
    def whole(model):
        for number in (1.0, 2.0):
            for rank in (0, 1):
                (model(torch.full((1, 3), rank + number), "left") / 2).backward()

    first, second = both("twice_before_a_step")

    assert first["grads"] == second["grads"]
    for name, wanted in grads(whole).items():
        if wanted is not None:
            torch.testing.assert_close(torch.tensor(first["grads"][name]), wanted)


def test_a_borrowed_sample_adds_nothing_not_even_a_nan(both):
    first, second = both("borrowed_nan")

    assert first["grads"] == second["grads"]
    wanted = grads(lambda model: model(torch.full((1, 3), 1.0), "left").backward())
    torch.testing.assert_close(torch.tensor(first["grads"]["trunk.weight"]), wanted["trunk.weight"])


def test_backward_inside_backward_as_checkpointing_has_it(both):
    def whole(model):
        for rank in (0, 1):
            x = torch.full((1, 3), rank + 1.0)
            (model.left(model.trunk(model.trunk(x))) / 2).sum().backward()

    first, second = both("backwards_inside_backward")

    assert first["grads"] == second["grads"]
    for name, wanted in grads(whole).items():
        if wanted is not None:
            torch.testing.assert_close(torch.tensor(first["grads"][name]), wanted)


def test_a_gradient_that_comes_twice_is_an_error_that_says_what_to_do(both):
    first, second = both("backwards_inside_backward_of_the_same")

    assert "use_reentrant=False" in first["told"]
    assert "use_reentrant=False" in second["told"]
