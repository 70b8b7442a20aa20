"""Notebooks as scripts: cells in order, magics handled, tracebacks that name the cell."""

import json
import linecache
import sys
import traceback
from pathlib import Path

import pytest

from workloads.node import notebook
from workloads.node.notebook import NotebookUnfit


def document(*cells):
    """A notebook of these code cells, a text cell between each."""
    text = {"cell_type": "markdown", "metadata": {}, "source": ["%%not code\n"]}
    code = [
        {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None, "source": each.splitlines(True)}
        for each in cells
    ]
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [text, *code]})


def run(tmp_path, *cells):
    path = tmp_path / "train.ipynb"
    path.write_text(document(*cells))
    notebook.run(path)


def test_cells_run_one_after_the_other_in_one_main(tmp_path, capsys):
    run(
        tmp_path,
        "x = 20",
        "def double(): return 2 * x",
        "if __name__ == '__main__':\n    print(double() + 2)\ndisplay(x)",
    )

    assert capsys.readouterr().out == "42\n20\n"
    assert sys.modules["__main__"].__dict__.get("double") is None


@pytest.mark.parametrize(
    ("source", "plain"),
    [
        ("%load_ext gpuyard\nx = 1", "pass\nx = 1\n"),
        ("%%yard --gpu H100:2 --budget 5\nx = 1", "\nx = 1\n"),
        ("%%time\n%%capture\nx = 1", "\n\nx = 1\n"),
        ("if True:\n    %matplotlib inline\n    x = 1", "if True:\n    pass\n    x = 1\n"),
        ("%time x = f(1)", "x = f(1)\n"),
        ("!pip install \\\n  torch\nx = 1", "pass\n\nx = 1\n"),
        ("%pip install torch", "pass\n"),
        ("model?\n??model.fit", "pass\npass\n"),
        ("%%html\n<b>", ""),
    ],
)
def test_magics_go_and_lines_keep_their_numbers(source, plain):
    assert notebook.plain(source).source == plain


@pytest.mark.parametrize(
    "source",
    ["x = (7\n% 4)", "text = '''\n%matplotlib\n!ls\n'''", "def f():\n    return 5 \\\n    % 3", "# !ls\n# %cd"],
)
def test_what_python_takes_is_not_touched(source):
    cell = notebook.plain(source)

    assert cell.source == source + "\n"
    assert cell.notes == ()


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("x = 1\n!nvidia-smi", "cell 2, line 2: shell commands do not run here ('!nvidia-smi')"),
        ("%%bash\nls", "cell 2, line 1: %%bash cells do not run here"),
        ("files = !ls", "cell 2, line 1: '!ls' needs IPython"),
        ("%cd ..", "%cd does not run here; write os.chdir"),
        ("%env A=1", r"os.environ"),
    ],
)
def test_what_only_ipython_can_do_is_refused_with_cell_and_line(source, told):
    with pytest.raises(NotebookUnfit) as refused:
        notebook.read(document("x = 1", source), name="train.ipynb")

    assert told in str(refused.value)
    assert "train.ipynb" in str(refused.value)


@pytest.mark.parametrize("text", ["", "[]", '{"cells": 3}', "{}", document(), document("  \n")])
def test_what_is_no_notebook_with_code_is_refused(text):
    with pytest.raises(NotebookUnfit, match=r"train\.ipynb"):
        notebook.read(text, name="train.ipynb")


def test_what_is_left_out_is_said(tmp_path, capsys):
    run(tmp_path, "!pip install torch\nx = 1")

    assert "code cell 1, line 1: '!pip install torch' is left out; packages are installed from req" in (
        capsys.readouterr().err
    )


def test_a_traceback_names_the_cell_and_shows_its_line(tmp_path):
    with pytest.raises(ZeroDivisionError) as raised:
        run(tmp_path, "%matplotlib inline\ndef f():\n    return 1 / 0", "f()")

    shown = "".join(traceback.format_exception(raised.value))
    assert 'train.ipynb, code cell 2", line 1, in <module>' in shown
    assert 'train.ipynb, code cell 1", line 3, in f' in shown
    assert "return 1 / 0" in shown


def test_a_function_of_a_cell_has_its_source(tmp_path):
    run(tmp_path, "import inspect\ndef f():\n    return 1\nassert 'return 1' in inspect.getsource(f)")

    assert any("code cell 1" in file for file in linecache.cache)


def test_pythons_own_errors_stay_pythons(tmp_path):
    with pytest.raises(SyntaxError) as raised:
        run(tmp_path, "x = 1", "y = = 2")

    assert raised.value.lineno == 1
    assert Path(raised.value.filename).name == "train.ipynb, code cell 2"
