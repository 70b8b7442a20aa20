"""What goes along with a cell: the imports, definitions and data of the notebook that it names, and what they name."""

import builtins
import io
import pickle
import sys
from collections.abc import Iterable, Mapping, Sequence
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from gpuyard.errors import GpuyardError
from gpuyard.node import values
from gpuyard.notebook import reading, sources

PLACES = frozenset({"cpu", "cuda", "cuda:0", "mps"})


class CannotSend(GpuyardError):
    """The cell names what cannot be taken to another machine. Nothing was sent."""

    exit_code = 2
    default_code = "cannot_send"
    default_hint = "make it in the cell, or name less of it there"


class Gathered:
    """What a cell needs. values: plain data; objects: what only a pickle holds; roots: modules it imports."""

    def __init__(self, namespace: Mapping[str, Any], cells: Sequence[str]) -> None:
        """namespace: the notebook's; cells: the code that ran in it, oldest first."""
        self._namespace, self._cells = namespace, cells
        self._seen: set[str] = set()
        self.imports: dict[str, None] = {}
        self.definitions: dict[str, str] = {}
        self.values = values.Pack(exact=True)
        self.objects: dict[str, Any] = {}
        self.sizes: dict[str, int] = {}
        self.roots: set[str] = set()
        self.notes: list[str] = []

    def take(self, cell: reading.Names, *, also: Iterable[str] = ()) -> "Gathered":
        """Take what the cell names, and `also` these names. Raises: CannotSend."""
        self.roots |= cell.modules
        unknown = [name for name in also if name not in self._namespace]
        if not cell.imports_all:
            known = (set(self._namespace) | set(dir(builtins))) - {"get_ipython"} | {"__file__", "__name__", "display"}
            unknown += sorted(cell.now - known)
        if unknown:
            raise CannotSend(
                f"the cell names {', '.join(unknown)}, which this notebook does not define",
                hint="run the cell that defines it first; get_ipython, In and Out are only here",
            )
        for name in sorted(cell.needed | set(also)):
            self._want(name)
        return self

    def pickled(self) -> bytes:
        """The objects, in one pickle, so that what they share stays shared."""
        return self._pickle(self.objects)

    def _want(self, name: str) -> None:
        if name in self._seen or name not in self._namespace:
            return
        self._seen.add(name)
        value = self._namespace[name]
        if isinstance(value, ModuleType):
            self._import(name, value)
        elif isinstance(value, FunctionType | BuiltinFunctionType | type) or hasattr(value, "__wrapped__"):
            self._define(name, value)
        else:
            self._keep(name, value)

    def _import(self, name: str, module: ModuleType) -> None:
        if module.__name__ == "__main__":
            raise CannotSend(f"{name} is the notebook itself")
        self.roots.add(module.__name__.partition(".")[0])
        if name == module.__name__:
            self.imports |= dict.fromkeys([f"import {name}", *sources.dotted_imports(name, cells=self._cells)])
        else:
            self.imports[f"import {module.__name__} as {name}"] = None

    def _define(self, name: str, value: Any) -> None:
        """A function or class: by its module's name where it has one, else by the source in the notebook."""
        module, path = getattr(value, "__module__", None), getattr(value, "__qualname__", "")
        if module is None:  # Functions written in C may not say.
            module, path = _home(value), value.__name__
        if module not in (None, "__main__") and _found(module, path) is value:
            self.roots.add(module.partition(".")[0])
            root, dot, rest = path.partition(".")
            alias = "" if root == name else f" as {name}"
            self.imports[f"from {module} import {root}{alias}" if not dot else f"import {module}"] = None
            if dot:
                self.definitions[name] = f"{name} = {module}.{root}.{rest}"
            return
        if "<locals>" in path and "<lambda>" not in path:
            raise CannotSend(f"{name} was made inside a function ({path}), so its source is not all of it")
        source = sources.source_of(name, value, cells=self._cells)
        if source is None:
            raise CannotSend(f"the source of {name} is in none of this notebook's cells", hint="define it in a cell")
        names = reading.read(source)
        self.roots |= names.modules
        for other in sorted(names.needed):  # What it needs stands before it.
            self._want(other)
        self.definitions[name] = source

    def _keep(self, name: str, value: Any) -> None:
        """Data: as plain values where possible, else as a pickle, of which the notebook's classes go as source."""
        if str(value) in PLACES and (isinstance(value, str) or type(value).__name__ == "device"):
            self.notes.append(f"{name} is {value} there too, whatever the machines have: assign it in the cell")
        try:
            self.values.add(name, value)
            self.sizes[name] = self.values.sizes[name]
        except values.CannotTravel:
            try:
                self.sizes[name] = len(self._pickle(value))
            except Exception as error:  # Any class may refuse in its own words.
                raise CannotSend(f"{name}, {values.article(type(value).__name__)}, cannot be sent: {error}") from None
            self.objects[name] = value

    def _pickle(self, value: Any) -> bytes:
        sink = io.BytesIO()
        pickler = _Pickler(sink)
        pickler.dump(value)
        for each in pickler.named.values():
            if each.__module__ == "__main__":
                self._want(each.__name__)
            else:
                self.roots.add(each.__module__.partition(".")[0])
        return sink.getvalue()


class _Pickler(pickle.Pickler):
    """Notes the classes and functions that it only names; brings tensors to the CPU, where any host can read them."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self.named: dict[int, Any] = {}

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, type | FunctionType) and getattr(value, "__module__", None):
            self.named[id(value)] = value
        torch = sys.modules.get("torch")
        if torch is not None and type(value) is torch.Tensor and value.device.type != "cpu":
            return value.cpu().__reduce_ex__(pickle.HIGHEST_PROTOCOL)
        return NotImplemented


def _found(module: str, path: str) -> Any:
    found: Any = sys.modules.get(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    return found


def _home(value: Any) -> str | None:
    """The module with the shortest name that has a function under its own."""
    homes = [name for name, module in list(sys.modules.items()) if getattr(module, value.__name__, None) is value]
    return min((name for name in homes if name != "__main__"), key=len, default=None)
