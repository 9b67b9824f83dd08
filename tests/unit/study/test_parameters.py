"""Parameters of a notebook that papermill runs by hand."""

from __future__ import annotations

import ast
import json

import nbformat
import papermill
import pytest

from msr_utils import paths
from msr_utils.study import parameters
from msr_utils.study.parameters import StudyError

DECLARED = {"target": str, "epochs": int, "units": list}
RIGHT = {"target": "valence", "epochs": 3, "units": [64, 64]}


@pytest.mark.parametrize(
    "injected, words",
    [
        ({"target": "valance"}, "'target': unknown 'valance'; known: valence, arousal"),
        ({"epoch": 3}, "'epoch' is unknown; known: target, epochs, units"),
        ({"epochs": 0}, "'epochs' must be at least 1, not 0"),
        ({"epochs": "x"}, "'epochs' must be int, not 'x'"),
        ({"units": -3}, "'units' must be list, not -3"),
    ],
)
def test_a_wrong_parameter_is_named_with_what_is_allowed(injected, words):
    cell = "# Parameters\n" + "\n".join(f"{k} = {v!r}" for k, v in injected.items())
    namespace = {"__annotations__": DECLARED, "In": ["", "x = 1", cell], **RIGHT, **injected}
    with pytest.raises(StudyError, match=words):
        parameters.check_namespace(namespace)


def test_names_of_other_cells_are_no_parameters():
    parameters.check_namespace(
        {"__annotations__": DECLARED, "In": ["", "epoch = 3"], "epoch": 3, **RIGHT}
    )


@pytest.mark.parametrize("notebook", sorted(p.stem for p in paths.NOTEBOOKS.glob("*.ipynb")))
def test_every_notebook_checks_its_parameters_first(notebook):
    cells = json.loads((paths.NOTEBOOKS / f"{notebook}.ipynb").read_text("utf-8"))["cells"]
    code = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
    statements = ast.parse(code[1]).body
    first = next(x for x in statements if not isinstance(x, ast.Import | ast.ImportFrom))
    assert ast.unparse(first) == "parameters.check()"


@pytest.mark.slow
def test_papermill_itself_is_understood(tmp_path):
    book = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell('target: str = "valence"', metadata={"tags": ["parameters"]}),
            nbformat.v4.new_code_cell("from msr_utils.study import parameters\nparameters.check()"),
        ]
    )
    book.metadata["language_info"] = {"name": "python"}
    nbformat.write(book, tmp_path / "in.ipynb")
    run = {"input_path": tmp_path / "in.ipynb", "output_path": tmp_path / "out.ipynb"}
    papermill.execute_notebook(**run, parameters={"target": "arousal"}, kernel_name="python3")
    with pytest.raises(papermill.PapermillExecutionError, match="'targt' is unknown"):
        papermill.execute_notebook(**run, parameters={"targt": "arousal"}, kernel_name="python3")
