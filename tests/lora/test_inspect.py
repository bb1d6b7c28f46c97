"""`inspect` reads any LoRA file; a file that is none, or half of one, is one clear error."""

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from anime_lora.errors import AdapterError
from anime_lora.lora.inspect import describe, inspect


def test_our_two_files_state_rank_alpha_and_lineage(stage: Callable) -> None:
    folder = stage(rank=2, alpha=6.0)
    kohya = dict(describe(inspect(folder / "t_c.safetensors")))
    assert kohya["file format"].startswith("kohya")
    assert (kohya["rank"], kohya["alpha"], kohya["DoRA"]) == ("2", "6", "no")
    assert kohya["sha256 of the weights"].endswith(", as the file says")
    assert kohya["ss_network_alpha"] == "6.0"
    assert "square 6" in kohya["ss_tag_frequency"]
    plain = dict(describe(inspect(folder / "pytorch_lora_weights.safetensors")))
    assert plain["file format"].startswith("diffusers")
    assert (plain["rank"], plain["alpha"]) == ("2", "6")
    assert plain["modules"] == kohya["modules"]


def test_a_foreign_file_without_metadata_is_read_too(tmp_path: Path) -> None:
    name = "lora_te_text_model_encoder_layers_0_self_attn_q_proj"
    weights = {f"{name}.lora_down.weight": torch.ones(4, 8), f"{name}.lora_up.weight": torch.zeros(8, 4)}
    save_file(weights, tmp_path / "foreign.safetensors")
    rows = dict(describe(inspect(tmp_path / "foreign.safetensors")))
    assert rows["modules"] == "1: text encoder"
    assert rows["alpha"].startswith("not in the file")
    assert "1 modules change nothing" in rows["change"]
    assert rows["metadata"] == "none"


def test_a_wrong_hash_and_a_nan_are_named(tmp_path: Path) -> None:
    weights = {"a.lora_A.weight": torch.full((2, 4), float("nan")), "a.lora_B.weight": torch.zeros(4, 2)}
    tags = json.dumps({"x": {"blue hair": 3, "girl": 5}})
    save_file(weights, tmp_path / "a.safetensors", {"sshs_model_hash": "0" * 64, "ss_tag_frequency": tags})
    rows = dict(describe(inspect(tmp_path / "a.safetensors")))
    assert "but the file says 000" in rows["sha256 of the weights"]
    assert rows["broken"].startswith("1 modules hold NaN")
    assert rows["ss_tag_frequency"] == "girl 5, blue hair 3"


@pytest.mark.parametrize(("content", "message"), [
    (None, "is not there"), (b"\x80\x02}q\x00.", "a pickle"), (b"", "is empty"),
])  # fmt: skip
def test_what_is_no_lora_is_one_error(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "x.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AdapterError, match=message):
        inspect(path)


def test_a_full_model_and_a_half_pair_are_refused(tmp_path: Path) -> None:
    save_file({"unet.conv_in.weight": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(AdapterError, match=r"holds no LoRA this reads; its first tensor is unet\.conv_in"):
        inspect(tmp_path / "model.safetensors")
    save_file({"a.lora_down.weight": torch.zeros(2, 2)}, tmp_path / "half.safetensors")
    with pytest.raises(AdapterError, match=r"has no lora_up\.weight"):
        inspect(tmp_path / "half.safetensors")


CONV = "lora_unet_down_blocks_0_resnets_0_conv1"
LINEAR = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"


def ones(*shape: int) -> torch.Tensor:
    return torch.ones(shape)


FOREIGN = {
    "locon": (
        {
            f"{CONV}.lora_down.weight": ones(8, 4, 3, 3), f"{CONV}.lora_up.weight": ones(6, 8, 1, 1),
            f"{CONV}.alpha": torch.tensor(4.0), f"{LINEAR}.lora_down.weight": ones(16, 5),
            f"{LINEAR}.lora_up.weight": ones(5, 16), f"{LINEAR}.alpha": torch.tensor(16.0),
        },
        {"file format": "kohya (A1111, Forge, ComfyUI)", "rank": "8 (1 times), 16 (1 times)",
         "alpha": "4 (1 times), 16 (1 times)",
         "modules": "2: convolution and other (1 times), self-attention (1 times)"},
    ),
    "locon with a core": (
        {f"{CONV}.lora_down.weight": ones(4, 4, 1, 1), f"{CONV}.lora_mid.weight": ones(4, 4, 3, 3),
         f"{CONV}.lora_up.weight": ones(6, 4, 1, 1)},
        {"rank": "4", "modules": "1: convolution and other"},
    ),
    "loha": (
        {f"{LINEAR}.hada_w1_a": ones(6, 4), f"{LINEAR}.hada_w1_b": ones(4, 5), f"{LINEAR}.hada_w2_a": ones(6, 4),
         f"{LINEAR}.hada_w2_b": ones(4, 5), f"{LINEAR}.alpha": torch.tensor(2.0)},
        {"file format": "LyCORIS LoHa", "rank": "4", "alpha": "2"},
    ),
    "lokr": (
        {f"{LINEAR}.lokr_w1": ones(2, 2), f"{LINEAR}.lokr_w2_a": ones(3, 4), f"{LINEAR}.lokr_w2_b": ones(4, 3)},
        {"file format": "LyCORIS LoKr", "rank": "4"},
    ),
    "full": ({f"{LINEAR}.diff": ones(3, 3), f"{LINEAR}.diff_b": ones(3)},
             {"file format": "LyCORIS full difference", "rank": "stored whole"}),
    "peft": (
        {"unet.mid_block.attentions.0.proj_in.lora_A.weight": ones(4, 5),
         "unet.mid_block.attentions.0.proj_in.lora_B.weight": ones(5, 4)},
        {"file format": "diffusers / PEFT", "metadata": "none",
         "alpha": "not in the file: a reader takes alpha = rank"},
    ),
    "old diffusers": (
        {"unet.mid.attn1.to_q_lora.lora.down.weight": ones(4, 5),
         "unet.mid.attn1.to_q_lora.lora.up.weight": ones(5, 4)},
        {"file format": "diffusers, before PEFT", "rank": "4"},
    ),
    "with an embedding": (
        {f"{LINEAR}.lora_down.weight": ones(4, 5), f"{LINEAR}.lora_up.weight": ones(5, 4), "emb_params": ones(2, 8)},
        {"other tensors": "1, e.g. emb_params"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FOREIGN)
def test_every_format_is_recognized(tmp_path: Path, name: str) -> None:
    """LoCon, LoHa, LoKr, full differences, diffusers old and new: format, rank, alpha and size, whoever made it."""
    tensors, expected = FOREIGN[name]
    save_file(tensors, tmp_path / "x.safetensors")
    rows = dict(describe(inspect(tmp_path / "x.safetensors")))
    assert expected.items() <= rows.items()
    assert "0 modules change nothing" in rows["change"]


def test_the_change_of_a_kronecker_product_is_exact(tmp_path: Path) -> None:
    """The norm of a Kronecker product is the product of the norms: 2·3 for squares of ones of sides 2 and 3."""
    save_file({f"{LINEAR}.lokr_w1": ones(2, 2), f"{LINEAR}.lokr_w2": ones(3, 3)}, tmp_path / "x.safetensors")
    file = inspect(tmp_path / "x.safetensors")
    assert file.norms == (6.0,)
    assert "largest 6;" in dict(describe(file))["change"]


def test_each_module_has_its_rank_and_norm_in_one_order(tmp_path: Path) -> None:
    """By path: a LoRA of rank 2 that changes nothing, and a full difference, which has no rank."""
    tensors = {"b.lora_down.weight": ones(2, 4), "b.lora_up.weight": torch.zeros(4, 2), "a.diff": ones(2, 2)}
    save_file(tensors, tmp_path / "x.safetensors")
    file = inspect(tmp_path / "x.safetensors")
    assert [module.path for module in file.modules] == ["a", "b"]
    assert (file.ranks, file.norms, file.alphas) == ((None, 2), (2.0, 0.0), ())
    assert (file.dora, file.not_finite, file.size) == (False, (), (tmp_path / "x.safetensors").stat().st_size)


@pytest.mark.parametrize("keep", [0.02, 0.5, 0.99])
def test_a_cut_download_is_one_error(tmp_path: Path, keep: float) -> None:
    """A file cut in its header, in the middle or near its end is named, not half read."""
    save_file(FOREIGN["locon"][0], tmp_path / "x.safetensors")
    content = (tmp_path / "x.safetensors").read_bytes()
    (tmp_path / "x.safetensors").write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(AdapterError, match=r"x\.safetensors cannot be read as safetensors"):
        inspect(tmp_path / "x.safetensors")


def test_a_half_loha_is_refused(tmp_path: Path) -> None:
    save_file({f"{LINEAR}.hada_w1_a": ones(6, 4), f"{LINEAR}.hada_w1_b": ones(4, 5)}, tmp_path / "x.safetensors")
    with pytest.raises(AdapterError, match="has no hada_w2_a"):
        inspect(tmp_path / "x.safetensors")


PAIR = ("a.lora_A.weight", "a.lora_B.weight")
METADATA = [
    {"ss_tag_frequency": '{"a": null, "b": {"girl": 2, "boy": null}}'},
    {"ss_tag_frequency": "[1]"},
    {"lora_adapter_metadata": '{"unet.lora_alpha": null}'},
]


@pytest.mark.parametrize("metadata", METADATA, ids=str)
def test_odd_metadata_is_no_obstacle(tmp_path: Path, metadata: dict[str, str]) -> None:
    save_file({"a.lora_A.weight": ones(2, 4), "a.lora_B.weight": ones(4, 2)}, tmp_path / "x.safetensors", metadata)
    rows = dict(describe(inspect(tmp_path / "x.safetensors")))
    assert rows["rank"] == "2"
    assert rows.get("ss_tag_frequency", "") in {"girl 2", ""}


@pytest.mark.parametrize("fault", [{"dtype": "F33"}, {"shape": [9, 9]}, {"shape": None}], ids=str)
def test_what_the_library_refuses_is_one_error(tmp_path: Path, fault: dict[str, object]) -> None:
    """A header that ends where the data ends, and still says what cannot be."""
    entries = {
        name: {"dtype": "F32", "shape": [1, 1], "data_offsets": [4 * i, 4 * i + 4]} for i, name in enumerate(PAIR)
    }
    header = json.dumps({**entries, PAIR[0]: {**entries[PAIR[0]], **fault}}).encode()
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    with pytest.raises(AdapterError, match=r"x\.safetensors cannot be read as safetensors"):
        inspect(tmp_path / "x.safetensors")
