"""Card of a folder corpus: from ``card.yml``, or known for public data."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from pathlib import Path

import yaml

from msr_utils.corpora.base import Card, CorpusError
from msr_utils.corpora.findings import Findings
from msr_utils.corpora.tables import read_text

KNOWN_CARDS = {
    "vgmidi": (
        r"vg\d{3}",
        Card(
            title="VGMIDI",
            source="https://github.com/lucasnfe/vgmidi",
            licence="for research",
            citation="Ferreira and Whitehead (2019), Learning to generate music with sentiment, "
            "ISMIR",
            notes=(
                "200 piano arrangements of game music in 13 series, rendered with a General MIDI "
                "piano; 28 to 32 raters each",
                "rated per measure by people who listened online; groups are game series",
                "28 pieces end in one or two seconds that are exactly 0 in both: "
                "not rated, perhaps",
            ),
        ),
    ),
    "quadrants": (
        r"q\d{3}",
        Card(
            title="4Q audio emotion dataset, half of its 900 clips",
            source="https://doi.org/10.1109/TAFFC.2018.2820691",
            licence="research previews: not to be played or shown in public",
            citation="Panda, Malheiro and Paiva, Novel audio features for music emotion "
            "recognition, IEEE Transactions on Affective Computing (online 2018, 11(4), 2020)",
            notes=(
                "469 thirty-second excerpts of commercial music with one quadrant each",
                "groups are artists",
            ),
        ),
    ),
}
"""Cards of public data in this layout: folder name -> pattern of its track ids, card."""


def read_card(root: Path, name: str, ids: set[str], findings: Findings) -> Card:
    """Card of a folder.

    Parameters
    ----------
    root : Path
    name : str
        Name of the corpus, a key of `KNOWN_CARDS` for public data.
    ids : set of str
        Track ids. A folder that only has the name of public data gets a general card.
    findings : Findings

    Raises
    ------
    CorpusError
        If ``card.yml`` is not YAML or has other keys than those of `Card`.
    """
    path = root / "card.yml"
    general = Card(name, "a folder corpus", "as its owner states", "")
    if not path.is_file():
        pattern, known = KNOWN_CARDS.get(name, ("", general))
        return known if all(re.fullmatch(pattern, i) for i in ids) else general
    keys = [field.name for field in fields(Card)]
    try:
        content = yaml.safe_load(read_text(path, findings))
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise CorpusError(f"card.yml: not YAML ({reason})", file="card.yml") from error
    if not isinstance(content, dict) or not set(content) <= set(keys):
        raise CorpusError(f"card.yml: give {', '.join(keys)} and nothing else", file="card.yml")
    notes = content.pop("notes", None) or ()
    notes = tuple(map(str, notes)) if isinstance(notes, list) else (str(notes),) * bool(notes)
    return replace(general, notes=notes, **{k: str(text) for k, text in content.items() if text})
