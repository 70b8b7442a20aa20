"""GPUYard's client: the SDK (`Client`), its errors, and the `yard` command.

Importing this package is cheap; what needs the network or a framework is loaded when it is first asked for.
"""

from typing import TYPE_CHECKING, Any

from gpuyard import errors
from gpuyard.errors import GpuyardError

if TYPE_CHECKING:
    from gpuyard.client import Client

__version__ = "0.1.0"
__all__ = ["Client", "GpuyardError", "__version__", "errors"]


def __getattr__(name: str) -> Any:
    """Load `Client` late: a training script on a node imports this package and needs no HTTP client of ours."""
    if name == "Client":
        from gpuyard.client import Client

        return Client
    raise AttributeError(f"module 'gpuyard' has no attribute {name!r}")


def load_ipython_extension(shell: Any) -> None:
    """`%load_ext gpuyard`: %%yard and %yard in a notebook or an IPython shell."""
    from gpuyard.notebook.magic import YardMagics

    shell.register_magics(YardMagics)
