"""What must hold for the checkout as a whole."""

from __future__ import annotations

import re
import subprocess
import sys

import nbformat
import pytest
from click.testing import CliRunner
from needs import skip

from msr_utils import paths
from msr_utils.cli import main
from msr_utils.paths import LOCK, NOTEBOOKS, PROJECT_ROOT
from msr_utils.study import conda_file

NOTEBOOK_FILES = sorted(NOTEBOOKS.glob("*.ipynb"))


def tracked() -> list[str]:
    done = subprocess.run(
        ["git", "ls-files"], cwd=PROJECT_ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        skip("needs a git checkout of the project", "make test, in a clone of the repository")
    return done.stdout.splitlines()


def test_conda_users_get_the_locks_pins():
    assert paths.ENVIRONMENT.read_text() == conda_file.render(LOCK.read_text())
    pins = conda_file.pins(LOCK.read_text())
    names = [re.match(r"[\w.-]+", p)[0] for p in pins]
    for name in (
        "tensorflow",
        "keras",
        "keras-hub",
        "librosa",
        "jupyter-book",
        "papermill",
        "flask",
    ):
        assert name in names


def test_every_pin_has_hashes_and_no_index_is_named():
    text = LOCK.read_text()
    for block in re.split(r"\n(?=\S)", text):
        if re.match(r"[A-Za-z0-9]", block):
            assert "--hash=sha256:" in block, block.splitlines()[0]
    assert "://" not in text
    assert "-url" not in text


def test_notebooks_are_committed_without_outputs():
    assert [p.stem for p in NOTEBOOK_FILES] == [
        "01_data", "01_data_clips", "01_data_static", "02_spectrograms", "03_ablation",
        "03_linear", "03_lstm", "03_search", "04_cost", "04_transformer", "05_clips", "05_errors",
        "05_evaluation", "05_isolation", "05_joint_models", "05_lyrics", "05_pretrained", "05_raters",
        "05_retrieval_arcs", "05_retrieval_moods", "05_robustness", "05_song_features", "05_text", "05_transfer",
        "06_export", "06_symbolic", "06_symbolic_curves", "07_generation", "07_release",
        "07_release_large", "08_service",
    ]  # fmt: skip
    for path in NOTEBOOK_FILES:
        book = nbformat.read(path, as_version=4)
        nbformat.validate(book)
        assert book.metadata.kernelspec.name == "python3"
        assert book.metadata.language_info.name == "python"
        for cell in book.cells:
            assert cell.cell_type != "code" or not (cell.outputs or cell.execution_count)


def test_notebooks_hold_glue_and_no_logic():
    for path in NOTEBOOK_FILES:
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "code":
                assert not re.search(
                    r"^\s*(def|class|for|while|if|try)\b.*:\s*$", cell.source, re.MULTILINE
                )


def test_nothing_that_is_not_ours_is_tracked():
    for name in tracked():
        assert not re.search(r"\.(mp3|ogg|opus|flac|wav|m4a)$", name), name
        assert not name.endswith("predictions.npz"), name


@pytest.mark.parametrize("arguments", [["check"], ["format", "--check"]])
def test_the_code_is_formatted_and_linted(arguments):
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *arguments, "."],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


def test_no_path_of_a_machine_is_named():
    paths = re.compile(r"(?<![\w.*])/(?:work|root|home/\w+|Users/\w+)/")
    for name in tracked():
        path = PROJECT_ROOT / name
        if path.suffix in (".onnx", ".png") or not path.is_file():
            continue
        found = paths.search(path.read_text("utf-8", errors="replace"))
        assert not found, f"{name}: {found}"


def test_the_command_explains_itself_and_its_errors(tmp_path):
    runner = CliRunner()
    assert "predict" in runner.invoke(main, ["--help"]).output
    song = tmp_path / "song.mp3"
    song.write_text("no music")
    done = runner.invoke(main, ["predict", str(song), "--models", str(tmp_path)])
    assert done.exit_code == 1
    assert "no bundle in" in done.output
    done = runner.invoke(main, ["run", "--corpus", "folder"])
    assert done.exit_code == 1
    assert "needs the folder" in done.output
    done = runner.invoke(main, ["run", "-p", "epoch", "3"])
    assert done.exit_code == 1
    assert "'epoch' is declared by none" in done.output
    done = runner.invoke(main, ["book", "--edition", "never-made"])
    assert done.exit_code == 1
    assert "run 'make study' first" in done.output


def test_the_service_guide_states_the_limits_of_the_code():
    """Each number of the guide is a constant; a sentence that was reworded is found as well."""
    from msr_utils.audio.source import MAX_RATE, MIN_RATE
    from serve import connections, front, lanes, pool, processes, spool, tasks

    guide = " ".join((PROJECT_ROOT / "book" / "service.md").read_text().split())
    for sentence in (
        f"the head of a request within {connections.HEAD_SECONDS:.0f} s",
        f"stays open for {connections.KEEP_ALIVE_SECONDS:.0f} s",
        f"head of a request may have {connections.MAX_HEAD_BYTES // 1024} KB",
        f"in its format, and at most {front.MAX_CHUNK_BYTES // 1_000_000} MB",
        f"in memory if it has at most {spool.MEMORY_BYTES // 1_000_000} MB",
        f"or {pool.STALL_SECONDS:.0f} s without a frame",
        f"a task takes more than {pool.TASK_BYTES // 1_000_000} MB",
        f"or all tasks more than {pool.ALL_BYTES // 1_000_000} MB",
        f"{processes.MAX_OUTPUT_BYTES // 1000} kB for each task are logged",
        f"has done {pool.MAX_TASKS} tasks, or keeps more than {pool.KEPT_BYTES // 1_000_000} MB",
        f"(`nice` {processes.LOW_PRIORITY})",
        f"at most {tasks.MAX_VALUES // 1_000_000} million samples",
        f"`rate` is from {MIN_RATE // 1000} to {MAX_RATE // 1000} kHz",
    ):
        assert sentence in guide, sentence
    assert lanes.SHORT_SECONDS == 0.5 and "After half a second of processor time" in guide
