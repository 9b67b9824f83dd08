"""``msr data render``: a corpus of notes as audio."""

from __future__ import annotations

from pathlib import Path

import click

from msr_utils.cli.commands import shown

MAX_REASONS_SHOWN = 10


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.option("--corpus", default="", help="name of the loader; default: recognised from the files")
@click.option(
    "--renderer",
    default="auto",
    show_default=True,
    type=click.Choice(["own", "fluidsynth", "auto"]),
    help="own: the project's piano; auto: FluidSynth where it is installed",
)
@click.option("--sample-rate", default=44_100, show_default=True, type=click.IntRange(8000, 96_000))
@click.option(
    "--jobs", default=1, show_default=True, type=click.IntRange(min=1), help="local processes"
)
def render(
    source: Path, out: Path, corpus: str, renderer: str, sample_rate: int, jobs: int
) -> None:
    """Render the notes of a corpus, or of a folder of MIDI files, as FLAC files.

    OUT becomes a folder corpus with the labels, groups and split of SOURCE. A second call goes on
    where the first one stopped, and renders again what has changed.
    The exit code is 1 if notes could not be rendered.
    """
    from tqdm import tqdm

    from msr_utils.corpora import CORPORA
    from msr_utils.corpora.base import UNLABELLED, CorpusError
    from msr_utils.symbolic import corpus_audio
    from msr_utils.symbolic.fluidsynth import FluidSynthError

    known = [name for name in CORPORA if name != "synthetic"]
    if corpus and corpus not in known:
        raise click.UsageError(f"--corpus: unknown name {corpus!r}; known: {', '.join(known)}")
    try:
        notes = corpus_audio.read_source(source, corpus)
        outcomes = corpus_audio.render_corpus(
            notes,
            out,
            renderer,
            jobs,
            sample_rate,
            lambda results, count: tqdm(results, "rendering", count, unit="piece"),
        )
    except (CorpusError, FluidSynthError) as error:
        raise click.ClickException(str(error)) from error
    left_out = [one for one in outcomes if one.reason]
    for one in left_out[:MAX_REASONS_SHOWN]:
        click.echo(f"left out: {one.track_id}: {one.reason}", err=True)
    if more := len(left_out) - MAX_REASONS_SHOWN:
        click.echo(f"left out: and {more} more", err=True) if more > 0 else None
    states = [one.state for one in outcomes]
    counts = [f"{states.count(s)} {s}" for s in corpus_audio.STATES if s in states]
    hours = sum(one.seconds for one in outcomes) / 3600
    click.echo(f"{', '.join(counts)}; {hours:.2f} h of audio in {shown(out)}")
    if notes.labels == UNLABELLED:
        click.echo("there are no labels: add annotations.csv, or a column quadrant in tracks.csv")
    if corpus_audio.FAILED in states:
        raise SystemExit(1)
