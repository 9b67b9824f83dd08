"""``msr generate``: piano music for a wanted course of valence and arousal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from msr_utils.cli.predict import ANY_PATH, echo

if TYPE_CHECKING:
    import numpy as np

    from msr_utils.generation.codes import GeneratedNote
    from msr_utils.generation.generator import Generator
    from msr_utils.generation.request import EmotionCurve, MusicRequest

MIDI_SUFFIXES, SOUND_SUFFIXES = (".mid", ".midi"), (".wav", ".flac")


@click.command()
@click.argument("outputs", nargs=-1, required=True, type=ANY_PATH, metavar="FILE...")
@click.option("--valence", type=float, help="wanted valence, -1 to 1")
@click.option("--arousal", type=float, help="wanted arousal, -1 to 1")
@click.option(
    "--curve",
    "curve_file",
    type=ANY_PATH,
    metavar="CSV",
    help="wanted course instead: a file with the columns time_s, valence and arousal, such as "
    "'msr predict --csv' writes",
)
@click.option("--seconds", default=30.0, show_default=True, help="length of the piece")
@click.option("--seed", default=1, show_default=True, help="another seed gives another piece")
@click.option(
    "--temperature",
    default=1.0,
    show_default=True,
    help="low: more predictable notes; high: more surprising ones",
)
@click.option(
    "--generator",
    default="",
    metavar="NAME|FOLDER",
    help="bundle; by default the first one in serve/generators",
)
@click.option(
    "--check/--no-check",
    default=None,
    help="say what the recogniser hears in the piece; by default, if a model is at hand",
)
def generate(
    outputs: tuple[Path, ...],
    valence: float | None,
    arousal: float | None,
    curve_file: Path | None,
    seconds: float,
    seed: int,
    temperature: float,
    generator: str,
    check: bool | None,
) -> None:
    """Compose piano music for a wanted valence and arousal, or for a course of both.

    Each FILE ends in .mid, .wav or .flac. All of them hold the same piece. The same options give
    the same files.
    """
    from threadpoolctl import threadpool_limits

    from msr_utils.generation.codes import as_notes
    from msr_utils.generation.request import GenerationError, MusicRequest
    from msr_utils.inference.errors import BundleError
    from msr_utils.notes import write_midi

    threadpool_limits(1)  # The products are small: cores that share one wait for each other.
    for path in outputs:
        if path.suffix.lower() not in MIDI_SUFFIXES + SOUND_SUFFIXES:
            raise click.UsageError(f"{path} must end in .mid, .wav or .flac")
    if any(path.suffix.lower() in MIDI_SUFFIXES for path in outputs):
        import symusic  # noqa: F401  If the extra is not installed, it is said before the work.
    try:
        curve = wanted_curve(valence, arousal, curve_file)
        request = MusicRequest(curve, seconds, seed, temperature)
    except GenerationError as error:
        message = str(error).removeprefix(f"{error.field}: ")
        in_file = error.field == "times_s" or (curve_file is not None and error.field in _AXES)
        option = "--curve" if in_file else f"--{error.field}"
        raise click.UsageError(f"{option}: {message}") from error
    try:
        loaded = find_generator(generator)
        notes = [*loaded.notes(request)]
    except BundleError as error:
        raise click.ClickException(f"--generator: {error}") from error
    wants_sound = any(path.suffix.lower() in SOUND_SUFFIXES for path in outputs)
    samples = rendered(notes, seconds) if wants_sound or check is not False else None
    for path in outputs:
        try:
            if path.suffix.lower() in MIDI_SUFFIXES:
                write_midi(as_notes(notes), path)
            else:
                assert samples is not None, "sound was asked for"
                write_sound(samples, path)
        except OSError as error:
            raise click.ClickException(f"cannot write {path}: {error.strerror or error}") from error
    names = ", ".join(map(str, outputs))
    echo(f"{names}: {len(notes)} notes in {seconds:g} s by {loaded.name}, seed {seed}")
    if samples is not None and check is not False:
        _report(samples, request, must=check is True)


_AXES = ("valence", "arousal")


def wanted_curve(
    valence: float | None, arousal: float | None, curve_file: Path | None
) -> EmotionCurve:
    """The wanted course, from options or from a file.

    Raises
    ------
    click.ClickException
        If options do not fit together, or the file cannot be read.
    GenerationError
        If a value is out of range.
    """
    from msr_utils.generation.request import EmotionCurve
    from msr_utils.library.drawn import read_arc
    from msr_utils.library.shards import LibraryError

    if curve_file is None:
        if valence is None or arousal is None:
            missing = "--valence" if valence is None else "--arousal"
            raise click.UsageError(f"{missing}: is missing; give both, or --curve")
        return EmotionCurve.constant(valence, arousal)
    if valence is not None or arousal is not None:
        raise click.UsageError("--curve: give either this, or --valence and --arousal")
    try:
        points = read_arc(curve_file).points
    except LibraryError as error:
        message = str(error).removeprefix("library: ")
        raise click.ClickException(f"--curve: {message}") from error
    times, valences, arousals = zip(*points, strict=True)
    return EmotionCurve(times, valences, arousals)


def find_generator(wanted: str) -> Generator:
    """A generator by its name or its folder; if none is named, the first one.

    Raises
    ------
    click.ClickException
        If there is none.
    BundleError
        If it is damaged.
    """
    from msr_utils import paths
    from msr_utils.generation.generator import Generator, find_generators

    if wanted and (Path(wanted) / "card.json").is_file():
        return Generator.load(Path(wanted))
    folders = {folder.name: folder for folder in find_generators(paths.GENERATORS_DIR)}
    if not folders:
        raise click.ClickException(
            f"--generator: there is none in {paths.GENERATORS_DIR}; name the folder of one"
        )
    if wanted and wanted not in folders:
        raise click.ClickException(
            f"--generator: {wanted!r} is neither a folder with a card.json nor one of "
            f"{', '.join(folders)}"
        )
    return Generator.load(folders[wanted or next(iter(folders))])


def rendered(notes: list[GeneratedNote], seconds: float) -> np.ndarray:
    """The sound of a piece (samples,) int16."""
    import numpy as np

    from msr_utils.generation.sound import sound_of

    return np.concatenate([*sound_of(notes, seconds)])


def write_sound(samples: np.ndarray, path: Path) -> None:
    """Write samples as a WAV or FLAC file, atomically."""
    import soundfile as sf

    from msr_utils.generation.limits import SAMPLE_RATE
    from msr_utils.generation.wav import wav_header
    from msr_utils.io import atomic_path

    with atomic_path(path) as temporary:
        if path.suffix.lower() == ".wav":
            temporary.write_bytes(wav_header(len(samples)) + samples.tobytes())
        else:
            sf.write(temporary, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")


def _report(samples: np.ndarray, request: MusicRequest, must: bool) -> None:
    """Say what the default model hears in a piece, beside what was asked for."""
    import io

    import numpy as np

    from msr_utils.generation.wav import wav_header
    from msr_utils.inference.errors import BundleError
    from msr_utils.inference.model import load_default
    from msr_utils.metrics.correlation import pearson

    try:
        model = load_default()
    except BundleError as error:
        if must:
            raise click.ClickException(f"--check: {error}") from error
        return
    heard = model.predict(io.BytesIO(wav_header(len(samples)) + samples.tobytes()))
    within = heard.times_s <= request.seconds
    if not within.any():
        return  # shorter than one frame
    asked = np.array([request.curve.at(time) for time in heard.times_s[within]]).T
    parts = []
    for name, wanted in zip(_AXES, asked, strict=True):
        values = getattr(heard, name)[within]
        text = f"{name} {values.mean():+.2f} (asked: {wanted.mean():+.2f}"
        moves = np.ptp(wanted) > 0
        parts.append(text + (f", r {pearson(wanted, values):+.2f})" if moves else ")"))
    echo(f"{model.name} hears {', '.join(parts)}")
