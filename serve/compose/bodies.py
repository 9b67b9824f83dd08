"""How large a request for music may be."""

from serve.problems import Problem

COMPOSE_BODY_BYTES = 256_000
"""Largest body of a request for music. A wanted curve takes most of it."""

CURVE_TOO_LONG = Problem(
    413,
    f"curve: the body is larger than the limit of {COMPOSE_BODY_BYTES / 1000:g} kB; send fewer "
    "points",
    "curve",
)
