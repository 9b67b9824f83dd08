"""The ``msr`` command: run the study, build the book, predict, serve."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection
from pathlib import Path

import click

from msr_utils import __version__
from msr_utils.cli.commands import Commands, load_service, needs_checkout, shown
from msr_utils.cli.generate import generate
from msr_utils.cli.predict import predict
from msr_utils.cli.render import render
from msr_utils.cli.tagging import library
from msr_utils.paths import PROJECT_ROOT


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="msr")
def main() -> None:
    """Music Sentiment Recognition: valence and arousal of music every 500 ms."""


@main.command()
@click.option(
    "--corpus",
    default="synthetic",
    show_default=True,
    help="synthetic, deam, merp, emotify, emopia, pmemo, folder",
)
@click.option("--data", "data_dir", default="", help="folder of the data")
@click.option("--profile", default="full", show_default=True, help="full, or quick (minutes)")
@click.option("--edition", default="local", show_default=True, help="folder under reports/")
@click.option("--only", multiple=True, metavar="RUN", help="only these runs; repeat for more")
@click.option(
    "--experiment",
    "experiments",
    multiple=True,
    metavar="NAME",
    help="a set of experiments instead of the study's own runs, or all; repeat for more",
)
@click.option(
    "--jobs", default=1, show_default=True, type=click.IntRange(min=1), help="runs at once"
)
@click.option(
    "-p",
    "--parameter",
    "parameters",
    nargs=2,
    multiple=True,
    metavar="NAME VALUE",
    help="override a notebook parameter; repeat for more",
)
@needs_checkout
def run(
    corpus: str,
    data_dir: str,
    profile: str,
    edition: str,
    only: tuple[str, ...],
    experiments: tuple[str, ...],
    jobs: int,
    parameters: tuple[tuple[str, str], ...],
) -> None:
    """Run the study's notebooks that are not up to date."""
    from msr_utils.corpora import load_corpus
    from msr_utils.corpora.base import CorpusError
    from msr_utils.provenance.source_tree import IdentityError
    from msr_utils.study import plan
    from msr_utils.study import runner as study_runner
    from msr_utils.study.parameters import StudyError

    if data_dir:
        # Notebooks read it relative to the checkout: no path of one machine ends up in them.
        data_dir = os.path.relpath(os.path.abspath(data_dir), PROJECT_ROOT)
    try:
        settings = plan.read_study()
        kinds: Collection[str] = ("curves", "notes")
        if corpus != "synthetic":
            tracks = load_corpus(corpus, data_dir)
            kinds = tracks.kinds
        runs = plan.plan(
            settings, corpus, data_dir, profile, edition, dict(parameters), kinds_of_labels=kinds
        )
        wanted = plan.select_runs(runs, only, experiments)  # before anything is rendered
        if corpus != "synthetic" and "curves" in kinds:
            runs, fewer = plan.fit_folds(runs, tracks, wanted, [name for name, _ in parameters])
            for change in fewer:
                click.echo(f"{change}, because the corpus has few groups")
        if corpus == "synthetic":
            size = runs[0].parameters.get("synthetic_tracks")
            tracks = load_corpus(corpus, **({"synthetic_tracks": size} if size else {}))
        if jobs > 1:
            command = [sys.executable, "-P", "-m", "msr_utils", "run", "--corpus", corpus]
            command += ["--data", data_dir and str(PROJECT_ROOT / data_dir)]
            command += ["--profile", profile, "--edition", edition]
            command += [word for name, value in parameters for word in ("-p", name, value)]
            study_runner.execute_parallel(runs, command, wanted, jobs)
            return
        done = study_runner.execute(
            runs, edition, tracks.content_hash(), only, experiments=experiments
        )
    except (StudyError, CorpusError, IdentityError) as error:
        raise click.ClickException(str(error)) from error
    where = f"reports/{edition}/{plan.corpus_name(corpus, data_dir)}"
    _say_what_can_be_run(kinds, tracks.has_audio)
    if done:
        click.echo(f"{len(done)} runs executed; results in {where}")
    else:
        click.echo(f"nothing to be done: {where} is up to date")


def _say_what_can_be_run(kinds: Collection[str], has_audio: bool) -> None:
    """Say why a corpus has few chapters, if it has no curves."""
    if "curves" in kinds:
        return
    if has_audio:
        click.echo(
            "this corpus has no curves, so no model can be trained on it. You can run its chapter "
            "'data' and the experiments 'clips' and 'text'"
        )
    elif "notes" in kinds:
        click.echo("this corpus has notes and no audio: only the chapters on notes were run")
    else:
        click.echo("this corpus has ratings and no audio. You can run the experiment 'lyrics'")


@main.command()
@click.option(
    "--corpus",
    default="synthetic",
    show_default=True,
    help="a corpus, or audio: a folder of files without labels",
)
@click.option("--data", "data_dir", default="", help="folder of the data")
@click.option("--features", "blocks", default="logmel,logmel_sd,tonal", show_default=True)
@click.option(
    "--scheduler",
    default="local",
    show_default=True,
    help="local, or the tcp:// address of a Dask scheduler",
)
@click.option(
    "--workers", default=1, show_default=True, type=click.IntRange(min=1), help="local processes"
)
@click.option(
    "--cache",
    "cache_dir",
    type=click.Path(path_type=Path),
    help="folder of the cache; default: .cache",
)
@click.option(
    "--failures",
    "failures_file",
    type=click.Path(path_type=Path),
    help="list the tracks that failed in this file: .csv or .json",
)
def features(
    corpus: str,
    data_dir: str,
    blocks: str,
    scheduler: str,
    workers: int,
    cache_dir: Path | None,
    failures_file: Path | None,
) -> None:
    """Compute and keep the features of a corpus, on this machine or on many.

    A second call continues where the first one stopped. To use many machines, put the data and
    the cache on a shared file system, under the same path on each machine, and install the
    same packages on each.
    The exit code is 1 if a track failed or audio was left out.
    """
    from msr_utils.audio.folder_scan import Entry
    from msr_utils.corpora import load_corpus
    from msr_utils.corpora.base import CorpusError
    from msr_utils.features import distributed
    from msr_utils.features.config import FeatureConfig
    from msr_utils.features.distributed import DistributedError
    from msr_utils.paths import CACHE_DIR

    cache_dir = cache_dir or CACHE_DIR
    if failures_file and failures_file.suffix not in (".csv", ".json"):
        raise click.ClickException(f"--failures: {failures_file} must end in .csv or .json")
    try:
        config = FeatureConfig(blocks=tuple(name.strip() for name in blocks.split(",")))
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    left_out: list[Entry] = []
    try:
        if corpus == "audio":
            tracks, left_out = distributed.audio_corpus(Path(data_dir))
        else:
            tracks = load_corpus(corpus, data_dir and os.path.abspath(data_dir), cache_dir)
        outcomes = distributed.compute_features(tracks, config, cache_dir, scheduler, workers)
        failed = [outcome for outcome in outcomes if outcome.state == distributed.FAILED]
        if failures_file:
            distributed.write_failures(failures_file, failed)
    except (CorpusError, DistributedError) as error:
        raise click.ClickException(str(error)) from error
    counts = [f"{sum(o.state == state for o in outcomes)} {state}" for state in distributed.STATES]
    click.echo(f"{', '.join(counts)}; features in {shown(cache_dir)}")
    for entry in left_out[: distributed.MAX_FAILURES_SHOWN]:
        click.echo(f"left out: {entry.file}: {entry.reason}", err=True)
    if more := left_out[distributed.MAX_FAILURES_SHOWN :]:
        click.echo(f"left out: and {len(more)} more", err=True)
    if failed:
        click.echo(distributed.failure_table(failed))
    if failed or left_out:
        raise SystemExit(1)


@main.group()
def weights() -> None:
    """Weights of pretrained networks."""


@weights.command("fetch")
@click.argument("block", default="musicnn", metavar="[BLOCK]")
@click.option(
    "--file",
    "--wheel",
    "file",
    type=click.Path(path_type=Path),
    help="the published file, if it cannot be downloaded: for musicnn the wheel of its package",
)
def fetch_weights(block: str, file: Path | None) -> None:
    """Fetch a pretrained network: musicnn (default), jamendo_fcn or yamnet.

    Feature blocks run the first two. YAMNet tells whether a recording is music.

    The network is stored as an ONNX graph: in .cache/weights of a checkout, in the user's folder of
    caches of an installed package, or in the folder MSR_WEIGHTS.
    """
    from msr_utils.features.weights import NETWORKS, PretrainedWeightsError, fetch

    if block not in NETWORKS:
        raise click.BadParameter(
            f"{block!r} is not one of {', '.join(NETWORKS)}", param_hint="BLOCK"
        )
    network = NETWORKS[block]
    try:
        graph, made = fetch(network, file)
    except PretrainedWeightsError as error:
        raise click.ClickException(str(error)) from error
    where = shown(graph)
    click.echo(f"{network.terms}\n{where}" if made else f"nothing to be done: {where} exists")


@main.group(hidden=True)
def ear() -> None:
    """Former name of 'msr weights'."""
    click.echo(
        "'msr ear' is now called 'msr weights'; the old name will be removed in the next version",
        err=True,
    )


ear.add_command(fetch_weights)


@main.group()
def data() -> None:
    """Download a corpus, check one that is at hand, or render its notes as audio."""


data.add_command(render)


@data.command()
@click.argument("folder", type=click.Path(path_type=Path, readable=False))
@click.option("--corpus", default="", help="name of the loader; default: recognised from the files")
@click.option(
    "--csv", "csv_file", type=click.Path(path_type=Path), help="write the findings to this file"
)
def verify(folder: Path, corpus: str, csv_file: Path | None) -> None:
    """Read all audio and notes of a corpus, join its labels, and report errors (exit code 1)."""
    from msr_utils.corpora import CORPORA
    from msr_utils.corpora.base import CorpusError
    from msr_utils.corpora.verify import identify, validate
    from msr_utils.io import write_text

    if corpus and corpus not in CORPORA:
        known = ", ".join(name for name in CORPORA if name != "synthetic")
        raise click.UsageError(f"--corpus: unknown name {corpus!r}; known: {known}")
    try:
        result = validate(folder, corpus)
    except CorpusError as error:
        raise click.ClickException(str(error)) from error
    table = result.table()
    try:
        if csv_file is not None:
            write_text(csv_file, table.to_csv(index=False))
    except OSError as error:
        raise click.ClickException(f"--csv: cannot write {csv_file}: {error.strerror}") from error
    for level, file, subject, message in (
        table[["level", "file", "subject", "message"]].astype(str).to_numpy()
    ):
        where = " ".join(part for part in (file, subject and f"[{subject}]") if part)
        click.echo(f"{level:5}  {where + ': ' if where else ''}{message}")
    errors = int((table.level == "error").sum())
    audio = (
        f"{result.tracks} tracks with audio ({result.hours:.2f} h), {result.without_audio} without"
    )
    scores = f"{result.with_notes} tracks as MIDI"
    parts = [audio] * (result.hours > 0 or not result.with_notes) + [scores] * bool(
        result.with_notes
    )
    click.echo(f"{result.corpus}: {', '.join(parts)}; {errors} errors, {len(table) - errors} notes")
    if not result.ok:
        sys.exit(1)
    _say_how_many_folds(folder, corpus or identify(folder.absolute()))


def _say_how_many_folds(folder: Path, corpus: str) -> None:
    """Say what the study changes for a corpus of few groups."""
    from msr_utils.corpora import load_corpus
    from msr_utils.study import plan
    from msr_utils.study.parameters import StudyError

    tracks = load_corpus(corpus, folder)
    if "curves" not in tracks.kinds:
        return
    runs = plan.plan(plan.read_study(), corpus, str(folder), kinds_of_labels=tracks.kinds)
    try:
        for change in plan.fit_folds(runs, tracks, plan.select_runs(runs, (), ()))[1]:
            click.echo(f"note   the study will use {change}, because the corpus has few groups")
    except StudyError as error:
        click.echo(f"note   no model can be trained: {error}")


@data.command()
@click.argument("corpus", metavar="deam|emotify|merp|emopia|pop909")
@click.option(
    "--to",
    "folder",
    required=True,
    type=click.Path(path_type=Path),
    help="new folder for the data",
)
@click.option("--accept-licence", is_flag=True, help="accept the corpus' terms")
@click.option("--mirror", default="", metavar="URL", help="take the files from this address")
@click.option(
    "--accept-hash",
    "accept_hashes",
    multiple=True,
    metavar="SHA256",
    help="use a file although another was expected; repeat for more",
)
def fetch(
    corpus: str, folder: Path, accept_licence: bool, mirror: str, accept_hashes: tuple[str, ...]
) -> None:
    """Download a public corpus; run it again to go on after an interruption."""
    from msr_utils.corpora.download import fetch as fetch_corpus
    from msr_utils.corpora.download.fetch import fetched_files
    from msr_utils.corpora.download.sources import DownloadError, find_source

    try:
        source = find_source(corpus)
        if not fetched_files(corpus, folder):
            click.echo(source.terms())
            if not accept_licence and sys.stdin.isatty():
                accept_licence = click.confirm("Do you accept these terms?")
        files = fetch_corpus(corpus, folder, accept_licence, mirror, accept_hashes)
    except DownloadError as error:
        raise click.ClickException(str(error)) from error
    for file in files:
        click.echo(f"{file.name}: {file.size} bytes, SHA-256 {file.sha256}")
    click.echo(f"data in {folder}" if files else f"nothing to be done: {corpus} is in {folder}")
    click.echo(f"next: msr data verify {folder}")
    if corpus == "deam":
        click.echo(f"then: make study CORPUS=deam DATA={folder}")


@main.command("verify")
@click.argument("folder", default="reports", type=click.Path(path_type=Path))
@click.option(
    "--strict", is_flag=True, help="also fail if a result is stale or its identity carried over"
)
@needs_checkout
def verify_results(folder: Path, strict: bool) -> None:
    """Check kept results: reports/, an edition, a corpus of it or one run.

    It lists four things. (1) Files that were altered or removed since a run wrote them, runs
    without a manifest, and runs that are gone although runs.json of their edition lists them: the
    exit code is then 1. (2) Results whose code, data, parameters or
    packages have changed since. (3) Chapters of which only figures or text have changed. (4) Runs
    whose identity was carried over: a migration wrote their manifest, and they were not run
    with the present code. With --strict the exit code is 1 for (2), (3) and (4), too. Data that
    is not on this machine cannot be compared, and is named.
    """
    from msr_utils.study.parameters import StudyError
    from msr_utils.study.verification import CARRIED_OVER, failed, reasons, verify

    try:
        found = verify(folder)
    except StudyError as error:
        raise click.ClickException(str(error)) from error
    for one in found:
        for word, what in one.lines():
            click.echo(f"{word:18}  {what}")
    for reason in reasons(found):
        click.echo(f"{CARRIED_OVER}: {reason}")
    states = [one.standing for one in found]
    click.echo(
        f"{len(found)} runs: "
        + "; ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    )
    if failed(found, strict):
        sys.exit(1)


@main.command()
@click.option("--edition", default="published", show_default=True, help="folder under reports/")
@click.option("--corpus", default="", help="corpus of the edition; needed where it has several")
@click.option("--data", "data_dir", default="", help="folder of a folder corpus, as for msr run")
@click.option("--pdf", is_flag=True, help="one printable page and a PDF of it; needs Chromium")
@needs_checkout
def book(edition: str, corpus: str, data_dir: str, pdf: bool) -> None:
    """Build the book from an edition's executed notebooks; nothing is run."""
    from msr_utils.book.build import build, build_pdf
    from msr_utils.book.edition import BookError, find_corpus, is_chapter
    from msr_utils.study.plan import corpus_name

    try:
        folder = find_corpus(edition, corpus_name(corpus, data_dir) if data_dir else corpus)
        if is_chapter(folder):
            click.echo(
                f"no book: {folder.name} has no evaluation of models; its runs are chapters in the "
                f"book of this edition's corpus that has; read "
                f"{os.path.relpath(folder)}/*/notebook.ipynb"
            )
            return
        if pdf:
            click.echo(f"open {os.path.relpath(build_pdf(edition, folder.name))}")
            return
        page, built = build(edition, folder.name)
    except BookError as error:
        raise click.ClickException(str(error)) from error
    state = "built" if built else "nothing to be done: the book is up to date"
    click.echo(f"{state}; open {os.path.relpath(page)}")


main.add_command(generate)
main.add_command(library)
main.add_command(predict)


@main.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def serve(arguments: tuple[str, ...]) -> None:
    """Start the API and the page; see 'msr serve --help'."""
    sys.exit(load_service().main([*arguments], "msr serve"))


if __name__ == "__main__":
    main()
