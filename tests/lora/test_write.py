"""Files in both formats say the same, and converting there and back changes nothing."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from anime_lora.diffusion.weight_file import read_header
from anime_lora.errors import AdapterError
from anime_lora.lora.adapter import ModuleWeights
from anime_lora.lora.weights import read_weights
from anime_lora.lora.write import network_metadata, write_weights
from tests.support import lora_files as files
from tests.support.tiny import tiny_pipeline

PIPE = tiny_pipeline()


def there_and_back(path: Path, first: str, second: str) -> Path:
    """The file in the format `first`, and that one in `second`."""
    for number, file_format in enumerate((first, second)):
        lora = read_weights(path)
        path = path.with_name(f"{number}-{file_format}.safetensors")
        write_weights(path, lora.modules, lora.metadata, file_format)  # type: ignore[arg-type]
    return path


def test_our_own_kohya_file_comes_back_byte_for_byte(stage: Callable) -> None:
    file = stage(rank=2, alpha=6.0, text_encoder_learning_rate=1e-3) / "t_c.safetensors"
    assert there_and_back(file, "diffusers", "kohya").read_bytes() == file.read_bytes()


@pytest.mark.parametrize("changes", [{}, {"rslora": True}, {"dora": True}, {"text_encoder_learning_rate": 1e-3}])
def test_our_own_diffusers_file_comes_back_with_the_same_tensors_and_scale(stage: Callable, changes: dict) -> None:
    file = stage(rank=2, alpha=6.0, **changes) / "pytorch_lora_weights.safetensors"
    back = there_and_back(file, "kohya", "diffusers")
    before, after = load_file(file), load_file(back)
    assert before.keys() == after.keys()
    assert all(torch.equal(value.flatten(), after[name].flatten()) for name, value in before.items())
    scales = [{path: one.scale for path, one in read_weights(each).modules.items()} for each in (file, back)]
    assert scales[0] == pytest.approx(scales[1])


@pytest.mark.parametrize("kind", files.KINDS)
def test_every_kind_says_the_same_in_both_formats(tmp_path: Path, kind: str) -> None:
    """The same ΔW of every module; a plain LoRA keeps its tensors bit for bit."""
    path = files.write(tmp_path, kind, PIPE)
    original, back = read_weights(path).modules, there_and_back(path, "diffusers", "kohya")
    returned = read_weights(back).modules
    assert returned.keys() == original.keys()
    for name, weights in original.items():
        assert torch.equal(weights.down, returned[name].down)
        assert torch.equal(weights.up, returned[name].up)
        assert weights.scale == pytest.approx(returned[name].scale)
    if kind in {"linear", "with text encoder", "locon"}:
        before, after = load_file(path), load_file(back)
        assert before.keys() == after.keys()
        assert all(torch.equal(before[name], after[name]) for name in before)


def test_ranks_and_alphas_that_differ_stand_in_pefts_config(tmp_path: Path) -> None:
    modules = {
        f"unet.{name}": ModuleWeights(torch.ones(rank, 4), torch.ones(3, rank), alpha / rank)
        for name, rank, alpha in (("a", 2, 1.0), ("b", 2, 1.0), ("c", 5, 3.0))
    }
    modules = {path.replace("unet.", "unet.mid_block."): weights for path, weights in modules.items()}
    write_weights(tmp_path / "x.safetensors", modules, {}, "diffusers")
    config = json.loads(read_header(tmp_path / "x.safetensors").metadata["lora_adapter_metadata"])
    assert (config["unet.r"], config["unet.lora_alpha"]) == (2, 1.0)
    assert (config["unet.rank_pattern"], config["unet.alpha_pattern"]) == ({"mid_block.c": 5}, {"mid_block.c": 3.0})
    assert network_metadata(modules) == {"ss_network_dim": "Dynamic", "ss_network_alpha": "Dynamic"}


def test_half_precision_halves_the_file_and_what_does_not_fit_is_an_error(tmp_path: Path) -> None:
    modules = {"unet.mid_block.a": ModuleWeights(torch.ones(64, 64), torch.ones(64, 64), 1.0)}
    sizes = []
    for dtype in (torch.float32, torch.float16):
        write_weights(tmp_path / "x.safetensors", modules, {}, "kohya", dtype)
        sizes.append((tmp_path / "x.safetensors").stat().st_size)
    assert sizes[1] < 0.55 * sizes[0]
    modules = {"unet.mid_block.a": ModuleWeights(torch.full((2, 4), 1e6), torch.ones(4, 2), 1.0)}
    with pytest.raises(AdapterError, match="too large for float16: choose fp32"):
        write_weights(tmp_path / "y.safetensors", modules, {}, "kohya", torch.float16)
    assert not (tmp_path / "y.safetensors").exists()
