"""The nightly service of a project as people run it: a server, the served deployment, a person at the API."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import psutil

from tests.support.project import Project

START = 900.0
"""Seconds a server or a deployment may take to start on two busy cores."""
RUN = 3600.0
"""Seconds a run of the miniature project may take."""
BUSY = 15
"""So often a busy server is asked again."""
Process = subprocess.Popen[bytes]


class Service:
    """`with Service(project) as nightly:`; what was started ends with the block, however it goes."""

    def __init__(self, project: Project, **settings: str) -> None:
        self.project, self.settings = project, settings
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._started: list[Process] = []
        for key in ("user.name", "user.email"):
            project.run("git", "config", key, "somebody")

    def __enter__(self) -> "Service":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._started:
            kill(process)

    def server(self) -> Process:
        """Start `python -m flows ui` and wait until it answers."""
        process = self.start("flows", "ui", "--port", str(self.port))
        wait_until(lambda: process.poll() is not None or self._healthy(), START, "the server does not answer", self.log)
        return process

    def serve(self, *options: str) -> Process:
        """Start `python -m flows serve` and wait until its deployment is registered."""
        process = self.start("flows", "serve", *options)
        wait_until(lambda: bool(self.deployments()), START, "no deployment", self.log)
        return process

    def start(self, *module: str) -> Process:
        """`python -m MODULE` in the project folder, in a session of its own."""
        with (self.project.root.parent / "services.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *module],
                cwd=self.project.root, env=self.environment(), stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self._started.append(process)
        return process

    def environment(self) -> dict[str, str]:
        """Of a service or a command: this machine's, with the server's address."""
        unset = ("PREFECT_HOME", "PYTEST_CURRENT_TEST", "PREFECT_API_URL")
        kept = {k: v for k, v in os.environ.items() if k not in unset}
        return {**kept, "PREFECT_API_URL": f"{self.url}/api", "OMP_NUM_THREADS": "1", **self.settings}

    def command(self, *module: str) -> str:
        """Run `python -m MODULE` to its end; what it said."""
        ran = subprocess.run(
            [sys.executable, "-m", *module], cwd=self.project.root, env=self.environment(), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stdout
        return ran.stdout

    def log(self) -> str:
        """The end of what the services said."""
        return (self.project.root.parent / "services.log").read_text(errors="replace")[-4000:]

    def api(self, path: str, body: Any = None, method: str = "POST") -> Any:
        """Ask the server."""
        data = None if method == "GET" else json.dumps(body or {}).encode()
        request = urllib.request.Request(
            f"{self.url}/api/{path}", data, {"Content-Type": "application/json"}, method=method
        )
        for _ in range(BUSY):
            try:
                with urllib.request.urlopen(request, timeout=START) as answer:
                    return json.loads(answer.read() or b"null")
            except HTTPError as error:
                if error.code != 503:
                    raise
                time.sleep(2)  # SQLite is locked by another writer; Prefect's own client asks again too
        raise AssertionError(f"{path}: the server stayed busy\n{self.log()}")

    def deployments(self) -> list[dict[str, Any]]:
        """What is deployed."""
        found: list[dict[str, Any]] = self.api("deployments/filter")
        return found

    def ask(self, **parameters: Any) -> str:
        """Start a run of the deployment as the UI's button does; its id."""
        made = self.api(f"deployments/{self.deployments()[0]['id']}/create_flow_run", {"parameters": parameters})
        return str(made["id"])

    def run(self, run_id: str) -> dict[str, Any]:
        """A run as the server knows it."""
        found: dict[str, Any] = self.api(f"flow_runs/{run_id}", method="GET")
        return found

    def wait(self, run_id: str, *types: str, seconds: float = RUN) -> dict[str, Any]:
        """The run, once its state is one of `types` (default: a final one)."""
        wanted = types or ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
        wait_until(lambda: self.run(run_id)["state_type"] in wanted, seconds, f"never {wanted}", self.log)
        return self.run(run_id)

    def processes(self) -> list[psutil.Process]:
        """Every process of this project but the server and the runner: runs and their stages."""
        roots = [psutil.Process(process.pid) for process in self._started if process.poll() is None]
        below = [child for root in roots for child in root.children(recursive=True)]
        own = [each for each in psutil.process_iter() if _is_in(each, self.project.root)]
        kept = {root.pid for root in roots} | {child.pid for child in below if "server" in " ".join(child.cmdline())}
        return [each for each in own if each.pid not in kept]

    def workers(self) -> list[psutil.Process]:
        """Processes that run a stage of this project."""
        return [process for process in psutil.process_iter() if _is_in(process, self.project.root, "anime_lora")]

    def until_training(self) -> None:
        """Wait until training has made a step."""
        progress = self.project.root / ".cache" / "progress" / "train.json"

        def trains() -> bool:
            here = [each for each in psutil.process_iter() if _is_in(each, self.project.root, "train")]
            return bool(here) and progress.is_file()

        wait_until(trains, RUN, "training has not begun", self.log)

    def _healthy(self) -> bool:
        try:
            return bool(self.api("health", method="GET"))
        except OSError:
            return False


def free_port() -> int:
    """A port of the loopback address that nobody uses now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _is_in(process: psutil.Process, root: Path, word: str = "") -> bool:
    try:
        return Path(process.cwd()) == root and (not word or word in process.cmdline())
    except (psutil.Error, OSError):
        return False


def kill(process: Process, sign: signal.Signals = signal.SIGKILL) -> None:
    """Send `sign` to a service and its children; returns when all of them have ended, the port of a server free."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, sign)
    process.wait()
    wait_until(lambda: not alive(process.pid), START, "a child of the service lives")


def alive(leader: int) -> bool:
    """Whether any process of the group is left."""
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(done: Callable[[], bool], seconds: float, otherwise: str, said: Callable[[], str] = lambda: "") -> None:
    """Look twice a second; after `seconds` the test fails, saying `otherwise`."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, f"{otherwise} after {seconds:g} s\n{said()}"
        time.sleep(0.5)
