"""Two files from one adapter, each proven by reading it back."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file

from anime_lora.diffusion.weight_file import read_header
from anime_lora.errors import AdapterError
from anime_lora.lora import adapter as lora
from anime_lora.lora.adapter import ModuleWeights, module_weights, scale
from anime_lora.lora.export import check_equal, export

CASES = [
    {"target": "attn", "rank": 4, "alpha": 8.0},
    {"target": "attn+ff", "rank": 4, "alpha": 1.0, "text_encoder_learning_rate": 1e-4},
    {"target": "all-linear+conv", "rank": 3, "alpha": 3.0},
    {"target": "attn+ff", "rank": 4, "alpha": 4.0, "rslora": True},
    {"target": "all-linear+conv", "rank": 4, "alpha": 4.0, "dora": True},
]


def filled(run: Any) -> dict[str, torch.Tensor]:
    """An adapter with something in every tensor."""
    return {
        name: value * (1 + torch.rand_like(value)) if "magnitude" in name else torch.randn_like(value) * 0.05
        for name, value in run.adapter().items()
    }


def trained(run: Any, adapter: dict[str, torch.Tensor]) -> dict[str, ModuleWeights]:
    settings = run.settings
    return module_weights(adapter, scale(settings.rank, settings.alpha, settings.rslora))


def loaded(layer: Any) -> ModuleWeights:
    """The weights of a PEFT layer."""
    lengths = layer.lora_magnitude_vector["default"].weight.flatten() if layer.lora_magnitude_vector else None
    down, up = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    return ModuleWeights(down, up, layer.scaling["default"], lengths)


@pytest.mark.parametrize("changes", CASES)
def test_both_files_read_back_equal(make: Callable, tmp_path: Path, changes: dict) -> None:
    """Rank ≠ alpha, rsLoRA, DoRA, convolutions, text encoder: the self-check passes for both files."""
    run = make(**changes)
    adapter = filled(run)
    files = export(run.pipe, adapter, run.settings, tmp_path, "n.safetensors", {"a": "b"})
    assert read_header(files.kohya).metadata["a"] == "b"
    assert len(load_file(files.diffusers)) == len(adapter)
    assert run.pipe.unet.active_adapters() == ["default"]


@pytest.mark.parametrize(
    ("kind", "changes"),
    [("diffusers", case) for case in CASES] + [("kohya", case) for case in CASES if "dora" not in case],
)
def test_a_fresh_pipeline_loads_either_file(
    make: Callable, tmp_path: Path, tiny_base: Path, changes: dict, kind: str
) -> None:
    """diffusers' own load_lora_weights, on a pipeline that knows nothing of us, gives every module the trained ΔW.

    And DoRA's lengths, which diffusers takes from its own format only: it drops `dora_scale` with a warning.
    """
    run = make(**changes)
    adapter = filled(run)
    metadata = {"modelspec.title": "t", "anime_lora.version": "0", "ss_steps": "1"}
    files = export(run.pipe, adapter, run.settings, tmp_path, "n.safetensors", metadata)
    file = files.diffusers if kind == "diffusers" else files.kohya
    pipe = StableDiffusionPipeline.from_pretrained(tiny_base, safety_checker=None)
    pipe.load_lora_weights(tmp_path, weight_name=file.name, adapter_name="default")
    layers = {f"unet.{name}": layer for name, layer in lora.layers(pipe.unet)}
    layers |= {f"text_encoder.{name}": layer for name, layer in lora.layers(pipe.text_encoder)}
    expected = trained(run, adapter)
    assert layers.keys() == expected.keys()
    for name, weights in expected.items():
        read, delta = loaded(layers[name]), weights.delta()
        torch.testing.assert_close(read.delta(), delta, rtol=0, atol=2**-9 * float(delta.abs().max()))
        assert (read.magnitude is None) == (weights.magnitude is None) == (not changes.get("dora"))
        if read.magnitude is not None and weights.magnitude is not None:
            assert torch.equal(read.magnitude, weights.magnitude)


def test_same_adapter_same_bytes(make: Callable, tmp_path: Path) -> None:
    """Writing twice gives identical files."""
    run = make()
    adapter = filled(run)
    one, other = (
        export(run.pipe, adapter, run.settings, tmp_path / folder, "n.safetensors", {"k": "v", "j": "w"})
        for folder in ("a", "b")
    )
    assert one.diffusers.read_bytes() == other.diffusers.read_bytes()
    assert one.kohya.read_bytes() == other.kohya.read_bytes()


def test_a_difference_fails_the_check() -> None:
    """One module off by one percent, or missing, stops publication."""
    weights = {name: ModuleWeights(torch.randn(2, 4), torch.randn(4, 2), 1.0) for name in "mn"}
    check_equal(weights, weights, "f")
    with pytest.raises(AdapterError, match="ΔW of n reads back"):
        check_equal(weights, {**weights, "n": replace(weights["n"], scale=1.01)}, "f")
    with pytest.raises(AdapterError, match="1 modules instead of 2"):
        check_equal(weights, {"m": weights["m"]}, "f")


@pytest.mark.parametrize("read", [None, torch.tensor([1.0, 2.0000002])], ids=["missing", "a last digit off"])
def test_a_length_that_is_off_fails_the_check(read: torch.Tensor | None) -> None:
    """DoRA's lengths must read back exactly, and none may appear where none was trained."""
    plain = ModuleWeights(torch.randn(2, 4), torch.randn(2, 2), 1.0)
    dora = {"m": replace(plain, magnitude=torch.tensor([1.0, 2.0]))}
    check_equal(dora, dora, "f")
    with pytest.raises(AdapterError, match="DoRA's lengths of m"):
        check_equal(dora, {"m": replace(plain, magnitude=read)}, "f")
    with pytest.raises(AdapterError, match="DoRA's lengths of m"):
        check_equal({"m": plain}, dora, "f")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e6])
def test_diverged_adapter_is_not_written(make: Callable, tmp_path: Path, value: float) -> None:
    """NaN, infinity or a weight beyond fp16 ends with advice and without a file."""
    run = make()
    adapter = filled(run)
    next(iter(adapter.values()))[0] = value
    with pytest.raises(AdapterError, match="not finite in fp16"):
        export(run.pipe, adapter, run.settings, tmp_path / "x", "n.safetensors", {})
    assert not (tmp_path / "x").exists()
