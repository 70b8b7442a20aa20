"""Which names a cell needs: held against running it with and without them."""

import pytest
from gpuyard.notebook.reading import read


@pytest.mark.parametrize(
    ("source", "needed"),
    [
        ("y = x", {"x"}),
        ("x = 1\ny = x", set()),
        ("x = x + 1", {"x"}),
        ("x += 1", {"x"}),
        ("table[key] = value", {"table", "key", "value"}),
        ("a.b = c", {"a", "c"}),
        ("if flag:\n    x = 1\ny = x", {"flag", "x"}),
        ("if flag:\n    x = 1\nelse:\n    x = 2\ny = x", {"flag"}),
        ("for i in rows:\n    total = i\nprint(total)", {"rows", "print", "total"}),
        ("with make() as run:\n    y = run", {"make"}),
        ("try:\n    import a\nexcept ImportError:\n    a = None\ny = a", {"ImportError"}),
        ("y = [x * k for x in rows if x]", {"k", "rows"}),
        ("f = lambda a, b=d: a + b + c", {"d", "c"}),
        ("def f(a, b=d):\n    local = a + g\n    return local", {"d", "g"}),
        ("def f():\n    return later\nlater = 1\nf()", set()),
        ("@wrap\nclass A(Base, metaclass=M):\n    size = n", {"wrap", "Base", "M", "n"}),
        ("class A:\n    size = 1\n    def f(self):\n        return self.size + k", {"k"}),
        ("def f():\n    global made\n    made = 1", set()),
        ("import a.b\nfrom c import d as e\ny = a.b(e)", set()),
        ("if (n := f()) > 2:\n    y = n", {"f"}),
        ("match point:\n    case (0, y):\n        z = y\n    case Point(x=x):\n        z = x", {"point", "Point"}),
        ("while go:\n    go = step(go)", {"go", "step"}),
        ("del x", {"x"}),
        ("x: int = y", {"y", "int"}),
        ("def f(x: T) -> R: ...", {"T", "R"}),
        ("async def f():\n    async with s as t:\n        return t", {"s"}),
        ("print(f'{x!r:>{width}}')", {"print", "x", "width"}),
    ],
)  # fmt: skip
def test_a_cell_needs_what_it_reads_before_it_surely_assigns(source, needed):
    assert read(source).needed == needed


def test_a_cells_variables_are_what_it_assigns_not_what_it_imports_and_defines():
    names = read(
        "import a\nfrom b import c\ndef f(): ...\nx, (y, *z) = 1, (2, 3)\nfor i in x:\n    w = i\nq: int\nt[0] = 1"
    )

    assert list(names.assigned) == ["x", "y", "z", "w"]
    assert names.modules == {"a", "b"}


def test_a_star_hides_what_is_known():
    assert read("from math import *\nsin(1)").imports_all
