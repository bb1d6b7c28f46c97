"""`inspect` reads any LoRA file and says what is wrong with a broken one."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from anime_lora.errors import AdapterError
from anime_lora.training.inspection import inspect


def test_our_two_files_say_rank_alpha_and_lineage(stage: Callable) -> None:
    folder = stage(rank=2, alpha=6.0)
    kohya = dict(inspect(folder / "t_c.safetensors"))
    assert kohya["file format"].startswith("kohya")
    assert (kohya["rank"], kohya["alpha"], kohya["DoRA"]) == ("2", "6", "no")
    assert kohya["sha256 of the weights"].endswith(", as the file says")
    assert kohya["ss_network_alpha"] == "6.0"
    assert "square 6" in kohya["ss_tag_frequency"]
    plain = dict(inspect(folder / "pytorch_lora_weights.safetensors"))
    assert plain["file format"].startswith("diffusers")
    assert (plain["rank"], plain["alpha"]) == ("2", "6")
    assert plain["modules"] == kohya["modules"]


def test_a_foreign_file_without_metadata_is_read_too(tmp_path: Path) -> None:
    name = "lora_te_text_model_encoder_layers_0_self_attn_q_proj"
    weights = {f"{name}.lora_down.weight": torch.ones(4, 8), f"{name}.lora_up.weight": torch.zeros(8, 4)}
    save_file(weights, tmp_path / "foreign.safetensors")
    rows = dict(inspect(tmp_path / "foreign.safetensors"))
    assert rows["modules"] == "1: text encoder"
    assert rows["alpha"].startswith("not in the file")
    assert "1 modules change nothing" in rows["change"]
    assert rows["metadata"] == "none"


def test_a_wrong_hash_and_a_nan_are_named(tmp_path: Path) -> None:
    weights = {"a.lora_A.weight": torch.full((2, 4), float("nan")), "a.lora_B.weight": torch.zeros(4, 2)}
    tags = json.dumps({"x": {"blue hair": 3, "girl": 5}})
    save_file(weights, tmp_path / "a.safetensors", {"sshs_model_hash": "0" * 64, "ss_tag_frequency": tags})
    rows = dict(inspect(tmp_path / "a.safetensors"))
    assert "but the file says 000" in rows["sha256 of the weights"]
    assert rows["broken"].startswith("1 modules hold NaN")
    assert rows["ss_tag_frequency"] == "girl 5, blue hair 3"


@pytest.mark.parametrize(("content", "says"), [
    (None, "is not a file"), (b"\x80\x02}q\x00.", "cannot be read as safetensors"),
    (b"", "cannot be read as safetensors"),
])  # fmt: skip
def test_what_is_no_lora_is_one_error(tmp_path: Path, content: bytes | None, says: str) -> None:
    path = tmp_path / "x.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AdapterError, match=says):
        inspect(path)


def test_a_full_model_and_a_half_pair_are_refused(tmp_path: Path) -> None:
    save_file({"unet.conv_in.weight": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(AdapterError, match="holds no LoRA"):
        inspect(tmp_path / "model.safetensors")
    save_file({"a.lora_down.weight": torch.zeros(2, 2)}, tmp_path / "half.safetensors")
    with pytest.raises(AdapterError, match=r"has no lora_up\.weight"):
        inspect(tmp_path / "half.safetensors")
