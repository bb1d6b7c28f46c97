"""A small project that retrains: settings, a source and decisions in Git, beside the bare repository it is pushed to.

Git and DVC are real; nothing is trained, and the champion is a file of a few bytes.
"""

import hashlib
import io
import subprocess
from dataclasses import replace
from pathlib import Path

from ruamel.yaml import YAML

from anime_lora.config import paths
from anime_lora.config.load import read_document
from anime_lora.files import write_bytes, write_json
from flows.champion import history, store
from flows.runtime.overrides import apply_overrides
from tests.house.doors import ROOT

ENTRY = history.HistoryEntry(history.now(), "promoted", "better", "schedule", "images: 1 added", "v1.0.0", "a" * 64)
DVC_YAML = """stages:
  check:
    cmd: exit 0
  ingest:
    cmd: "echo 'error: the lamp went out'; exit 1"
    deps:
      - ${ingest.sources[0]}
  train:
    cmd: mkdir -p data/train && grep '  rank:' params.yaml > data/train/rank
    params:
      - train.rank
    outs:
      - data/train
"""
"""Ingest fails; train notes the rank that it was given."""


def locked(rank: int) -> str:
    """A dvc.lock whose training had this rank, and otherwise the values of the project."""
    train = {**read_document(ROOT / "params.yaml")["train"], "rank": rank}
    stage = {"cmd": "python -m anime_lora train", "params": {"params.yaml": {"train": train}}}
    stream = io.StringIO()
    YAML(typ="safe", pure=True).dump({"schema": "2.0", "stages": {"train": stage}}, stream)
    return stream.getvalue()


class Clone:
    """The folder, and what Git says of it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def build(self) -> "Clone":
        """Lay out the settings and dvc.lock at rank 16, a source of one file, and DVC; commit, push."""
        self.root.mkdir()
        self.git("init", "--quiet", "--bare", "--initial-branch", "main", "../origin.git")
        self.git("init", "--quiet", "--initial-branch", "main")
        self.git("remote", "add", "origin", "../origin.git")
        self.introduce()
        self.write(".dvc/config", "")
        self.write(".dvc/.gitignore", "/config.local\n/tmp\n/cache\n")
        self.write(".gitignore", "/.cache/\n")
        self.write("dvc.yaml", DVC_YAML)
        self.write("faces/one.png", "one")
        self.rank(16, 16)
        self.commit("start")
        self.git("push", "--quiet", "--set-upstream", "origin", "main")
        return self

    def introduce(self) -> "Clone":
        """Say who commits."""
        self.git("config", "user.name", "Ann")
        self.git("config", "user.email", "ann@example.org")
        return self

    def another(self, name: str, *options: str) -> "Clone":
        """A second clone of what was pushed."""
        self.git("clone", "--quiet", *options, f"file://{self.root.parent}/origin.git", f"../{name}")
        return Clone(self.root.parent / name).introduce()

    def rank(self, asked: int, trained: int) -> None:
        """What params.yaml asks for, and what dvc.lock says of the last training."""
        changes = [f"train.rank={asked}", "ingest.sources=[faces]", "retrain.min_free_disk_gb=0"]
        self.write("params.yaml", apply_overrides((ROOT / "params.yaml").read_text(encoding="utf-8"), changes))
        self.write("dvc.lock", locked(trained))

    def decide(self, outcome: history.Outcome, version: str | None, adapter: str = "a" * 64) -> None:
        """A decision as a run commits it; of a promotion, with a pointer that names no files."""
        (self.root / "models").mkdir(exist_ok=True)
        entry = replace(ENTRY, outcome=outcome, version=version, adapter=adapter)
        history.append_entry(entry, self.root / history.HISTORY)
        if outcome == "promoted" and adapter == ENTRY.adapter:
            self.write(str(store.POINTER), f"outs: {version}\n")
        self.commit(f"{outcome} {version}")

    def train(self, adapter: bytes) -> None:
        """What train and evaluate leave of a LoRA."""
        write_bytes(self.root / paths.TRAIN / store.ADAPTER, adapter)
        write_json(self.root / paths.TRAIN / "record.json", {})
        write_json(self.root / store.SCORES, {})

    def promote(self, version: str, adapter: bytes) -> None:
        """Train and publish; the champion is in DVC's cache. This process must work in the folder."""
        self.train(adapter)
        store.publish()
        self.decide("promoted", version, hashlib.sha256(adapter).hexdigest())

    def write(self, name: str, text: str) -> None:
        """One file."""
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text(text, encoding="utf-8")

    def hook(self, folder: str, name: str, script: str) -> Path:
        """A Git hook in `folder`, a `.git` or bare repository."""
        file = self.root / folder / "hooks" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)
        return file

    def commit(self, message: str) -> None:
        """Commit everything."""
        self.git("add", "--all", "--", ".", ":(exclude)data")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)

    def push(self, message: str, name: str = "README.md") -> None:
        """Commit a line more in a file, and push."""
        self.write(name, message)
        self.commit(message)
        self.git("push", "--quiet")

    def git(self, *words: str) -> str:
        """Git's output."""
        done = subprocess.run(["git", *words], cwd=self.root, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def status(self) -> str:
        """Uncommitted changes, but for the data that stages write."""
        return self.git("status", "--porcelain", "--", ".", ":(exclude)data")

    def sent(self, *revisions: str) -> list[str]:
        """Names of the refs on the remote."""
        return self.git("--git-dir", "../origin.git", "for-each-ref", "--format=%(refname:short)", *revisions).split()
