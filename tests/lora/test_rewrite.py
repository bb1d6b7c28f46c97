"""Merged, converted and resized files: what stands in them, and what is refused."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from anime_lora.diffusion.weight_file import read_header
from anime_lora.errors import AdapterError
from anime_lora.lora.adapter import ModuleWeights
from anime_lora.lora.rewrite import check_output, convert_file, in_shape, merge_files, resize_file
from anime_lora.lora.weights import parse_weighted, read_weights
from tests.support import lora_files as files
from tests.support.tiny import tiny_pipeline

PIPE = tiny_pipeline()


def test_a_merged_file_says_what_it_was_made_of_and_what_its_parts_say_alike(tmp_path: Path) -> None:
    one, two = (tmp_path / name for name in ("one.safetensors", "two.safetensors"))
    for number, path in enumerate((one, two)):
        shared = {"modelspec.architecture": "stable-diffusion-v1/lora", "ss_output_name": path.name}
        torch.manual_seed(number)
        save_file(files.kohya_file(PIPE, files.LINEAR), path, shared)
    written = merge_files([(one, 0.7), (two, -0.5)], tmp_path / "c.safetensors", "kohya")
    metadata = read_header(tmp_path / "c.safetensors").metadata
    assert metadata["modelspec.architecture"] == "stable-diffusion-v1/lora"
    assert "ss_output_name" not in metadata
    assert (metadata["ss_network_dim"], metadata["ss_network_alpha"]) == ("8", "8.0")
    assert [part["weight"] for part in json.loads(metadata["anime_lora.merged_from"])] == [0.7, -0.5]
    assert written.lines()[-1].startswith(f"wrote {tmp_path / 'c.safetensors'}: 1 modules, 0.0")


def test_a_merge_to_a_rank_says_its_error(tmp_path: Path) -> None:
    one, two = (files.write(tmp_path, "linear", PIPE, seed) for seed in (1, 2))
    written = merge_files([(one, 1.0), (two, 1.0)], tmp_path / "c.safetensors", "diffusers", rank=3)
    assert written.loss is not None
    assert 0 < written.loss.energy < 1
    assert "rank 3: " in written.lines()[-1]
    assert {weights.rank for weights in read_weights(tmp_path / "c.safetensors").modules.values()} == {3}


def test_loras_of_different_bases_and_predictions_are_named(tmp_path: Path) -> None:
    path = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
    for width in (768, 1024):
        tensors = {f"{path}.lora_down.weight": torch.ones(2, width), f"{path}.lora_up.weight": torch.ones(8, 2)}
        save_file(tensors, tmp_path / f"{width}.safetensors", {"modelspec.prediction_type": f"of {width}"})
    parts = [(tmp_path / "768.safetensors", 1.0), (tmp_path / "1024.safetensors", 1.0)]
    with pytest.raises(AdapterError, match=r"different bases: they read text of widths \[768, 1024\]"):
        merge_files(parts, tmp_path / "c.safetensors", "kohya")
    one = files.write(tmp_path, "linear", PIPE)
    tensors = files.kohya_file(PIPE, files.LINEAR)
    save_file(tensors, tmp_path / "v.safetensors", {"modelspec.prediction_type": "v"})
    written = merge_files([(one, 1.0), (tmp_path / "v.safetensors", 1.0)], tmp_path / "c.safetensors", "kohya")
    assert any("trained to predict different things (epsilon, v)" in note for note in written.notes)


def test_a_resized_file_keeps_its_metadata_and_says_what_is_left(tmp_path: Path) -> None:
    save_file(files.kohya_file(PIPE, files.LINEAR), tmp_path / "a.safetensors", {"ss_output_name": "mine"})
    written = resize_file(tmp_path / "a.safetensors", tmp_path / "b.safetensors", "kohya", rank=2, energy=None)
    metadata = read_header(tmp_path / "b.safetensors").metadata
    assert (metadata["ss_output_name"], metadata["ss_network_dim"]) == ("mine", "2")
    assert written.loss is not None
    assert json.loads(metadata["anime_lora.resized_from"])["energy"] == pytest.approx(written.loss.energy, abs=1e-6)


def test_a_resize_to_the_full_rank_gives_the_same_tensors(tmp_path: Path) -> None:
    path = files.write(tmp_path, "locon", PIPE)
    resize_file(path, tmp_path / "b.safetensors", "kohya", rank=files.RANK, energy=None)
    before, after = (read_weights(each).modules for each in (path, tmp_path / "b.safetensors"))
    assert all(torch.equal(before[name].down, after[name].down) for name in before)
    assert all(torch.equal(before[name].up, after[name].up) for name in before)


def test_warnings_come_with_the_file_they_are_about(tmp_path: Path) -> None:
    save_file(files.peft(PIPE, files.LINEAR), tmp_path / "a.safetensors")
    written = convert_file(tmp_path / "a.safetensors", tmp_path / "b.safetensors", "kohya", "fp16")
    assert written.lines()[0].startswith(f"note: {tmp_path / 'a.safetensors'}: it does not say its alpha")
    assert {entry.dtype for entry in read_header(tmp_path / "b.safetensors").tensors.values()} == {"F16", "F32"}


@pytest.mark.parametrize(("path", "width", "shape"), [
    ("unet.down_blocks.0.resnets.0.conv1", None, (2, 4, 3, 3)),
    ("unet.up_blocks.0.upsamplers.0.conv", None, (2, 4, 3, 3)),
    ("unet.down_blocks.0.resnets.0.conv_shortcut", None, (2, 36, 1, 1)),
    ("unet.mid_block.attentions.0.proj_in", 768, (2, 36, 1, 1)),
    ("unet.mid_block.attentions.0.proj_in", 1024, (2, 36)),
    ("unet.mid_block.resnets.0.time_emb_proj", None, (2, 36)),
])  # fmt: skip
def test_flat_factors_get_the_shape_of_their_convolution(path: str, width: int | None, shape: tuple[int, ...]) -> None:
    """Projections are convolutions in Stable Diffusion 1.x, which reads text of width 768, and linear in 2.x."""
    modules = {path: ModuleWeights(torch.randn(2, 36), torch.randn(5, 2), 1.0)}
    if width is not None:
        modules["unet.mid_block.attn2.to_k"] = ModuleWeights(torch.ones(2, width), torch.ones(5, 2), 1.0)
    shaped = in_shape(modules)[path]
    assert tuple(shaped.down.shape) == shape
    assert torch.equal(shaped.delta().flatten(1), modules[path].delta())


def test_nothing_is_overwritten_by_mistake(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"")
    out = tmp_path / "b.safetensors"
    check_output(out, [tmp_path / "a.safetensors"], force=False)
    with pytest.raises(AdapterError, match=r"does not end in \.safetensors"):
        check_output(tmp_path / "b.ckpt", [], force=False)
    with pytest.raises(AdapterError, match="one of the files that are read"):
        check_output(tmp_path / "a.safetensors", [tmp_path / "a.safetensors"], force=True)
    out.write_bytes(b"")
    with pytest.raises(AdapterError, match=r"is there already: .*--force"):
        check_output(out, [], force=False)
    check_output(out, [], force=True)


@pytest.mark.parametrize(("text", "path", "weight"), [
    ("a.safetensors", "a.safetensors", 1.0), ("a.safetensors:0.7", "a.safetensors", 0.7),
    ("dir/a.safetensors:-1", "dir/a.safetensors", -1.0), ("C:\\loras\\a.safetensors", "C:\\loras\\a.safetensors", 1.0),
])  # fmt: skip
def test_a_weight_stands_after_the_last_colon(text: str, path: str, weight: float) -> None:
    assert parse_weighted(text) == (Path(path), weight)


@pytest.mark.parametrize("weight", ["abc", "", "nan", "inf", "0,7"])
def test_a_weight_that_is_no_number_is_named(weight: str) -> None:
    with pytest.raises(AdapterError, match=r"has to be a number such as 0\.7"):
        parse_weighted(f"a.safetensors:{weight}")
