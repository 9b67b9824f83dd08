"""Run the service: ``python -m serve``."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from msr_utils.inference.model import BundleError
from serve import logs
from serve.app import create_app
from serve.config import VARIABLES, ConfigError, ServiceConfig
from serve.server import make_server, run, share_heaps


def main(arguments: list[str] | None = None) -> int:
    """Serve until told to stop.

    Parameters
    ----------
    arguments : list of str, optional
        Of the command line by default.

    Returns
    -------
    int
        Exit code: 1 if the service cannot start; the reason is then on standard error.
    """
    parser = argparse.ArgumentParser(
        prog="python -m serve",
        description="Serve the models: a page to try them and an API.",
        epilog=f"Settings are also read from the environment: {', '.join(VARIABLES)}.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=_port, default=8000, help="0 for a free one (%(default)s)")
    parser.add_argument("--threads", type=int, help="requests answered at the same time (4)")
    parser.add_argument("--models", type=Path, help="folder of the bundles (serve/models)")
    options = parser.parse_args(arguments)

    share_heaps()
    logs.configure()
    try:
        config = ServiceConfig.from_env(models_dir=options.models, threads=options.threads)
        server = make_server(create_app(config), config, options.host, options.port)
    except (ConfigError, BundleError) as error:
        print(f"cannot start: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        # Errors of name look-up have negative numbers and a text of their own.
        reason = os.strerror(error.errno) if (error.errno or 0) > 0 else error.strerror
        print(
            f"cannot listen on {options.host}:{options.port}: {reason}; "
            "choose another with --host and --port",
            file=sys.stderr,
        )
        return 1
    host = f"[{options.host}]" if ":" in options.host else options.host
    print(f"Music Sentiment Recognition at http://{host}:{server.effective_port}", flush=True)
    logs.own_stderr()
    run(server, config.stop_seconds)
    return 0


def _port(text: str) -> int:
    if not (text.isdecimal() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 65535, not {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
