"""A headless Chromium, spoken to over its DevTools protocol: what a person's browser makes of a page."""

import base64
import itertools
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--hide-scrollbars", "--remote-debugging-port=0",
)  # fmt: skip
PATIENCE = 120.0
"""Seconds a busy machine may need to start it or to answer."""


def chromium() -> str | None:
    """The browser's program, None where there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Page:
    """One tab; `faults` collects console errors, exceptions and refused or failed requests."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket, self.numbers, self.faults, self.asked = socket, itertools.count(1), list[str](), list[str]()
        self.loaded = False
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """The answer to one command; events that come meanwhile are noted."""
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            said = json.loads(self.socket.recv(timeout=PATIENCE))
            if said.get("id") == number:
                assert "error" not in said, said
                answer: dict[str, Any] = said["result"]
                return answer
            self._note(said)

    def _note(self, said: dict[str, Any]) -> None:
        method, params = said.get("method", ""), said.get("params", {})
        self.loaded |= method == "Page.loadEventFired"
        if method == "Network.requestWillBeSent":
            self.asked.append(params["request"]["url"])
        wrong = method in {"Runtime.exceptionThrown", "Network.loadingFailed"}
        wrong |= method == "Runtime.consoleAPICalled" and params["type"] in {"error", "warning", "assert"}
        wrong |= method == "Log.entryAdded" and params["entry"]["level"] in {"error", "warning"}
        if wrong:
            self.faults.append(json.dumps(params)[:400])

    def look(self, width: int, height: int, dark: bool = False) -> None:
        """Set the window's size and the colour scheme a person prefers."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, file: Path) -> None:
        """Open a file from disk and wait until all of it is there."""
        self.loaded = False
        self.call("Page.navigate", url=file.resolve().as_uri())
        deadline = time.monotonic() + PATIENCE
        while self.run("document.readyState") != "complete":
            assert time.monotonic() < deadline, "the page did not load"
            time.sleep(0.05)

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def click(self, selector: str) -> None:
        """Click the middle of an element with the mouse, after scrolling to it."""
        at = self.run(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); "
            "e.scrollIntoView({block: 'center', behavior: 'instant'}); "
            "const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2] })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=at[0], y=at[1], button="left", clickCount=1)

    def image(self, file: Path, whole: bool = False) -> None:
        """A screenshot as PNG; `whole`: of the page down to its end."""
        content = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        file.write_bytes(base64.b64decode(content))


@contextmanager
def browsing(folder: Path) -> Iterator[Page]:
    """A tab of a browser whose profile lies in `folder`; both end with the block."""
    program = chromium()
    assert program is not None
    command = [program, *FLAGS, f"--user-data-dir={folder}", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline, port_file = time.monotonic() + PATIENCE, folder / "DevToolsActivePort"
        while not (port_file.is_file() and port_file.read_text().count("\n")):
            assert process.poll() is None, "the browser ended at once"
            assert time.monotonic() < deadline, "the browser did not start"
            time.sleep(0.1)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{port_file.read_text().split()[0]}/json/list", timeout=PATIENCE) as answer:
            tab = next(one for one in json.load(answer) if one["type"] == "page")
        with connect(tab["webSocketDebuggerUrl"], max_size=None, proxy=None, open_timeout=PATIENCE) as socket:
            yield Page(socket)
    finally:
        process.terminate()
        process.wait(timeout=30)
