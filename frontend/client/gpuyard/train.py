"""What a training script needs, in one import; needs the extra `gpuyard[train]`.

    import gpuyard.train as yard

    with yard.session(model, optimizer) as run:
        for batch in run.batches(dataset, batch_size=32):
            loss = model(batch)
            loss.backward(); optimizer.step(); optimizer.zero_grad()
            run.report(loss=loss)
    run.save(model)

Alone on a laptop `session` changes nothing and needs no broker. On a host that GPUYard placed the script on, it
joins its site and the training rounds across sites.

`model = yard.shard(model)`, before the optimizer is made, cuts a model that does not fit one GPU over all of the site.

`yard.HuggingFaceCallback` and `yard.LightningCallback` do the same for a Trainer's script; install `transformers` and
`accelerate`, or `lightning`.

`yard.fetch`, `yard.TokenWindows`, `yard.Lines` and `yard.Shards` bring data from paths, s3://, gs://, https:// and hf://
to the machine; all but paths need the extra `gpuyard[data]`, Shards `gpuyard[shards]`.
"""

from typing import TYPE_CHECKING, Any

from gpuyard.node import training
from gpuyard.node.training import session

if TYPE_CHECKING:
    from gpuyard.node.training import (
        DatasetError,
        HuggingFaceCallback,
        LightningCallback,
        Lines,
        Shards,
        TokenWindows,
        fetch,
        fingerprint,
        shard,
    )

__all__ = [
    "DatasetError", "HuggingFaceCallback", "LightningCallback", "Lines", "Shards", "TokenWindows", "fetch",
    "fingerprint", "session", "shard",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(training, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
