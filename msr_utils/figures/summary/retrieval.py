"""Closing sentences of the chapters on retrieval."""

from __future__ import annotations

from collections.abc import Callable

from msr_utils.figures.summary.wording import Metrics, estimate, join_words


def _sides(rows: Metrics, metric: str, sign: int = 1) -> tuple[list[str], list[str], list[str]]:
    """Rows worse than the model, level with it, and better; `sign` -1: lower is better."""
    better, open_, worse = [], [], []
    for name, row in rows.items():
        low, high = row[metric].get("low"), row[metric].get("high")
        if low is None or high is None:
            continue
        if sign * low > 0 and sign * high > 0:
            better.append(name)
        elif sign * low < 0 and sign * high < 0:
            worse.append(name)
        else:
            open_.append(name)
    return better, open_, worse


def _verdict(model: str, rows: Metrics, metric: str, sign: int = 1) -> str:
    """Which rows the model is better than, by intervals of paired differences."""
    better, open_, worse = _sides(rows, metric, sign)
    parts = []
    if better:
        parts.append(f"{model} is better than {join_words(better)}")
    if open_:
        parts.append(f"the data cannot tell {model} from {join_words(open_)}")
    if worse:
        parts.append(f"better than {model}: {join_words(worse)}")
    return f"By {metric}: {'; '.join(parts)}." if parts else ""


def _moods(metrics: Metrics) -> list[str]:
    found, model = metrics["retrieval"], metrics["retrieval"]["model"]
    sentences = []
    for kind in ("quadrant", "word"):
        own = found["scores"][kind][model]["P@10"]
        chance = found["scores"][kind]["random order"]["P@10"]
        sentences.append(
            f"Of the first ten clips for a {kind}, {estimate(own)} are right; in random order "
            f"{chance['value']:.2f} are."
        )
        sentences.append(_verdict(model, found["above"][kind], "P@10"))
    few = [name for name, one in found["confident"].items() if one["found"] < 10]
    if few:
        sentences.append(
            f"For {join_words(few)}, the library is confident of fewer than ten clips, and says so."
        )
    words = {
        word: one["value"]
        for word, one in found["precision"].items()
        if word not in found["confident"]
    }
    worst = min(words, key=lambda word: words[word])
    sentences.append(f"The least precise word is {worst} (P@10 {words[worst]:.2f}).")
    place, sound = found["variety"]["by place"], found["variety"]["by sound"]
    sentences.append(
        f"{place['queries']} searches for places reach {100 * place['coverage']:.0f} % of the "
        f"clips, as many searches by sound {100 * sound['coverage']:.0f} %."
    )
    return [sentence for sentence in sentences if sentence]


def _arcs(metrics: Metrics) -> list[str]:
    arcs, paths, likes = (metrics[name] for name in ("arcs", "paths", "preferences"))
    model = arcs["model"]
    own, ceiling, chance = (
        arcs["scores"][name] for name in (model, "the other raters", "random order")
    )
    sentences = [
        f"Arcs of half of the raters find their piece with MRR {estimate(own['MRR'])} in the "
        f"predicted curves, {estimate(ceiling['MRR'])} in the curves of the other half, and "
        f"{chance['MRR']['value']:.2f} in random order.",
        _verdict(model, _no_controls(arcs["above"]), "MRR"),
        f"In the right piece, the place is off by {estimate(own['offset error'], '.0f')} s; in "
        f"the other raters' curves by {estimate(ceiling['offset error'], '.0f')} s, and a random "
        f"place by {estimate(chance['offset error'], '.0f')} s.",
        _verdict(model, {"random order": arcs["above"]["random order"]}, "offset error", -1),
        _path_sentence(paths),
    ]
    if likes:
        sentences += _listener_sentences(likes)
    return [sentence for sentence in sentences if sentence]


def _listener_sentences(likes: Metrics) -> list[str]:
    most = str(likes["known"][-1])
    gain, right = likes["gain"][most], likes["concordance"]
    is_shown = gain["low"] is not None and gain["low"] > 0
    popular = right["mean of all other listeners"][most]
    level = likes["error_gain"]["mean of the known ratings"]
    sentences = [
        f"After {most} ratings of a listener, the next ones are ordered with a concordance of "
        f"{estimate(right['own ratings'][most], '.3f')}; after {most} of another listener, of "
        f"{estimate(right['ratings of another listener'][most], '.3f')}.",
        f"The difference is {estimate(gain, '+.3f')}: "
        + ("own ratings help." if is_shown else "that own ratings help is not shown."),
        f"The mean of all other listeners has {estimate(popular, '.3f')}.",
    ]
    if level["low"] is not None and level["low"] > 0:
        sentences.append(
            "The mean of the known ratings is nearer to the next rating than the model, which "
            "does not learn how generous a listener is."
        )
    return sentences


def _no_controls(rows: Metrics) -> Metrics:
    return {name: row for name, row in rows.items() if not name.startswith("control")}


def _path_sentence(paths: Metrics) -> str:
    model = paths["model"]
    own, chance = paths["scores"][model], paths["scores"]["random order"]
    return (
        f"Playlists of {model} lie {estimate(own['distance'])} from the request on the raters' "
        f"curves, random ones {estimate(chance['distance'])}; gaps between tracks are "
        f"{estimate(own['gap'])} and {estimate(chance['gap'])}. "
        + _verdict(model, paths["above"], "distance", -1)
    )


RETRIEVAL: dict[str, Callable[[Metrics], list[str]]] = {
    "05_retrieval_moods": _moods,
    "05_retrieval_arcs": _arcs,
}
"""Notebook -> what makes its sentences."""
