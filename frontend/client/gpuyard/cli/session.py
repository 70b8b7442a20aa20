"""The door to the SDK: it is imported when a command needs it, so that help and completion stay quick."""

from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING

from gpuyard.cli.output import Output, poll_s

if TYPE_CHECKING:
    from gpuyard.client import Client
    from gpuyard.watch import Follower

EXPLAINED: ContextVar[bool] = ContextVar("EXPLAINED", default=False)  # yard --explain


def connect(*, patient: bool = True) -> "Client":
    """A client with the address and key in force; `patient`: asks again by itself. Raises: AuthError, InvalidConfig."""
    from gpuyard.client import Client
    from gpuyard.transport import BACKOFF_S

    client = Client.from_config(backoff_s=BACKOFF_S if patient else ())
    if EXPLAINED.get():
        client.transport.said = Output(json=False).note
    return client


def follower(workload_id: int, *, out: Output, notice: Callable[[str], None] | None = None) -> "Follower":
    """Follows one workload; it waits for an absent broker itself, so its client asks once. Raises: AuthError."""
    from gpuyard.watch import Follower

    return Follower(connect(patient=False), workload_id, poll_s=poll_s(), notice=notice or out.note)
