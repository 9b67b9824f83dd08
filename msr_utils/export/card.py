"""The model card as Markdown."""

from __future__ import annotations

from msr_utils.inference.card import ModelCard

FACTS = ("name", "kind", "parameters", "trained_on", "licence", "corpus_hash")
"""Fields that stand as a list at the end of a card."""


def render_card(card: ModelCard) -> str:
    """The model card as Markdown."""
    lines = [f"# {card.title}", "", card.summary, "", "## Scores", ""]
    lines += [
        card.protocol,
        "",
        "| target | metric | value | 95 % interval |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {target} | {metric} | {s.value:.3f} | {s.interval()} |"
        for target, scores in card.metrics.items()
        for metric, s in scores.items()
    ]
    lines += ["", "## Limits", "", *(f"- {limit}" for limit in card.limits)]
    lines += ["", "## Facts", ""]
    stored = card.to_json()
    lines += [f"- {key.replace('_', ' ')}: {stored[key]}" for key in FACTS if key in stored]
    if card.margins:
        widths = " and ".join(f"{width:.3f} for {target}" for target, width in card.margins.items())
        lines.append(f"- half-widths of the intervals of a curve: {widths}")
    lines += [
        f"- features: {card.feature_hash[:16]}, model SHA-256: {card.model_sha256[:16]}",
        "- largest difference between the exported graph and the trained model: "
        f"{card.parity_max_difference:.1e}",
    ]
    return "\n".join(lines) + "\n"
