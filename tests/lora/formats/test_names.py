"""One path for a module, whatever format names it."""

import csv
from pathlib import Path

import pytest

from anime_lora.lora.formats import kohya
from anime_lora.lora.formats.names import canonical, model_name

GOLDEN = Path(__file__).parent / "data" / "sd15_lora_keys.tsv"
ATTENTION = "down_blocks.0.attentions.0.transformer_blocks.0.attn1"
TEXT = "text_encoder.text_model.encoder.layers.11.self_attn"


def test_kohya_s_names_of_the_golden_list_come_back() -> None:
    """All 350 modules: `_` becomes `.` where a module ends, and nowhere else."""
    with GOLDEN.open() as stream:
        names = [row["kohya_module"] for row in csv.DictReader(stream, delimiter="\t")]
    paths = [str(canonical(name)) for name in names]
    assert len(set(paths)) == len(names) == 350
    assert [kohya.module_name(path) for path in paths] == names
    assert {"unet.mid_block.resnets.1.time_emb_proj", f"unet.{ATTENTION}.to_out.0", f"{TEXT}.q_proj"} <= set(paths)


@pytest.mark.parametrize(("name", "path"), [
    (f"unet.{ATTENTION}.to_q", f"unet.{ATTENTION}.to_q"),
    (f"{ATTENTION}.processor.to_q", f"unet.{ATTENTION}.to_q"),
    (f"unet.{ATTENTION}.processor.to_out", f"unet.{ATTENTION}.to_out.0"),
    (f"base_model.model.{ATTENTION}.to_v", f"unet.{ATTENTION}.to_v"),
    ("text_encoder.text_model.encoder.layers.11.self_attn.to_out", f"{TEXT}.out_proj"),
    ("text_encoder.encoder.layers.11.self_attn.q_proj", f"{TEXT}.q_proj"),
    ("text_encoder.text_model.encoder.layers.11.mlp.fc1", "text_encoder.text_model.encoder.layers.11.mlp.fc1"),
    ("diffusion_model.input_blocks.4.1.transformer_blocks.0.attn1.to_q",
     "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"),
    ("lora_unet_output_blocks_11_1_transformer_blocks_0_ff_net_0_proj",
     "unet.up_blocks.3.attentions.2.transformer_blocks.0.ff.net.0.proj"),
    ("diffusion_model.input_blocks.1.0.in_layers.2", "unet.down_blocks.0.resnets.0.conv1"),
    ("lora_unet_input_blocks_3_0_op", "unet.down_blocks.0.downsamplers.0.conv"),
    ("diffusion_model.output_blocks.2.1.conv", "unet.up_blocks.0.upsamplers.0.conv"),
    ("diffusion_model.output_blocks.5.2.conv", "unet.up_blocks.1.upsamplers.0.conv"),
    ("lora_unet_middle_block_2_emb_layers_1", "unet.mid_block.resnets.1.time_emb_proj"),
    ("diffusion_model.time_embed.2", "unet.time_embedding.linear_2"), ("diffusion_model.out.2", "unet.conv_out"),
    ("diffusion_model.input_blocks.0.0", "unet.conv_in"), ("diffusion_model.blocks.0.self_attn.q", None),
    ("text_encoders.clip_l.transformer.text_model.encoder.layers.11.self_attn.q_proj", f"{TEXT}.q_proj"),
    ("transformer.single_transformer_blocks.0.attn.to_q", None),
    ("lora_te2_text_model_encoder_layers_0_mlp_fc1", None),
])  # fmt: skip
def test_each_format_s_name_becomes_one_path(name: str, path: str | None) -> None:
    assert canonical(name) == path


def test_the_model_s_own_name_is_used() -> None:
    """With `text_model` or without, as the model at hand has it."""
    for own in (f"{TEXT}.q_proj", f"{TEXT}.q_proj".replace("text_model.", "")):
        assert model_name(f"{TEXT}.q_proj", frozenset({own})) == own
    assert model_name("unet.x", frozenset({"unet.y"})) is None


def test_every_module_of_the_first_publication_has_another_place() -> None:
    """Of 1.x: 12 input and 12 output blocks name the resnets and attentions of the golden list, each once."""
    with GOLDEN.open() as stream:
        golden = {str(canonical(row["kohya_module"])) for row in csv.DictReader(stream, delimiter="\t")}
    blocks = [f"input_blocks.{n}.{m}" for n in range(1, 12) for m in (0, 1)]
    blocks += [f"output_blocks.{n}.{m}" for n in range(12) for m in (0, 1)] + ["middle_block.1"]
    inner = ("in_layers.2", "out_layers.3", "emb_layers.1", "transformer_blocks.0.attn2.to_k", "proj_in")
    paths = [canonical(f"diffusion_model.{block}.{name}") for block in blocks for name in inner]
    real = [path for path in paths if path in golden]
    ends = (".conv1", ".conv2", ".time_emb_proj", ".attn2.to_k", ".proj_in")
    assert len(real) == len(set(real))
    assert {path for path in golden if path.endswith(ends)} - set(real) == {
        path for path in golden if path.startswith("unet.mid_block.resnets") and path.endswith(ends)
    }
