"""Names and shapes that webuis look for, against the list of SD 1.5's."""

import csv
from ast import literal_eval
from functools import cache
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from anime_lora.errors import AdapterError
from anime_lora.lora import adapter as lora
from anime_lora.lora.formats import kohya
from tests.support.tiny import train_settings

GOLDEN = Path(__file__).parent / "data" / "sd15_lora_keys.tsv"
RANK, ALPHA = 16, 8.0
SETS = {"attn+ff": {"unet"}, "all-linear+conv": {"unet", "locon"}}


@cache
def sd15(target: str, text_encoder: bool) -> dict[str, torch.Tensor]:
    """The kohya tensors of an adapter on SD 1.5's architecture, without weights."""
    text = CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12)
    with torch.device("meta"):
        unet, encoder = UNet2DConditionModel(sample_size=64, cross_attention_dim=768), CLIPTextModel(text)
        rate = 1e-5 if text_encoder else None
        settings = train_settings(rank=RANK, alpha=ALPHA, target=target, text_encoder_learning_rate=rate)
        unet.add_adapter(lora.config(settings, lora.TARGETS[target]))
        if text_encoder:
            encoder.add_adapter(lora.config(settings, lora.TEXT_ENCODER[target]))
    named = {f"unet.{n}": p for n, p in unet.named_parameters() if "lora" in n}
    named |= {f"text_encoder.{n}": p for n, p in encoder.named_parameters() if "lora" in n}
    empty = {name.replace(".default", ""): torch.zeros(p.shape) for name, p in named.items()}
    return kohya.tensors(empty, ALPHA, rslora=False)


def shapes(tensors: dict[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in tensors.items()}


def golden(sets: set[str]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the golden list for its `sets`."""
    listed: dict[str, tuple[int, ...]] = {}
    with GOLDEN.open() as stream:
        for row in csv.DictReader(stream, delimiter="\t"):
            if row["set"] in sets:
                listed[f"{row['kohya_module']}.lora_down.weight"] = literal_eval(row["down_shape(r=16)"])
                listed[f"{row['kohya_module']}.lora_up.weight"] = literal_eval(row["up_shape"])
                listed[f"{row['kohya_module']}.alpha"] = ()
    return listed


@pytest.mark.parametrize("text_encoder", [False, True])
@pytest.mark.parametrize("target", ["attn+ff", "all-linear+conv"])
def test_names_and_shapes_are_the_golden_ones(target: str, text_encoder: bool) -> None:
    """Exactly the listed modules: 192, or 278 with the convolution blocks; and the text encoder's 72."""
    assert shapes(sd15(target, text_encoder)) == golden(SETS[target] | ({"te"} if text_encoder else set()))


def test_attention_is_a_part_of_the_golden_list() -> None:
    """128 modules, every one an attention projection of the list."""
    attention = shapes(sd15("attn", False))
    assert attention == {name: shape for name, shape in golden({"unet"}).items() if "_to_" in name}
    assert len(attention) == 3 * 128


def test_text_encoder_names_carry_text_model() -> None:
    """With `attn` it is the text encoder's 48 attention projections, `text_model` in each name."""
    encoder = {name: shape for name, shape in shapes(sd15("attn", True)).items() if name.startswith("lora_te")}
    assert encoder == {name: shape for name, shape in golden({"te"}).items() if "self_attn" in name}
    assert len(encoder) == 3 * 48
    assert all("text_model_encoder_layers" in name for name in encoder)


def test_weights_are_half_and_alphas_float_scalars() -> None:
    """alpha is the float alpha (not the rank), in a tensor without dimensions."""
    tensors = sd15("attn", False)
    alphas = [value for name, value in tensors.items() if name.endswith(".alpha")]
    assert {float(value) for value in alphas} == {ALPHA}
    assert {value.dtype for value in alphas} == {torch.float32}
    assert {value.dtype for name, value in tensors.items() if "lora_" in name.split(".")[1]} == {torch.float16}


def test_rslora_is_written_as_alpha_times_root_of_rank() -> None:
    """A reader divides by the rank: alpha·√16 / 16 = alpha / √16."""
    adapter = {"unet.m.lora_A.weight": torch.zeros(16, 4), "unet.m.lora_B.weight": torch.zeros(4, 16)}
    assert float(kohya.tensors(adapter, 8.0, rslora=True)["lora_unet_m.alpha"]) == 32.0


def test_dora_has_one_length_per_output_in_fp32() -> None:
    """Shaped to broadcast over the weight: of a linear layer (out, 1), of a convolution (out, 1, 1, 1)."""
    adapter = {
        "unet.m.lora_A.weight": torch.zeros(2, 4), "unet.m.lora_B.weight": torch.zeros(3, 2),
        "unet.m.lora_magnitude_vector.weight": torch.tensor([1.0, 2.0, 3.0]),
        "unet.c.lora_A.weight": torch.zeros(2, 4, 3, 3), "unet.c.lora_B.weight": torch.zeros(5, 2, 1, 1),
        "unet.c.lora_magnitude_vector.weight": torch.ones(1, 5, 1, 1),
    }  # fmt: skip
    tensors = kohya.tensors(adapter, 2.0, rslora=False)
    assert tensors["lora_unet_m.dora_scale"].shape == (3, 1)
    assert tensors["lora_unet_c.dora_scale"].shape == (5, 1, 1, 1)
    assert tensors["lora_unet_m.dora_scale"].dtype == torch.float32
    read = kohya.module_weights(tensors, ["unet.m", "unet.c"])
    assert read["unet.m"].magnitude is not None
    assert read["unet.m"].magnitude.tolist() == [1.0, 2.0, 3.0]


def test_what_is_written_reads_back_with_its_scale() -> None:
    """alpha / rank, by the names of the model's modules, and no lengths where there is no DoRA."""
    adapter = {"unet.m.lora_A.weight": torch.eye(2, 4), "unet.m.lora_B.weight": torch.eye(4, 2)}
    weights = kohya.module_weights(kohya.tensors(adapter, 3.0, rslora=False), ["unet.m", "unet.other"])["unet.m"]
    assert (weights.scale, weights.magnitude) == (1.5, None)
    assert weights.delta().diagonal().tolist() == [1.5, 1.5, 0.0, 0.0]


def test_a_foreign_module_is_named() -> None:
    """A file of another model is an error that names a module the model lacks."""
    tensors = kohya.tensors({"unet.x.y.lora_A.weight": torch.zeros(2, 4)}, 1.0, rslora=False)
    with pytest.raises(AdapterError, match="lora_unet_x_y"):
        kohya.module_weights(tensors, ["unet.a.b"])
