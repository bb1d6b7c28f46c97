"""Two files from one adapter, each proven by reading it back."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file

from anime_lora.diffusion.tensor_file import read_header
from anime_lora.errors import AdapterError
from anime_lora.lora import adapter as lora
from anime_lora.lora import export
from anime_lora.lora.formats import kohya

CASES = [
    {"target": "attn", "rank": 4, "alpha": 8.0},
    {"target": "attn+ff", "rank": 4, "alpha": 1.0, "text_encoder_learning_rate": 1e-4},
    {"target": "all-linear+conv", "rank": 3, "alpha": 3.0},
    {"target": "attn+ff", "rank": 4, "alpha": 4.0, "rslora": True},
    {"target": "all-linear+conv", "rank": 4, "alpha": 4.0, "dora": True},
]


def filled(run: object) -> dict[str, torch.Tensor]:
    """An adapter with something in every tensor."""
    found = run.adapter()  # type: ignore[attr-defined]
    return {
        name: value * (1 + torch.rand_like(value)) if "magnitude" in name else torch.randn_like(value) * 0.05
        for name, value in found.items()
    }


def weights(layer: Any) -> tuple[torch.Tensor, torch.Tensor, float]:
    """A, B and scale of a PEFT layer."""
    return layer.lora_A["default"].weight, layer.lora_B["default"].weight, layer.scaling["default"]


@pytest.mark.parametrize("changes", CASES)
def test_both_files_read_back_equal(make: Callable, tmp_path: Path, changes: dict) -> None:
    """Rank ≠ alpha, rsLoRA, DoRA, convolutions, text encoder: the self-check passes for both files."""
    run = make(**changes)
    adapter = filled(run)
    first, second = export.export(run.pipe, adapter, run.settings, (tmp_path, "n.safetensors"), {"a": "b"})
    assert read_header(second).metadata["a"] == "b"
    assert list(load_file(first)) != []
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
    files = export.export(run.pipe, adapter, run.settings, (tmp_path, "n.safetensors"), metadata)
    file = files[0] if kind == "diffusers" else files[1]
    pipe = StableDiffusionPipeline.from_pretrained(tiny_base, safety_checker=None)
    pipe.load_lora_weights(tmp_path, weight_name=file.name, adapter_name="default")
    wanted = export.expected(adapter, run.settings)
    found = {f"unet.{name}": layer for name, layer in lora.layers(pipe.unet)}
    found |= {f"text_encoder.{name}": layer for name, layer in lora.layers(pipe.text_encoder)}
    assert found.keys() == wanted.keys()
    for name, length in export.expected_lengths(adapter).items():
        assert torch.equal(found[name].lora_magnitude_vector["default"].weight.flatten(), length)
    for name, parts in wanted.items():
        right = lora.delta(*parts)
        torch.testing.assert_close(
            lora.delta(*weights(found[name])), right, rtol=0, atol=2**-9 * float(right.abs().max())
        )


def test_alpha_stands_in_the_metadata(make: Callable, tmp_path: Path) -> None:
    """Without it diffusers would load rank 4, alpha 8 (scale 2) at scale 1."""
    run = make(rank=4, alpha=8.0)
    path = export.write_diffusers(tmp_path, run.pipe, filled(run), {})
    described = json.loads(read_header(path).metadata["lora_adapter_metadata"])
    assert described["unet.lora_alpha"] == 8.0
    assert described["unet.r"] == 4


def test_same_adapter_same_bytes(make: Callable, tmp_path: Path) -> None:
    """Writing twice gives identical files."""
    run = make()
    adapter = filled(run)
    targets = [(tmp_path / name, "n.safetensors") for name in ("a", "b")]
    files = [export.export(run.pipe, adapter, run.settings, target, {"k": "v"}) for target in targets]
    for one, other in zip(*files, strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_a_difference_fails_the_check() -> None:
    """One module off by one percent, or missing, stops publication."""
    wanted = {"m": (torch.randn(2, 4), torch.randn(4, 2), 1.0), "n": (torch.randn(2, 4), torch.randn(4, 2), 1.0)}
    export.check_equal(wanted, wanted, "f")
    with pytest.raises(AdapterError, match="ΔW of n reads back"):
        export.check_equal(wanted, {**wanted, "n": (*wanted["n"][:2], 1.01)}, "f")
    with pytest.raises(AdapterError, match="1 modules instead of 2"):
        export.check_equal(wanted, {"m": wanted["m"]}, "f")


def test_a_length_that_is_off_fails_the_check() -> None:
    """DoRA's lengths: one off by a last digit, or missing, stops publication."""
    wanted = {"m": torch.tensor([1.0, 2.0])}
    export.check_lengths(wanted, wanted, "f")
    for found in ({}, {"m": torch.tensor([1.0, 2.0000002])}):
        with pytest.raises(AdapterError, match="DoRA's lengths of m"):
            export.check_lengths(wanted, found, "f")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e6])
def test_diverged_adapter_is_not_written(make: Callable, tmp_path: Path, value: float) -> None:
    """NaN, infinity or a weight beyond fp16 ends with advice and without a file."""
    run = make()
    adapter = filled(run)
    next(iter(adapter.values()))[0] = value
    with pytest.raises(AdapterError, match="not finite in fp16"):
        export.export(run.pipe, adapter, run.settings, (tmp_path / "x", "n.safetensors"), {})
    assert not (tmp_path / "x").exists()


def test_dora_lengths_are_exported(make: Callable) -> None:
    """Each module has a dora_scale, one length per output."""
    run = make(dora=True, rank=2)
    found = kohya.tensors(filled(run), 2.0, rslora=False)
    modules = {name.split(".")[0] for name in found}
    assert all(
        found[f"{module}.dora_scale"].shape[0] == found[f"{module}.lora_up.weight"].shape[0] for module in modules
    )
    assert {value.dtype for name, value in found.items() if name.endswith("dora_scale")} == {torch.float32}
