"""
What the training runtime costs on a GPU: the GPT of nanoGPT's size (124 million parameters), bf16, torch.compile.

session_overhead_gpu: 1 - the tokens/s of a loop in a session that runs alone / those of the bare loop, the median of
turns that the two take in one process. mfu: model FLOPs utilisation of the bare loop, (6 N + 12 layers width context)
FLOPs a token (PaLM, arXiv 2204.02311) over the peak of the chip's data sheet, dense bf16.
placed_overhead_gpu: the same for a session that is placed, int8, PLACED_ROUND steps a round, before a stand-in of the
broker in another process; stall_share_gpu: the part of its time in which the loop stood for it.
Loss: four replicas through the real codec and merge, the answer TAU steps late, against synchronous training on as many
samples and one site alone (a quarter of each batch); benefit kept is (alone - ours) / (alone - synchronous). The time
of links is not in it.
Before all: what the host's agent would say of this machine, and the gradients' average over NCCL.

`python -m tests.benchmarks.training_gpu [check overhead placed loss] [--small]`, on a machine with a GPU; --small tries
the program itself anywhere.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import random
import statistics
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.node.stand_in import Hub, StandIn
from workloads import outer_step
from workloads.node import hardware
from workloads.node.training import data, group, outer, quantise, session, weights, yardstick
from workloads.node.training.averaging import Averaging
from workloads.node.training.layout import Floats, Layout

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
PEAK = {"H100": 989.4e12, "H200": 989.4e12}  # FLOPs/s in dense bf16, NVIDIA's data sheets of the SXM modules.
ROUND, TAU, SITES, CODEC = 50, 5, 4, "int8"
PLACED_ROUND = 120  # A round of 50 is over before its exchange: the broker's own pace would be about this.
RATE, WARM_UP, LEAST = 6e-4, 100, 0.1
CORPUS_BYTES = 48 << 20
# shape: layers, heads, width, context, vocabulary. Batch of the overhead, of one site of four; turns, steps of each.
FULL = {"shape": (12, 12, 768, 1024, 50304), "batch": 32, "site_batch": 8, "turns": 10, "turn": 20, "rounds": 24}
SMALL = {"shape": (2, 2, 32, 64, 512), "batch": 4, "site_batch": 2, "turns": 2, "turn": 3, "rounds": 2}


def main() -> int:
    """Print the figures of the parts that were named, as they come, and all of them in the last line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("parts", nargs="*", default=[])
    parser.add_argument("--small", action="store_true")
    given = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = True
    sizes = SMALL if given.small else FULL
    figures: dict[str, Any] = {"device": torch.cuda.get_device_name() if DEVICE == "cuda" else "CPU"}
    for part in given.parts or list(PARTS):
        begun_s = time.monotonic()
        figures |= PARTS[part](sizes)
        figures[f"{part}_took_s"] = round(time.monotonic() - begun_s, 1)
        sys.stdout.write(json.dumps(figures) + "\n")
        sys.stdout.flush()
    return 0


def check(sizes: dict[str, Any]) -> dict[str, Any]:
    """What an agent says of this machine, and one step's average of gradients in a group of one."""
    with TemporaryDirectory() as directory:
        found = hardware.discover(state=Path(directory))
    half = torch.bfloat16 if DEVICE == "cuda" else torch.float32
    measured = yardstick.measure(device=DEVICE, dtype=half)
    port = group.listen(address="127.0.0.1", world=1)
    group.join(rank=0, world=1, address="127.0.0.1", port=port, cuda=DEVICE == "cuda")
    model = nn.Linear(8, 8).to(DEVICE)
    averaging = Averaging(list(model.parameters()))
    averaging.hand_out(counted=3, of=3)
    averaging.said = 2
    model(torch.ones(3, 8, device=DEVICE)).sum().backward()
    assert model.weight.grad is not None
    torch.testing.assert_close(model.weight.grad, torch.full_like(model.weight, 3.0))
    assert averaging.heard == 2
    averaging.close()
    group.copy_from_first(list(model.parameters()))
    torch.distributed.destroy_process_group()
    best = {"flops_per_s": max(rate for _, rate in measured["compute"]), "launch_s": measured["launch_s"]}
    return {"accelerators": found["accelerators"], "usage": hardware.usage()["accelerators"], "yardstick": best}


def overhead(sizes: dict[str, Any]) -> dict[str, Any]:
    """A session alone against the bare loop."""
    dataset, turns, turn, batch = Bytes(sizes), sizes["turns"], sizes["turn"], sizes["batch"]
    total = (turns + 2) * turn * batch
    bare, ours = Trained(sizes), Trained(sizes)
    plain = bare.loop(_plain(dataset, batch, total), lambda loss: None)
    with session(ours.model, ours.optimizer) as run:
        inside = ours.loop(run.batches(dataset, batch, samples=total), lambda loss: run.report(loss=loss))
        for _ in range(2):
            _seconds(plain, turn)
            _seconds(inside, turn)
        times = [(_seconds(plain, turn), _seconds(inside, turn)) for _ in range(turns)]
        assert next(inside, None) is None
    ratios = sorted(1 - bare_s / ours_s for bare_s, ours_s in times)
    tokens_per_s = turn * batch * dataset.context / statistics.median(bare_s for bare_s, _ in times)
    return {
        "parameters": bare.parameters,
        "session_overhead_gpu": round(statistics.median(ratios), 4),
        "session_overhead_quartiles": [round(each, 4) for each in statistics.quantiles(ratios, n=4)[::2]],
        "tokens_per_s": round(tokens_per_s),
        **_mfu(sizes, bare.parameters, tokens_per_s),
    }


def placed(sizes: dict[str, Any]) -> dict[str, Any]:
    """One placed site against the bare loop, in turns of whole rounds."""
    dataset, batch, rounds = Bytes(sizes), sizes["batch"], max(2, sizes["rounds"] // 5)
    total = rounds * PLACED_ROUND * batch
    trained = Trained(sizes)
    bare = trained.loop(_plain(dataset, batch, 3 * PLACED_ROUND * batch), lambda loss: None)
    bare_s = [_seconds(bare, PLACED_ROUND) for _ in range(3)][1:]
    ours_end, theirs_end = multiprocessing.get_context("spawn").Pipe()
    broker = multiprocessing.get_context("spawn").Process(target=_stand_in, args=(theirs_end,))
    broker.start()
    os.environ.update(GPUYARD_SITE_URL=ours_end.recv(), GPUYARD_SITE_KEY="1.site-secret")
    try:
        with session(trained.model, trained.optimizer, sync_every_steps=PLACED_ROUND, codec=CODEC) as run:
            loop = trained.loop(run.batches(dataset, batch, samples=total), lambda loss: run.report(loss=loss))
            times = [_seconds(loop, PLACED_ROUND) for _ in range(rounds)]
            assert next(loop, None) is None
        ours_end.send("end")
        history, fingerprint = ours_end.recv()
    finally:
        os.environ.pop("GPUYARD_SITE_URL")
        broker.join(30)
        broker.kill()
    layout = Layout(weights.described(trained.plain))
    same = outer.fingerprint(layout.flat(weights.taken(trained.plain))) == fingerprint
    ratio = 1 - statistics.median(bare_s) / statistics.median(times[1:-1] or times)
    whole = [one for one in history if one["steps"] >= PLACED_ROUND // 2][1:]
    return {
        "placed_overhead_gpu": round(ratio, 4),
        "stall_share_gpu": round(sum(one["stall_s"] for one in whole) / sum(one["train_s"] for one in whole), 4),
        "placed_rounds": len(history),
        "put_s": round(statistics.median(one["put_s"] for one in whole), 2),
        "fetch_s": round(statistics.median(one["fetch_s"] for one in whole[1:] or whole), 2),
        "round_s": round(statistics.median(times), 2),
        "placed_bits_are_the_hubs": same,
    }


def loss(sizes: dict[str, Any]) -> dict[str, Any]:
    """Four replicas in rounds, synchronous training and one site alone, on the same samples in the same order."""
    dataset, batch, rounds = Bytes(sizes), sizes["site_batch"], sizes["rounds"]
    held_out = Bytes(sizes, held_out=True)
    losses, merge_s = {}, []
    for arm in ("synchronous", "alone", "ours"):
        trained, begun_s = Trained(sizes), time.monotonic()
        if arm == "ours":
            merge_s = Replicas(trained, dataset, batch, rounds).train()
        else:
            size = batch * (SITES if arm == "synchronous" else 1)
            for step in range(rounds * ROUND):
                trained.pace(step, step / (rounds * ROUND))
                trained.step(dataset.batch(range(step * size, (step + 1) * size)))
        losses[arm] = trained.loss(held_out)
        losses[f"{arm}_took_s"] = time.monotonic() - begun_s
    kept = (losses["alone"] - losses["ours"]) / (losses["alone"] - losses["synchronous"])
    return {
        "val_nats": {name: round(value, 4) for name, value in losses.items()},
        "loss_over_synchronous": round(losses["ours"] - losses["synchronous"], 4),
        "benefit_kept_gpu": round(kept, 3),
        "replicas": SITES,
        "rounds": rounds,
        "tokens": rounds * ROUND * SITES * batch * dataset.context,
        "hub_merge_s": round(statistics.median(merge_s), 3),
    }


PARTS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "check": check, "overhead": overhead, "placed": placed, "loss": loss,
}  # fmt: skip


class Trained:
    """A model, compiled, and its optimizer."""

    def __init__(self, sizes: dict[str, Any]) -> None:
        torch.manual_seed(0)
        self.plain = Gpt(sizes["shape"]).to(DEVICE)
        self.model = torch.compile(self.plain)
        self.parameters = sum(each.numel() for each in self.plain.parameters())
        self.optimizer = self.fresh_optimizer()

    def fresh_optimizer(self) -> torch.optim.AdamW:
        """Return nanoGPT's."""
        matrices = [each for each in self.plain.parameters() if each.ndim == 2]
        others = [each for each in self.plain.parameters() if each.ndim != 2]
        groups = [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.95), fused=True)

    def pace(self, counted: int, share: float) -> None:
        """Set the learning rate after so many steps, at this share of the run."""
        rate = RATE * (LEAST + (1 - LEAST) * 0.5 * (1 + math.cos(math.pi * share))) * min(1.0, (counted + 1) / WARM_UP)
        for part in self.optimizer.param_groups:
            part["lr"] = rate

    def step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Take one."""
        with torch.autocast(DEVICE, dtype=torch.bfloat16):
            loss = self.model(*(part.to(DEVICE, non_blocking=True) for part in batch))
        loss.backward()
        nn.utils.clip_grad_norm_(self.plain.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    def loop(self, batches: Iterator[Any], report: Callable[[Tensor], None]) -> Iterator[None]:
        """What a script does."""
        for batch in batches:
            report(self.step(batch))
            yield

    def loss(self, dataset: Bytes) -> float:
        """Return the mean over a dataset, nats a byte."""
        with torch.no_grad(), torch.autocast(DEVICE, dtype=torch.bfloat16):
            parts = [range(start, min(start + 16, len(dataset))) for start in range(0, len(dataset), 16)]
            return statistics.fmean(
                float(self.plain(*(part.to(DEVICE) for part in dataset.batch(each, in_order=True)))) for each in parts
            )


class Replicas:
    """Four sites that take turns in one model's memory, each with parameters and an optimizer of its own."""

    def __init__(self, trained: Trained, dataset: Bytes, batch: int, rounds: int) -> None:
        self.trained, self.dataset, self.batch, self.rounds = trained, dataset, batch, rounds
        self.optimizers = [trained.fresh_optimizer() for _ in range(SITES)]
        self.own = [weights.Held.of(trained.plain) for _ in range(SITES)]
        self.layout = Layout(weights.described(trained.plain))
        self.theta = self.layout.flat(weights.taken(trained.plain))
        self.momentum, self.remainder = np.zeros_like(self.theta), np.zeros_like(self.theta)

    def train(self) -> list[float]:
        """Train all rounds, load what came of them, and return the seconds of each merge."""
        seconds, model = [], self.trained.plain
        for round_ in range(self.rounds):
            given = []
            for site in range(SITES):
                self._round_of(site, round_)
                self.own[site] = weights.Held.of(model)
                delta = self.own[site].missing(self.theta, self.layout)
                parts = {
                    name: np.empty(items, quantise.CODECS[CODEC].parts[name][0])
                    for name, items in quantise.sizes(CODEC, len(delta)).items()
                }
                outer.packed(delta, CODEC, parts)
                given.append(outer_step.Delta(parts=parts, codec=CODEC, share=1 / SITES))
            begun_s = time.monotonic()
            self._merge(given, self.rounds - round_)
            seconds.append(time.monotonic() - begun_s)
        weights.load(model, self.layout.named(self.theta))
        return seconds

    def _round_of(self, site: int, round_: int) -> None:
        """Train one site for a round; after TAU steps come to the newest theta, with what was learnt meanwhile."""
        trained, model = self.trained, self.trained.plain
        trained.optimizer = self.optimizers[site]
        handed_in = self.own[site].tensors
        with torch.no_grad():
            for name, parameter in weights.named(model).items():
                parameter.copy_(handed_in[name])
        for step in range(ROUND):
            if step == TAU and round_:
                shift = self.own[site].missing(self.theta, self.layout)
                weights.add(model, weights.staged(model, self.layout.named(shift)))
            at = ((round_ * ROUND + step) * SITES + site) * self.batch
            trained.pace(round_ * ROUND + step, (round_ + step / ROUND) / self.rounds)
            trained.step(self.dataset.batch(range(at, at + self.batch)))

    def _merge(self, given: list[outer_step.Delta], rounds_left: int) -> None:
        lr, factor = outer.settings(self.rounds, rounds_left)
        update = {name: np.empty_like(part) for name, part in given[0].parts.items()}
        state: tuple[Floats, Floats, Floats] = (self.theta, self.momentum, self.remainder)
        outer_step.merge(*state, given, lr=lr, momentum_factor=factor, codec=CODEC, update=update)


class Bytes:
    """Windows of bytes of this machine's Python sources and what follows each; map-style, and by whole batches."""

    def __init__(self, sizes: dict[str, Any], *, held_out: bool = False) -> None:
        self.context = sizes["shape"][3]
        text = _corpus(CORPUS_BYTES if sizes is FULL else 1 << 17)
        count, kept_out = (len(text) - 1) // self.context, 512 if sizes is FULL else 16
        self._text = text
        self._first, self._count = (count - kept_out, kept_out) if held_out else (0, count - kept_out)
        self._order = data.Order(samples=self._count, seed=0)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        start = (self._first + index) * self.context
        piece = torch.from_numpy(self._text[start : start + self.context + 1].astype(np.int64))
        return piece[:-1], piece[1:]

    def batch(self, positions: range, *, in_order: bool = False) -> tuple[Tensor, Tensor]:
        """Return these positions of the seeded order: [batch, context] twice."""
        items = [self[at if in_order else self._order.sample(at)] for at in positions]
        return torch.stack([x for x, _ in items]), torch.stack([y for _, y in items])


class Gpt(nn.Module):
    """GPT-2's shape without biases, as nanoGPT has it; forward returns the cross entropy."""

    def __init__(self, shape: tuple[int, int, int, int, int]) -> None:
        super().__init__()
        layers, heads, width, context, vocabulary = shape
        self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.last = nn.LayerNorm(width, bias=False)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.tokens.weight
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * layers) if name.endswith("out.weight") else 0.02)

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return nats a token. inputs, targets: [batch, context]."""
        x = self.tokens(inputs) + self.places.weight[: inputs.shape[1]]
        for block in self.blocks:
            x = block(x)
        return functional.cross_entropy(self.head(self.last(x)).flatten(0, 1), targets.flatten())


class Block(nn.Module):
    """Attention and two layers."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.before, self.between = heads, nn.LayerNorm(width, bias=False), nn.LayerNorm(width, bias=False)
        self.qkv, self.mixed_out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.up, self.down_out = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.qkv(self.before(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(*parts.unbind(0), is_causal=True)
        x = x + self.mixed_out(mixed.transpose(1, 2).flatten(2))
        return x + self.down_out(functional.gelu(self.up(self.between(x))))


def _plain(dataset: Bytes, batch: int, total: int) -> Iterator[Any]:
    for start in range(0, total, batch):
        yield dataset.batch(range(start, start + batch))


def _seconds(loop: Iterator[None], steps: int) -> float:
    """Return the time of so many steps, to the end of what the device has been told to do."""
    begun_s = time.perf_counter()
    for _ in range(steps):
        next(loop)
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begun_s


def _mfu(sizes: dict[str, Any], parameters: int, tokens_per_s: float) -> dict[str, float]:
    name = torch.cuda.get_device_name() if DEVICE == "cuda" else ""
    peak = next((rate for chip, rate in PEAK.items() if chip in name), None)
    layers, _, width, context, _ = sizes["shape"]
    places = context * width  # nanoGPT leaves them out.
    flops = 6 * (parameters - places) + 12 * layers * width * context
    return {} if peak is None else {"mfu": round(flops * tokens_per_s / peak, 3)}


def _corpus(most: int) -> np.ndarray:
    """Python sources of this machine, in an order that is shuffled once for all: uint8."""
    roots = {Path(sysconfig.get_path(name)) for name in ("stdlib", "platlib")}
    paths = sorted({path for root in roots for path in root.rglob("*.py") if path.is_file()})
    random.Random(0).shuffle(paths)
    raw = bytearray()
    for path in paths:
        if len(raw) >= most:
            break
        raw += path.read_bytes()
    return np.frombuffer(bytes(raw[:most]), np.uint8)


class Aside(Hub):
    """Merges in a thread, as a hub is another process: samples and parameters go on being served meanwhile."""

    closing: threading.Thread | None = None

    def close_if_complete(self) -> None:
        """Of one site: close when it has handed in."""
        if self.contributed and not self._is_closing():
            self.closing = threading.Thread(target=super().close_if_complete)
            self.closing.start()

    def round(self, site: int, version: int, called: bool) -> dict[str, Any]:
        """Nothing of a version that is not whole."""
        if self._is_closing():
            return {"status": "open", "version": version, "merged": None, "state": None, "evaluates": True}
        return super().round(site, version, called)

    def samples(self, site: int, body: dict[str, Any]) -> dict[str, Any]:
        """The run is not done before its last version."""
        if self._is_closing() and not self.free:
            return {"status": "wait", "version": self.version, "ranges": []}
        return super().samples(site, body)

    def _is_closing(self) -> bool:
        return self.closing is not None and self.closing.is_alive()


def _stand_in(pipe: Any) -> None:
    """A broker for one site, in a process of its own, so that its merges are not in the site's time."""
    broker = StandIn()
    broker.hub = Aside(settings=(1.0, 0.0), codec=CODEC)
    broker.keys[1] = "site-secret"
    pipe.send(broker.url)
    pipe.recv()
    time.sleep(1)  # The last answers go out.
    pipe.send((broker.hub.history, broker.hub.state["fingerprint"]))


if __name__ == "__main__":
    sys.exit(main())
