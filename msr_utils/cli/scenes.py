"""``msr library scenes``: music for the scenes of a film."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from msr_utils.cli.library import common, opened, plural
from msr_utils.cli.predict import ANY_PATH, echo, echo_json
from msr_utils.cli.recommend import clock, filtering, filters_of, library, shown

if TYPE_CHECKING:
    from msr_utils.library.scenes import Soundtrack

__all__ = ["library"]


@library.command()
@click.argument("file", type=ANY_PATH)
@filtering
@click.option(
    "--count",
    default=5,
    show_default=True,
    type=click.IntRange(min=1),
    help="excerpts for each scene",
)
@click.option(
    "--save",
    type=ANY_PATH,
    help="write the choices here: .csv, .txt for Audacity, .otio, .edl for Resolve",
)
@click.option(
    "--fps",
    default=24.0,
    show_default=True,
    help="frames per second of the film, for .edl and .otio",
)
@click.option(
    "--timeline-start",
    default="",
    metavar="TIMECODE",
    help="where the film begins in an .edl that is read, and in an .edl or .otio that is saved; "
    "01:00:00:00, unless a marker lies before it",
)
@common
def scenes(
    file: Path,
    count: int,
    save: Path | None,
    fps: float,
    timeline_start: str,
    library_dir: Path,
    as_json: bool,
    **filters: Any,
) -> None:
    """Find music for the scenes of a film.

    FILE is a CSV file with the columns start, end and mood, and perhaps to and label. Or it has
    markers: .txt (labels of Audacity), .edl (DaVinci Resolve) or .otio, with texts such as
    'Opening: sad > calm'. A mood is a word, a point (-0.4 0.1), several of them with '>' between,
    or an arc (0:sad 2:-0.1,0.3 3:happy) that is stretched to the scene.
    """
    from msr_utils.io import plain
    from msr_utils.library.exports import check_suffix, save_soundtrack
    from msr_utils.library.scenes import find_music, read_scenes

    wanted = read_scenes(file, fps, timeline_start)
    if save is not None:
        check_suffix(save, scenes=True)
    with opened(library_dir) as lib:
        found = find_music(lib.view(), wanted, filters_of(filters), count)
        if save is not None:
            save_soundtrack(lib.catalogue, found, save, fps, timeline_start)
    if as_json:
        echo_json(plain(found))
    else:
        echo("\n".join(soundtrack_lines(found)))


def soundtrack_lines(found: Soundtrack) -> list[str]:
    """Lines about music for scenes. A star marks the choice that fits the scenes around it."""
    lines = [f"filter {r.filter}: removed {plural(r.tracks, 'track')}" for r in found.removed]
    for music in found.scenes:
        scene = music.scene
        lines.append(
            f"{clock(scene.start_s)}-{clock(scene.end_s)} {scene.label}: "
            f"{shown(scene.start_mood)} to {shown(scene.end_mood)}"
        )
        for n, one in enumerate(music.candidates):
            star, gap = " ", ""
            if n == music.chosen:
                star = "*"
                gap = "" if music.gap is None else f"; gap {music.gap:.2f}"
            lines.append(
                f" {star} {clock(one.in_s)}-{clock(one.out_s)} of {one.track.name}: distance "
                f"{one.distance:.2f}; {shown(one.predicted_start)} to "
                f"{shown(one.predicted_end)}, intervals +-{one.half_width[0]:.2f} and "
                f"+-{one.half_width[1]:.2f}{gap}"
            )
            lines.append(f"     {one.track.path}")
        if not music.candidates:
            lines.append("   no track that passes the filters is as long as this scene")
    return lines
