"""``msr library find``, ``path`` and the listener's preferences."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from msr_utils.cli.library import common, library, opened, plural
from msr_utils.cli.predict import ANY_PATH, echo, echo_json
from msr_utils.library.records import LISTENER
from msr_utils.metrics.estimate import Estimate

if TYPE_CHECKING:
    from msr_utils.library.drawn import DrawnArc
    from msr_utils.library.filters import Filters
    from msr_utils.library.library import Library, View
    from msr_utils.library.playlists import End, Playlist, Step
    from msr_utils.library.regions import Region
    from msr_utils.library.search import Answer, Found


class NumberRange(click.FloatRange):
    """A number in a range. NaN passes the comparisons of `click.FloatRange`."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is no number {self._describe_range()}", param, ctx)
        return number


class RangeType(click.ParamType):
    """``1990-1999``, ``1990-``, ``-1999`` or ``1990``."""

    name = "FROM-TO"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float | None, float | None]:
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)?\s*(-)?\s*(\d+(?:\.\d+)?)?\s*", value)
        if found is None or (found[1] is None and found[3] is None):
            self.fail(f"{value!r} is no range such as 1990-1999, 1990- or -1999", param, ctx)
        low, dash, high = found.groups()
        if dash is None:
            high = low
        ends = tuple(None if end is None else float(end) for end in (low, high))
        if None not in ends and ends[0] > ends[1]:  # type: ignore[operator]
            self.fail(f"{value!r} ends before it begins", param, ctx)
        return ends[0], ends[1]


RANGE = RangeType()
ANY_RANGE = (None, None)


def filtering(command: Any) -> Any:
    """Options that are hard filters."""
    options = (
        click.option("--artist", multiple=True, help="only this artist; repeat for more"),
        click.option("--not-artist", multiple=True, help="not this artist; repeat for more"),
        click.option("--genre", multiple=True, help="only this genre; repeat for more"),
        click.option("--not-genre", multiple=True, help="not this genre; repeat for more"),
        click.option("--year", type=RANGE, default=ANY_RANGE, help="years, from the tags"),
        click.option("--length", type=RANGE, default=ANY_RANGE, help="length in minutes"),
        click.option("--tempo", type=RANGE, default=ANY_RANGE, help="tempo in BPM, from the tags"),
        click.option(
            "--certainty",
            type=NumberRange(0, 1),
            default=0.0,
            help="least probability that the quadrant of a track's mean is right",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@library.command()
@click.option("--valence", type=float, help="wanted valence, -1 to 1")
@click.option("--arousal", type=float, help="wanted arousal, -1 to 1")
@click.option(
    "--within",
    type=float,
    help="largest distance from the wanted valence and arousal; 0.25 by default. A word has a "
    "region of its own",
)
@click.option("--words", default="", help="mood words, separated by commas; every word must fit")
@click.option(
    "--like", multiple=True, type=ANY_PATH, help="find what sounds like this file; repeat for more"
)
@click.option(
    "--unlike",
    multiple=True,
    type=ANY_PATH,
    help="avoid what sounds like this file; repeat for more",
)
@filtering
@click.option(
    "--confidence",
    type=float,
    help="least probability that a track lies at the wanted place; 0.5 by default",
)
@click.option(
    "--for", "listener", default="", help="also rank by the likes of this listener, such as me"
)
@click.option("--count", default=20, show_default=True, type=click.IntRange(min=1))
@common
def find(
    valence: float | None,
    arousal: float | None,
    within: float | None,
    words: str,
    like: tuple[Path, ...],
    unlike: tuple[Path, ...],
    confidence: float | None,
    listener: str,
    count: int,
    library_dir: Path,
    as_json: bool,
    **filters: Any,
) -> None:
    """Find tracks by mood, by example, or by both.

    Tracks are ranked by the probability that they lie at the wanted place, given the model's
    intervals. If few are confident matches, few are printed.
    """
    from msr_utils.io import plain
    from msr_utils.library.search import CONFIDENT, Query, row_of_file
    from msr_utils.library.search import find as find_tracks

    region = _region(valence, arousal, within, words)
    if region is None and not like and not unlike and not listener:
        raise click.UsageError("give --words, --valence, --arousal, --like, --unlike or --for")
    if region is None and confidence is not None:
        raise click.UsageError(
            "--confidence is about a wanted place; give --words, --valence or --arousal as well"
        )
    with opened(library_dir) as lib:
        view = lib.view()
        query = Query(
            region,
            tuple(row_of_file(view, file) for file in like),
            tuple(row_of_file(view, file) for file in unlike),
            filters_of(filters),
            listener,
            CONFIDENT if confidence is None else confidence,
            count,
        )
        answer = find_tracks(view, query)
    if as_json:
        echo_json(plain(answer))
    else:
        echo("\n".join(answer_lines(answer)))


def _region(
    valence: float | None, arousal: float | None, within: float | None, words: str
) -> Region | None:
    """The wanted place; None if there is none."""
    from msr_utils.library.regions import WITHIN, point_region
    from msr_utils.library.words import words_region

    region = None
    if valence is not None or arousal is not None:
        region = point_region(valence, arousal, WITHIN if within is None else within)
    elif within is not None:
        raise click.UsageError(
            "--within is a distance from --valence and --arousal; give one of them, or leave it "
            "out: a word has a region of its own"
        )
    if words:
        by_words = words_region(words)
        region = by_words if region is None else region.common(by_words)
    return region


def filters_of(given: dict[str, Any]) -> Filters:
    """Filters by the options of `filtering`."""
    from msr_utils.library.filters import Filters

    minutes = given.pop("length")
    seconds = tuple(None if end is None else end * 60 for end in minutes)
    return Filters(**given, seconds=(seconds[0], seconds[1]))


def answer_lines(answer: Answer) -> list[str]:
    """Lines about the results of `find`."""
    lines = []
    if answer.wanted is not None:
        region = answer.wanted
        lines.append(
            f"wanted: {region.label} (valence {_side(region.valence)}, "
            f"arousal {_side(region.arousal)})"
        )
    for removed in answer.removed:
        lines.append(f"filter {removed.filter}: removed {plural(removed.tracks, 'track')}")
    for n, found in enumerate(answer.results, 1):
        lines += _found_lines(n, found)
    if answer.versions_left_out:
        lines.append(f"{plural(answer.versions_left_out, 'other version')} left out")
    lines.append(
        f"{plural(len(answer.results), 'result')} of {plural(answer.tracks, 'track')}"
        + (f"; {answer.note}" if answer.note else "")
    )
    return lines


def _found_lines(n: int, found: Found) -> list[str]:
    parts = []
    if found.probability is not None:
        parts.append(f"probability {found.probability:.0%}")
    if found.similarity is not None:
        parts.append(f"similarity {found.similarity:+.2f}")
    if found.preference is not None:
        parts.append(f"preference {found.preference:+.2f}")
    if found.because is not None:
        sign = "raised" if found.because.adds > 0 else "lowered"
        parts.append(f"{sign} most by your {found.because.rating} of {found.because.track.name}")
    for target, mean in found.predicted.items():
        low, high = found.interval[target]
        parts.append(f"{target} {Estimate(mean, low, high):+.2f}")
    if found.closest is not None:
        at = found.closest
        parts.append(
            f"closest at {clock(at.start_s)}-{clock(at.end_s)} "
            f"({at.valence:+.2f}, {at.arousal:+.2f})"
        )
    return [f"{n:3}. {found.track.name}", f"     {'; '.join(parts)}", f"     {found.track.path}"]


def _side(side: tuple[float, float]) -> str:
    return "any" if side == (-1.0, 1.0) else f"{side[0]:+.2f} to {side[1]:+.2f}"


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    whole = round(seconds)
    return f"{whole // 60}:{whole % 60:02d}"


# ------------------------------------------------------------------------------ path


@library.command("path")
@click.option("--from", "start", default="", metavar="PLACE", help="mood at the start")
@click.option("--to", "end", default="", metavar="PLACE", help="mood at the end")
@click.option(
    "--arc",
    default="",
    metavar="ARC",
    help="a whole curve instead of --from and --to; it is stretched to --minutes",
)
@click.option(
    "--minutes", type=float, default=45.0, show_default=True, help="length of the playlist"
)
@click.option(
    "--kind",
    default="direct",
    show_default=True,
    help="direct: move to the end at constant speed; iso: stay at the first mood for a while, "
    "then move",
)
@click.option(
    "--save", type=ANY_PATH, help="write the playlist to this file: .m3u8, .xspf, .jspf or .csv"
)
@filtering
@common
def path_(
    start: str,
    end: str,
    arc: str,
    minutes: float,
    kind: str,
    save: Path | None,
    library_dir: Path,
    as_json: bool,
    **filters: Any,
) -> None:
    """Make a playlist that moves from one mood to another.

    A PLACE is a word (sad), a point (valence,arousal: -0.4,0.1) or a file of the library, which is
    then the first or the last track. An ARC has points time:place, such as '0:sad 2:-0.1,0.3
    3:happy', or is a .csv file with the columns time, valence and arousal.
    """
    from msr_utils.io import plain
    from msr_utils.library.exports import check_suffix, save_playlist
    from msr_utils.library.playlists import End, make_playlist

    if bool(arc) == bool(start or end) or bool(start) != bool(end):
        raise click.UsageError("give --from and --to, or --arc alone")
    drawn = _arc(arc) if arc else None
    if save is not None:
        check_suffix(save)
    with opened(library_dir) as lib:
        view = lib.view()
        if drawn is None:
            ends = _end(view, start), _end(view, end)
        else:
            ends = End(drawn.start, "arc"), End(drawn.end, "arc")
        playlist = make_playlist(view, *ends, minutes, kind, filters_of(filters), drawn=drawn)
        if save is not None:
            save_playlist(lib.catalogue, playlist, save)
    if as_json:
        echo_json(plain(playlist))
    else:
        echo("\n".join(playlist_lines(playlist)))


def _arc(given: str) -> DrawnArc:
    """An arc by its points, or by a file that has them."""
    from msr_utils.library.drawn import arc_of_text, is_arc, read_arc

    return arc_of_text(given) if is_arc(given) else read_arc(Path(given))


def _end(view: View, given: str) -> End:
    """A place by a point, a file of the library or a word."""
    from msr_utils.constants import TARGETS
    from msr_utils.library.drawn import mood_place
    from msr_utils.library.playlists import End
    from msr_utils.library.search import row_of_file

    if os.path.lexists(given) or _names_a_file(given):
        row = row_of_file(view, given)
        valence, arousal = (float(view.numbers(f"mean_{t}")[row]) for t in TARGETS)
        return End((valence, arousal), given, row)
    return End(mood_place(given), given)


def _names_a_file(given: str) -> bool:
    """Whether a text is meant as a file, even if there is none."""
    from msr_utils.audio.formats import AUDIO_SUFFIXES

    return os.sep in given or given.lower().endswith(AUDIO_SUFFIXES)


def playlist_lines(playlist: Playlist) -> list[str]:
    """Lines about a playlist."""
    lines = [f"filter {r.filter}: removed {plural(r.tracks, 'track')}" for r in playlist.removed]
    for n, step in enumerate(playlist.steps, 1):
        lines += _step_lines(n, step)
    lines += [f"note: {note}" for note in playlist.notes]
    lines.append(
        f"{plural(len(playlist.steps), 'track')}, {clock(playlist.seconds)}; mean distance from "
        f"the wanted place {playlist.mean_distance:.2f}, mean gap {playlist.mean_gap:.2f}"
    )
    return lines


def _step_lines(n: int, step: Step) -> list[str]:
    gap = f"; gap {step.gap:.2f}" if n > 1 else ""
    return [
        f"{n:3}. {clock(step.start_s)} {step.track.name} ({clock(step.track.seconds)})",
        f"     wanted {shown(step.wanted_start)} to {shown(step.wanted_end)}, predicted "
        f"{shown(step.predicted_start)} to {shown(step.predicted_end)}{gap}",
        f"     {step.track.path}",
    ]


def shown(place: tuple[float, float]) -> str:
    """A place in the plane."""
    return f"({place[0]:+.2f}, {place[1]:+.2f})"


# ------------------------------------------------------------------------------ preferences


@library.command()
@click.argument("files", nargs=-1, required=True, type=ANY_PATH)
@click.option("--like", is_flag=True, help="you like it")
@click.option("--skip", is_flag=True, help="you skip it")
@click.option("--stars", type=NumberRange(1, 5), help="1 to 5")
@click.option("--for", "listener", default=LISTENER, show_default=True, help="name of the listener")
@common
def rate(
    files: tuple[Path, ...],
    like: bool,
    skip: bool,
    stars: float | None,
    listener: str,
    library_dir: Path,
    as_json: bool,
) -> None:
    """Say that you like or skip FILES, or give stars. It stays in the library's folder.

    'msr library find --for me' then ranks by it. 'msr library preferences' lists and deletes it.
    """
    from msr_utils.library.preferences import LIKE, SKIP, value_of_stars

    if like + skip + (stars is not None) != 1:
        raise click.UsageError("give one of --like, --skip and --stars")
    if stars is not None:
        kind, value = "rating", value_of_stars(stars)
    else:
        kind, value = ("like", LIKE) if like else ("skip", SKIP)
    with opened(library_dir) as lib:
        for audio in [_audio(lib, file) for file in files]:
            lib.catalogue.prefer(listener, audio, kind, value)
    if as_json:
        echo_json({"listener": listener, "kind": kind, "value": value, "files": len(files)})
    else:
        echo(f"{kind} of {plural(len(files), 'file')} noted for {listener}")


@library.command()
@click.option("--for", "listener", default=LISTENER, show_default=True, help="name of the listener")
@click.option(
    "--forget",
    multiple=True,
    type=ANY_PATH,
    help="delete the ratings of this file; repeat for more",
)
@click.option("--forget-all", is_flag=True, help="delete all ratings of this listener")
@common
def preferences(
    listener: str, forget: tuple[Path, ...], forget_all: bool, library_dir: Path, as_json: bool
) -> None:
    """List the ratings of a listener and what was learned from them, or delete them."""
    from msr_utils.io import plain
    from msr_utils.library import preferences as learned

    with opened(library_dir) as lib:
        catalogue = lib.catalogue
        if forget or forget_all:
            audio = None if forget_all else [_audio(lib, file) for file in forget]
            count = catalogue.forget(listener, audio)
            if as_json:
                echo_json({"forgotten": count})
            else:
                echo(f"{plural(count, 'preference')} of {listener} forgotten")
            return
        stated = catalogue.preferences(listener)
        names = {one.audio: _name(lib, one.audio) for one in stated}
        model = learned.fit(lib.view(), stated) if stated else None
    weights = None if model is None else model.mood_weights
    if as_json:
        listed = [{**plain(one), "name": names[one.audio]} for one in stated]
        echo_json({"listener": listener, "preferences": listed, "mood_weights": plain(weights)})
        return
    for one in stated:
        echo(f"{one.kind:7} {one.value:+.2f}  {names[one.audio] or 'not in the library'}")
    if weights is None:
        echo(f"nothing is known about {listener}")
    else:
        echo(
            f"learned: one unit of valence changes the predicted preference by {weights[0]:+.2f}, "
            f"one of arousal by {weights[1]:+.2f}; the rest is how a track sounds"
        )


def _audio(lib: Library, file: Path) -> str:
    """Hash of the audio of a file of the library."""
    from msr_utils.library.absent import absent

    path = os.path.abspath(file)
    known = lib.catalogue.known_file(path)
    if known is None or not known.audio:
        raise absent(lib.catalogue, path)
    return known.audio


def _name(lib: Library, audio: str) -> str:
    """Name of a track by its audio; empty if it is not in the library."""
    catalogue = lib.catalogue
    found = catalogue.infos(known.id for known in catalogue.same_audio(audio)[:1])
    return next((info.name for info in found.values()), "")
