"""A whole project in a folder: the code as it stands, a few images, models of a few thousand weights."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from ruamel.yaml import YAML
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPProcessor

from anime_lora.config.section import NONE
from tests.data.conftest import image
from tests.house.doors import ROOT, STAGES
from tests.support.tiny import SIDE, byte_tokenizer, tiny_pipeline

CODE = (
    "anime_lora",
    "flows",
    "tasks",
    "presets",
    "dvc.yaml",
    NONE,
    "params.yaml",
    "prefect.yaml",
    "pyproject.toml",
    ".dvcignore",
    ".gitignore",
)
SMALL: dict[str, dict[str, Any]] = {
    "base": {"model": "base", "resolution": SIDE},
    "ingest": {"sources": ["faces"]},
    "resize": {"size": SIDE},
    "organize": {"holdout_share": 0.3},
    "train": {
        "rank": 2, "alpha": 2.0, "epochs": 1, "validation_images": 1, "validation_steps": 1, "heldout_images": 2,
        "prior_images": 0,
    },
    "validate_sample": {
        "seeds": [1], "steps": 2, "prompts": ["girl, blue hair", "boy, red hair"], "sweep_prompts": 2,
        "guidances": [1, 7.5], "scales": [0, 1], "styles": {"chibi": "chibi style"}, "style_prompts": ["girl"],
        "style_guidances": [7.5], "unrelated_prompts": ["a photo, boy", "a photo, girl"], "sources": "people",
        "counterparts": NONE, "second_adapter": NONE, "controlnet": None, "strengths": [0.5, 0.8],
        "base_strengths": [0.8],
    },
    "evaluate": {"encoders": ["eye"], "bootstrap": 100},
}  # fmt: skip


class Project:
    """The folder, and what a person does in it."""

    def __init__(self, root: Path, **environment: str) -> None:
        self.root, self.environment = root, environment

    def build(self) -> "Project":
        """Lay everything out, as a Git repository with a DVC project."""
        self.lay_out()
        for command in (("git", "init", "-q"), (sys.executable, "-m", "dvc", "init", "-q"), ("git", "add", "-A")):
            self.run(*command)
        self.run("git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "start")
        return self

    def lay_out(self) -> None:
        """The files: code, settings, images, models."""
        self.root.mkdir()
        for name in CODE:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, self.root / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                (self.root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, self.root / name)
        for section, values in SMALL.items():
            for key, value in values.items():
                self.set(f"{section}.{key}", value)
        for seed in range(12):
            self.add(seed)
        (self.root / "people").mkdir()
        image(100).save(self.root / "people" / "one.png")
        tiny_pipeline().save_pretrained(self.root / "base")
        save_eye(self.root / "eye")

    def add(self, seed: int) -> None:
        """One more image in the source."""
        (self.root / "faces").mkdir(exist_ok=True)
        image(seed).save(self.root / "faces" / f"{seed:03d}.png")
        (self.root / "faces" / f"{seed:03d}.txt").write_text("girl, blue hair\n")

    def set(self, key: str, value: Any) -> None:
        """Change one value of params.yaml, comments kept."""
        yaml, path = YAML(), self.root / "params.yaml"
        document = yaml.load(path.read_text())
        section, name = key.split(".")
        document[section][name] = value
        with path.open("w") as stream:
            yaml.dump(document, stream)

    def run(self, *command: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run a command here; its output and errors are one text."""
        ran = subprocess.run(
            command,
            cwd=self.root,
            env=self.outside(),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        assert not check or ran.returncode == 0, ran.stdout
        return ran

    def outside(self) -> dict[str, str]:
        """The environment of a command: this Python first, no server but the project's own or the one asked for."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        unset = ("PREFECT_API_URL", "PREFECT_HOME", "PYTEST_CURRENT_TEST")
        kept = {name: value for name, value in os.environ.items() if name not in unset}
        return {**kept, "PATH": path, "OMP_NUM_THREADS": "1", **self.environment}

    def repro(self) -> list[str]:
        """`dvc repro`; the stages that were executed."""
        said = self.run(sys.executable, "-m", "dvc", "repro").stdout
        return [stage for stage in STAGES if f"Running stage '{stage}'" in said]

    def flow(self, check: bool = True) -> tuple[dict[str, str], str]:
        """`python -m flows run`; the final state of each task, and all output."""
        said = self.run(sys.executable, "-m", "flows", "run", check=check).stdout
        states = {}
        for stage in STAGES:
            ends = [line for line in said.splitlines() if f"Task run '{stage}' - Finished in state " in line]
            states |= {stage: ends[-1].split("Finished in state ")[1].split("(")[0]} if ends else {}
        return states, said

    def lock(self) -> str:
        """Bytes of dvc.lock."""
        return (self.root / "dvc.lock").read_text()


def save_eye(folder: Path) -> None:
    """An untrained CLIP of a few thousand weights."""
    torch.manual_seed(0)
    tokenizer = byte_tokenizer()
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {**small, **ends, "vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    vision = {**small, "image_size": 32, "patch_size": 16}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)).save_pretrained(folder)
    images = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    CLIPProcessor(images, tokenizer).save_pretrained(folder)
