"""Models of different shape whose training speed is predicted and measured: five for a CPU, three of publications."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class Trained:
    """A model with all that a training step of it takes."""

    name: str
    model: nn.Module
    optimizer: torch.optim.Optimizer
    batch: tuple[torch.Tensor, torch.Tensor]
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

    def step(self) -> None:
        """Train on the batch once."""
        inputs, targets = self.batch
        self.loss(self.model(inputs), targets).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    @property
    def batch_size(self) -> int:
        """Samples of the batch."""
        return len(self.batch[0])


def for_a_cpu() -> Iterator[Trained]:
    """Yield the five models, each small enough for a step within a second or two."""
    torch.manual_seed(0)
    mlp = nn.Sequential(nn.Linear(784, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 10))
    yield _trained("mlp", mlp, (torch.randn(256, 784), torch.randint(10, (256,))))
    yield _trained("cnn", _Cnn(), (torch.randn(64, 3, 32, 32), torch.randint(10, (64,))))
    gpt = Gpt(vocabulary=256, width=128, layers=4, heads=4, context=128)
    yield _trained("gpt_small", gpt, _tokens(256, 16, 128))
    wide = Gpt(vocabulary=4096, width=512, layers=4, heads=8, context=512)
    yield _trained("gpt_wide_long", wide, _tokens(4096, 2, 512))
    yield _trained("lstm", _Lstm(vocabulary=2000, width=256, layers=2), _tokens(2000, 32, 64))
    recommender = _Recommender(rows=200_000, width=64, fields=16)
    clicks = torch.randint(200_000, (512, 16)), torch.rand(512)
    yield Trained(
        "recommender",
        recommender,
        torch.optim.SGD(recommender.parameters(), lr=0.01),
        clicks,
        functional.binary_cross_entropy_with_logits,
    )


def published(name: str, *, batch_size: int, tokens: int, dtype: torch.dtype) -> Trained:
    """Return resnet50, bert-base or bert-large with a batch of zeros, on whatever device is the default one."""
    if name == "resnet50":
        model = ResNet50().to(dtype)
        batch = torch.zeros(batch_size, 3, 224, 224, dtype=dtype), torch.zeros(batch_size, dtype=torch.int64)
        return Trained(name, model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), batch, _cross_entropy)
    width, layers = {"bert-base": (768, 12), "bert-large": (1024, 24)}[name]
    bert = Bert(vocabulary=30522, width=width, layers=layers, context=512).to(dtype)
    words = torch.zeros(batch_size, tokens, dtype=torch.int64)
    # A span in the text: its start and its end, each among the tokens.
    return Trained(
        name, bert, torch.optim.Adam(bert.parameters()), (words, torch.zeros(batch_size, 2, dtype=torch.int64)), _span
    )


class Gpt(nn.Module):
    """A decoder as GPT-2 is one."""

    def __init__(self, *, vocabulary: int, width: int, layers: int, heads: int, context: int) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.blocks = nn.Sequential(*(_Block(width, heads) for _ in range(layers)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        """words: [batch, context]; returns logits [batch, context, vocabulary]."""
        places = torch.arange(words.shape[1], device=words.device)
        return self.head(self.norm(self.blocks(self.words(words) + self.places(places))))


class Bert(nn.Module):
    """BERT with the head that finds a span, dropout included, attention in separate kernels."""

    def __init__(self, *, vocabulary: int, width: int, layers: int, context: int) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.norm = nn.LayerNorm(width)
        self.blocks = nn.Sequential(*(_BertBlock(width, width // 64) for _ in range(layers)))
        self.head = nn.Linear(width, 2)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        """words: [batch, tokens]; returns logits [batch, tokens, 2]."""
        places = torch.arange(words.shape[1], device=words.device)
        return self.head(self.blocks(functional.dropout(self.norm(self.words(words) + self.places(places)), 0.1)))


class ResNet50(nn.Module):
    """ResNet-50 v1.5: the stride is in the 3x3 convolution."""

    def __init__(self) -> None:
        super().__init__()
        blocks: list[nn.Module] = [*_convolved(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)]
        channels = 64
        for width, count, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
            for index in range(count):
                blocks.append(_Bottleneck(channels, width, stride if index == 0 else 1))
                channels = 4 * width
        self.all = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1000))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """images: [batch, 3, 224, 224]."""
        return self.all(images)


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.network = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, stream: torch.Tensor) -> torch.Tensor:
        batch, context, width = stream.shape
        query, key, value = (
            part.view(batch, context, self.heads, width // self.heads).transpose(1, 2)
            for part in self.query_key_value(self.norm_1(stream)).split(width, dim=2)
        )
        attended = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        stream = stream + self.project(attended.transpose(1, 2).reshape(batch, context, width))
        return stream + self.network(self.norm_2(stream))


class _BertBlock(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.project = nn.Linear(width, width)
        self.network = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, stream: torch.Tensor) -> torch.Tensor:
        batch, tokens, width = stream.shape
        query, key, value = (
            one(stream).view(batch, tokens, self.heads, width // self.heads).transpose(1, 2)
            for one in (self.query, self.key, self.value)
        )
        scores = query @ key.transpose(2, 3) / (width // self.heads) ** 0.5 + torch.zeros_like(query[:, :1, :1, :1])
        kept = functional.dropout(scores.softmax(dim=3), 0.1)
        attended = self.project((kept @ value).transpose(1, 2).reshape(batch, tokens, width))
        stream = self.norm_1(stream + functional.dropout(attended, 0.1))
        return self.norm_2(stream + functional.dropout(self.network(stream), 0.1))


class _Bottleneck(nn.Module):
    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        last = nn.Sequential(nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width))
        self.path = nn.Sequential(*_convolved(channels, width, 1, 1), *_convolved(width, width, 3, stride), *last)
        straight = stride == 1 and channels == 4 * width
        self.side: nn.Module = nn.Identity()
        if not straight:
            convolution = nn.Conv2d(channels, 4 * width, 1, stride, bias=False)
            self.side = nn.Sequential(convolution, nn.BatchNorm2d(4 * width))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.path(images) + self.side(images), inplace=True)


class _Cnn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        shapes = ((3, 32, 1), (32, 64, 2), (64, 64, 1), (64, 128, 2), (128, 128, 1))
        blocks = [one for before, after, stride in shapes for one in _convolved(before, after, 3, stride)]
        self.all = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.all(images)


class _Lstm(nn.Module):
    def __init__(self, *, vocabulary: int, width: int, layers: int) -> None:
        super().__init__()
        self.words, self.head = nn.Embedding(vocabulary, width), nn.Linear(width, vocabulary)
        self.recurrent = nn.LSTM(width, width, layers, batch_first=True)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        return self.head(self.recurrent(self.words(words))[0])


class _Recommender(nn.Module):
    def __init__(self, *, rows: int, width: int, fields: int) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(rows, width, sparse=True) for _ in range(fields))
        layers = (nn.Linear(width * fields, 256), nn.ReLU(), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 1))
        self.network = nn.Sequential(*layers)

    def forward(self, clicks: torch.Tensor) -> torch.Tensor:
        found = [table(clicks[:, field]) for field, table in enumerate(self.tables)]
        return self.network(torch.cat(found, dim=1)).squeeze(1)


def _convolved(before: int, after: int, size: int, stride: int) -> list[nn.Module]:
    convolution = nn.Conv2d(before, after, size, stride, size // 2, bias=False)
    return [convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]


def _trained(name: str, model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> Trained:
    return Trained(name, model, torch.optim.AdamW(model.parameters()), batch, _cross_entropy)


def _tokens(vocabulary: int, batch_size: int, context: int) -> tuple[torch.Tensor, torch.Tensor]:
    words = torch.randint(vocabulary, (batch_size, context + 1))
    return words[:, :-1].contiguous(), words[:, 1:].contiguous()


def _cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(logits.flatten(0, -2), targets.flatten())


def _span(logits: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(logits[..., 0], ends[:, 0]) + functional.cross_entropy(logits[..., 1], ends[:, 1])
