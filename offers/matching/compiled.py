"""The one door to numba: inner loops, compiled on first use and kept beside the sources."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic
from numba.np.numpy_support import carray

PREFETCH = "llvm.prefetch.p0"
Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def compiled(kernel: Kernel) -> Kernel:
    """Return the function as machine code of the same signature, beside which other threads run."""
    return cast(Kernel, njit(cache=True, nogil=True)(kernel))


def inlined(kernel: Kernel) -> Kernel:
    """Return a function for other kernels, which take it in as if its lines were theirs."""
    return cast(Kernel, njit(nogil=True, inline="always")(kernel))


def compiled_sums(kernel: Kernel) -> Kernel:
    """Do the same for sums of products, added and rounded in any order: wide registers multiply and add at once."""
    return cast(Kernel, njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})(kernel))


@intrinsic
def prefetch(typing: Any, array: Any, index: Any) -> Any:
    """
    In a kernel: have the second cache fetch array[index], which may lie beyond the array's end.

    Processors foresee a few long streams of memory, not eight at once with much arithmetic between.
    """

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        start = context.make_array(signature.args[0])(context, builder, given[0]).data
        place = builder.bitcast(builder.gep(start, [given[1]]), ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [place.type, number, number, number])
        function = builder.module.globals.get(PREFETCH) or ir.Function(builder.module, kind, PREFETCH)
        to_read, second_cache, data = number(0), number(2), number(1)
        builder.call(function, [place, to_read, second_cache, data])
        return context.get_dummy_value()

    return types.void(array, index), generate


@intrinsic
def _int8_at(typing: Any, address: Any) -> Any:
    pointer: Any = types.CPointer(types.int8)  # type: ignore[no-untyped-call]

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.inttoptr(given[0], context.get_value_type(pointer))

    return pointer(types.intp), generate


@inlined
def int8s_at(address: int, size: int) -> Any:
    """In a kernel: int8 [size] that lie at an address, which somebody else keeps alive."""
    return carray(_int8_at(address), (size,))  # type: ignore[call-arg]
