"""Closing sentences of all chapters but those on retrieval."""

from __future__ import annotations

from collections.abc import Callable

from msr_utils.constants import TARGETS
from msr_utils.experiments.isolation import INPUT_STEPS, Setting
from msr_utils.experiments.pretrained_blocks import HAND_MADE, SEPARATOR
from msr_utils.experiments.song_models import REFERENCE
from msr_utils.figures.summary.wording import Metrics, estimate, excludes_zero, join_words


def _data(metrics: Metrics) -> list[str]:
    sentences = []
    for target in TARGETS:
        label = metrics["labels"][target]
        text = (
            f"For {target}, {100 * label['between_share']:.0f} % of the variance lies between "
            "tracks, the rest within them."
        )
        if label["ceiling"].get("r") is not None:
            text += f" No model can be expected to exceed r = {label['ceiling']['r']:.2f}."
        sentences.append(text)
    return sentences


def _clips_data(metrics: Metrics) -> list[str]:
    if metrics["labels_kind"] == "quadrants":
        return [
            "One quadrant per clip says nothing about how a curve moves. It shows whether a model "
            "works on music of another kind.",
            f"A model that always answers the most frequent quadrant is right for "
            f"{100 * metrics['largest_share']:.0f} % of the clips.",
        ]
    mean = metrics["emotions"]["mean"]
    return [
        "One answer per clip says nothing about how a curve moves.",
        "Averaged over emotions, the listeners' agreement allows "
        f"r = {mean['ceiling']:.2f} at most.",
    ]


def _static(metrics: Metrics) -> list[str]:
    swapped = [part for part in metrics["parts"] if part["swapped"]]
    songs = sum(part["songs"] for part in metrics["parts"])
    concerned = sum(part["songs"] for part in swapped)
    if not swapped:
        return ["Song-level and dynamic ratings agree in every part of this release."]
    return [
        f"In {concerned} of {songs} songs the released valence and arousal columns are exchanged.",
        "Look at labels before you learn from them.",
    ]


def _spectrograms(metrics: Metrics) -> list[str]:
    strongest, librosas = metrics["strongest_band_r"], metrics["librosa"]
    return [
        "Each frame of features has one label or none, and sees no future audio.",
        "The strongest correlation of a single mel band is "
        + join_words([f"{abs(strongest[t]):.2f} with {t}" for t in TARGETS])
        + ".",
        f"librosa gives the same values for {len(librosas)} blocks: the largest difference is "
        f"{max(row['largest'] for row in librosas):.0e} standard deviations.",
    ]


def _model(metrics: Metrics) -> list[str]:
    target, pooled = metrics["target"], metrics["test"]["pooled"]
    constant = metrics["baselines"]["constant"]["pooled"]["rmse"]["value"]
    ridge = metrics["baselines"]["ridge"]["pooled"]["r"]
    sentences = [
        f"On test tracks the model reaches r = {estimate(pooled['r'])} and RMSE "
        f"{estimate(pooled['rmse'], '.3f')} for {target}.",
        f"A constant has RMSE {constant:.3f}, and ridge regression on the same features has "
        f"r = {estimate(ridge)}.",
    ]
    networks = [r for r in metrics["singles"]["r"] if r is not None]
    if len(networks) > 1:
        sentences.append(
            f"Single networks reach r from {min(networks):.2f} to {max(networks):.2f}."
        )
    epochs, limit = metrics["cost"].get("epochs"), metrics["training"]["epochs"]
    if epochs and epochs >= limit:
        sentences.append(f"Every training used all {limit} epochs, so the limit ended it.")
    elif epochs:
        sentences.append(f"Early stopping ended a training after {epochs:.0f} epochs on average.")
    return sentences


def _ablation(metrics: Metrics) -> list[str]:
    rows = metrics["variants"]
    diverged = [f"{r['group']}: {r['name']}" for r in rows if r.get("diverged")]
    compared = [r for r in rows if r.get("difference")]
    distinct = [r for r in compared if excludes_zero(r["difference"]["r"])]
    sentences = [
        f"Of {len(compared)} variants, {len(distinct)} differ from the base in r by an interval "
        "that excludes zero."
    ]
    if distinct:
        worst = min(distinct, key=lambda r: r["difference"]["r"]["value"])
        sentences.append(
            f"The largest loss is {worst['group']}: {worst['name']} "
            f"({estimate(worst['difference']['r'], '+.2f')})."
            if worst["difference"]["r"]["value"] < 0
            else "None of these is a loss."
        )
    if diverged:
        sentences.append(f"{len(diverged)} diverged: {join_words(diverged)}.")
    sentences.append("With so many variants, one interval in twenty excludes zero by chance.")
    return sentences


def _search(metrics: Metrics) -> list[str]:
    best, importances = metrics["best"], metrics["importances"]
    sentences = [
        f"{metrics['completed']} trials were completed and {metrics['pruned']} were stopped early.",
        f"The lowest validation loss is {best['loss']:.4f} (trial {best['trial']}).",
    ]
    if importances:
        name, share = next(iter(importances.items()))
        sentences.append(f"Most of the variance comes from {name} ({100 * share:.0f} %).")
    sentences.append(
        "The lowest of many validation losses is too optimistic. Only test tracks that no trial "
        "has read show what the configuration is worth."
    )
    return sentences


def _cost(metrics: Metrics) -> list[str]:
    return [
        f"{name}: inference time grows with length to the power "
        f"{network['inference']['growth']['exponent']:.1f}."
        for name, network in metrics["networks"].items()
    ] + ["Excerpts as short as those of training hide the quadratic part of attention."]


def _evaluation(metrics: Metrics) -> list[str]:
    sentences = []
    for target in TARGETS:
        rows = {n: r for n, r in metrics["rows"][target].items() if n != "song-mean oracle"}
        best = min(rows, key=lambda name: rows[name]["pooled"]["rmse"]["value"])
        pooled = rows[best]["pooled"]
        text = (
            f"For {target}, {best} has the lowest RMSE ({estimate(pooled['rmse'], '.3f')}; "
            f"r = {estimate(pooled['r'])})."
        )
        if metrics["ceiling"][target].get("r") is not None:
            text += f" The raters' ceiling is r = {metrics['ceiling'][target]['r']:.2f}."
        sentences.append(text)
    return sentences


def _errors(metrics: Metrics) -> list[str]:
    sentences = []
    for target, found in metrics["targets"].items():
        what_if = {n: row["rmse"]["value"] for n, row in found["what_if"].items()}
        now = what_if["as predicted"]
        helps = min((name for name in what_if if "known" in name), key=lambda name: what_if[name])
        sentences.append(
            f"For {target}, RMSE would fall most, from {now:.3f} to {what_if[helps]:.3f}, with the "
            f"{helps.replace('course in the piece', 'movement within the piece')}."
        )
    return sentences


def _robustness(metrics: Metrics) -> list[str]:
    parts = [row for row in metrics["changes"] if row.get("change") is not None]
    sentences = []
    for target in TARGETS:
        rows = [row for row in parts if row["target"] == target]
        if rows:
            most = max(rows, key=lambda row: row["change"])
            sentences.append(
                f"For {target}, hiding {most['part']} moves the curve most, by "
                f"{most['change']:.2f} on average."
            )
    sentences.append(
        "An alteration that should change nothing, but moves the curve, is a defect. Training on "
        "altered copies can mend it."
    )
    return sentences


def _clip_models(metrics: Metrics) -> list[str]:
    above = {
        f"{metric} of {target}": score
        for metric, targets in metrics["above_logmel"].items()
        for target, score in targets.items()
    }
    better = [
        name
        for name, score in above.items()
        if excludes_zero(score) and (score["value"] < 0) == name.startswith("rmse")
    ]
    return [
        f"The mean of the models is better than ridge on log-mel in {len(better)} of "
        f"{len(above)} comparisons, by intervals of the difference that exclude zero.",
        "The gap between the best row and the ceiling is what these features, or so few clips, "
        "do not explain.",
    ]


def _pretrained(metrics: Metrics) -> list[str]:
    scores, above = metrics["scores"], metrics["above"]
    metric = next(iter(next(iter(scores.values()))))
    target = "mean" if "mean" in scores[HAND_MADE][metric] else "valence"
    name = {"auc": "AUC", "r": "mean r"}[metric]
    what = f"{name} of {'the emotions' if target == 'mean' else target}"
    alone = [name for name in scores if name == HAND_MADE or name in metrics["networks"]]
    shown = "; ".join(f"{name} {estimate(scores[name][metric][target])}" for name in alone)
    sentences = [f"Each alone, the blocks reach this {what}: {shown}."]
    for name, rows in above.items():
        if SEPARATOR not in name:
            continue
        difference = rows[metric][target]
        verdict = "" if excludes_zero(difference) else ": this is no clear gain"
        sentences.append(
            f"The set {name} differs from {HAND_MADE} alone by {estimate(difference, '+.3f')}"
            f"{verdict}."
        )
    for name, rows in [*metrics.get("early_above_late", {}).items()][-1:]:
        sentences.append(
            f"One input with all parts of {name} differs from the mean of predictions from each "
            f"part by {estimate(rows[metric][target], '+.3f')}."
        )
    return sentences


def _joint_models(metrics: Metrics) -> list[str]:
    sentences = []
    for corpus, models in metrics["above"].items():
        for model, rows in models.items():
            metric = next(iter(rows))
            shown = [f"{estimate(e, '+.3f')} for {t}" for t, e in rows[metric].items()]
            name = metric.replace("auc", "AUC")
            sentences.append(
                f"On {corpus}, {model} minus linear is, in {name}, {join_words(shown)}."
            )
    rmse = {
        model: join_words([f"{row['rmse'][t]['value']:.3f} for {t}" for t in TARGETS])
        for model, row in metrics["unseen"].items()
    }
    sentences += [f"On unseen songs, RMSE of {model} is {text}." for model, text in rmse.items()]
    return sentences


def _song_features(metrics: Metrics) -> list[str]:
    sentences = []
    for label, rows in metrics["scores"].items():
        for target in TARGETS:
            best = max(rows, key=lambda name: rows[name]["r2"][target]["value"])
            sentences.append(
                f"{target.capitalize()}, {label}: {best} has the highest R2, "
                f"{estimate(rows[best]['r2'][target])}."
            )
            if best != REFERENCE:
                difference = metrics["above"][label][best]["r2"][target]
                verdict = "" if excludes_zero(difference) else ": this is no clear gain"
                sentences.append(
                    f"It differs from {REFERENCE} by {estimate(difference, '+.3f')}{verdict}."
                )
    sentences.append(
        "The highest of many rows is a little too high by chance. A rating of a whole song says "
        "nothing about how a curve moves."
    )
    return sentences


def _lyrics(metrics: Metrics) -> list[str]:
    scores, above = metrics["scores"], metrics["above_audio"]
    sentences = []
    for target in TARGETS:
        difference = above["audio and lyrics"]["r"][target]
        verdict = "" if excludes_zero(difference) else ", which is no clear gain"
        sentences.append(
            f"{target.capitalize()}: r is {estimate(scores['audio']['r'][target])} with audio and "
            f"{estimate(scores['lyrics']['r'][target])} with lyrics. Lyrics beside audio change r "
            f"by {estimate(difference, '+.3f')}{verdict}."
        )
    mended = metrics["mended"]
    clear = [n for n in mended if excludes_zero(mended[n]["change"])]
    better = [n for n in clear if mended[n]["change"]["value"] < 0]
    worse = [n for n in clear if mended[n]["change"]["value"] > 0]
    for names, change in ((better, "smaller"), (worse, "larger")):
        if names:
            sentences.append(f"Lyrics make the error of valence {change} in {join_words(names)}.")
    return sentences


def _raters(metrics: Metrics) -> list[str]:
    sentences = []
    for target, effect in metrics["effects"].items():
        rows = {name: row["value"] for name, row in effect["rows"].items()}
        habits = [value for name, value in rows.items() if name.startswith("own")]
        text = (
            f"For {target}, the whole profile explains {100 * rows['whole profile']:.1f} % of the "
            "variance of raters' deviations"
        )
        if habits:
            text += f", their own other ratings explain {100 * max(habits):.0f} %"
        sentences.append(f"{text}.")
    return sentences


def _text(metrics: Metrics) -> list[str]:
    sentences = []
    for target, rows in metrics["scores"].items():
        value = {name: row["value"] for name, row in rows.items() if row["value"] is not None}
        alone = [n for n in value if n not in ("constant", "audio") and "audio" not in n]
        if not alone:
            continue
        best = max(alone, key=lambda name: value[name])
        text = f"{target.replace('_', ' ').capitalize()}: {best} {estimate(rows[best])}"
        joined = [n for n in value if "audio" in n and n != "audio" and "another" not in n]
        if "audio" in value and joined:
            both = max(joined, key=lambda name: value[name])
            text += f", audio {estimate(rows['audio'])}, best of both {estimate(rows[both])}"
        sentences.append(f"{text} ({metrics['metric'].replace('auc', 'AUC')}).")
    return [
        *sentences,
        "People who gave titles and genres knew how the music sounds. A text that predicts labels "
        "may therefore add nothing to the audio.",
    ]


def _transfer(metrics: Metrics) -> list[str]:
    sentences = []
    for target, rows in metrics["rows"].items():
        models = {n: r for n, r in rows.items() if n not in ("zero", "song-mean oracle")}
        best = max(models, key=lambda name: models[name]["song_means"]["value"] or -1)
        zero = rows["zero"]["pooled"]["rmse"]["value"] if "zero" in rows else None
        text = (
            f"For {target}, {best} orders the songs best: r of song means "
            f"{estimate(models[best]['song_means'])}, RMSE "
            f"{models[best]['pooled']['rmse']['value']:.3f}"
        )
        sentences.append(text + (f" (constant zero: {zero:.3f})." if zero is not None else "."))
    sentences.append(
        "A high r with an RMSE above the constant's means: the order is right, the level is wrong. "
        "An interval of r that includes zero shows nothing."
    )
    return sentences


def _export(metrics: Metrics) -> list[str]:
    return [
        f"The exported network differs from the trained one by "
        f"{metrics['parity_max_difference']:.0e} at most.",
        f"It is {metrics['realtime_factor']:.0f} times as fast as real time.",
        "With several folds it was trained on more tracks than the tested models, so their scores "
        "estimate it.",
    ]


def _release(metrics: Metrics) -> list[str]:
    sentences = []
    for name, bundle in metrics["bundles"].items():
        for corpus, scores in bundle["quadrants"].items():
            shown = [f"{m.replace('_', ' of ')} {estimate(s, '.3f')}" for m, s in scores.items()]
            sentences.append(f"{name} on {corpus}: {'; '.join(shown)}.")
    sentences.append(
        "Where its RMSE on unseen songs exceeds the constant's, do not trust the level of a curve. "
        "Compare it with other curves."
    )
    return sentences


def _release_large(metrics: Metrics) -> list[str]:
    *sentences, warning = _release(metrics)
    for corpus, gains in metrics["gain"].items():
        named = {m.replace("auc_", "AUC of "): gain for m, gain in gains.items()}
        shown = [f"{estimate(gain, '+.3f')} in {name}" for name, gain in named.items()]
        clear = [name for name, gain in named.items() if excludes_zero(gain)]
        verdict = f"a clear difference in {join_words(clear)}" if clear else "no clear difference"
        sentences.append(
            f"On {corpus}, the whole model minus its linear part is {join_words(shown)}: {verdict}."
        )
    speed = f"{metrics['realtime_factor']:.0f} times as fast as real time"
    return [*sentences, f"A file is processed {speed} on one thread.", warning]


def _service(metrics: Metrics) -> list[str]:
    answers = [recorded["status"] for recorded in metrics["exchanges"].values()]
    fine = sum(status < 400 for status in answers)
    return [
        f"Of {len(answers)} documented requests, {fine} were answered and {len(answers) - fine} "
        "were refused on purpose, with the reason.",
        "The intervals of a curve have one width. On music unlike the training data, they cover "
        "less than they say.",
    ]


def _isolation(metrics: Metrics) -> list[str]:
    def r(target: str, setting: Setting) -> str:
        return estimate(metrics["scores"][target][str(setting)]["groups"]["r"])

    sentences = [
        f"With the same past, log-mel alone has r = {r('valence', INPUT_STEPS[0])} for valence, "
        f"and with key and mode {r('valence', INPUT_STEPS[1])}. These intervals resample groups."
    ]
    for target in TARGETS:
        steps = [step for step in metrics["steps"] if step["target"] == target]
        clear = [step for step in steps if excludes_zero(step["corrected"])]
        text = (
            f"For {target}, {len(clear)} of {len(steps)} steps keep an interval that excludes zero"
        )
        text += " after correction for all of them"
        gains = [step for step in clear if step["corrected"]["value"] > 0]
        if gains:
            best = max(gains, key=lambda step: step["corrected"]["value"])
            text += (
                f'; the largest is from "{best["first"]}" to "{best["second"]}" '
                f"({estimate(best['corrected'], '+.2f')})"
            )
        sentences.append(f"{text}.")
    nested = metrics["nested"]
    sentences.append(
        "Chosen on the inner folds, one model reaches r = "
        + join_words([f"{estimate(nested[t]['groups']['r'])} for {t}" for t in TARGETS])
        + "."
    )
    return sentences


CHAPTERS: dict[str, Callable[[Metrics], list[str]]] = {
    "01_data": _data,
    "01_data_clips": _clips_data,
    "01_data_static": _static,
    "02_spectrograms": _spectrograms,
    "03_lstm": _model,
    "03_linear": _model,
    "03_ablation": _ablation,
    "03_search": _search,
    "04_transformer": _model,
    "04_cost": _cost,
    "05_evaluation": _evaluation,
    "05_errors": _errors,
    "05_robustness": _robustness,
    "05_clips": _clip_models,
    "05_pretrained": _pretrained,
    "05_isolation": _isolation,
    "05_joint_models": _joint_models,
    "05_lyrics": _lyrics,
    "05_song_features": _song_features,
    "05_raters": _raters,
    "05_text": _text,
    "05_transfer": _transfer,
    "06_export": _export,
    "07_release": _release,
    "07_release_large": _release_large,
    "08_service": _service,
}
"""Notebook -> what makes its sentences."""
