"""What a change to this project makes stale, and what it leaves alone: on copies of its sources."""

from __future__ import annotations

import re
import shutil
from functools import lru_cache

import nbformat
import pytest

from msr_utils.features import cache
from msr_utils.features.blocks.registry import ALL_BLOCKS
from msr_utils.features.config import FeatureConfig
from msr_utils.models.families import FAMILIES, FAMILY_TABLES
from msr_utils.paths import NOTEBOOKS, PROJECT_ROOT
from msr_utils.provenance.code_identity import (
    DRAWING,
    Code,
    draws,
    key_of,
    reached,
)
from msr_utils.provenance.notebook_identity import notebook_identity
from msr_utils.provenance.packages import distribution, versions_of
from msr_utils.provenance.source_tree import (
    PACKAGES,
    IdentityError,
    SourceTree,
    project_tree,
)
from msr_utils.training import cross_validation

PREDICTING = {
    "05_robustness", "05_transfer", "06_export", "07_generation", "07_release",
    "07_release_large", "08_service",
}  # fmt: skip
"""Notebooks that compute numbers with bundles."""


@pytest.fixture
def copy(tmp_path):
    """A copy of the packages and notebooks, and edits of it."""
    for package in PACKAGES:
        shutil.copytree(
            PROJECT_ROOT / package, tmp_path / package,
            ignore=shutil.ignore_patterns("models", "static", "templates", "__pycache__")
            if package == "serve" else shutil.ignore_patterns("__pycache__"),
        )  # fmt: skip
    shutil.copytree(NOTEBOOKS, tmp_path / "notebooks")
    return tmp_path


def edit(root, file, old, new):
    path = root / file
    text = path.read_text()
    assert old in text, f"{file} has no {old!r}"
    path.write_text(text.replace(old, new))


def identities(root, names=("*",)):
    """Both identities of every notebook, or of those that are named."""
    code = Code(SourceTree(root))
    paths = sorted(path for name in names for path in (root / "notebooks").glob(f"{name}.ipynb"))
    return {path.stem: notebook_identity(path, code) for path in paths}


@lru_cache
def own_identities():
    """Of the notebooks of this checkout, computed once."""
    return identities(PROJECT_ROOT)


def stale(root, *names):
    """Notebooks whose numbers, and whose presentation, are others in a copy."""
    now = identities(root, names or ("*",))
    before = {name: own_identities()[name] for name in now}
    return (
        {name for name in before if before[name].computation != now[name].computation},
        {name for name in before if before[name].presentation != now[name].presentation},
    )


def file_of(thing):
    """Where something of ours lies, from the project's root: it may be moved."""
    return project_tree().file(key_of(thing)[0]).relative_to(PROJECT_ROOT).as_posix()


def training_identity(root, family="lstm"):
    """As the key of a training: the class that trains, and one family's builder."""
    roots = [key_of(cross_validation._Training), key_of(FAMILIES[family])]
    return Code(SourceTree(root)).reach(roots, tables=FAMILY_TABLES).hash


@pytest.mark.slow
def test_a_copy_is_the_same(copy):
    assert stale(copy) == (set(), set())


@pytest.mark.slow
def test_halving_what_a_model_puts_out_makes_every_run_that_predicts_stale(copy):
    from msr_utils.inference.model import Model

    edit(copy, file_of(Model), "np.clip(curves[0], *SCALE)", "np.clip(curves[0] / 2, *SCALE)")
    numbers, _ = stale(copy)
    assert numbers == PREDICTING


@pytest.mark.slow
def test_a_colour_makes_no_number_stale(copy):
    drawing = project_tree().file("msr_utils.style").relative_to(PROJECT_ROOT)
    edit(copy, drawing, '"#0072B2"', '"#0072B3"')
    numbers, drawn = stale(copy)
    assert numbers == set()
    assert {"01_data", "05_errors", "05_evaluation"} <= drawn
    assert training_identity(copy) == training_identity(PROJECT_ROOT)


@pytest.mark.slow
def test_a_docstring_a_comment_an_annotation_and_an_import_line_make_nothing_stale(copy):
    for file in copy.rglob("*.py"):
        text = file.read_text()
        text = re.sub(r'^"""', '"""Other words. ', text, count=1)
        text = re.sub(r"^(\s*)return ", r"\1# A comment.\n\1return ", text, flags=re.MULTILINE)
        text = re.sub(r"\) -> (?:np\.ndarray|float|str):", ") -> object:", text)
        more = r"import numpy\nimport numpy as np"
        file.write_text(re.sub("^import numpy as np$", more, text, flags=re.MULTILINE))
    assert stale(copy) == (set(), set())
    assert training_identity(copy) == training_identity(PROJECT_ROOT)


@pytest.mark.slow
def test_another_word_in_a_message_makes_only_recorded_answers_stale(copy):
    from msr_utils.audio.decode import AudioFile

    edit(copy, file_of(AudioFile), "holds no audio samples", "has no samples of audio")
    edit(copy, file_of(AudioFile), "the file is cut short", "the file is not whole")
    assert stale(copy, "03_lstm", "08_service") == ({"08_service"}, set())


@pytest.mark.slow
def test_a_moved_module_makes_nothing_stale(copy):
    for old in ("io", "constants", "metrics.estimate", "features.frame"):
        path = copy / "msr_utils" / f"{old.replace('.', '/')}.py"
        new = f"moved.{path.stem}_"
        (copy / "msr_utils" / "moved").mkdir(exist_ok=True)
        (copy / "msr_utils" / "moved" / "__init__.py").touch()
        path.rename(copy / "msr_utils" / f"{new.replace('.', '/')}.py")
        for file in [*copy.rglob("*.py"), *copy.rglob("*.ipynb")]:
            text = file.read_text()
            file.write_text(re.sub(rf"msr_utils\.{old}\b", f"msr_utils.{new}", text))
    assert stale(copy) == (set(), set())
    assert training_identity(copy) == training_identity(PROJECT_ROOT)


@pytest.mark.slow
def test_a_constant_of_the_features_makes_all_that_hear_them_stale(copy):
    edit(copy, "msr_utils/constants.py", "POWER_FLOOR = ", "POWER_FLOOR = 2 * ")
    numbers, _ = stale(copy)
    labels_alone = {
        "01_data", "01_data_clips", "01_data_static", "05_lyrics", "05_raters", "05_song_features",
    }  # fmt: skip
    assert numbers == set(own_identities()) - labels_alone


@pytest.mark.slow
def test_a_constant_of_one_block_renames_the_cache_of_that_block_alone(monkeypatch, tmp_path):
    def folders(tree):
        monkeypatch.setattr(
            "msr_utils.provenance.code_identity.project_code", lambda: Code(SourceTree(tree))
        )
        reached.cache_clear()
        return {n: cache.features_folder(FeatureConfig((n,)), tmp_path) for n in ALL_BLOCKS}

    for package in PACKAGES:
        shutil.copytree(PROJECT_ROOT / package, tmp_path / package)
    before = folders(PROJECT_ROOT)
    edit(tmp_path, "msr_utils/constants.py", "MOMENTARY_S = ", "MOMENTARY_S = 2 * ")
    now = folders(tmp_path)
    reached.cache_clear()
    assert {name for name in before if before[name] != now[name]} == {"loudness"}


def test_a_family_does_not_touch_the_trainings_of_another(copy):
    edit(
        copy,
        file_of(FAMILIES["transformer"]),
        "hidden_dropout_prob",
        "attention_probs_dropout_prob",
    )
    assert training_identity(copy) == training_identity(PROJECT_ROOT)
    other = training_identity(copy, "transformer")
    assert other != training_identity(PROJECT_ROOT, "transformer")


@pytest.mark.slow
def test_the_service_that_is_asked_counts(copy):
    edit(copy, "serve/schemas.py", "class ", "class Renamed_", )  # every name in it  # fmt: skip
    with pytest.raises(IdentityError, match="serve"):
        identities(copy)


@pytest.mark.slow
def test_the_backend_counts_where_keras_is_used(copy):
    setting = '"KERAS_BACKEND", "tensorflow"'
    (file,) = [p for p in copy.rglob("*.py") if setting in p.read_text()]
    edit(copy, file.relative_to(copy), setting, '"KERAS_BACKEND", "jax"')
    numbers, _ = stale(copy)
    assert {"03_lstm", "03_linear", "04_transformer"} <= numbers
    assert "01_data" not in numbers


@pytest.mark.slow
def test_every_name_of_the_packages_can_be_followed():
    tree = project_tree()
    code = Code(tree)
    for module in tree.names():
        own = tree.module(module)
        code.reach([(module, name) for name in own.definitions], drawing=True)


def test_no_module_that_computes_imports_what_draws():
    """Only what shows results may: the command, pictures of predictions, the book, notebooks."""
    may = {"msr_utils.cli", "msr_utils.inference.figure", "msr_utils.book"}
    tree = project_tree()
    for module in tree.names():
        if draws(module) or any(module == one or module.startswith(f"{one}.") for one in may):
            continue
        text = tree.file(module).read_text()
        for one in DRAWING:
            package, _, name = one.rpartition(".")
            assert not re.search(
                rf"^\s*(?:from {one}\b|import {one}\b|from {package} import .*\b{name}\b)",
                text, re.MULTILINE,
            ), module  # fmt: skip


def test_packages_of_notebooks_are_pinned_and_those_of_the_book_do_not_count():
    found = own_identities()
    versions = versions_of(found["03_lstm"].packages)
    assert {"numpy", "scipy", "keras", "tensorflow", "h5py"} <= set(versions)
    assert not {"matplotlib", "jupyter-book", "pytest", "flask", "ruff"} & set(versions)
    assert "flask" in versions_of(found["08_service"].packages)
    assert distribution("sklearn") == "scikit-learn"
    assert distribution("json") == distribution("msr_utils") == ""
    with pytest.raises(IdentityError, match="no package 'nowhere-to-be-found'"):
        distribution("nowhere_to_be_found")


# ------------------------------------------------------------------------------------- notebooks


SOURCES = {
    "__init__": "",
    "io": "def write_json(path, value): pass",
    "scores": "def evaluate(found, n_boot=0): return found",
    "first": "def table(x): return x",
    "second": "def table(x): return -x",
    "figures/__init__": "from msr_utils.figures.all import penalties, save, training_history",
    "figures/all": """
def penalties(found, target): return found
def training_history(found, target): return target
def save(figure, folder, name): return figure
""",
}
"""A package with what notebooks name here."""


@pytest.fixture
def identity(tmp_path):
    """Identity of a notebook of these code cells, after imports and the words given."""
    for name, source in SOURCES.items():
        (tmp_path / "msr_utils" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "msr_utils" / f"{name}.py").write_text(source)
    code = Code(SourceTree(tmp_path))

    def of(*cells, words="# Title", parameters="seed: int = 7", name="01_x"):
        book = nbformat.v4.new_notebook()
        book.cells = [
            nbformat.v4.new_markdown_cell(words),
            nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}),
            nbformat.v4.new_code_cell(
                "from msr_utils import figures, scores\nfrom msr_utils.io import write_json"
            ),
            *map(nbformat.v4.new_code_cell, cells),
        ]
        nbformat.write(book, tmp_path / f"{name}.ipynb")
        return notebook_identity(tmp_path / f"{name}.ipynb", code)

    return of


def test_words_and_drawing_are_presentation(identity):
    compute = "found = scores.evaluate({}, seed)\nwrite_json('metrics.json', found)"
    draw = "figures.save(figures.penalties(found, 'valence'), 'x', 'y')"
    first = identity(compute, draw)
    for other in (
        identity(compute, draw, words="# Another title"),
        identity(compute, draw.replace("'valence'", "'arousal'")),
        identity(compute, draw.replace("penalties", "training_history")),
        identity(compute),
    ):
        assert other.computation == first.computation
        assert other.presentation != first.presentation
    computed = identity(compute.replace("{}", "{1: 2}"), draw)
    assert computed.computation != first.computation
    assert computed.presentation == first.presentation
    # Layout, comments, cells, and values of parameters, which belong to the run.
    assert identity(*compute.splitlines(), draw + "  # A comment.") == first
    assert identity(compute, draw, parameters="seed: int = 8  # words") == first
    assert identity("import json, os", compute, "from msr_utils import first", draw) == first
    # The order of statements counts.
    assert identity("x = 1\nx = 2").computation != identity("x = 2\nx = 1").computation


def test_functions_of_one_name_are_told_apart_in_notebooks(identity):
    a = identity("from msr_utils import first, second\nx = first.table(1)\ny = second.table(2)")
    b = identity("from msr_utils import first, second\nx = second.table(1)\ny = first.table(2)")
    assert a.computation != b.computation


@pytest.mark.parametrize(
    "cells, words",
    [
        (["figure = figures.penalties(1, 2)", "write_json('metrics.json', {'axes': figure.axes})"],
         "computes with figure, which was drawn"),
        (["figure = figures.penalties(1, 2)\nn = len(figure.axes)"], "computes with figure"),
        (["x = 1", "x = figures.penalties(x, 2)", "x = scores.evaluate(x)"], "computes with x"),
        (["x = figures.penalties(1, 2)", "x += 1"], "computes with x"),
        (["for x in [1]:\n    figures.penalties(x, 2)"], "draw in a statement apart"),
        (["[figures.penalties(1, 2), write_json('metrics.json', 1)]"], "draws and writes metrics"),
        (["scores.nothing()"], "has no 'nothing'"),
        (["nothing()"], "01_x: nothing is called 'nothing'"),
        (["1 +"], "01_x.ipynb: invalid syntax"),
    ],
)  # fmt: skip
def test_numbers_may_not_depend_on_drawing(identity, cells, words):
    with pytest.raises(IdentityError, match=words):
        identity(*cells)


def test_a_picture_may_be_shown_and_its_name_used_again(identity):
    found = identity(
        "figure = figures.penalties(1, 2)", "figure", "figure.axes[0].set_title('x')",
        "figure = scores.evaluate({})", "write_json('metrics.json', figure)",
    )  # fmt: skip
    assert found.computation == identity(
        "figure = scores.evaluate({})", "write_json('metrics.json', figure)"
    ).computation  # fmt: skip
