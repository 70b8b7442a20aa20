"""
What rare synchronisation costs in loss: two sites against synchronous training and against one site alone.

A character model of 115,000 parameters on the standard library's sources, 2,400 steps of 2 x 8 windows of 64, a round
in 50 steps: 48 rounds. Per seed, on the same samples in the same order with the same schedule (AdamW, cosine to a
tenth, its rate tuned for the synchronous run): a = synchronous, c = one site with half of each batch, b = ours, through
the real codec (int8 both ways), weights, outer step and settings. Benefit kept is (c - b) / (c - a), the median
of the seeds; beside it the same of their mean losses. Two runs of the same kind differ by .005 to .030 nats and c - a
is about .09, so one seed alone says little.

benefit_kept: with overlap, simulated as an answer of the hub TAU steps late: p <- theta' + (p - p when handed in).
benefit_kept_churn: the same with 30 % of the site-rounds lost and trained again, at equal merged tokens.
Beside them: without overlap, and four sites.

`python -m tests.benchmarks.training_loss [--seeds 3] [--rounds 48]`
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import statistics
import sys
import sysconfig
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from workloads import outer_step
from workloads.node.training import outer, quantise, weights
from workloads.node.training.layout import Floats, Layout
from workloads.outer_step import Delta

WIDTH, LAYERS, HEADS, CONTEXT, CHARACTERS = 64, 2, 4, 64, 96
STEPS, BATCH, TAU = 50, 16, 5  # Of a round; of all sites together; steps until the hub's answer.
RATE, WARM_UP, LEAST = 6e-3, 100, 0.1
HELD_OUT = 2048
CODEC = "int8"
ARMS: dict[str, dict[str, Any]] = {
    "synchronous": {"sites": 1},
    "alone": {"sites": 1, "share": 2},
    "ours": {"sites": 2, "tau": TAU},
    "ours without overlap": {"sites": 2},
    "ours with 30 % lost": {"sites": 2, "tau": TAU, "lost": 0.3},
    "alone of four": {"sites": 1, "share": 4},
    "four sites": {"sites": 4, "tau": TAU},
}


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=48)
    given = parser.parse_args()
    jobs = [(arm, seed, given.rounds) for seed in range(given.seeds) for arm in ARMS]
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        losses = list(pool.map(trained, jobs))
    by_arm = {arm: [loss for (name, _, _), loss in zip(jobs, losses, strict=True) if name == arm] for arm in ARMS}
    sys.stdout.write(json.dumps(figures(by_arm, given.rounds)) + "\n")
    return 0


def figures(by_arm: dict[str, list[float]], rounds: int) -> dict[str, Any]:
    """Return the keys, and what they are made of. by_arm: validation loss of each seed, nats a character."""

    def by_seed(arm: str) -> list[float]:
        each = zip(
            by_arm["alone of four" if arm == "four sites" else "alone"], by_arm[arm], by_arm["synchronous"], strict=True
        )
        return [(c - b) / (c - a) for c, b, a in each]

    def of_means(arm: str) -> float:
        alone = statistics.fmean(by_arm["alone of four" if arm == "four sites" else "alone"])
        return (alone - statistics.fmean(by_arm[arm])) / (alone - statistics.fmean(by_arm["synchronous"]))

    ours = [arm for arm in ARMS if arm.startswith("ours") or arm == "four sites"]
    return {
        "benefit_kept": round(statistics.median(by_seed("ours")), 3),
        "benefit_kept_churn": round(statistics.median(by_seed("ours with 30 % lost")), 3),
        "by_seed": {arm: [round(one, 3) for one in by_seed(arm)] for arm in ours},
        "of_mean_losses": {arm: round(of_means(arm), 3) for arm in ours},
        "val_nats": {arm: [round(loss, 4) for loss in losses] for arm, losses in by_arm.items()},
        "rounds": rounds,
        "steps_a_round": STEPS,
        "codec": CODEC,
    }


def trained(job: tuple[str, int, int]) -> float:
    """Train one arm with one seed; return its loss on the held-out windows."""
    arm, seed, rounds = job
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    options = {"share": 1, "tau": 0, "lost": 0.0, **ARMS[arm]}
    return Run(seed, rounds, **options).loss()


class Run:
    """One training run of several sites in this process; of one site it is plain training."""

    def __init__(self, seed: int, rounds: int, *, sites: int, share: int, tau: int, lost: float) -> None:
        text = corpus()
        cut = len(text) - HELD_OUT * CONTEXT - 1
        self.inputs, self.targets = windows(text[:cut])
        self.held_out = windows(text[cut:])
        generator = torch.Generator().manual_seed(77 + seed)
        passes = -(-rounds * STEPS * BATCH // len(self.inputs))
        self.order = torch.cat([torch.randperm(len(self.inputs), generator=generator) for _ in range(passes)])
        self.rounds, self.sites, self.tau, self.lost = rounds, sites, tau, lost
        self.batch = BATCH // sites // share
        self.chance = random.Random(1000 + seed)
        self.models, self.optimizers = [], []
        for _ in range(sites):
            torch.manual_seed(seed)
            self.models.append(Gpt())
            self.optimizers.append(adamw(self.models[-1]))
        self.steps = 0

    def loss(self) -> float:
        """Train, and return the loss on what was held out, nats a character."""
        if self.sites == 1:
            for step in range(self.rounds * STEPS):
                self._step(0, step, step, step / (self.rounds * STEPS))
        else:
            self._in_rounds()
        with torch.no_grad():
            inputs, targets = (part.split(64) for part in self.held_out)
            losses = [self.models[0].loss(x, y).item() for x, y in zip(inputs, targets, strict=True)]
        return statistics.fmean(losses)

    def _in_rounds(self) -> None:
        layout = Layout(weights.described(self.models[0]))
        theta = layout.flat(weights.taken(self.models[0]))
        momentum, remainder = np.zeros_like(theta), np.zeros_like(theta)
        # A piece is what one site trains on in one round: its slice of each of STEPS batches.
        pieces = deque((round_, site) for round_ in range(self.rounds) for site in range(self.sites))
        merged, total, handed_in = 0, len(pieces), [theta.copy() for _ in self.models]
        while merged < total:
            given, again = [], []
            for site in range(min(self.sites, len(pieces))):
                piece = pieces.popleft()
                self._train(site, piece, merged / total, theta, handed_in, layout)
                if self.chance.random() < self.lost:
                    again.append(piece)
                else:
                    given.append(packed(theta - handed_in[site]))
            self.steps += STEPS
            pieces.extendleft(reversed(again))
            if given:
                lr, factor = outer.settings(self.rounds, (total - merged) / self.sites)
                merge(theta, momentum, remainder, given, lr, factor)
                merged += len(given)
        weights.load(self.models[0], layout.named(theta))

    def _train(
        self, site: int, piece: tuple[int, int], share: float, theta: Floats, handed_in: list[Floats], layout: Layout
    ) -> None:
        """Train on a piece; after TAU steps come to the newest theta, with what was learnt meanwhile."""
        model, (round_, slot) = self.models[site], piece
        for step in range(STEPS):
            if step == self.tau and self.steps:
                now = layout.flat(weights.taken(model))
                weights.load(model, layout.named(theta + (now - handed_in[site])))
            at = (round_ * STEPS + step) * self.sites + slot
            self._step(site, at, self.steps + step, min(share + step / (self.rounds * STEPS), 1.0))
        handed_in[site] = layout.flat(weights.taken(model))

    def _step(self, site: int, at: int, counted: int, share: float) -> None:
        """Take the optimizer's step on the batch `at` of this size; counted: steps so far, share: of the run."""
        model, optimizer = self.models[site], self.optimizers[site]
        which = self.order[at * self.batch : (at + 1) * self.batch]
        decay = LEAST + (1 - LEAST) * 0.5 * (1 + math.cos(math.pi * share))
        for group in optimizer.param_groups:
            group["lr"] = RATE * decay * min(1.0, (counted + 1) / WARM_UP)
        optimizer.zero_grad()
        model.loss(self.inputs[which], self.targets[which]).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()


def packed(delta: Floats) -> quantise.Parts:
    """Return a contribution as it travels."""
    return quantise.encode(delta, CODEC)


def merge(
    theta: Floats, momentum: Floats, remainder: Floats, given: list[quantise.Parts], lr: float, factor: float
) -> None:  # fmt: skip
    """Do what the hub does: a round of one contribution is its identity."""
    lr, factor = (1.0, 0.0) if len(given) == 1 else (lr, factor)
    deltas = [Delta(parts=parts, codec=CODEC, share=1 / len(given)) for parts in given]
    update = quantise.encode(np.zeros_like(theta), CODEC)
    outer_step.merge(theta, momentum, remainder, deltas, lr=lr, momentum_factor=factor, codec=CODEC, update=update)


def corpus() -> Tensor:
    """The sources at the top of the standard library, in the order of their names, as numbers of characters."""
    root = Path(sysconfig.get_path("stdlib"))
    text = np.frombuffer(b"".join(path.read_bytes() for path in sorted(root.glob("*.py"))), np.uint8)
    kept = text[(text == 10) | ((text >= 32) & (text < 127))].astype(np.int64)
    return torch.from_numpy(np.where(kept == 10, 0, kept - 31))


def windows(text: Tensor) -> tuple[Tensor, Tensor]:
    """Return windows of CONTEXT and what follows each character: [windows, CONTEXT] twice."""
    count = (len(text) - 1) // CONTEXT
    return text[: count * CONTEXT].view(count, CONTEXT), text[1 : count * CONTEXT + 1].view(count, CONTEXT)


def adamw(model: Gpt) -> torch.optim.AdamW:
    """Return the inner optimizer; what is no matrix does not decay."""
    matrices = [each for each in model.parameters() if each.ndim == 2]
    others = [each for each in model.parameters() if each.ndim != 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.99), fused=True)


class Block(nn.Module):
    """Attention with rotary positions, and squared rectifiers."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH, bias=False), nn.Linear(4 * WIDTH, WIDTH, bias=False)
        for layer, scale in ((self.qkv, 1.0), (self.out, 0.5), (self.up, 1.0), (self.down, 0.5)):
            nn.init.normal_(layer.weight, std=scale * layer.in_features**-0.5)

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
        parts = self.qkv(self.before(x)).view(len(x), CONTEXT, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        query, key, value = turned(parts[0], turn), turned(parts[1], turn), parts[2]
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(len(x), CONTEXT, WIDTH))
        return x + self.down(functional.relu(self.up(self.between(x))).square())


class Gpt(nn.Module):
    """A small transformer over characters."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(CHARACTERS, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.last, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, CHARACTERS, bias=False)
        nn.init.normal_(self.embedding.weight, std=0.5)
        nn.init.normal_(self.head.weight, std=0.02)
        half = WIDTH // HEADS // 2
        angles = torch.arange(CONTEXT)[:, None] * 10_000 ** (-torch.arange(half) / half)
        self.turn = (angles.cos(), angles.sin())

    def loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Cross entropy, nats a character."""
        x = self.embedding(inputs)
        for block in self.blocks:
            x = block(x, self.turn)
        return functional.cross_entropy(self.head(self.last(x)).flatten(0, 1), targets.flatten())


def turned(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Rotate pairs of numbers by their position (RoPE, arXiv 2104.09864)."""
    (one, other), (cos, sin) = x.chunk(2, -1), turn
    return torch.cat([one * cos - other * sin, one * sin + other * cos], -1)


if __name__ == "__main__":
    sys.exit(main())
