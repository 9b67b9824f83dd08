"""Names for what is kept: made of all that the numbers depend on beside their own inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msr_utils.io import sha256_text
from msr_utils.provenance.code_identity import Code, Reached, reached
from msr_utils.provenance.code_reader import Key
from msr_utils.provenance.environment import processor, threads
from msr_utils.provenance.packages import versions_of


def computed_by(*roots: Callable | type, tables: tuple[str, ...] = ()) -> dict[str, str]:
    """The code that computes something, and the packages that it rests on.

    Parameters
    ----------
    roots : functions or classes of ours
        All that they reach counts; see `msr_utils.provenance.code_identity`.
    tables : tuple of str
        Tables whose entries do not count, but for those among the roots.

    Returns
    -------
    dict
        ``code``, a SHA-256; ``packages``, one of names and versions.
    """
    return _identity(reached(roots, tables))


def identity_of(code: Code, roots: Iterable[Key]) -> dict[str, str]:
    """As `computed_by`, of definitions that are named and not imported."""
    return _identity(code.reach(roots))


def _identity(found: Reached) -> dict[str, str]:
    versions = versions_of(found.packages)
    return {
        "code": found.hash,
        "packages": sha256_text("\n".join(f"{name} {v}" for name, v in versions.items())),
    }


def computed_on() -> dict[str, object]:
    """What of this machine changes the last bits of a training, which its epochs amplify.

    Vector instructions and the kernels that linear algebra chose for them, and the number of
    threads. Two machines that share a cache then read only what either would have computed.
    """
    own = processor()
    kernels = sorted({library.kernel for library in own.blas})
    return {"instructions": own.instructions, "kernels": kernels, "threads": threads()}
