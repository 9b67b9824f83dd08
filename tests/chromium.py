"""Headless Chromium through chromedriver's W3C WebDriver protocol, for the page's tests.

https://www.w3.org/TR/webdriver2/
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
KEYS = {
    "Tab": "\ue004", "Enter": "\ue007", "Escape": "\ue00c", "Space": " ", "End": "\ue010",
    "Home": "\ue011", "ArrowRight": "\ue014", "ArrowDown": "\ue015", "PageUp": "\ue00e",
    "Shift": "\ue008",
}  # fmt: skip


class Browser:
    """A window of a browser of its own.

    Parameters
    ----------
    downloads : Path
        Folder where downloads go.
    width, height : int > 0
        Size of the page.
    dark, still : bool
        What the system prefers: dark colours, less motion.
    microphone : Path, optional
        WAV file that plays in the place of a microphone.
    """

    def __init__(
        self,
        downloads: Path,
        width: int = 1280,
        height: int = 900,
        dark: bool = False,
        still: bool = False,
        microphone: Path | None = None,
    ) -> None:
        self.downloads = downloads
        self.profile = tempfile.mkdtemp(prefix="browser-")
        self.process = subprocess.Popen([DRIVER, "--port=0"], stdout=subprocess.PIPE, text=True)
        for line in self.process.stdout:
            if "successfully on port" in line:
                port = line.rstrip(".\n").split()[-1]
                break
        else:
            raise RuntimeError("chromedriver did not start")
        self.url = f"http://127.0.0.1:{port}/session"
        arguments = [
            "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--mute-audio",
            "--disable-gpu", "--no-first-run", "--disable-background-networking",
            "--disable-component-update", "--use-fake-device-for-media-stream", f"--user-data-dir={self.profile}",
            f"--window-size={width},{height}",
        ]  # fmt: skip
        if microphone:
            arguments.append(f"--use-file-for-fake-audio-capture={microphone}")
        options = {
            "binary": CHROMIUM,
            "args": arguments,
            "prefs": {"download.default_directory": str(downloads)},
        }
        wanted = {
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        answer = self._ask("POST", "", {"capabilities": {"alwaysMatch": wanted}})
        self.url += f"/{answer['sessionId']}"
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce" if still else "no-preference"},
        ]
        self.devtools("Emulation.setEmulatedMedia", features=features)
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip

    def _ask(self, method: str, path: str, body: dict | None = None) -> Any:
        response = requests.request(
            method, self.url + path, json={} if body is None and method == "POST" else body,
            timeout=60,
        )  # fmt: skip
        value = response.json()["value"]
        if not response.ok:
            raise RuntimeError(f"{method} {path}: {value['error']}: {value['message']}")
        return value

    def close(self) -> None:
        """End the browser and its driver."""
        try:
            self._ask("DELETE", "")
        finally:
            self.process.terminate()
            self.process.wait(10)
            shutil.rmtree(self.profile, ignore_errors=True)

    def devtools(self, command: str, **parameters: Any) -> Any:
        """A command of the Chrome DevTools Protocol."""
        return self._ask("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def allow_microphone(self, page: str, yes: bool = True) -> None:
        """Answer, once for all, what the browser would ask its user about a page."""
        self.devtools(
            "Browser.setPermission",
            permission={"name": "microphone"},
            setting="granted" if yes else "denied",
            origin=page,
        )

    def network(self, download: float = -1, offline: bool = False) -> None:
        """Limit the network: bytes a second (-1: as fast as it is), or none at all."""
        self.devtools("Network.enable")
        self.devtools(
            "Network.emulateNetworkConditions",
            offline=offline, latency=0, downloadThroughput=download, uploadThroughput=-1,
        )  # fmt: skip

    def go(self, url: str) -> None:
        """Open a page and wait until it has loaded."""
        self._ask("POST", "/url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        """The value of a function's body, run on the page."""
        return self._ask("POST", "/execute/sync", {"script": script, "args": arguments})

    def find(self, selector: str) -> str:
        """Path of the first element that fits."""
        found = self._ask("POST", "/element", {"using": "css selector", "value": selector})
        return f"/element/{found[ELEMENT]}"

    def text(self, selector: str) -> str:
        """What a reader sees in an element."""
        return self._ask("GET", self.find(selector) + "/text")

    def click(self, selector: str) -> None:
        """Click in the middle of an element, as a mouse does."""
        self._ask("POST", self.find(selector) + "/click")

    def upload(self, selector: str, file: Path) -> None:
        """Choose a file as in the system's window."""
        self._ask("POST", self.find(selector) + "/value", {"text": str(file)})

    def move_to(self, x: float, y: float) -> None:
        """Move the mouse to a place in the window."""
        move = {"type": "pointerMove", "x": round(x), "y": round(y), "duration": 0}
        pointer = {"type": "pointer", "id": "mouse", "actions": [move]}
        self._ask("POST", "/actions", {"actions": [pointer]})

    def press(self, *names: str) -> None:
        """Press keys one after the other, wherever the focus is."""
        keys = [KEYS.get(name, name) for name in names]
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._ask("POST", "/actions", {"actions": [{"type": "key", "id": "k", "actions": actions}]})

    def until(self, what: str | Callable[[], Any], seconds: float = 30) -> Any:
        """Wait until an expression of the page, or a function here, gives something."""
        end = time.monotonic() + seconds
        while not (value := self.run(f"return {what}") if isinstance(what, str) else what()):
            if time.monotonic() > end:
                raise TimeoutError(f"not within {seconds:g} s: {what}")
            time.sleep(0.05)
        return value

    def download(self, name: str) -> Path:
        """Wait for a download."""
        return self.until(lambda: (path := self.downloads / name).is_file() and path)

    def screenshot(self, path: Path, whole: bool = False) -> None:
        """Save what is seen, or the whole page, as a PNG."""
        parameters: dict[str, Any] = {"format": "png", "captureBeyondViewport": whole}
        if whole:
            size = self.devtools("Page.getLayoutMetrics")["cssContentSize"]
            parameters["clip"] = {**size, "scale": 1}
        path.write_bytes(
            base64.b64decode(self.devtools("Page.captureScreenshot", **parameters)["data"])
        )

    def logs(self, kind: str) -> list[dict]:
        """Entries since the last call: of the console ("browser") or "performance" (events)."""
        entries = self._ask("POST", "/se/log", {"type": kind})
        return (
            [json.loads(e["message"])["message"] for e in entries]
            if kind == "performance"
            else entries
        )
