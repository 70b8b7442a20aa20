"""The door to the SDK: it is imported when a command needs it, so that help and completion stay quick."""

from typing import TYPE_CHECKING

from gpuyard.cli.output import Output, poll_s

if TYPE_CHECKING:
    from gpuyard.client import Client
    from gpuyard.watch import Follower


def connect() -> "Client":
    """A client with the address and key in force. Raises: AuthError, InvalidConfig."""
    from gpuyard.client import Client

    return Client.from_config()


def follower(workload_id: int, *, out: Output) -> "Follower":
    """Follows one workload; it waits for an absent broker itself, so its client asks once. Raises: AuthError."""
    from gpuyard.client import Client
    from gpuyard.watch import Follower

    return Follower(Client.from_config(backoff_s=()), workload_id, poll_s=poll_s(), notice=out.note)
