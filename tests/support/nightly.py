"""A project that retrains: Git and DVC remotes beside it, and training that takes a second and is as good as asked."""

import json
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from diffusers import StableDiffusionPipeline
from peft import LoraConfig, get_peft_model_state_dict

from anime_lora.files import sha256_file, write_json
from tests.support.project import Project
from tests.support.tiny import tiny_pipeline

FAKE_STAGES = Path(__file__).parent / "fake_stages"


class Nightly(Project):
    """`Project` with a branch that is pushed, and fakes of the three heavy stages; the files are real."""

    def build(self) -> "Nightly":
        """Lay everything out and send the first commit."""
        super().build()
        dvc = (sys.executable, "-m", "dvc")
        for command in (
            ("git", "config", "user.name", "Ann"),
            ("git", "config", "user.email", "ann@example.org"),
            ("git", "init", "-q", "--bare", "../origin.git"),
            ("git", "remote", "add", "origin", "../origin.git"),
            (*dvc, "remote", "add", "-q", "-d", "store", "../store"),
            ("git", "commit", "-qam", "Keep the data in a store"),
        ):
            self.run(*command)
        return self

    def lay_out(self) -> None:
        """As any project, with the three heavy stages replaced and a LoRA to start from."""
        super().lay_out()
        for room in ("training", "sampling", "evaluation"):
            shutil.copy(FAKE_STAGES / f"{room}.py", self.root / "anime_lora" / room / "stage.py")
        pipe = tiny_pipeline()
        pipe.unet.add_adapter(LoraConfig(r=2, target_modules=["to_q", "to_v"]))
        StableDiffusionPipeline.save_lora_weights(self.root, get_peft_model_state_dict(pipe.unet))
        (self.root / "pytorch_lora_weights.safetensors").rename(self.root / "lora.safetensors")
        self.set("retrain.min_free_disk_gb", 0)

    def next_training(self, **changes: Any) -> None:
        """How the next training turns out: `quality`, `seconds`, `error`, `broken`; `blind` fails evaluate."""
        write_json(self.root / ".cache" / "fake-stages.json", changes)

    def commit(self, message: str) -> None:
        """Commit what is changed in tracked files."""
        self.run("git", "commit", "-qam", message)

    def retrain(self, *options: str, check: bool = True) -> str:
        """`python -m flows retrain`; all output."""
        return self.run(sys.executable, "-m", "flows", "retrain", *options, check=check).stdout

    def head(self) -> str:
        """The commit."""
        return self.run("git", "rev-parse", "HEAD").stdout.strip()

    def clean(self) -> bool:
        """Whether no tracked file differs from the commit, and nothing of the run's is untracked."""
        said = self.run("git", "status", "--porcelain", "--", ".", ":(exclude)faces").stdout
        return said == ""

    def tags(self) -> list[str]:
        """Names of all tags."""
        return sorted(self.run("git", "tag").stdout.split())

    def history(self) -> list[dict[str, Any]]:
        """The lines of the record."""
        path = self.root / "models" / "history.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []

    def champion(self) -> dict[str, str]:
        """sha256 of every file of the champion."""
        folder = self.root / "models" / "champion"
        return {p.relative_to(folder).as_posix(): sha256_file(p) for p in sorted(folder.rglob("*")) if p.is_file()}


@contextmanager
def prefect_server(home: Path) -> Iterator[str]:
    """A Prefect server of its own, for as long as the block; its API's address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    outside = Project(home, PREFECT_HOME=str(home), PREFECT_SERVER_ANALYTICS_ENABLED="false").outside()
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (home / "server.log").open("w") as log:
        server = subprocess.Popen(command, env=outside, cwd=home, stdout=log, stderr=log)
    try:
        address = f"http://127.0.0.1:{port}/api"
        _answers(address, server)
        yield address
    finally:
        server.terminate()
        server.wait(30)


def _answers(address: str, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        assert server.poll() is None, "the server ended"
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=3):
                return
        except OSError:
            time.sleep(0.3)
    raise AssertionError("the server does not answer")


@contextmanager
def webhook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A webhook: its address, and what was posted to it."""
    received: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/secret-token", received
    finally:
        server.shutdown()
        server.server_close()
