"""Readable tables of the chapter on generation, the card of a bundle, and examples with players."""

from __future__ import annotations

import base64
import io
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from msr_utils.affect import QUADRANTS
from msr_utils.experiments.generation.chapter import LICENCE, GeneratorStudy
from msr_utils.experiments.generation.evaluation import (
    FIRST_NOTE_MS,
    PLACE_TARGETS,
    TARGETS,
    TIMES_REAL_TIME,
    GenerationResults,
)
from msr_utils.experiments.generation.judges import SOUND
from msr_utils.experiments.generation.material import Material
from msr_utils.experiments.generation.music import MusicComparison
from msr_utils.experiments.symbolic.scores import Accuracies
from msr_utils.export.generator import write_card
from msr_utils.generation.card import GeneratorCard
from msr_utils.io import atomic_path
from msr_utils.notes import Notes
from msr_utils.symbolic.rendering import OWN, render_notes

EXAMPLE_RATE = 22_050
EXAMPLE_SECONDS = 15.0

LIMITS = (
    "It writes piano music only, without pedals, bars or a plan of the whole piece.",
    "Emotion is what annotators of pop piano and raters of game music heard. Other listeners may "
    "hear something else.",
    "Places near the edge of the plane have few examples. The attributes that stand for them are "
    "extrapolated.",
    "The emotion of one moment steers the notes of the next seconds. Changes within a few seconds "
    "are not followed.",
)


def accuracy_table(rows: Mapping[str, Mapping[str, Accuracies]]) -> pd.DataFrame:
    """Accuracy of each judge on each kind of pieces.

    Parameters
    ----------
    rows : mapping of pieces to judge to target to Estimate
    """
    table = {
        (pieces, judge): {t: f"{e}" for t, e in accuracies.items()}
        for pieces, judges in rows.items()
        for judge, accuracies in judges.items()
    }
    return pd.DataFrame(table).T.rename_axis(["pieces", "judge"])


def target_table(results: GenerationResults) -> pd.DataFrame:
    """Every figure that was asked for in advance, and whether it is reached."""
    accuracy, r = results.accuracy[SOUND], results.places.r[SOUND]
    copied, speed = results.copying.percentiles, results.speed
    rows = [
        (f"{name} found", f"{accuracy[name]}", f"at least {goal:.2f}", accuracy[name].value >= goal)
        for name, goal in TARGETS.items()
    ]
    rows += [
        (f"r of asked and heard {d}", f"{r[d]}", f"at least {goal:.1f}", r[d].value >= goal)
        for d, goal in PLACE_TARGETS.items()
    ]
    rows += [
        (
            "longest shared run, 95th percentile",
            f"{copied['generated']:.0f} notes",
            f"at most {copied['real']:.0f}, as real pieces",
            copied["generated"] <= copied["real"],
        ),
        (
            "time to the first note, network loaded",
            f"{speed.first_note_ms:.0f} ms",
            f"at most {FIRST_NOTE_MS} ms",
            speed.first_note_ms <= FIRST_NOTE_MS,
        ),
        (
            "speed",
            f"{speed.times_real_time:.0f} times real time",
            f"at least {TIMES_REAL_TIME} times",
            speed.times_real_time >= TIMES_REAL_TIME,
        ),
    ]
    table = pd.DataFrame(rows, columns=["figure", "measured", "asked for", "reached"])
    table["reached"] = np.where(table["reached"], "yes", "no")
    return table.set_index("figure")


def confusion_table(results: GenerationResults) -> pd.DataFrame:
    """Quadrants that the first judge hears, for each that was asked for, in pieces."""
    names = [f"{q.name}: {q.words}" for q in QUADRANTS]
    heard = [f"heard {q.name}" for q in QUADRANTS]
    return pd.DataFrame(results.confusion, names, heard).rename_axis("asked for")


def weakest_quadrant(results: GenerationResults) -> str:
    """A sentence about the quadrant that is found least often."""
    shares = results.confusion.diagonal() / results.confusion.sum(axis=1)
    k = int(shares.argmin())
    row = results.confusion[k]
    other = int(np.where(np.arange(len(row)) == k, -1, row).argmax())
    return (
        f"Of {row.sum()} pieces that were asked to be {QUADRANTS[k].words}, the first judge hears "
        f"{row[k]} so, and {row[other]} as {QUADRANTS[other].words}."
    )


def music_table(music: Mapping[str, MusicComparison]) -> pd.DataFrame:
    """Musical statistics of generated and of real pieces."""
    return pd.DataFrame(
        {
            name: {
                "generated": f"{one.generated}",
                "real": f"{one.real}",
                "difference (sd)": f"{one.difference:+.2f}",
            }
            for name, one in music.items()
        }
    ).T.rename_axis("statistic")


def trial_table(studies: Mapping[str, GeneratorStudy]) -> pd.DataFrame:
    """Ways to draw notes that were tried with each network, the best first."""
    rows = [
        {"network": name, **vars(trial), "score": trial.score}
        for name, study in studies.items()
        for trial in study.trials
    ]
    table = pd.DataFrame(rows).sort_values("score", ascending=False).round(3)
    return table.set_index("network")


def training_table(studies: Mapping[str, GeneratorStudy]) -> pd.DataFrame:
    """What was trained of each network."""
    rows = {}
    for name, study in studies.items():
        trained = study.trained
        best = min((row.get("validation_loss", np.nan) for row in trained.tuning), default=np.nan)
        rows[name] = {
            "weights": study.generator.card.parameters,
            "steps of pretraining": trained.plan.pretraining.steps if trained.pretraining else 0,
            "steps of tuning": trained.plan.tuning.steps,
            "notes of a batch": trained.plan.tuning.batch_size * trained.plan.tuning.length,
            "last loss of pretraining": _last(trained.pretraining),
            "last loss of tuning": _last(trained.tuning),
            "lowest validation loss": f"{best:.2f}",
        }
    return pd.DataFrame(rows).T.rename_axis("network")


def _last(history: Sequence[Mapping[str, float]]) -> str:
    return f"{history[-1]['loss']:.2f}" if history else "–"


def material_table(material: Material) -> pd.DataFrame:
    """Pieces, groups and notes of each part."""
    rows = {}
    for name in ("train", "validation", "judging"):
        part = getattr(material, name)
        rows[name] = {
            "pieces": len(part),
            "songs or series": len({one.group for one in part}),
            "notes": sum(len(one.piece.notes) for one in part),
        }
    rows["without labels"] = {
        "pieces": len(material.unlabelled),
        "songs or series": len(material.unlabelled),
        "notes": sum(len(piece.notes) for piece in material.unlabelled),
    }
    return pd.DataFrame(rows).T.rename_axis("part")


def release(
    study: GeneratorStudy, results: GenerationResults, trained_on: str, destination: Path
) -> GeneratorCard:
    """Put the bundle of a network where it is used, with what was measured on its card.

    Parameters
    ----------
    study : GeneratorStudy
    results : GenerationResults
    trained_on : str
        Names of the corpora.
    destination : Path
        Folder of bundles.
    """
    table = target_table(results)
    metrics = {
        f"{name} (asked for: {row['asked for']})": row["measured"] for name, row in table.iterrows()
    }
    metrics |= {f"r of asked and heard {d} within arcs": f"{e}" for d, e in results.arcs.r.items()}
    card = replace(
        study.generator.card,
        title=f"Piano music for a course of valence and arousal ({study.generator.name})",
        summary="Writes piano music note by note for a wanted course of valence and arousal. "
        "A small regression says which attributes music of an emotion has: density, register, "
        "velocity, mode and others. A network was trained to follow them and the emotion.",
        trained_on=trained_on,
        protocol="Judged by a logistic regression on the sound of pieces. It was trained on other "
        "recordings than the generator. Intervals are 95 %.",
        licence=LICENCE,
        limits=(weakest_quadrant(results), *LIMITS),
        metrics=metrics,
    )
    folder = Path(destination) / card.name
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / "model.onnx") as temporary:
        shutil.copyfile(study.generator.folder / "model.onnx", temporary)
    write_card(folder, card)
    return card


def examples(results: GenerationResults, each: int = 2) -> str:
    """Generated pieces with players as HTML: of each quadrant the first ones, and failures.

    The first ones were not chosen. Failures are those that the first judge is most certain to hear
    as something else.

    Parameters
    ----------
    results : GenerationResults
    each : int > 0
        Pieces of each quadrant; and as many failures as there are quadrants.
    """
    probabilities, count = results.probabilities, len(results.pieces)
    asked = np.arange(count) % len(QUADRANTS)
    first = [i for i in range(min(each * len(QUADRANTS), count)) if len(results.pieces[i]) > 1]
    wrong = np.flatnonzero((probabilities.argmax(axis=1) != asked) & (probabilities.sum(1) > 0))
    certain = wrong[np.argsort(-probabilities[wrong].max(axis=1), kind="stable")]
    rows = []
    for kind, chosen in (("first", first), ("failure", certain[: len(QUADRANTS)].tolist())):
        for i in sorted(chosen, key=lambda i: asked[i]):
            found = int(probabilities[i].argmax())
            rows.append(
                f"<tr><td>{kind}</td><td>{QUADRANTS[asked[i]].words}</td>"
                f"<td>{QUADRANTS[found].words} ({probabilities[i, found]:.2f})</td>"
                f"<td>{player(results.pieces[i])}</td></tr>"
            )
    head = "<tr><th>piece</th><th>asked for</th><th>first judge hears</th><th>sound</th></tr>"
    return f"<table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"


def player(notes: Notes) -> str:
    """A player of the first seconds of a piece, with the sound inside the page."""
    samples = render_notes(notes.between(0, EXAMPLE_SECONDS), OWN, EXAMPLE_RATE)
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, EXAMPLE_RATE, format="MP3", compression_level=0.9)
    content = base64.b64encode(buffer.getvalue()).decode()
    return f'<audio controls preload="none" src="data:audio/mpeg;base64,{content}"></audio>'
