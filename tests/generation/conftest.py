"""A project with the tiny base of the sampling tests and a LoRA trained on it, as the working directory."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

from anime_lora.config.load import Params, load_params
from anime_lora.config.section import Base
from tests.sampling.conftest import base, base_folder, compute, controlnet, lora_file
from tests.support.tiny import ROOT, SIDE

__all__ = ["base", "base_folder", "compute", "controlnet", "lora_file", "params", "photo", "project"]


@pytest.fixture
def params(base_folder: Path) -> Params:
    """The project's own settings with the tiny base, two steps an image."""
    values = load_params(ROOT / "params.yaml")
    section = values.validate_sample.model_copy(
        update={"steps": 2, "seeds": (101, 102), "negative_prompt": "", "controlnet": None}
    )
    tiny = Base(model=str(base_folder), revision=None, resolution=SIDE)
    return values.model_copy(update={"base": tiny, "validate_sample": section})


@pytest.fixture
def project(tmp_path: Path, lora_file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a LoRA just trained, `photo.jpg` and nothing generated yet; it is the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "train").mkdir(parents=True)
    shutil.copyfile(lora_file, tmp_path / "data" / "train" / "pytorch_lora_weights.safetensors")
    shutil.copyfile(lora_file, tmp_path / "data" / "train" / "myStyle_face.safetensors")
    return tmp_path


@pytest.fixture
def photo(project: Path) -> Path:
    """A photo in the project."""
    file = Path("photo.jpg")
    Image.linear_gradient("L").convert("RGB").resize((90, 60)).save(file, quality=95)
    return file
