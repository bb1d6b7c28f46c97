"""A base with LoRAs in its weights acts as the base with the adapters on it; a LoRA comes out again."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file

from anime_lora.diffusion.base_model import load_pipeline
from anime_lora.errors import AdapterError, OutputError
from anime_lora.lora.fuse import extract, fuse
from anime_lora.lora.load import load_onto
from anime_lora.lora.weights import read_weights
from anime_lora.lora.write import write_weights
from tests.lora.test_load import outputs
from tests.support import lora_files as files
from tests.support.tiny import tiny_pipeline, train_settings

PIPE = tiny_pipeline()


def test_a_fused_base_loads_in_plain_diffusers_and_acts_as_the_adapters(tiny_base: Path, tmp_path: Path) -> None:
    """At two weights; every part in fp32, whatever the base had."""
    one, two = files.write(tmp_path, "with text encoder", PIPE, 1), files.write(tmp_path, "locon", PIPE, 2)
    assert fuse([(one, 0.7), (two, 0.5)], tiny_base, tmp_path / "fused") == ()
    fused = StableDiffusionPipeline.from_pretrained(tmp_path / "fused", safety_checker=None)
    assert {part.dtype for part in (fused.unet, fused.text_encoder, fused.vae)} == {torch.float32}
    both = load_pipeline(tiny_base)
    for name, path in (("one", one), ("two", two)):
        load_onto(both, path, name)
    both.set_adapters(["one", "two"], [0.7, 0.5])
    torch.testing.assert_close(outputs(fused), outputs(both), rtol=1e-4, atol=1e-5)


def test_a_fused_dora_acts_as_the_adapter(tiny_base: Path, tmp_path: Path) -> None:
    """Its lengths are applied after ΔW is added, as PEFT does."""
    from anime_lora.lora import adapter
    from anime_lora.lora.export import write_diffusers

    pipe = load_pipeline(tiny_base)
    adapter.attach(pipe.unet, pipe.text_encoder, train_settings(dora=True, target="all-linear+conv"))
    state = {
        name: value + (0.1 * torch.randn_like(value) if "lora_B" in name else 0.0)
        for name, value in adapter.adapter_state(pipe.unet, pipe.text_encoder).items()
    }
    adapter.load_adapter_state(pipe.unet, pipe.text_encoder, state)
    path = write_diffusers(tmp_path, pipe, state, {})
    fuse([(path, 1.0)], tiny_base, tmp_path / "fused")
    torch.testing.assert_close(outputs(load_pipeline(tmp_path / "fused")), outputs(pipe), rtol=1e-4, atol=1e-4)


def test_the_scheduler_says_what_the_lora_was_trained_to_predict(tiny_base: Path, tmp_path: Path) -> None:
    metadata = {"modelspec.prediction_type": "v"}
    save_file(files.kohya_file(PIPE, files.LINEAR), tmp_path / "v.safetensors", metadata)
    fuse([(tmp_path / "v.safetensors", 1.0)], tiny_base, tmp_path / "fused", "fp16")
    config = json.loads((tmp_path / "fused/scheduler/scheduler_config.json").read_text())
    assert config["prediction_type"] == "v_prediction"
    weights = load_file(tmp_path / "fused/unet/diffusion_pytorch_model.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.float16}


def test_a_folder_that_is_there_and_a_foreign_lora_leave_nothing_behind(tiny_base: Path, tmp_path: Path) -> None:
    path = files.write(tmp_path, "linear", PIPE)
    with pytest.raises(OutputError, match="is there already"):
        fuse([(path, 1.0)], tiny_base, tiny_base)
    name = "lora_unet_mid_block_attentions_9_proj_in"
    tensors = {f"{name}.lora_down.weight": torch.ones(4, 8), f"{name}.lora_up.weight": torch.ones(16, 4)}
    save_file(tensors, tmp_path / "x.safetensors")
    with pytest.raises(AdapterError, match="made for another base"):
        fuse([(tmp_path / "x.safetensors", 1.0)], tiny_base, tmp_path / "new" / "fused")
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize("kind", ["with text encoder", "locon"])
def test_a_lora_comes_out_of_the_base_it_was_fused_into(tiny_base: Path, tmp_path: Path, kind: str) -> None:
    """At its rank the extracted LoRA has the same ΔW, in kohya's format too."""
    path = files.write(tmp_path, kind, PIPE)
    fuse([(path, 1.0)], tiny_base, tmp_path / "fused")
    result = extract(tmp_path / "fused", tiny_base, files.RANK)
    original = read_weights(path).modules
    assert result.modules.keys() == original.keys()
    assert result.left_out == ()
    assert result.loss.energy == pytest.approx(1.0, abs=1e-9)
    for name, weights in original.items():
        torch.testing.assert_close(result.modules[name].delta(), weights.delta(), rtol=1e-4, atol=1e-5)
    write_weights(tmp_path / "x.safetensors", result.modules, {}, "kohya", torch.float16)


def test_a_lower_rank_loses_what_it_says_and_what_no_lora_holds_is_listed(tiny_base: Path, tmp_path: Path) -> None:
    fuse([(files.write(tmp_path, "locon", PIPE), 1.0)], tiny_base, tmp_path / "fused")
    file = tmp_path / "fused/unet/diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    tensors["conv_norm_out.weight"] += 1
    save_file(tensors, file, {"format": "pt"})
    result = extract(tmp_path / "fused", tiny_base, 1)
    assert 0.2 < result.loss.energy < 0.95
    assert result.left_out == ("unet.conv_norm_out.weight",)
    assert result.notes() == ("1 weights differ that no LoRA holds, e.g. unet.conv_norm_out.weight",)


def test_equal_bases_and_bases_of_other_shapes_hold_no_lora(tiny_base: Path, tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="have the same weights"):
        extract(tiny_base, tiny_base, 4)
    shutil.copytree(tiny_base, tmp_path / "other")
    file = tmp_path / "other/unet/diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    save_file({**tensors, "conv_out.weight": torch.ones(1, 1, 1, 1)}, file)
    with pytest.raises(AdapterError, match=r"was not fine-tuned from .*: 1 weights are others, e\.g\. unet\.conv_out"):
        extract(tmp_path / "other", tiny_base, 4)
