"""Files that the settings name are looked at before a run: broken ones are named, with the setting and the cure."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from anime_lora.config.load import Params, load_params
from anime_lora.config.section import Base
from anime_lora.errors import EvaluationError
from anime_lora.evaluation.encoders import load_encoders
from anime_lora.sampling.model_files import adapter_problems, model_problems
from tests.support import lora_files as files
from tests.support.tiny import tiny_pipeline

ROOT = Path(__file__).parents[2]
PARAMS = load_params(ROOT / "params.yaml")
PAGE = "<!DOCTYPE html><title>Sign in</title>"


def params(base: str = "a/hub-id", **changes: Any) -> Params:
    """The project's, with other models; nothing else of them is on the disk."""
    encoders = changes.pop("encoders", ("openai/clip-vit-base-patch32",))
    sample = PARAMS.validate_sample.model_copy(update={"second_adapter": None, "controlnet": None, **changes})
    return PARAMS.model_copy(
        update={
            "base": PARAMS.base.model_copy(update={"model": base}),
            "validate_sample": sample,
            "evaluate": PARAMS.evaluate.model_copy(update={"encoders": encoders}),
        }
    )


@pytest.fixture
def folder(base: Base, tmp_path: Path) -> Path:
    """A copy of the tiny base."""
    shutil.copytree(base.model, tmp_path / "base")
    return tmp_path / "base"


def test_the_project_s_own_models_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert model_problems(PARAMS) == []


def test_hub_ids_and_what_is_not_there_are_left_to_those_who_load_them() -> None:
    assert model_problems(params(controlnet="b/c", second_adapter="nowhere.safetensors")) == []


def test_a_web_page_among_the_weights_is_named_with_its_setting(folder: Path, tmp_path: Path) -> None:
    """Of the encoder it was never said: evaluation ended well with one encoder fewer."""
    encoder = tmp_path / "clip"
    encoder.mkdir()
    (encoder / "model.safetensors").write_text(PAGE)
    (folder / "unet/diffusion_pytorch_model.safetensors").write_text(PAGE)
    first, second = model_problems(params(str(folder), encoders=(str(encoder),)))
    assert first.startswith("base.model: ")
    assert second.startswith(f"evaluate.encoders: {encoder / 'model.safetensors'} is a web page")
    with pytest.raises(EvaluationError, match=r"evaluate\.encoders: .*is a web page .*download the file itself"):
        load_encoders([str(encoder)], "cpu")


def test_a_folder_of_pickles_is_named(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x02}")
    (problem,) = model_problems(params(encoders=(str(tmp_path),)))
    assert "holds only pickled weights (pytorch_model.bin)" in problem


def test_a_second_lora_has_to_be_one_of_this_base(folder: Path, tmp_path: Path) -> None:
    """By the width of the text, without loading anything."""
    path = files.write(tmp_path, "linear", tiny_pipeline())
    assert model_problems(params(str(folder), second_adapter=str(path))) == []
    name = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
    for width, says in ((768, "was made for Stable Diffusion 1.x, and base.model"), (2048, "is for SDXL")):
        tensors = {f"{name}.lora_down.weight": torch.ones(2, width), f"{name}.lora_up.weight": torch.ones(16, 2)}
        save_file(tensors, tmp_path / "x.safetensors")
        (problem,) = model_problems(params(str(folder), second_adapter=str(tmp_path / "x.safetensors")))
        assert problem.startswith("validate_sample.second_adapter: ")
        assert says in problem
    (tmp_path / "x.safetensors").write_text(PAGE)
    assert "is a web page" in adapter_problems("s", tmp_path / "x.safetensors", str(folder))[0]
