"""The runner: checked parameters, run folders, skipping, failing; the whole study once."""

from __future__ import annotations

import shutil
import sys

import nbformat
import pytest
import yaml

from msr_utils import paths
from msr_utils.io import read_json
from msr_utils.study import plan as study_plan
from msr_utils.study import runner
from msr_utils.study.plan import Run, StudyError


def plan(**changes):
    arguments = {"corpus": "synthetic", "data_dir": "", "profile": "quick"} | changes
    return study_plan.plan(study_plan.read_study(), **arguments)


def test_presets_profiles_and_corpora_meet_in_a_plan():
    runs = {r.name: r for r in plan()}
    assert list(runs)[0] == "data"
    assert runs["lstm-arousal"].parameters["target"] == "arousal"
    assert runs["lstm-arousal"].parameters["units"] == [64, 64]
    assert runs["lstm-arousal"].parameters["epochs"] == 2
    assert runs["lstm-arousal"].parameters["features"] == "logmel,logmel_sd"
    assert runs["lstm-tonal-arousal"].parameters["features"] == "logmel,logmel_sd,tonal"
    assert runs["transformer-valence"].parameters["learning_rate"] == 1e-5
    assert runs["transformer-scratch-valence"].parameters["learning_rate"] == 3e-4
    full = {r.name: r for r in plan(corpus="folder", data_dir="x", profile="full")}
    assert full["lstm-valence"].parameters["folds"] == 5
    assert full["transformer-valence"].parameters["inner_folds"] == 1


def test_runs_follow_the_kinds_of_labels():
    def names(*kinds):
        return study_plan.select_runs(
            plan(corpus="folder", data_dir="x", kinds_of_labels=kinds), (), ()
        )

    assert names("quadrants") == names("gems") == ["clips"]
    assert names("curves", "static")[:3] == ["data", "static", "spectrograms"]
    assert "static" not in names("curves") and "clips" not in names("curves")
    # A parameter of runs that do not apply is still a known one.
    plan(overrides={"dropout": "0.3"}, kinds_of_labels=("quadrants",))


def test_the_command_line_wins_and_keeps_types():
    runs = {
        r.name: r for r in plan(overrides={"dropout": "0.3", "activation": "007", "epochs": "3"})
    }
    assert runs["lstm-valence"].parameters["dropout"] == 0.3
    assert runs["lstm-valence"].parameters["activation"] == "007"
    assert runs["transformer-valence"].parameters["epochs"] == 3


@pytest.mark.parametrize(
    "overrides, words",
    [
        ({"epoch": "3"}, "parameter 'epoch' is declared by none"),
        ({"epochs": "three"}, "'epochs' must be int, not 'three'"),
        ({"epochs": "3.5"}, "'epochs' must be int"),
        ({"epochs": "true"}, "'epochs' must be int"),
        ({"units": "64"}, "'units' must be list"),
        ({"dropout": "much"}, "'dropout' must be float"),
        ({"corpus": "deam"}, "'corpus' is settled by --corpus"),
        ({"data_dir": "/x"}, "'data_dir' is settled by"),
        ({"target": "valence"}, "'target' is what run 'lstm-arousal' is about"),
    ],
)
def test_wrong_parameters_are_named(overrides, words):
    with pytest.raises(StudyError, match=words):
        plan(overrides=overrides)


@pytest.mark.parametrize(
    "text, kind, value",
    [("1e-3", "float", 0.001), ("3", "float", 3), ("[8, 8]", "list", [8, 8]), ("007", "str", "007"),
     ("true", "bool", True), ("-2", "int", -2)],
)  # fmt: skip
def test_values_from_the_command_line(text, kind, value):
    assert study_plan.parse_value("x", text, kind) == value


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda s: s.update(run={}), "unknown key 'run'"),
        (lambda s: s["runs"]["data"].update(notebook="09_none"), "no notebook '09_none'"),
        (lambda s: s["runs"]["export"].update(after=["nothing"]), "comes after 'nothing'"),
        (lambda s: s["runs"]["lstm-valence"].update(preset="papre"), "no preset 'papre'"),
        (lambda s: s["runs"]["clips"].update({"for": ["clip"]}), "for names 'clip'; known: curves"),
        (lambda s: s["profiles"].update(fast={"runs": {"lstm": {}}}), "unknown run 'lstm'"),
        (
            lambda s: s["runs"]["data"].update(parameters={"folds": 3}),
            "declares no parameter 'folds'",
        ),
        (lambda s: s["parameters"].update(seed="seven"), "'seed' must be int, not 'seven'"),
        (lambda s: s["parameters"].update(sede=7), "'sede' is declared by none"),
        (lambda s: s.update(runs={}), "names no runs"),
    ],
)
def test_a_wrong_study_file_says_where(tmp_path, change, words):
    for notebook in paths.NOTEBOOKS.glob("*.ipynb"):
        shutil.copy(notebook, tmp_path)
    content = yaml.safe_load((paths.NOTEBOOKS / "study.yml").read_text())
    change(content)
    (tmp_path / "study.yml").write_text(yaml.safe_dump(content, sort_keys=False))
    with pytest.raises(StudyError, match=words):
        study_plan.plan(study_plan.read_study(tmp_path / "study.yml"), "synthetic", "", "quick")


@pytest.mark.slow
def test_a_run_does_not_build_on_what_was_made_otherwise(tiny):
    with pytest.raises(StudyError, match="'two' builds on 'one', which is not there yet"):
        tiny(word="b", only=("two",))
    tiny(word="b", only=("one",))
    with pytest.raises(StudyError, match="'two' builds on 'one', which was made with other"):
        tiny(word="a", only=("two",))
    assert tiny(word="a") == ["one", "two"]


def test_unknown_profile_and_run():
    with pytest.raises(StudyError, match="edition: '../x'"):
        plan(edition="../x")
    with pytest.raises(StudyError, match="unknown 'fast'; known: full, quick"):
        plan(profile="fast")
    with pytest.raises(StudyError, match="unknown 'lstm'"):
        runner.execute(plan(), "test", "0", only=("lstm",))


def test_folder_corpora_are_called_by_their_folder():
    assert study_plan.corpus_name("folder", "../data/My Songs (2)/") == "my-songs-2"
    assert study_plan.corpus_name("deam", "../data/x") == "deam"


NOTEBOOK_CELLS = """corpus: str = "synthetic"
data_dir: str = ""
word: str = "a"
output_dir: str = ""
"""


@pytest.fixture
def tiny(tmp_path):
    """A study of one small notebook that counts how often it ran."""
    notebooks = tmp_path / "notebooks"
    notebooks.mkdir()
    book = nbformat.v4.new_notebook(
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
                  "language_info": {"name": "python"}}
    )  # fmt: skip
    book.cells = [
        nbformat.v4.new_code_cell(NOTEBOOK_CELLS, metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell(
            "from msr_utils.io import write_json\nfrom msr_utils.study.runner import PROJECT_ROOT\n"
            "import sys\nprint('noise', file=sys.stderr)\n"
            "assert word != 'bad', 'this word is bad'\n"
            "write_json(PROJECT_ROOT / output_dir / 'metrics.json', {'word': word})"
        ),
    ]
    nbformat.write(book, notebooks / "01_tiny.ipynb")
    (notebooks / "study.yml").write_text(
        "profiles: {full: {}}\nruns:\n  one: {notebook: 01_tiny}\n"
        "  two: {notebook: 01_tiny, after: [one]}\n"
    )

    def run(word="a", data="d", only=(), experiments=()):
        made = study_plan.read_study(notebooks / "study.yml")
        runs = study_plan.plan(made, "synthetic", "", overrides={"word": word}, notebooks=notebooks)
        reports = tmp_path / "reports"
        return runner.execute(runs, "e", data, only, reports, notebooks, experiments)

    run.folder = tmp_path / "reports" / "e" / "synthetic"
    run.notebook = notebooks / "01_tiny.ipynb"
    return run


@pytest.mark.slow
def test_runs_land_in_folders_and_are_skipped_when_up_to_date(tiny):
    assert tiny() == ["one", "two"]
    one = tiny.folder / "one"
    assert {p.name for p in one.iterdir()} == {
        "notebook.ipynb",
        "params.yml",
        "metrics.json",
        "manifest.json",
    }
    assert yaml.safe_load((one / "params.yml").read_text())["word"] == "a"
    manifest = read_json(one / "manifest.json")
    assert manifest["inputs"]["data"] == "d"
    assert "tensorflow" in manifest["packages"]
    cells = nbformat.read(one / "notebook.ipynb", as_version=4).cells
    assert not any(c.outputs for c in cells)  # what libraries say on stderr is left out
    assert tiny() == []
    assert tiny(word="b") == ["one", "two"]
    assert tiny(word="b", data="other") == ["one", "two"]
    text = tiny.notebook.read_text()
    tiny.notebook.write_text(text.replace("import sys", "import sys  # changed"))
    assert tiny(word="b", data="other") == ["one", "two"]
    (tiny.folder / "two" / "manifest.json").unlink()
    assert tiny(word="b", data="other") == ["two"]


@pytest.mark.slow
def test_an_experiment_runs_when_it_is_asked_for_and_is_used_if_it_is_there(tiny):
    settings = tiny.notebook.parent / "study.yml"
    settings.write_text(
        "profiles: {full: {}}\nruns:\n  one: {notebook: 01_tiny}\n"
        "  extra: {notebook: 01_tiny, experiment: more}\n"
        "  two: {notebook: 01_tiny, after: [one], uses: [extra]}\n"
    )
    assert tiny() == ["one", "two"]
    assert tiny(experiments=["more"]) == ["extra"]
    assert tiny() == ["two"]  # what it uses is there now
    assert tiny(experiments=["all"]) == []
    assert read_json(tiny.folder / "two" / "manifest.json")["inputs"]["uses"].keys() == {"extra"}
    with pytest.raises(
        StudyError,
        match="experiment: unknown 'less', or not for this corpus; for it are: all, more",
    ):
        tiny(experiments=["less"])


def test_runs_in_parallel_wait_for_what_they_come_after(tmp_path):
    script = (
        "import sys, time, pathlib; name = sys.argv[-1]; here = pathlib.Path(sys.argv[1]);"
        "time.sleep(0.5); assert name != 'd';"
        "(here / name).write_text(' '.join(sorted(p.name for p in here.iterdir())))"
    )
    runs = [
        Run("a", "n", {}), Run("b", "n", {}), Run("c", "n", {}, ("a", "b")),
        Run("d", "n", {}), Run("e", "n", {}, ("d",)),
    ]  # fmt: skip
    command = [sys.executable, "-c", script, str(tmp_path)]
    runner.execute_parallel(runs, command, ["a", "b", "c"], 2)
    assert {"a", "b"} <= set((tmp_path / "c").read_text().split())
    with pytest.raises(StudyError, match="run d failed"):
        runner.execute_parallel(runs, command, ["d", "e"], 2)
    assert not (tmp_path / "e").exists()


def test_a_notebook_depends_on_the_modules_that_it_imports(tmp_path):
    from msr_utils.provenance.identity import code_hash

    def hashed(source):
        path = tmp_path / f"{abs(hash(source))}.ipynb"
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
        nbformat.write(book, path)
        return code_hash(path)

    metrics = hashed("from msr_utils import metrics")
    assert metrics == hashed("from msr_utils.metrics.scores import evaluate")
    assert metrics == hashed("import msr_utils.metrics.scores\nx = 1")
    # experiment.py imports metrics.py and more.
    assert len({metrics, hashed("from msr_utils import experiment"), code_hash()}) == 3


@pytest.mark.slow
def test_a_failing_notebook_says_why_and_vouches_for_nothing(tiny):
    tiny()
    with pytest.raises(StudyError, match="run 'one' failed.*AssertionError: this word is bad"):
        tiny(word="bad")
    assert not (tiny.folder / "one" / "manifest.json").exists()
    assert (tiny.folder / "one" / "failed.ipynb").is_file()
    assert tiny() == ["one"]
    assert not (tiny.folder / "one" / "failed.ipynb").exists()


@pytest.mark.slow
def test_a_kernel_that_is_killed_says_so_and_the_next_call_goes_on(tiny):
    text = tiny.notebook.read_text()
    tiny.notebook.write_text(
        text.replace(
            "import sys\\n", "import os, signal, sys\\nos.kill(os.getpid(), signal.SIGKILL)\\n", 1
        )
    )
    with pytest.raises(StudyError, match="run 'one': its process was ended"):
        tiny()
    assert not (tiny.folder / "one" / "manifest.json").exists()
    tiny.notebook.write_text(text)
    assert tiny() == ["one", "two"]
