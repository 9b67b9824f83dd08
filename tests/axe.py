"""axe-core, the engine that looks for barriers on pages of the web, in the browser of the tests.

https://www.deque.com/axe/core-documentation/
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path

from chromium import Browser

PACKAGE = "axe_playwright_python"
"""Brings axe-core's script. Its own code is for Playwright and is not used."""

RUN = """
return axe.run(document, { resultTypes: ["violations"], ...arguments[0] }).then((found) =>
  found.violations.flatMap(({ id, impact, nodes }) =>
    nodes.map((node) => `${id} (${impact}): ${node.target.join(" ")}: ${node.failureSummary}`)));
"""


@functools.cache
def script() -> str:
    """The source of axe-core."""
    package = importlib.util.find_spec(PACKAGE)
    assert package and package.origin
    return Path(package.origin).with_name("axe.min.js").read_text("utf-8")


def barriers(page: Browser, *rules: str) -> list[str]:
    """What axe-core finds on an open page: a line for each element.

    Parameters
    ----------
    page : Browser
    rules : str
        Names of rules to look at, such as "color-contrast"; none: all rules.
    """
    page.run(f"{script()};\nwindow.axe = axe;")
    return page.run(RUN, {"runOnly": list(rules)} if rules else {})
