"""The runner: run folders, what is run again and what is not, failing, drawing again."""

from __future__ import annotations

import json
import os
import sys

import nbformat
import pytest
import yaml
from jupyter_client.kernelspec import KernelSpecManager

from msr_utils.io import read_json, write_json
from msr_utils.provenance import manifest
from msr_utils.study import plan, runner
from msr_utils.study.parameters import StudyError
from msr_utils.study.plan import Run

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
            "from msr_utils.io import write_json\nfrom msr_utils.study.plan import PROJECT_ROOT\n"
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
        made = plan.read_study(notebooks / "study.yml")
        runs = plan.plan(made, "synthetic", "", overrides={"word": word}, notebooks=notebooks)
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
    made = read_json(one / "manifest.json")
    assert made["inputs"]["files"] == {"data_dir": "d"}
    assert set(made["outputs"]) == {"notebook.ipynb", "params.yml", "metrics.json"}
    assert "tensorflow" in made["packages"]
    assert made["processor"]["model"] and made["processor"]["instructions"]
    assert {library["kernel"] for library in made["processor"]["blas"]}
    cells = nbformat.read(one / "notebook.ipynb", as_version=4).cells
    assert not any(c.outputs for c in cells)  # what libraries say on stderr is left out
    assert tiny() == []
    assert tiny(word="b") == ["one", "two"]
    assert tiny(word="b", data="other") == ["one", "two"]
    text = tiny.notebook.read_text()
    tiny.notebook.write_text(text.replace("import sys", "import sys  # changed"))
    assert tiny(word="b", data="other") == []
    # A value of a parameter that is given anyway.
    tiny.notebook.write_text(text.replace('word: str = \\"a\\"', 'word: str = \\"z\\"'))
    assert tiny(word="b", data="other") == []
    tiny.notebook.write_text(text.replace("{'word': word}", "{'word': word + ''}"))
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_run_does_not_build_on_what_was_made_otherwise(tiny):
    with pytest.raises(StudyError, match="'two' builds on 'one', which is not there yet"):
        tiny(word="b", only=("two",))
    tiny(word="b", only=("one",))
    with pytest.raises(StudyError, match="'two' builds on 'one', which was made with other"):
        tiny(word="a", only=("two",))
    assert tiny(word="a") == ["one", "two"]


def after(tiny, source):
    """Let the tiny notebook end with more statements; give what it was before."""
    text = tiny.notebook.read_text()
    book = nbformat.reads(text, as_version=4)
    book.cells.append(nbformat.v4.new_code_cell(source))
    nbformat.write(book, tiny.notebook)
    return text


@pytest.mark.slow
@pytest.mark.parametrize("interpreter", ["no/such/python", sys.executable])
def test_another_kernel_of_the_same_name_is_not_taken(tiny, tmp_path, monkeypatch, interpreter):
    kernel = tmp_path / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    command = [interpreter, "-c", "raise SystemExit('another kernel')", "{connection_file}"]
    spec = {"argv": command, "display_name": "Other", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    assert KernelSpecManager().get_kernel_spec("python3").argv == command  # it comes first
    after(
        tiny, "write_json(PROJECT_ROOT / output_dir / 'metrics.json', {'python': sys.executable})"
    )
    assert tiny(only=["one"]) == ["one"]
    assert read_json(tiny.folder / "one" / "metrics.json") == {"python": sys.executable}
    executed = nbformat.read(tiny.folder / "one" / "notebook.ipynb", as_version=4)
    assert executed.metadata.kernelspec.name == "python3"


@pytest.mark.slow
def test_what_builds_on_results_depends_on_them_and_not_on_how_they_were_made(tiny):
    content = "profiles: {full: {}}\nruns:\n  one: {notebook: 01_tiny}\n  two: {notebook: 02_tiny, after: [one]}\n"
    (tiny.notebook.parent / "study.yml").write_text(content)
    (tiny.notebook.parent / "02_tiny.ipynb").write_text(tiny.notebook.read_text())
    assert tiny() == ["one", "two"]
    text = tiny.notebook.read_text()
    tiny.notebook.write_text(text.replace("{'word': word}", "{'word': word + '', 'minutes': 3}"))
    assert tiny() == ["one"]  # other code, and a measured time: the same results
    tiny.notebook.write_text(text.replace("{'word': word}", "{'word': word + '!'}"))
    assert tiny() == ["one", "two"]


@pytest.mark.slow
def test_results_that_were_edited_are_made_again_and_not_built_on(tiny):
    tiny()
    write_json(tiny.folder / "one" / "metrics.json", {"word": "better"})
    (tiny.folder / "two" / "manifest.json").unlink()
    with pytest.raises(StudyError, match=r"'one', which was altered by hand \(metrics.json\)"):
        tiny(only=("two",))
    assert tiny() == ["one", "two"]
    assert read_json(tiny.folder / "one" / "metrics.json") == {"word": "a"}


@pytest.mark.slow
def test_files_that_git_does_not_keep_may_be_missing_until_they_are_needed(tiny):
    after(tiny, "(PROJECT_ROOT / output_dir / 'predictions.npz').write_text(word)")
    assert tiny() == ["one", "two"]
    assert manifest.read(tiny.folder / "one").outputs["predictions.npz"]["local"]
    (tiny.folder / "one" / "predictions.npz").unlink()
    assert tiny() == []  # as in a clone
    (tiny.folder / "two" / "manifest.json").unlink()
    with pytest.raises(StudyError, match="'one', which has no predictions.npz here"):
        tiny()
    assert tiny(only=("one",)) == ["one"]
    assert tiny() == ["two"]


DRAWING = "from msr_utils import style\nstyle.use_style()"


@pytest.mark.slow
def test_what_draws_otherwise_is_drawn_again_with_the_same_numbers(tiny, capsys):
    tiny()
    first = manifest.read(tiny.folder / "one")
    after(tiny, DRAWING)
    assert tiny() == ["one", "two"]
    assert "one (01_tiny.ipynb, presentation stale)" in capsys.readouterr().out
    now = manifest.read(tiny.folder / "one")
    assert now.inputs == first.inputs and now.results == first.results
    assert now.presentation != first.presentation
    assert now.content["computed"] == first.content["finished"]
    assert "use_style" in (tiny.folder / "one" / "notebook.ipynb").read_text()
    assert tiny() == []
    assert not runner.KEPT.is_dir() or not list(runner.KEPT.iterdir())


@pytest.mark.slow
def test_drawing_again_that_gives_other_numbers_replaces_nothing(tiny, tmp_path, monkeypatch):
    """A training that was not kept, say: here the number comes from a file."""
    monkeypatch.setenv("TINY_NUMBER", str(tmp_path / "number"))
    (tmp_path / "number").write_text("0.31157")
    source = (
        "import os\nfrom pathlib import Path\n"
        "r = float(Path(os.environ['TINY_NUMBER']).read_text())\n"
        "write_json(PROJECT_ROOT / output_dir / 'metrics.json', {'r': r, 'cost': {'training_s': r}})"
    )
    after(tiny, source)
    tiny(only=("one",))
    folder = tiny.folder / "one"
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    after(tiny, DRAWING)
    (tmp_path / "number").write_text("0.30616")
    with pytest.raises(
        StudyError, match=r"1 of its numbers .*(?s:.)*r: 0.31157 before, 0.30616 now"
    ):
        tiny(only=("one",))
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    # As told, the new number is taken when the manifest is removed.
    (folder / "manifest.json").unlink()
    assert tiny(only=("one",)) == ["one"]
    assert read_json(folder / "metrics.json")["r"] == 0.30616


@pytest.mark.slow
def test_a_kill_while_drawing_again_loses_nothing(tiny, monkeypatch):
    tiny()
    after(tiny, DRAWING)
    before = (tiny.folder / "one" / "manifest.json").read_bytes()
    with monkeypatch.context() as patched:
        # What a kill leaves: the copy, and a folder without a manifest.
        patched.setattr(runner.RunExecutor, "restore", lambda *_: None)
        patched.setattr(runner, "_execute_one", lambda run, folder, _: (_ for _ in ()).throw(
            KeyboardInterrupt((folder / "manifest.json").unlink())))  # fmt: skip
        with pytest.raises(KeyboardInterrupt):
            tiny()
    assert not (tiny.folder / "one" / "manifest.json").exists()
    assert tiny() == ["one", "two"]
    assert before != (tiny.folder / "one" / "manifest.json").read_bytes()
    assert "computed" in manifest.read(tiny.folder / "one").content


def test_kernels_get_the_threads_that_the_numbers_were_made_with(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    with runner._threads("1"):
        assert os.environ["OMP_NUM_THREADS"] == os.environ["TF_NUM_INTRAOP_THREADS"] == "1"
    assert os.environ["OMP_NUM_THREADS"] == "2"
    assert "TF_NUM_INTRAOP_THREADS" not in os.environ
    with runner._threads("all"):
        assert os.environ["OMP_NUM_THREADS"] == "2"


# ------------------------------------------------------------------------------ what it depends on


def a_run(**parameters):
    return Run("x", "05_transfer", {"corpus": "folder", "data_dir": "", **parameters},
                     inputs={"train_data_dir": "corpus train_corpus", "models_dir": "bundles"})  # fmt: skip


def test_files_count_by_what_they_hold_and_not_by_where_they_lie(folder_corpus, tmp_path):
    """The main corpus, a second one, and bundles."""
    from msr_utils.study.inputs import Inputs

    def files(corpus, bundles):
        run = a_run(
            data_dir=str(corpus), train_corpus="folder", train_data_dir=str(corpus),
            models_dir=str(bundles),
        )  # fmt: skip
        inputs = Inputs().of(run, tmp_path)
        return inputs.files, inputs.parameters

    bundle = tmp_path / "models" / "small"
    bundle.mkdir(parents=True)
    for name in ("model.onnx", "features.json", "card.json"):
        (bundle / name).write_text(name)
    first = files(folder_corpus, tmp_path / "models")
    moved = folder_corpus.rename(tmp_path / "elsewhere")
    assert set(first[0]) == {"data_dir", "train_data_dir", "models_dir"}
    assert files(moved, (tmp_path / "models").rename(tmp_path / "bundles")) == first
    with (moved / "annotations.csv").open("a") as file:
        file.write("t05,4.5,0.0,0.0\n")
    now, parameters = files(moved, tmp_path / "bundles")
    assert parameters == first[1]
    assert now["train_data_dir"] != first[0]["train_data_dir"]
    assert now["data_dir"] != first[0]["data_dir"]
    assert now["models_dir"] == first[0]["models_dir"]
    (tmp_path / "bundles" / "small" / "model.onnx").write_text("another network")
    assert files(moved, tmp_path / "bundles")[0]["models_dir"] != first[0]["models_dir"]
    # What is not here is not known.
    assert files(tmp_path / "nowhere", tmp_path / "nothing")[0] == dict.fromkeys(first[0])
    assert files("", "")[0] == dict.fromkeys(first[0], "none")


def test_all_files_of_a_folder_are_an_input(tmp_path):
    from msr_utils.study.inputs import Inputs

    def found(folder):
        run = Run(
            "x", "05_song_features", {"corpus": "deam", "data_dir": "", "features_dir": str(folder)},
            inputs={"features_dir": "files", "data_dir": "unused"},
        )  # fmt: skip
        return Inputs().of(run, tmp_path).files["features_dir"]

    for place in ("a", "b"):
        (tmp_path / place / "part").mkdir(parents=True)
        (tmp_path / place / "part" / "one.npy").write_text("1")
        (tmp_path / place / "songs.csv").write_text("row,deam_id")
    assert found(tmp_path / "a") == found(tmp_path / "b") and len(found(tmp_path / "a")) == 64
    (tmp_path / "b" / "part" / "one.npy").write_text("2")
    (tmp_path / "a" / "songs.csv").rename(tmp_path / "a" / "other.csv")
    assert len({found(tmp_path / "a"), found(tmp_path / "b"), found("")}) == 3
    assert found(tmp_path / "nowhere") is None


@pytest.mark.slow
def test_named_bundles_a_checkpoint_and_an_interpreter_are_inputs(tmp_path, monkeypatch):
    from msr_utils.study.inputs import Inputs

    run = Run(
        "x", "05_robustness", {"corpus": "synthetic", "data_dir": "", "run": "lstm",
                               "models_dir": str(tmp_path)},
        inputs={"models_dir": "bundles {run}-{corpus}", "data_dir": "unused",
                "SOME_PYTHON": "interpreter"},
    )  # fmt: skip
    for bundle in ("lstm-synthetic", "other"):
        (tmp_path / bundle).mkdir()
        for name in ("model.onnx", "features.json", "card.json"):
            (tmp_path / bundle / name).write_text(name)
    monkeypatch.setenv("SOME_PYTHON", sys.executable)

    def files():
        return Inputs().of(run, tmp_path).files

    first = files()
    assert set(first) == {"models_dir", "SOME_PYTHON"} and len(first["SOME_PYTHON"]) == 64
    (tmp_path / "other" / "model.onnx").write_text("another network")
    assert files() == first
    (tmp_path / "lstm-synthetic" / "model.onnx").write_text("another network")
    assert files()["models_dir"] != first["models_dir"]
    monkeypatch.setenv("SOME_PYTHON", "")
    assert files()["SOME_PYTHON"] is None
    monkeypatch.setenv("SOME_PYTHON", str(tmp_path / "python"))
    with pytest.raises(StudyError, match="cannot be asked for its packages"):
        files()

    text = Run("text", "05_text", {"corpus": "synthetic", "data_dir": ""},
                     inputs={"pretrained": "checkpoint", "data_dir": "unused"})  # fmt: skip
    assert len(Inputs().of(text, tmp_path).files["pretrained"]) == 64
    missing = Run("text", "05_text", {**text.parameters, "pretrained": "no/such"},
                        inputs=text.inputs)  # fmt: skip
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert Inputs().of(missing, tmp_path).files["pretrained"] is None
