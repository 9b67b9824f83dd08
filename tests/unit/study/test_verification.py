"""Kept results: edited, missing and stale ones are found; published ones are sound."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest
import yaml
from click.testing import CliRunner
from needs import skip

from msr_utils.book.edition import BookError, chapters, refuse_lost
from msr_utils.cli import main
from msr_utils.io import read_json, write_json, write_text
from msr_utils.paths import PROJECT_ROOT, REPORTS
from msr_utils.provenance import manifest
from msr_utils.provenance.manifest import Check
from msr_utils.study import edition_index
from msr_utils.study.inputs import (
    ABSENT,
    NO_MANIFEST,
    REDRAW,
    STALE,
    UP_TO_DATE,
    Inputs,
    RunInputs,
    State,
    changed,
    state_of,
)
from msr_utils.study.migrate_manifests import recorded_files, same_files
from msr_utils.study.parameters import StudyError
from msr_utils.study.verification import UNLISTED, failed, run_states, verify

PUBLISHED = REPORTS / "published"
RUNS = sorted(file.parent for file in PUBLISHED.glob("*/*/manifest.json"))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Two published runs in a place of their own, as if this code had just made them.

    Their data are a corpus of one track: what is checked here does not depend on its size.
    """
    root = tmp_path_factory.mktemp("edition")
    data = root / "data" / "vgmidi"
    data.mkdir(parents=True)
    (data / "tracks.csv").write_text("track_id,file,group,title\na,a.wav,g,A\n")
    (data / "annotations.csv").write_text("track_id,time_s,arousal,valence\na,0.5,0.1,0.2\n")
    (data / "a.wav").write_bytes(b"sound")
    folder = root / "published" / "vgmidi"
    for run in ("lstm-valence", "linear-valence"):
        shutil.copytree(PUBLISHED / "vgmidi" / run, folder / run)
        params = yaml.safe_load((folder / run / "params.yml").read_text())
        write_text(folder / run / "params.yml", yaml.safe_dump(params | {"data_dir": str(data)}))
    runs = run_states(folder, Inputs())
    for run in runs.runs:
        now, presentation = runs.now(run)
        content = read_json(folder / run / "manifest.json")
        content |= {"inputs": now, "presentation": presentation}
        content["outputs"] = manifest.hash_outputs(folder / run)
        content.pop("migration", None)
        write_json(folder / run / "manifest.json", content)
    return folder.parent


@pytest.fixture
def edition(prepared, tmp_path):
    """A copy of them that may be altered."""
    return shutil.copytree(prepared, tmp_path / "published")


def verified(folder):
    return {one.folder.name: one for one in verify(folder)}


def test_published_results_are_those_that_were_written():
    for run in RUNS:
        found = manifest.check(manifest.read(run))
        assert found == Check(local=found.local), run
        recorded = manifest.read(run)
        assert recorded.results == manifest.results_hash(run), run
        assert {"metrics.json", "notebook.ipynb", "params.yml"} <= set(recorded.outputs)
    shipped = {name for run in RUNS for name in manifest.read(run).outputs if name[0] == "/"}
    assert {
        f"/serve/models/{name}/model.onnx"
        for name in ("light", "full", "large", "lstm-tonal-vgmidi")
    } <= shipped


@pytest.mark.slow
def test_an_edited_number_is_found(edition):
    assert not failed(verify(edition))
    file = edition / "vgmidi" / "lstm-valence" / "metrics.json"
    results = read_json(file)
    results["test"]["pooled"]["r"]["value"] = 0.99
    write_json(file, results)
    found = verify(edition)
    assert failed(found)
    (one,) = [v for v in found if v.folder.name == "lstm-valence"]
    assert one.files.altered == ("metrics.json",)
    done = CliRunner().invoke(main, ["verify", str(edition)])
    assert done.exit_code == 1
    assert "altered             published/vgmidi/lstm-valence/metrics.json" in done.output
    assert "2 runs: " in done.output


def test_numbers_are_hashed_twice(edition):
    """An edited number is found even if its file's hash was edited too, or it was called local."""
    run = edition / "vgmidi" / "lstm-valence"
    results = read_json(run / "metrics.json")
    results["test"]["pooled"]["r"]["value"] = 0.99
    write_json(run / "metrics.json", results)
    content = read_json(run / "manifest.json")
    outputs = manifest.hash_outputs(run)
    write_json(run / "manifest.json", content | {"outputs": outputs})
    assert manifest.check(manifest.read(run)).altered == ("metrics.json",)
    outputs["metrics.json"]["local"] = outputs["history.csv"]["local"] = True
    write_json(run / "manifest.json", content | {"outputs": outputs})
    for name in ("metrics.json", "history.csv"):
        (run / name).unlink()
    assert {"metrics.json", "history.csv"} <= set(manifest.check(manifest.read(run)).missing)


def test_a_migration_refuses_other_files_and_forgets_none(tmp_path):
    content = {"inputs": {"files": {"data_dir": "a", "bundles": "b", "gone": "c"}}}
    recorded = recorded_files(content)
    now = {"data_dir": "a", "bundles": None, "new": "d"}
    assert same_files(tmp_path, recorded, now) == {"data_dir": "a", "bundles": "b", "new": "d"}
    with pytest.raises(StudyError, match="was made from another data_dir than there is now"):
        same_files(tmp_path, recorded, now | {"data_dir": "z"})
    assert recorded_files({"inputs": {"data": "a"}}) == {"data_dir": "a"}


def test_results_without_a_manifest_are_a_failure(edition):
    (edition / "vgmidi" / "lstm-valence" / "manifest.json").unlink()
    found = verified(edition)
    assert found["lstm-valence"].state.name == NO_MANIFEST
    assert failed(found.values())
    done = CliRunner().invoke(main, ["verify", str(edition)])
    assert done.exit_code == 1
    assert "no manifest         published/vgmidi/lstm-valence: it holds results" in done.output
    assert "2 runs: 1 up to date; 1 no manifest" in done.output
    with pytest.raises(BookError, match="lstm-valence: has results, but no manifest.json"):
        chapters(edition / "vgmidi")
    # A run that has failed, or is under way, is no chapter yet.
    (edition / "vgmidi" / "lstm-valence" / "failed.ipynb").write_text("{}")
    assert [*chapters(edition / "vgmidi")] == ["03_linear"]


def test_a_manifest_that_vouches_for_nothing_is_altered(edition):
    run = edition / "vgmidi" / "lstm-valence"
    content = read_json(run / "manifest.json")
    without = {name: f for name, f in content["outputs"].items() if name != "metrics.json"}
    for text, file in (
        (json.dumps({k: v for k, v in content.items() if k != "outputs"}), "manifest.json"),
        (json.dumps(content | {"outputs": {}}), "manifest.json"),
        (json.dumps(content | {"outputs": without}), "metrics.json"),
        ("[]", "manifest.json"),
        ("{", "manifest.json"),
    ):
        (run / "manifest.json").write_text(text)
        found = verify(run)
        assert failed(found), text[:80]
        assert found[0].files.altered == (file,)


def test_runs_whose_identity_was_carried_over_are_counted_apart(edition):
    file = edition / "vgmidi" / "lstm-valence" / "manifest.json"
    write_json(file, read_json(file) | {"migration": "Checked: numbers. Not checked: the code."})
    done = CliRunner().invoke(main, ["verify", str(edition)])
    assert done.exit_code == 0
    assert done.output.splitlines() == [
        "carried over        published/vgmidi/lstm-valence",
        "identity carried over: Checked: numbers. Not checked: the code.",
        "2 runs: 1 up to date; 1 up to date, identity carried over",
    ]
    done = CliRunner().invoke(main, ["verify", "--strict", str(edition)])
    assert done.exit_code == 1


@pytest.mark.slow
def test_a_run_that_is_gone_is_a_failure(edition):
    edition_index.add(edition, ["vgmidi/lstm-valence", "vgmidi/linear-valence"])
    assert not failed(verify(edition))
    shutil.rmtree(edition / "vgmidi" / "lstm-valence")
    for where in (edition.parent, edition, edition / "vgmidi"):
        found = verify(where)
        assert failed(found)
        assert [(v.folder.name, v.state.name) for v in found if v.is_bad] == [
            ("lstm-valence", ABSENT)
        ]
    done = CliRunner().invoke(main, ["verify", str(edition)])
    assert done.exit_code == 1
    assert "not run             published/vgmidi/lstm-valence: runs.json" in done.output
    with pytest.raises(BookError, match=r"vgmidi/lstm-valence: runs.json of the edition lists it"):
        refuse_lost(edition)
    # One that the index does not list is told of.
    shutil.rmtree(edition / "vgmidi" / "linear-valence" / "figures", ignore_errors=True)
    write_json(edition / "runs.json", {"runs": ["vgmidi/other"]})
    (one,) = [v for v in verify(edition) if v.folder.name == "linear-valence"]
    assert ("unlisted", f"{one.name}: {UNLISTED}") in list(one.lines())
    assert not one.is_current


def test_the_index_of_the_published_edition_is_whole():
    names = {"/".join(run.parts[-2:]) for run in RUNS}
    assert set(edition_index.listed(PUBLISHED)) == names


@pytest.mark.slow
def test_missing_and_unrecorded_files_are_told_and_local_ones_may_be_missing(edition):
    run = edition / "vgmidi" / "lstm-valence"
    (run / "predictions.npz").write_text("of every track")
    content = read_json(run / "manifest.json")
    content["outputs"] = manifest.hash_outputs(run)
    write_json(run / "manifest.json", content)
    (run / "predictions.npz").unlink()
    (run / "notes.txt").write_text("mine")
    (run / "failed.ipynb").write_text("of a run under way")
    done = CliRunner().invoke(main, ["verify", str(edition)])
    assert done.exit_code == 0, done.output
    assert "not here            published/vgmidi/lstm-valence/predictions.npz" in done.output
    assert "unrecorded          published/vgmidi/lstm-valence/notes.txt" in done.output
    assert "failed.ipynb" not in done.output
    (run / "history.csv").unlink()
    done = CliRunner().invoke(main, ["verify", str(run)])
    assert done.exit_code == 1
    assert "missing             published/vgmidi/lstm-valence/history.csv" in done.output


@pytest.mark.slow
def test_results_that_rest_on_something_else_are_stale(edition):
    file = edition / "vgmidi" / "linear-valence" / "manifest.json"
    content = read_json(file)
    content["inputs"]["code"] = "0" * 64
    content["inputs"]["files"]["data_dir"] = "1" * 64
    write_json(file, content)
    one = verified(edition)["linear-valence"]
    # Where the data are not here, they are not compared.
    assert one.state.name == STALE
    assert {*one.state.why, *one.state.unknown} == {"code", "files: data_dir"}
    assert not failed([one])
    write_json(file, content | {"inputs": read_json(file)["inputs"], "format": 1, "outputs": {}})
    one = verified(edition)["linear-valence"]
    assert one.state == State(STALE, ("its manifest is of an older format",))
    assert one.files.ok


@pytest.mark.slow
def test_a_parameter_that_the_study_changed_makes_its_edition_stale(edition, tmp_path):
    from msr_utils.paths import NOTEBOOKS

    notebooks = shutil.copytree(NOTEBOOKS, tmp_path / "notebooks")
    text = (notebooks / "study.yml").read_text()
    assert "activation: tanh, dropout: 0.0, learning_rate: 0.001" in text
    (notebooks / "study.yml").write_text(
        text.replace("activation: tanh, dropout: 0.0, learning_rate: 0.001",
                     "activation: tanh, dropout: 0.1, learning_rate: 0.001")
    )  # fmt: skip
    found = {one.folder.name: one.state for one in verify(edition, notebooks)}
    assert found["lstm-valence"].why == ("parameters",)
    assert found["linear-valence"].name == UP_TO_DATE
    # A local edition keeps its own.
    edition.rename(tmp_path / "local")
    found = {one.folder.name: one.state for one in verify(tmp_path / "local", notebooks)}
    assert found["lstm-valence"].name == UP_TO_DATE


@pytest.mark.slow
def test_a_new_word_makes_a_chapter_stale_and_its_results_not(edition, tmp_path):
    from msr_utils.paths import NOTEBOOKS

    notebooks = shutil.copytree(NOTEBOOKS, tmp_path / "notebooks")
    text = (notebooks / "03_lstm.ipynb").read_text()
    (notebooks / "03_lstm.ipynb").write_text(text.replace("# LSTM", "# Long short-term memory"))
    found = {one.folder.name: one.state for one in verify(edition, notebooks)}
    assert found["lstm-valence"].name == REDRAW
    assert found["linear-valence"].name == UP_TO_DATE
    done = list(verify(edition, notebooks)[1].lines())
    assert ("presentation stale", "published/vgmidi/lstm-valence") in done


def test_where_there_is_nothing_to_verify(tmp_path):
    with pytest.raises(StudyError, match="holds no finished run"):
        verify(tmp_path)
    assert CliRunner().invoke(main, ["verify", str(tmp_path)]).exit_code == 1


def test_git_ignores_what_manifests_call_local():
    names = [f"reports/published/vgmidi/lstm-valence/{name}" for name in
             ("predictions.npz", "models/model.keras", "metrics.json", "figures/history.png")]  # fmt: skip
    done = subprocess.run(
        ["git", "check-ignore", *names], cwd=PROJECT_ROOT, capture_output=True, text=True
    )
    if done.returncode > 1:
        skip("needs a git checkout", "git clone, then make test")
    assert done.stdout.splitlines() == names[:2]


def test_inputs_are_compared_where_both_are_known():
    recorded = {"code": "a", "files": {"data_dir": "b", "PEERS": None}, "after": {"x": "c"}}
    assert changed(recorded, recorded) == ([], ["files: PEERS"])
    now = {"code": "z", "files": {"data_dir": None, "PEERS": "p"}, "after": {"x": "y"}}
    assert changed(recorded, now) == (["code", "after: x"], ["files: data_dir", "files: PEERS"])
    # One more run that is used, or one less.
    assert changed({"uses": {"x": "a"}}, {"uses": {"x": "a", "y": "b"}}) == (["uses: y"], [])
    assert changed({}, {"uses": {"y": "b"}}) == (["uses: y"], [])
    assert changed({"uses": {"x": "a"}}, {}) == (["uses: x"], [])


def test_what_is_measured_anew_is_no_result(tmp_path):
    results = {
        "test": {"r": 0.31157},
        "cost": {"training_s": 731.2, "parameters": 90689},
        "trials": [{"state": "complete", "loss": 0.03, "minutes": 2.0}],
        "exchanges": {"live": {"answer": '{"valence": [0.1], "elapsed_ms": 2.1, "state": "xyz"}',
                               "characters": 60}},
    }  # fmt: skip
    again = {
        "test": {"r": 0.31157},
        "cost": {"training_s": 5.0, "parameters": 90689},
        "trials": [{"state": "complete", "loss": 0.03, "minutes": 3.0}],
        "exchanges": {"live": {"answer": '{"valence": [0.1], "elapsed_ms": 13.7, "state": "abc"}',
                               "characters": 61}},
    }  # fmt: skip
    assert manifest.differences(results, again) == []
    again["test"]["r"] = 0.30616
    again["trials"][0]["state"] = "pruned"
    again["exchanges"]["live"]["answer"] = again["exchanges"]["live"]["answer"].replace(
        "0.1", "0.2"
    )
    assert [line.partition(":")[0] for line in manifest.differences(results, again)] == [
        "test.r", "trials[0].state", "exchanges.live.answer",
    ]  # fmt: skip
    assert manifest.differences({"a": [1]}, {"a": [1, 2]}) == ["a: [1] before, [1, 2] now"]
    assert manifest.differences({"a": 1}, {}) == ["a: 1 before, None now"]
    write_json(tmp_path / "metrics.json", results)
    first = manifest.results_hash(tmp_path)
    write_json(tmp_path / "metrics.json", results | {"realtime_factor": 3.0})
    assert manifest.results_hash(tmp_path) == first
    write_json(tmp_path / "metrics.json", results | {"test": {"r": 0.31158}})
    assert manifest.results_hash(tmp_path) != first


def test_a_run_that_has_not_finished_is_no_result(tmp_path):
    assert (
        state_of(manifest.read(tmp_path), RunInputs("", "", "", {}, {}, {}), "").name == "not run"
    )
