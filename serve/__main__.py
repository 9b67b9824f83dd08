"""Run the service: ``python -m serve``."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from serve.launch import Launched, launch

INTERRUPTED = 130


def main(arguments: list[str] | None = None, program: str = "python -m serve") -> int:
    """Run the service until it is told to stop.

    Parameters
    ----------
    arguments : list of str, optional
        Command-line arguments, by default those of the process.
    program : str
        Name of the command, for its help.

    Returns
    -------
    int
        Exit code. It is 1 if the service cannot start; the reason is then on standard error.
        Ctrl-C before it listens gives 130, as in a shell.
    """
    words = sys.argv[1:] if arguments is None else arguments
    # The process that forks the workers starts first: the imports of both take most of the time.
    launched = None if {"-h", "--help"} & {*words} else launch()
    try:
        return _run(_parser(program).parse_args(words), launched)
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        if launched is not None:
            launched.close()


def _run(options: argparse.Namespace, launched: Launched | None) -> int:
    from msr_utils.inference.errors import BundleError
    from serve import logs
    from serve.config import ConfigError, ServiceConfig
    from serve.pool import Pool, make_pool

    logs.configure()
    pool: Pool | None = None
    try:
        config = ServiceConfig.from_env(
            models_dir=options.models, workers=options.workers, library=options.library
        )
        pool = make_pool(config, launched)
        # Another process loads the models while this one loads the web server.
        from serve.app import create_app
        from serve.server import make_server, share_heaps
        from serve.service import service_of

        share_heaps()
        app = create_app(config, pool)
        server = make_server(app, config, options.host, options.port)
        host = f"[{options.host}]" if ":" in options.host else options.host
        print(f"Music Sentiment Recognition at http://{host}:{server.port}", flush=True)
        logs.reserve_stderr()
        server.start()
        logs.flush()
        service_of(app).close()  # Requests that still run end now: their tasks fail.
        if server.is_busy:
            # Without workers, a thread may still be in a decoder or in a network. The interpreter
            # would crash on its way out.
            os._exit(0)
        return 0
    except (ConfigError, BundleError) as error:
        print(f"cannot start: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        # Errors of name look-up have negative numbers and their own text.
        code = error.errno or 0
        reason = os.strerror(code) if code > 0 else error.strerror
        print(
            f"cannot listen on {options.host}:{options.port}: {reason}; "
            "choose another address with --host and --port",
            file=sys.stderr,
        )
        return 1
    finally:
        if pool is not None:
            pool.close()


def _parser(program: str) -> argparse.ArgumentParser:
    from serve.config import VARIABLES

    parser = argparse.ArgumentParser(
        prog=program,
        description="Serve the models over HTTP: an API, and a page to try them.",
        epilog=f"Environment variables hold all settings: {', '.join(VARIABLES)}. "
        "Options replace them.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument(
        "--port", type=_port, default=8000, help="port to listen on, 0 for a free one (%(default)s)"
    )
    parser.add_argument("--workers", type=int, help="worker processes (one for each core)")
    parser.add_argument("--threads", type=int, dest="workers", help=argparse.SUPPRESS)  # until 0.3
    parser.add_argument("--models", type=Path, help="folder of the model bundles (serve/models)")
    parser.add_argument("--library", type=Path, help="folder of a music library to serve as well")
    return parser


def _port(text: str) -> int:
    if not (text.isdecimal() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 65535, not {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
