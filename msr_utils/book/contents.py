"""The spine of the book: its entries, and the pages above several chapters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

from msr_utils.book.edition import BookError
from msr_utils.book.results import EditionResults
from msr_utils.paths import BOOK

MAX_SPINE = 24
"""Entries of the sidebar that are seen when the book is opened, beside the first page."""


@dataclass(frozen=True)
class Part:
    """A page above several chapters.

    Parameters
    ----------
    file : str
        Its name, such as ``study/part-lstm``.
    title : str
    asks : str
        One or two sentences: the question of its chapters.
    notebooks : tuple of str
        Notebooks whose runs are its chapters.
    """

    file: str
    title: str
    asks: str
    notebooks: tuple[str, ...]


@dataclass(frozen=True)
class Contents:
    """The spine of an edition's book.

    Parameters
    ----------
    toc : dict
        Content of Jupyter Book's ``_toc.yml``.
    parts : list of Part
        Pages that it names and that nobody has written.
    """

    toc: dict[str, Any]
    parts: list[Part]


def read_contents(edition: EditionResults) -> Contents:
    """``_toc.yml`` with the runs that there are in the place of ``runs: <notebook>``.

    A part of one chapter is that chapter; one without chapters is left out.

    Raises
    ------
    BookError
        If an executed notebook has no place, or the spine has more than `MAX_SPINE` entries.
    """
    contents = yaml.safe_load((BOOK / "_toc.yml").read_text("utf-8"))
    parts: list[Part] = []
    for part in contents["parts"]:
        part["chapters"] = [e for c in part["chapters"] for e in _entries(c, edition, parts)]
    contents["parts"] = [part for part in contents["parts"] if part["chapters"]]
    if homeless := set(edition.chapters) - _placed(contents, edition):
        raise BookError(f"book/_toc.yml has no place for runs of {', '.join(sorted(homeless))}")
    spine = sum(len(part["chapters"]) for part in contents["parts"])
    if spine > MAX_SPINE:
        raise BookError(
            f"book/_toc.yml has {spine} entries that are always seen, and {MAX_SPINE} may be: put "
            "some of them under 'sections' of another"
        )
    return Contents(contents, parts)


def _entries(
    entry: dict[str, Any], edition: EditionResults, parts: list[Part]
) -> list[dict[str, Any]]:
    """What stands in the book for an entry of ``_toc.yml``; pages to write join the `parts`."""
    if "runs" in entry:
        runs = edition.chapters.get(entry["runs"], [])
        return [
            {"file": edition.pages[run], "title": edition.short(run, entry.get("title", ""))}
            for run in runs
        ]
    sections = [e for s in entry.get("sections", []) for e in _entries(s, edition, parts)]
    if "file" in entry:
        written = {"file": entry["file"], "title": entry["title"]}
        return [{**written, "sections": sections} if sections else written]
    if len(sections) < 2:
        return sections
    names = (section["runs"] for section in entry["sections"] if "runs" in section)
    notebooks = tuple(name for name in names if name in edition.chapters)
    parts.append(Part(f"study/part-{entry['part']}", entry["title"], entry["asks"], notebooks))
    return [{"file": parts[-1].file, "title": entry["title"], "sections": sections}]


def _placed(contents: dict[str, Any], edition: EditionResults) -> set[str]:
    """Notebooks whose chapters have a place."""
    named = {
        page["file"]
        for part in contents["parts"]
        for chapter in part["chapters"]
        for page in [chapter, *chapter.get("sections", [])]
    }
    return {
        notebook
        for notebook, runs in edition.chapters.items()
        if all(edition.pages[run] in named for run in runs)
    }


def part_page(part: Part, edition: EditionResults) -> str:
    """The page above some chapters, as Markdown: what they ask, what they are, what was learned."""
    models = [name for name in part.notebooks if edition.has_scores(name)]
    others = [name for name in part.notebooks if name not in models]
    text = [f"# {part.title}", "", part.asks, ""]
    if models:
        text += ["## The models and their scores", "", *edition.score_rows(models), ""]
    text += ["## What was learned in this edition", ""]
    text += [f"- {sentence}" for sentence in edition.best_scores(models)]
    for name in others:
        for run in edition.chapters[name]:
            text.append(f"- {edition.beside(run)}: {edition.learned(run)}")
    return "\n".join([*text, ""])
