"""A few committed files of a project that retrains, beside the bare repository they are pushed to: Git alone."""

import subprocess
from dataclasses import replace
from pathlib import Path

from flows.champion import history, store

ENTRY = history.Entry(history.now(), "promoted", "better", "schedule", "images: 1 added", "v1.0.0", "a" * 64)
LOCKED = """schema: '2.0'
stages:
  train:
    cmd: python -m anime_lora train
    params:
      params.yaml:
        train:
          rank: {rank}
"""


class Clone:
    """The folder, and what Git says of it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def build(self) -> "Clone":
        """Lay out params.yaml and dvc.lock at rank 16, commit, push."""
        self.root.mkdir()
        self.git("init", "--quiet", "--bare", "--initial-branch", "main", "../origin.git")
        self.git("init", "--quiet", "--initial-branch", "main")
        self.git("remote", "add", "origin", "../origin.git")
        self.introduce()
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

    def rank(self, wanted: int, trained: int) -> None:
        """What params.yaml asks for, and what dvc.lock says of the last training."""
        self.write("params.yaml", f"train:\n  rank: {wanted}\n")
        self.write("dvc.lock", LOCKED.format(rank=trained))

    def decide(self, outcome: history.Outcome, version: str | None) -> None:
        """A decision as a night commits it, with the champion it names."""
        entry = replace(ENTRY, outcome=outcome, version=version)
        (self.root / "models").mkdir(exist_ok=True)
        history.append(entry, self.root / history.HISTORY)
        if outcome == "promoted":
            self.write(str(store.POINTER), f"outs: {version}\n")
        self.commit(f"{outcome} {version}")

    def write(self, name: str, text: str) -> None:
        """One file."""
        (self.root / name).write_text(text, encoding="utf-8")

    def commit(self, message: str) -> None:
        """Commit everything."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)

    def push(self, message: str, name: str = "README.md") -> None:
        """Commit a line more in a file, and push."""
        self.write(name, message)
        self.commit(message)
        self.git("push", "--quiet")

    def git(self, *words: str) -> str:
        """Git's output."""
        ran = subprocess.run(["git", *words], cwd=self.root, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.strip()

    def sent(self, *revisions: str) -> list[str]:
        """Names of the refs on the remote."""
        return self.git("--git-dir", "../origin.git", "for-each-ref", "--format=%(refname:short)", *revisions).split()
