"""A small character-level GPT that learns to write Python from Python's own standard library.

python examples/tiny_gpt.py --samples 2000                       # here, alone
yard run examples/tiny_gpt.py --gpu CPU --sites 2 --budget 1   # placed; the script is the same
python examples/tiny_gpt.py --check model.safetensors            # the held-out loss of a finished model, as JSON
"""

import argparse
import json
import sysconfig
from pathlib import Path

import gpuyard.train as yard
import safetensors.torch
import torch
from torch import nn
from torch.nn import functional

ALPHABET = "\n" + "".join(chr(code) for code in range(32, 127))
UNKNOWN = len(ALPHABET)  # One symbol for every other character.
SYMBOLS = len(ALPHABET) + 1
CAP_CHARACTERS = 4_000_000
HELD_OUT_EVERY = 20  # Of so many pieces of the text, one is never trained on.
HELD_OUT_PIECES = 256


class Text(torch.utils.data.Dataset):
    """Pieces of `context` characters and, as the target, the same shifted by one: ([context], [context]) int64."""

    def __init__(self, symbols: torch.Tensor, *, context: int, held_out: bool) -> None:
        self.symbols, self.context = symbols, context
        pieces = range((len(symbols) - 1) // context)
        self.pieces = [piece for piece in pieces if (piece % HELD_OUT_EVERY == 0) == held_out]

    def __len__(self) -> int:
        return len(self.pieces)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        start = self.pieces[index] * self.context
        window = self.symbols[start : start + self.context + 1]
        return window[:-1], window[1:]


class Block(nn.Module):
    """Attention to what came before, then a small network at each position, both added to the stream."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.query_key_value, self.project = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.network = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, stream: torch.Tensor) -> torch.Tensor:  # [batch, context, dim]
        batch, context, dim = stream.shape
        query, key, value = (
            part.view(batch, context, self.heads, dim // self.heads).transpose(1, 2)
            for part in self.query_key_value(self.norm_1(stream)).split(dim, dim=2)
        )
        attended = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        stream = stream + self.project(attended.transpose(1, 2).reshape(batch, context, dim))
        return stream + self.network(self.norm_2(stream))


class TinyGPT(nn.Module):
    """Logits for the next character at each position: [batch, context] -> [batch, context, symbols]."""

    def __init__(self, *, layers: int, dim: int, context: int) -> None:
        super().__init__()
        self.characters, self.positions = nn.Embedding(SYMBOLS, dim), nn.Embedding(context, dim)
        self.blocks = nn.Sequential(*(Block(dim, heads=max(1, dim // 32)) for _ in range(layers)))
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, SYMBOLS, bias=False)
        self.apply(self._begin)
        self.head.weight = self.characters.weight  # Reading and writing share one table.

    @staticmethod
    def _begin(module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)

    def forward(self, characters: torch.Tensor) -> torch.Tensor:
        places = torch.arange(characters.shape[1], device=characters.device)
        return self.head(self.norm(self.blocks(self.characters(characters) + self.positions(places))))


def read_text() -> torch.Tensor:
    """The standard library of this Python as symbol numbers: [characters], int64. The same files in the same order."""
    root, text = Path(sysconfig.get_paths()["stdlib"]), bytearray()
    for path in sorted(root.rglob("*.py")):
        if "site-packages" not in path.parts and len(text) < CAP_CHARACTERS:
            text += path.read_text("utf-8", "replace").encode("latin-1", "replace")
    numbers = bytes(ALPHABET.find(chr(byte)) if chr(byte) in ALPHABET else UNKNOWN for byte in range(256))
    return torch.frombuffer(text[:CAP_CHARACTERS].translate(numbers), dtype=torch.uint8).long()


def loss_of(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Mean cross-entropy per character, in nats."""
    characters, targets = batch
    return functional.cross_entropy(model(characters).flatten(0, 1), targets.flatten())


@torch.no_grad()
def held_out_loss(model: nn.Module, text: Text) -> float:
    """The mean loss over the same held-out pieces, every time."""
    loader = torch.utils.data.DataLoader(torch.utils.data.Subset(text, range(HELD_OUT_PIECES)), batch_size=32)
    model.eval()
    losses = [loss_of(model, batch).item() for batch in loader]
    model.train()
    return sum(losses) / len(losses)


def main() -> None:
    """Train, or with --check only evaluate."""
    options = parse()
    torch.manual_seed(options.seed)
    symbols = read_text()
    held_out = Text(symbols, context=options.context, held_out=True)
    model = TinyGPT(layers=options.layers, dim=options.dim, context=options.context)
    if options.check:
        safetensors.torch.load_model(model, options.check)
        print(json.dumps({"val_loss": held_out_loss(model, held_out)}))
        return
    dataset = Text(symbols, context=options.context, held_out=False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.lr, betas=(0.9, 0.95), weight_decay=0.1)
    with yard.session(model, optimizer, sync_every_steps=options.sync_every, seed=options.seed) as run:
        for batch in run.batches(dataset, batch_size=options.batch_size, samples=options.samples):
            loss = loss_of(model, batch)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            run.report(loss=loss)
        run.save(model, options.out, val_loss=held_out_loss(model, held_out))


def parse() -> argparse.Namespace:
    """The options; all have defaults that suit one or two CPU cores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=60_000, help="pieces of text to train on, over all sites")
    parser.add_argument("--batch-size", type=int, default=16, help="per accelerator")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--dim", type=int, default=96)
    parser.add_argument("--context", type=int, default=64, help="characters the model sees")
    parser.add_argument("--sync-every", type=int, default=50, help="optimizer steps between exchanges of the sites")
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="model.safetensors")
    parser.add_argument("--check", metavar="FILE", help="print the held-out loss of this model and train nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main()
