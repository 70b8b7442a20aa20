"""Training across sites: the researcher's `session`, and (without torch) the merge and the wire format the hub uses."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .run import session

__all__ = ["session"]


def __getattr__(name: str) -> Any:
    # The hub imports .outer and .codec from here and has no torch: only asking for `session` may bring torch in.
    if name == "session":
        from .run import session

        return session
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
