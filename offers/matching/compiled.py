"""The one door to numba: inner loops, compiled on first use and kept beside the sources."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def compiled(kernel: Kernel) -> Kernel:
    """Return the function as machine code of the same signature, beside which other threads run."""
    return cast(Kernel, njit(cache=True, nogil=True)(kernel))


def compiled_sums(kernel: Kernel) -> Kernel:
    """Do the same for a sum whose terms may be added in any order, so that wide registers add them."""
    return cast(Kernel, njit(cache=True, nogil=True, fastmath={"reassoc"})(kernel))
