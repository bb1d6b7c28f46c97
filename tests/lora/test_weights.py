"""A LoRA file of any format is read with its scale, or refused in one sentence that says what it is."""

import json
import random
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from anime_lora.errors import AdapterError
from anime_lora.lora.weights import read_weights
from tests.support import lora_files as files
from tests.support.tiny import tiny_pipeline

PIPE = tiny_pipeline()


@pytest.mark.parametrize("kind", files.KINDS)
def test_every_kind_is_read_by_module(tmp_path: Path, kind: str) -> None:
    """By diffusers' own paths, with a change that is finite and not zero."""
    lora = read_weights(files.write(tmp_path, kind, PIPE))
    own = files.shapes_of_models(PIPE.unet, PIPE.text_encoder, "tiny").shapes
    assert {path.replace("text_model.", "") for path in lora.modules} <= {
        path.replace("text_model.", "") for path in own
    }
    assert all(float(weights.delta().abs().max()) > 0 for weights in lora.modules.values())


def save_peft(folder: Path, metadata: dict[str, str] | None, **tensors: torch.Tensor) -> Path:
    torch.manual_seed(0)
    save_file({**files.peft(PIPE, files.LINEAR), **tensors}, folder / "x.safetensors", metadata)
    return folder / "x.safetensors"


def scale_and_notes(path: Path) -> tuple[float, tuple[str, ...]]:
    lora = read_weights(path)
    return lora.modules[files.LINEAR].scale, lora.notes


def test_rank_4_alpha_16_without_metadata_is_warned_of(tmp_path: Path) -> None:
    """Nothing in the file says its alpha: scale 1, as diffusers reads it, and the way to correct it."""
    scale, (note,) = scale_and_notes(save_peft(tmp_path, None))
    assert scale == 1.0
    assert "cannot be known" in note
    assert "alpha / 4" in note


def test_kohya_s_metadata_hint_at_the_weight_to_use(tmp_path: Path) -> None:
    _, (note,) = scale_and_notes(save_peft(tmp_path, {"ss_network_alpha": "16", "ss_network_dim": "4"}))
    assert "try weight 4" in note


@pytest.mark.parametrize(("metadata", "scale"), [
    (files.peft_metadata(16.0, 4), 4.0),
    (files.peft_metadata(16.0, 4, use_rslora=True), 8.0),
    (files.peft_metadata(16.0, 4, alpha_pattern={"attn1.to_q": 2.0}), 0.5),
    ({"lora_adapter_metadata": json.dumps({"r": 4, "lora_alpha": 8})}, 2.0),
    (files.peft_metadata(16.0, 4, alpha_pattern={"(": 2.0}), 4.0),
])  # fmt: skip
def test_peft_s_config_gives_the_scale(tmp_path: Path, metadata: dict[str, str], scale: float) -> None:
    assert scale_and_notes(save_peft(tmp_path, metadata)) == (scale, ())


def test_an_alpha_beside_the_factors_counts_more_than_metadata(tmp_path: Path) -> None:
    """Some trainers write kohya's alphas with PEFT's names."""
    path = save_peft(tmp_path, files.peft_metadata(16.0, 4), **{f"{files.LINEAR}.alpha": torch.tensor(2.0)})
    assert scale_and_notes(path) == (0.5, ())


def test_peft_s_own_folder_has_its_config_beside(tmp_path: Path) -> None:
    path = save_peft(tmp_path, None)
    (tmp_path / "adapter_config.json").write_text('{"r": 4, "lora_alpha": 16}')
    assert scale_and_notes(path) == (4.0, ())


def test_an_embedding_beside_the_lora_is_ignored_with_a_word(tmp_path: Path) -> None:
    """kohya's trainer bundles embeddings that were trained together with the LoRA."""
    tensors = files.kohya_file(PIPE, files.LINEAR)
    save_file({**tensors, "bundle_emb.word.string_to_param.*": torch.ones(2, 8)}, tmp_path / "x.safetensors")
    lora = read_weights(tmp_path / "x.safetensors")
    assert list(lora.modules) == [files.LINEAR]
    assert "embedding beside the LoRA (bundle_emb.word.string_to_param.*), which is ignored" in lora.notes[0]


def ones(*shape: int) -> torch.Tensor:
    return torch.ones(shape)


XL = "lora_unet_input_blocks_4_1_transformer_blocks_9_attn2_to_k"
WIDE = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"


def lora(name: str, reads: int = 8) -> dict[str, torch.Tensor]:
    return {f"{name}.lora_down.weight": ones(4, reads), f"{name}.lora_up.weight": ones(8, 4)}


def diffusers_lora(name: str) -> dict[str, torch.Tensor]:
    return {f"{name}.lora_A.weight": ones(4, 8), f"{name}.lora_B.weight": ones(8, 4)}


FOREIGN = {
    "SDXL by its blocks": (lora(XL, 2048), "is a LoRA for SDXL, and this works with Stable Diffusion 1.x and 2.x"),
    "SDXL by its text encoder": (lora("lora_te2_text_model_encoder_layers_0_mlp_fc1"), "is a LoRA for SDXL"),
    "SDXL by its width": (lora(WIDE, 2048), "is a LoRA for SDXL"),
    "SDXL of diffusers": (
        diffusers_lora("unet.down_blocks.1.attentions.0.transformer_blocks.1.attn1.to_q"), "is a LoRA for SDXL",
    ),
    "SDXL by its first names": (lora("lora_unet_input_blocks_4_1_proj_in"), "is a LoRA for SDXL"),
    "Flux of kohya": (lora("lora_unet_double_blocks_0_img_attn_qkv"), "is a LoRA for Flux"),
    "Flux of diffusers": (diffusers_lora("transformer.single_transformer_blocks.0.attn.to_q"), "is a LoRA for Flux"),
    "SD 3 of kohya": (lora("lora_unet_joint_blocks_0_x_block_attn_qkv"), "is a LoRA for Stable Diffusion 3"),
    "SD 3 of diffusers": (diffusers_lora("transformer.transformer_blocks.0.attn.add_q_proj"), "for Stable Diffusion 3"),
    "Wan": (diffusers_lora("diffusion_model.blocks.0.self_attn.q"), "is a LoRA for Wan"),
    "a language model": (diffusers_lora("base_model.model.model.layers.0.self_attn.q_proj"), "a language model"),
    "an unknown transformer": (diffusers_lora("transformer.layers.0.to_q"), "for a transformer model"),
    "another model": (lora("lora_unet_x_y"), "is for another model: 1 of its 1 modules are none of a Stable Diffusion"),
    "a checkpoint": (
        {"model.diffusion_model.input_blocks.0.0.weight": ones(4, 4)}, "is a full checkpoint, not a LoRA: .*extract",
    ),
    "a UNet": (
        {"down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight": ones(4, 768)},
        "is a full checkpoint of Stable Diffusion 1.x, not a LoRA",
    ),
    "a VAE": ({"decoder.conv_in.weight": ones(4, 4)}, "is a VAE, not a LoRA"),
    "a ControlNet": ({"control_model.input_blocks.0.weight": ones(4, 4)}, "is a ControlNet, not a LoRA"),
    "an embedding": ({"emb_params": ones(2, 768)}, "is an embedding .textual inversion., not a LoRA"),
    "an OFT": ({"lora_unet_mid_block.oft_blocks": ones(2, 4, 4)}, "is an OFT adapter, which is no pair of factors"),
    "a (IA)3": ({"lora_unet_mid_block.on_input": ones(1), "lora_unet_mid_block.weight": ones(1, 4)}, r"\(IA\)³"),
    "biases": ({**lora(WIDE), f"{WIDE}.diff_b": ones(8)}, "also changes 1 biases or norms"),
    "NaN": ({**lora(WIDE), f"{WIDE}.lora_up.weight": ones(8, 4) * float("nan")}, "holds NaN or infinity in 1 of 1"),
    "an alpha of infinity": ({**lora(WIDE), f"{WIDE}.alpha": torch.tensor(float("inf"))}, "alpha of .* is .inf."),
    "an alpha of two numbers": ({**lora(WIDE), f"{WIDE}.alpha": ones(2)}, r"is \[1.0, 1.0\] instead"),
    "rank 0": ({f"{WIDE}.lora_down.weight": ones(0, 8), f"{WIDE}.lora_up.weight": ones(8, 0)}, "do not fit each other"),
    "half a pair": ({f"{WIDE}.lora_down.weight": ones(4, 8)}, "has no lora_up.weight"),
    "nothing": ({}, "is a file without tensors"),
}  # fmt: skip


@pytest.mark.parametrize("name", FOREIGN)
def test_what_cannot_be_used_is_refused_in_one_sentence(tmp_path: Path, name: str) -> None:
    tensors, message = FOREIGN[name]
    save_file(tensors, tmp_path / "x.safetensors")
    with pytest.raises(AdapterError, match=rf"x\.safetensors.*{message}") as caught:
        read_weights(tmp_path / "x.safetensors")
    assert "\n" not in str(caught.value)


def test_factors_keep_the_file_s_dtype(tmp_path: Path) -> None:
    tensors = {name: value.half() for name, value in files.kohya_file(PIPE, files.LINEAR).items()}
    save_file(tensors, tmp_path / "x.safetensors")
    weights = read_weights(tmp_path / "x.safetensors").modules[files.LINEAR]
    assert {weights.down.dtype, weights.up.dtype} == {torch.float16}
    assert torch.equal(
        weights.down, load_file(tmp_path / "x.safetensors")[next(n for n in tensors if "down" in n[-12:])]
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float8_e4m3fn])
def test_dtypes_that_models_do_not_compute_in_become_fp32(tmp_path: Path, dtype: torch.dtype) -> None:
    tensors = {name: value.to(dtype) for name, value in files.kohya_file(PIPE, files.LINEAR).items()}
    save_file(tensors, tmp_path / "x.safetensors")
    weights = read_weights(tmp_path / "x.safetensors").modules[files.LINEAR]
    assert {weights.down.dtype, weights.up.dtype} == {torch.float32}


def mutated(content: bytes, rng: random.Random) -> bytes:
    """A copy with a few bytes changed, in the header or anywhere, cut short, or with something behind it."""
    kind, copy = rng.randrange(4), bytearray(content)
    (length,) = struct.unpack("<Q", content[:8])
    if kind == 0:
        return bytes(copy[: rng.randrange(len(copy))])
    if kind == 1:
        return bytes(copy) + rng.randbytes(rng.randrange(1, 9))
    for _ in range(rng.randrange(1, 5)):
        place = rng.randrange(8, 8 + length) if kind == 2 else rng.randrange(len(copy))
        copy[place] = rng.choice(b'{}[]",:0123456789.abN_') if kind == 2 else rng.randrange(256)
    return bytes(copy)


def test_400_mutated_files_are_read_or_refused_in_one_line(tmp_path: Path) -> None:
    rng, path = random.Random(0), tmp_path / "x.safetensors"
    contents = [files.write(tmp_path, kind, PIPE).read_bytes() for kind in files.KINDS]
    refused = 0
    for _ in range(400):
        path.write_bytes(mutated(rng.choice(contents), rng))
        try:
            read_weights(path)
        except AdapterError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 200
