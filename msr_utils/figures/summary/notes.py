"""Closing sentences of the chapters on notes."""

from __future__ import annotations

from collections.abc import Callable

from msr_utils.constants import TARGETS
from msr_utils.figures.summary.wording import Metrics, estimate, excludes_zero, join_words


def _symbolic(metrics: Metrics) -> list[str]:
    scores = metrics["scores"]
    ours = {n: row for n, row in scores.items() if n != "most frequent quadrant"}
    ours = {n: row for n, row in ours.items() if not n.startswith("audio")}
    best = max(ours, key=lambda name: ours[name]["quadrant"]["value"])
    accuracy = estimate(ours[best]["quadrant"])
    sentences = [
        f"Of the rows on notes, {best} finds the quadrant of the test part most often: {accuracy}."
    ]
    seeds = metrics["settings"]["seeds"]
    if seeds > 1:
        sentences.append(f"Each row of a network is the mean of {seeds} networks.")
    ensemble = ours["ensemble chosen on validation"]
    sentences.append(
        "The ensemble that validation chose reaches "
        + join_words(
            [f"{estimate(ensemble[t])} for {t}" for t in ("quadrant", "arousal", "valence")]
        )
        + "."
    )
    for name, gain in metrics["pretraining_gain"].items():
        found = gain["quadrant"]
        verdict = "" if excludes_zero(found) else ", which is no clear gain"
        change = estimate(found, "+.2f")
        sentences.append(f"Pretraining changes the accuracy of the {name} by {change}{verdict}.")
    for name, gain in metrics.get("sound_gain", {}).items():
        first, second = name.split(" – ")
        if second == "kernel ridge on statistics" and "notes" in first:
            changes = join_words([f"{estimate(gain[t], '+.3f')} for {t}" for t in gain])
            sentences.append(
                f"Over all clips, sound beside the statistics changes the accuracy by {changes}."
            )
    return sentences


def _symbolic_curves(metrics: Metrics) -> list[str]:
    sentences = []
    scores, audio = metrics["scores"], metrics["audio_row"]
    for target in TARGETS:
        r = {name: row[target]["pooled"]["r"] for name, row in scores.items()}
        sentences.append(
            f"For {target}, r is {estimate(r['notes'])} from notes, {estimate(r[audio])} from "
            f"audio, and {estimate(r['notes and audio, mean of both'])} from the mean of both."
        )
        for name, text in (
            (f"notes and audio, mean of both – {audio}", "Notes add {} to audio"),
            ("notes and audio, mean of both – notes", "Audio adds {} to notes"),
        ):
            gain = metrics["differences"][name][target]["r"]
            verdict = "" if excludes_zero(gain) else ", which is no clear gain"
            sentences.append(f"{text.format(estimate(gain, '+.3f'))}{verdict}.")
    return sentences


def _generation(metrics: Metrics) -> list[str]:
    results = metrics["results"]
    sound, real = (results[part]["probe on sound"] for part in ("accuracy", "held_out"))
    names = ("quadrant", "arousal", "valence")
    sentences = [
        f"The first judge finds what the {metrics['bundle']} was asked for: "
        + join_words([f"{estimate(sound[t])} for {t}" for t in names])
        + ".",
        "On real clips that it did not learn from, the same judge reaches "
        + join_words([f"{estimate(real[t])} for {t}" for t in names])
        + ".",
    ]
    goals = metrics["targets"]
    missed = [t for t in names if sound[t]["value"] < goals[t]]
    if missed:
        asked = join_words([f"{goals[t]:.2f} for {t}" for t in missed])
        sentences.append(f"What was asked for in advance is missed: {asked}.")
    else:
        sentences.append("All three accuracies reach what was asked for in advance.")
    table = results["confusion"]
    weakest = min(range(len(table)), key=lambda k: table[k][k] / max(sum(table[k]), 1))
    sentences.append(
        f"Q{weakest + 1} is found least often: in {table[weakest][weakest]} of "
        f"{sum(table[weakest])} pieces. Most of the others are heard as "
        f"Q{max(range(len(table)), key=lambda k: table[weakest][k] * (k != weakest)) + 1}."
    )
    places = results["places"]["r"]["probe on sound"]
    sentences.append(
        "Over a grid of places, asked and heard values correlate: "
        + join_words([f"r = {estimate(places[d])} for {d}" for d in ("arousal", "valence")])
        + "."
    )
    copied = results["copied"]
    longer = "no longer" if copied["generated"] <= copied["real"] else "longer"
    sentences.append(
        f"Generated pieces share {longer} runs of notes with the training music than real clips "
        f"do: the 95th percentile is {copied['generated']:.0f} notes, and {copied['real']:.0f} for "
        "real clips."
    )
    return sentences


NOTES: dict[str, Callable[[Metrics], list[str]]] = {
    "06_symbolic": _symbolic,
    "06_symbolic_curves": _symbolic_curves,
    "07_generation": _generation,
}
"""Notebook -> what makes its sentences."""
