"""Prefect's pages as people see them, in a headless Chromium.

`python -m tests.support.prefect_ui FILE.png` takes the image of the newest run on the server that `make ui`
started: its tasks over time, its log, and an image it made. `--list` takes the list of runs instead, `--server` names
another server.
"""

import argparse
import json
import shutil
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WIDTH, HEIGHT, TALL = 1280, 900, 1400
WAIT = 300.0
"""Seconds a page may take to show what is looked for."""
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
)  # fmt: skip


def missing() -> str | None:
    """What a headless browser lacks here, None when it is all there."""
    absent = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"{' and '.join(absent)} not installed" if absent else None


@contextmanager
def chromium(height: int = HEIGHT) -> Iterator[Any]:
    """A Selenium driver with a profile of its own, gone with the block."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    with tempfile.TemporaryDirectory() as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = str(shutil.which("chromium"))
        options.page_load_strategy = "eager"  # `until` waits for what the page loads afterwards
        for word in (*QUIET, f"--user-data-dir={profile}", f"--window-size={WIDTH},{height}"):
            options.add_argument(word)
        driver = webdriver.Chrome(options=options, service=Service(str(shutil.which("chromedriver"))))
        try:
            yield driver
        finally:
            driver.quit()


def text(driver: Any) -> str:
    """What the page shows."""
    return str(driver.execute_script("return document.body.innerText"))


def until(driver: Any, *words: str) -> str:
    """The page's text, once it has all the words, whatever their case."""
    deadline = time.monotonic() + WAIT
    while not all(word.lower() in text(driver).lower() for word in words):
        assert time.monotonic() < deadline, f"the page never said {words}, but:\n{text(driver)[:3000]}"
        time.sleep(0.5)
    return text(driver)


def open_tab(driver: Any, name: str) -> None:
    """Click the tab or link with this text."""
    from selenium.webdriver.common.by import By

    named = driver.find_elements(By.XPATH, f"//*[normalize-space(.)='{name}']")
    for element in reversed(named):  # the innermost last
        if element.is_displayed():
            driver.execute_script("arguments[0].click()", element)
            return
    raise AssertionError(f"no tab {name} on the page:\n{text(driver)[:3000]}")


def newest_run(server: str) -> dict[str, Any]:
    """The run that started last."""
    begun = {"start_time": {"is_null_": False}}  # a schedule's next runs are listed before them
    body = json.dumps({"sort": "START_TIME_DESC", "limit": 1, "flow_runs": begun}).encode()
    request = urllib.request.Request(f"{server}/api/flow_runs/filter", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        (run,) = json.loads(answer.read())
    return dict(run)


def main() -> None:
    """Take the image."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--server", default="http://127.0.0.1:4200")
    wanted = parser.parse_args()
    run = take(wanted.file, wanted.server, wanted.list)
    print(f"{wanted.file}: {run['name']}")


def take(file: Path, server: str, listed: bool = False) -> dict[str, Any]:
    """The image of the newest run's page, or of the list of runs; that run."""
    run = newest_run(server)
    file.parent.mkdir(parents=True, exist_ok=True)
    with chromium(TALL) as driver:
        driver.get(f"{server}/runs" if listed else f"{server}/runs/flow-run/{run['id']}")
        until(driver, run["name"], *([] if listed else ["Finished in state"]))
        time.sleep(3)  # the timeline renders itself
        driver.save_screenshot(str(file))
    return run


if __name__ == "__main__":
    main()
