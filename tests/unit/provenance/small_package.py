"""Small packages of ``msr_utils`` in a folder, and what their code reaches."""

from __future__ import annotations

import textwrap

import pytest

from msr_utils.provenance.code_identity import Code
from msr_utils.provenance.source_tree import (
    SourceTree,
)


def package(root, **files):
    """Write modules of ``msr_utils``, each by its path in it; give their code."""
    for name, source in {"__init__": "", **files}.items():
        path = root / "msr_utils" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source))
        for folder in path.relative_to(root).parents[:-1]:
            (root / folder / "__init__.py").touch()
    return Code(SourceTree(root))


@pytest.fixture
def reach(tmp_path):
    """Hash of what ``msr_utils.a.f`` reaches in a package of these modules, and its names."""
    count = iter(range(100))

    def of(root=("msr_utils.a", "f"), **files):
        code = package(tmp_path / str(next(count)), **files)
        found = code.reach([root])
        return found.hash, {key[1] for key in found.readings}

    return of
