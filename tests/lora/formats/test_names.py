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
