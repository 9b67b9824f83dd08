"""The model card as Markdown."""

from __future__ import annotations


def render_card(card: dict) -> str:
    """The model card as Markdown."""
    lines = [f"# {card['title']}", "", card["summary"], "", "## Scores", ""]
    lines += [
        card["protocol"],
        "",
        "| target | metric | value | 95 % interval |",
        "|---|---|---|---|",
    ]
    for target, scores in card["metrics"].items():
        for metric, s in scores.items():
            lines.append(
                f"| {target} | {metric} | {s['value']:.3f} | {s['low']:.3f} to {s['high']:.3f} |"
            )
    lines += ["", "## Limits", "", *(f"- {limit}" for limit in card["limits"])]
    lines += ["", "## Facts", ""]
    for key in ("name", "kind", "parameters", "trained_on", "licence", "corpus_hash", "margins"):
        if key in card:
            lines.append(f"- {key.replace('_', ' ')}: {card[key]}")
    lines += [
        f"- features: {card['feature_hash'][:16]}, model SHA-256: {card['model_sha256'][:16]}",
        f"- largest difference from the Keras model: {card['parity_max_difference']:.1e}",
    ]
    return "\n".join(lines) + "\n"
