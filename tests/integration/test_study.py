"""The study file and parameters: checked, and settled for each run."""

from __future__ import annotations

import shutil

import pytest
import yaml
from conftest import write_folder_corpus

from msr_utils import paths
from msr_utils.corpora import load_corpus
from msr_utils.study import parameters
from msr_utils.study import plan as study_plan
from msr_utils.study.parameters import StudyError


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
    assert names("curves", "static")[:2] == ["data", "spectrograms"]
    assert "clips" not in names("curves")
    songs = plan(corpus="deam", data_dir="x", kinds_of_labels=("curves", "static"))
    assert "static" in study_plan.select_runs(songs, (), ())
    # A parameter of runs that do not apply is still a known one.
    plan(overrides={"dropout": "0.3"}, kinds_of_labels=("quadrants",))


def test_the_command_line_wins_and_keeps_types():
    runs = {r.name: r for r in plan(overrides={"dropout": "0.3", "augment": "007", "epochs": "3"})}
    assert runs["lstm-valence"].parameters["dropout"] == 0.3
    assert runs["lstm-valence"].parameters["augment"] == "007"
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
        ({"dropout": "1"}, "'dropout' must be at least 0 and below 1, not 1"),
        ({"epochs": "0"}, "'epochs' must be at least 1, not 0"),
        ({"learning_rate": "0"}, "'learning_rate' must be above 0"),
        ({"activation": "tanned"}, "'activation': unknown 'tanned'; known: tanh, linear, relu"),
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
    assert parameters.parse_value("x", text, kind) == value


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda s: s.update(run={}), "unknown key 'run'"),
        (lambda s: s["runs"]["data"].update(notebook="09_none"), "no notebook '09_none'"),
        (lambda s: s["runs"]["export"].update(after=["nothing"]), "comes after 'nothing'"),
        (lambda s: s["runs"]["lstm-{target}"].update(preset="papre"), "no preset 'papre'"),
        (lambda s: s["runs"]["clips"].update({"for": ["clip"]}), "for names 'clip'; known: curves"),
        (lambda s: s["profiles"].update(fast={"runs": {"lstm": {}}}), "unknown run 'lstm'"),
        (
            lambda s: s["runs"]["data"].update(parameters={"folds": 3}),
            "declares no parameter 'folds'",
        ),
        (lambda s: s["parameters"].update(seed="seven"), "'seed' must be int, not 'seven'"),
        (lambda s: s["parameters"].update(sede=7), "'sede' is declared by none"),
        (lambda s: s.update(runs={}), "names no runs"),
        (
            lambda s: s["runs"]["robustness"].pop("inputs"),
            "run 'robustness': parameter 'models_dir' names a folder; declare it under inputs or outputs",
        ),
        (
            lambda s: s["runs"]["robustness"]["inputs"].update(models_dir="bundle"),
            "models_dir is 'bundle'; known: corpus, bundles",
        ),
        (
            lambda s: s["runs"]["robustness"]["inputs"].update(models_dir="corpus dream"),
            "models_dir is 'corpus dream'; known",
        ),
        (
            lambda s: s["runs"]["export"]["outputs"].update(bundles_dir="bundles"),
            "06_export.ipynb declares no parameter 'bundles_dir'",
        ),
    ],
)
def test_a_wrong_study_file_says_where(tmp_path, change, words):
    for notebook in paths.NOTEBOOKS.glob("*.ipynb"):
        shutil.copy(notebook, tmp_path)
    content = yaml.safe_load((paths.NOTEBOOKS / "study.yml").read_text())
    change(content)
    (tmp_path / "study.yml").write_text(yaml.safe_dump(content, sort_keys=False))
    with pytest.raises(StudyError, match=words):
        study_plan.plan(
            study_plan.read_study(tmp_path / "study.yml"),
            "synthetic",
            "",
            "quick",
            notebooks=tmp_path,
        )


def test_unknown_profile_and_run():
    with pytest.raises(StudyError, match="edition: '../x'"):
        plan(edition="../x")
    with pytest.raises(StudyError, match="unknown 'fast'; known: full, quick"):
        plan(profile="fast")
    with pytest.raises(StudyError, match="unknown 'lstm'"):
        study_plan.select_runs(plan(), ("lstm",), ())


def test_folder_corpora_are_called_by_their_folder():
    assert study_plan.corpus_name("folder", "../data/My Songs (2)/") == "my-songs-2"
    assert study_plan.corpus_name("deam", "../data/x") == "deam"


def test_for_each_makes_a_run_of_each_value_wherever_its_template_is_named(tmp_path):
    shutil.copy(paths.NOTEBOOKS / "03_lstm.ipynb", tmp_path)
    shutil.copy(paths.NOTEBOOKS / "05_evaluation.ipynb", tmp_path)
    (tmp_path / "study.yml").write_text(
        """
profiles: {quick: {runs: {"lstm-{target}": {epochs: 2}}}}
runs:
  lstm-{target}:
    {notebook: 03_lstm, for_each: {target: [arousal, valence]}, parameters: {folds: 3}}
  evaluation: {notebook: 05_evaluation, after: ["lstm-{target}"]}
"""
    )
    study = study_plan.read_study(tmp_path / "study.yml")
    assert list(study.runs) == ["lstm-arousal", "lstm-valence", "evaluation"]
    arousal, valence, evaluation = study_plan.plan(
        study, "synthetic", "", "quick", notebooks=tmp_path
    )
    assert (arousal.parameters["target"], valence.parameters["target"]) == ("arousal", "valence")
    assert arousal.parameters["epochs"] == valence.parameters["epochs"] == 2
    assert valence.parameters["folds"] == 3
    assert evaluation.after == ("lstm-arousal", "lstm-valence")


@pytest.mark.parametrize(
    "run, words",
    [
        (
            "lstm: {notebook: 03_lstm, for_each: {target: [arousal, valence]}}",
            "must contain {target}",
        ),
        ("lstm-{target}: {notebook: 03_lstm, for_each: {target: arousal}}", "lists of values"),
        (
            "lstm-{goal}: {notebook: 03_lstm, for_each: {target: [arousal]}}",
            "for_each lacks 'goal'",
        ),
    ],
)
def test_a_wrong_for_each_says_why(tmp_path, run, words):
    shutil.copy(paths.NOTEBOOKS / "03_lstm.ipynb", tmp_path)
    (tmp_path / "study.yml").write_text(f"profiles: {{quick: {{}}}}\nruns:\n  {run}\n")
    with pytest.raises(StudyError, match=words):
        study_plan.read_study(tmp_path / "study.yml")


def test_few_groups_change_what_a_selected_run_builds_on_as_well(tmp_path):
    """Else it would look as if the results below were made with other parameters."""
    corpus = load_corpus("folder", write_folder_corpus(tmp_path / "tones"))
    runs = study_plan.plan(study_plan.read_study(), "folder", str(tmp_path / "tones"))
    fitted, told = study_plan.fit_folds(runs, corpus, ["evaluation"])
    folds = {r.name: r.parameters["folds"] for r in fitted if "folds" in r.parameters}
    assert folds["lstm-valence"] == folds["evaluation"] == 1
    assert told == ["folds = 1, not 5", "inner_folds = 2, not 5"]
    kept, told = study_plan.fit_folds(runs, corpus, ["evaluation"], ["folds"])
    assert kept == runs and told == []
