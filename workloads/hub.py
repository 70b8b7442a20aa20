"""
The hub's arithmetic: theta, momentum and remainder in this process's memory, and what a round makes of them.

They can be lost at any moment: the newest snapshot and the rounds since give the same bits again.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

import numpy as np

from workloads import outer_step, robust, storage, versions
from workloads.models import Contribution, Round, Training
from workloads.node.training import outer, wire
from workloads.node.training.layout import Floats, Layout

KEPT = 4  # Workloads whose state stays in memory; of the others it is read again.
# A snapshot is as large as the model, an update a quarter of it at most: small models afford one a round.
SMALL_BYTES, SNAPSHOT_EVERY = 64 << 20, 10


class Diverged(Exception):
    """Doing the same again did not give the same: the store, the memory or the code changed under way."""


@dataclass(slots=True)
class State:
    """theta at a version, and what the outer optimizer keeps beside it: [size] each."""

    version: int
    fingerprint: str
    theta: Floats
    momentum: Floats
    remainder: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a round is merged."""

    lr: float
    momentum: float
    codec: str
    mean: str = robust.MEAN  # One of robust.RULES.


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """What a round came to. update: {column: value} of the Round, training: of the Training, given: of each of them."""

    update: dict[str, object]
    training: dict[str, object]
    given: list[dict[str, float]]


class Memory:
    """The states of the workloads that this process merged last. One that is being changed is not in it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._states: OrderedDict[int, State] = OrderedDict()

    def take(self, training: Training) -> State:
        """Return theta at the training's version, and forget it: a merge that fails half-way leaves nothing wrong."""
        with self._lock:
            state = self._states.pop(training.pk, None)
        if state is not None and (state.version, state.fingerprint) == (training.version, training.fingerprint):
            return state
        assert training.version is not None
        return _rebuilt(training, training.version)

    def keep(self, training: Training, state: State) -> None:
        """Remember a state for the next round."""
        with self._lock:
            self._states[training.pk] = state
            while len(self._states) > KEPT:
                self._states.popitem(last=False)


MEMORY = Memory()


def begin(training: Training, *, path: Path) -> dict[str, object]:
    """
    Return the columns of a training that starts from the tensors in this file.

    Raises codec.CorruptTensors, codec.TensorsDiffer, codec.NotFinite.
    """
    layout = Layout(training.tensors)
    theta = layout.flat(wire.read_named(path, like=layout.named(_unread(layout.size))))
    return {"fingerprint": outer.fingerprint(theta), "state_bytes": path.stat().st_size}


def close(training: Training, given: Sequence[Contribution], settings: Settings) -> Closed:
    """Merge contributions on theta at the training's version and keep what came of it. Raises Diverged."""
    state, started = MEMORY.take(training), monotonic()
    with TemporaryDirectory(prefix="gpuyard-") as directory:
        path = Path(directory) / "update"
        merged, shares = _merge(state, given, settings, path)
        update = {
            "update_sha256": storage.put_file(path),
            "update_bytes": path.stat().st_size,
            "fingerprint": merged.fingerprint,
            "codec": settings.codec,
            "outer_lr": settings.lr,
            "outer_momentum": settings.momentum,
            "outer_mean": settings.mean,
            "merge_s": monotonic() - started,
        }
        columns: dict[str, object] = {"version": state.version, "fingerprint": state.fingerprint}
        if training.state_bytes <= SMALL_BYTES or state.version % SNAPSHOT_EVERY == 0:
            columns |= snapshot(training, state, Path(directory))
    MEMORY.keep(training, state)
    return Closed(
        update=update,
        training=columns,
        given=[
            {"share": share, "norm": norm, "cosine": cosine}
            for share, norm, cosine in zip(shares, merged.norms, merged.cosines, strict=True)
        ],
    )


def _merge(
    state: State, given: Sequence[Contribution], settings: Settings, path: Path, *, shares: list[float] | None = None
) -> tuple[outer_step.Merged, list[float]]:
    """Take the step, by these shares or those that the settings' rule gives; return what it was, and the shares."""
    size = len(state.theta)
    update = wire.create(path, codec=settings.codec, size=size)
    with _deltas(given, size) as deltas:
        if shares is None and settings.mean == robust.CLIPPED:
            shares = robust.shares(deltas, size)
        elif shares is None:
            shares = [delta.share for delta in deltas]
        merged = outer_step.merge(
            state.theta,
            state.momentum,
            state.remainder,
            [replace(delta, share=share) for delta, share in zip(deltas, shares, strict=True)],
            lr=settings.lr,
            momentum_factor=settings.momentum,
            codec=settings.codec,
            update=update,
        )
    state.version, state.fingerprint = state.version + 1, merged.fingerprint
    return merged, shares


@contextmanager
def _deltas(given: Sequence[Contribution], size: int) -> Iterator[list[outer_step.Delta]]:
    """By their weights."""
    weights = [outer.weight(samples=one.samples, steps=one.steps) for one in given]
    with ExitStack() as open_files:
        deltas = []
        for one, share in zip(given, outer.shares(weights), strict=True):
            codec, parts = wire.read(open_files.enter_context(storage.local(one.sha256)), size=size)
            deltas.append(outer_step.Delta(parts=parts, codec=codec, share=share))
        yield deltas


def snapshot(training: Training, state: State, directory: Path) -> dict[str, object]:
    """Keep theta by name, for everybody, and what the hub needs beside it; return the columns that say where."""
    path = directory / "theta"
    wire.write_named(path, Layout(training.tensors).named(state.theta))
    columns = {
        "snapshot_version": state.version,
        "snapshot_sha256": storage.put_file(path),
        "state_bytes": path.stat().st_size,
    }
    for name, vector in (("momentum_sha256", state.momentum), ("remainder_sha256", state.remainder)):
        columns[name] = ""
        if vector.any():
            outer.packed(vector, "fp32", wire.create(directory / name, codec="fp32", size=len(vector)))
            columns[name] = storage.put_file(directory / name)
    return columns


def state_at(training: Training, version: int) -> State:
    """
    Return the state at a version; before the newest snapshot, without momentum and remainder.

    Raises versions.VersionGone, Diverged.
    """
    assert training.snapshot_version is not None
    if version >= training.snapshot_version:
        return _rebuilt(training, version)
    way, layout = versions.way_to(training, version), Layout(training.tensors)
    theta = _theta(way.snapshot.sha256, layout)
    for update in way.updates:
        with storage.local(update.sha256) as path:
            codec, parts = wire.read(path, size=layout.size)
            if outer.apply(theta, parts, codec) != update.fingerprint:
                raise Diverged(f"workload {training.pk}: update {update.version} leads elsewhere than it did")
    momentum, remainder = np.zeros(layout.size, np.float32), np.zeros(layout.size, np.float32)
    return State(version, outer.fingerprint(theta), theta, momentum, remainder)


def _theta(digest: str, layout: Layout) -> Floats:
    with storage.local(digest) as path:
        return layout.flat(wire.read_named(path, like=layout.named(_unread(layout.size))))


def _rebuilt(training: Training, version: int) -> State:
    """From the snapshot, by merging once more what was merged since."""
    assert training.snapshot_version is not None
    layout = Layout(training.tensors)
    theta = _theta(training.snapshot_sha256, layout)
    momentum, remainder = (_vector(name, layout.size) for name in (training.momentum_sha256, training.remainder_sha256))
    state = State(training.snapshot_version, outer.fingerprint(theta), theta, momentum, remainder)
    since = Round.objects.filter(
        workload=training.pk, version__gte=state.version, version__lt=version, state=Round.State.CLOSED
    )
    for round_ in since.order_by("version"):
        assert round_.version == state.version
        assert round_.outer_lr is not None
        assert round_.outer_momentum is not None
        given = list(Contribution.objects.filter(round=round_, status="merged").order_by("placement_id"))
        settings = Settings(lr=round_.outer_lr, momentum=round_.outer_momentum, codec=round_.codec)
        shares = [one.share for one in given if one.share is not None]  # As written down, whatever the rule was.
        with TemporaryDirectory(prefix="gpuyard-") as directory:
            _merge(state, given, settings, Path(directory) / "update", shares=shares)
        if state.fingerprint != round_.fingerprint:
            raise Diverged(f"workload {training.pk}: version {state.version} is not what its rounds lead to")
    if version == training.version and state.fingerprint != training.fingerprint:
        raise Diverged(f"workload {training.pk}: its snapshot is not version {version}")
    return state


def _vector(digest: str, size: int) -> Floats:
    if not digest:
        return np.zeros(size, np.float32)
    with storage.local(digest) as path:
        return np.array(wire.read(path, size=size)[1]["values"][:size])


def _unread(size: int) -> Floats:
    """A vector with a shape and no memory."""
    return np.broadcast_to(np.float32(0), [size])
