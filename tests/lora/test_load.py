"""A LoRA of any format acts on a pipeline as its own definition says, and as diffusers itself reads it."""

from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file

from anime_lora.errors import AdapterError
from anime_lora.lora.arithmetic import merge
from anime_lora.lora.base_fit import fit, shapes_of_base, shapes_of_models
from anime_lora.lora.load import load_onto
from anime_lora.lora.weights import read_weights
from anime_lora.lora.write import write_weights
from tests.support import lora_files as files
from tests.support.tiny import tiny_pipeline


@torch.no_grad()
def outputs(pipe: StableDiffusionPipeline) -> torch.Tensor:
    """The UNet's prediction and the text encoder's embedding for fixed inputs, as one row."""
    rng = torch.Generator().manual_seed(0)
    unet = pipe.unet
    noise = torch.randn(2, unet.config.in_channels, 8, 8, generator=rng)
    text = torch.randn(2, 7, unet.config.cross_attention_dim, generator=rng)
    tokens = torch.randint(3, 90, (1, 7), generator=rng)
    return torch.cat([unet(noise, 500, text).sample.flatten(), pipe.text_encoder(tokens)[0].flatten()])


@torch.no_grad()
def changed_by_hand(path: Path, weight: float = 1.0) -> StableDiffusionPipeline:
    """The tiny base with ΔW added to its weights."""
    pipe = tiny_pipeline()
    shapes = shapes_of_models(pipe.unet, pipe.text_encoder, "tiny")
    for name, module in fit(read_weights(path).modules, shapes, path.name).items():
        part, inner = name.split(".", maxsplit=1)
        getattr(pipe, part).get_submodule(inner).weight += weight * module.delta()
    return pipe


@pytest.mark.parametrize("kind", files.KINDS)
def test_every_kind_acts_as_its_delta_on_the_weights(tmp_path: Path, kind: str) -> None:
    path, pipe = files.write(tmp_path, kind, tiny_pipeline()), tiny_pipeline()
    bare = outputs(pipe)
    load_onto(pipe, path, "style")
    torch.testing.assert_close(outputs(pipe), outputs(changed_by_hand(path)), rtol=1e-4, atol=1e-4)
    assert float((outputs(pipe) - bare).abs().max()) > 1e-3


@pytest.mark.parametrize("kind", ["linear", "with text encoder", "locon", "peft"])
def test_what_diffusers_reads_itself_gives_the_same_bits(tmp_path: Path, kind: str) -> None:
    path, ours, theirs = files.write(tmp_path, kind, tiny_pipeline()), tiny_pipeline(), tiny_pipeline()
    load_onto(ours, path, "style")
    theirs.load_lora_weights(tmp_path, weight_name=path.name, adapter_name="style")
    assert torch.equal(outputs(ours), outputs(theirs))


@pytest.mark.parametrize("kind", files.KINDS)
@pytest.mark.parametrize("file_format", ["kohya", "diffusers"])
def test_a_converted_file_is_read_by_plain_diffusers(tmp_path: Path, kind: str, file_format: str) -> None:
    """With its scale: by alphas or by PEFT's config. LoHa of convolutions needs the base's shapes for that."""
    pipe, path = tiny_pipeline(), files.write(tmp_path, kind, tiny_pipeline())
    modules = read_weights(path).modules
    fitted = fit(modules, shapes_of_models(pipe.unet, pipe.text_encoder, "tiny"), path.name)
    write_weights(tmp_path / "c.safetensors", fitted, {}, file_format)  # type: ignore[arg-type]
    pipe.load_lora_weights(tmp_path, weight_name="c.safetensors", adapter_name="style")
    torch.testing.assert_close(outputs(pipe), outputs(changed_by_hand(path)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["with text encoder", "locon", "loha", "peft"])
def test_a_merge_acts_as_both_adapters_at_their_weights(tmp_path: Path, kind: str) -> None:
    """(0.7, 0.5): UNet and text encoder give the same to 1e-5 of their size."""
    one, two = (files.write(tmp_path, name, tiny_pipeline(), seed) for seed, name in enumerate((kind, "locon"), 1))
    both, merged = tiny_pipeline(), tiny_pipeline()
    for name, path in (("one", one), ("two", two)):
        load_onto(both, path, name)
    both.set_adapters(["one", "two"], [0.7, 0.5])
    write_weights(
        tmp_path / "c.safetensors",
        merge([(read_weights(one).modules, 0.7), (read_weights(two).modules, 0.5)]),
        {},
        "kohya",
    )
    load_onto(merged, tmp_path / "c.safetensors", "merged")
    torch.testing.assert_close(outputs(merged), outputs(both), rtol=1e-5, atol=1e-5)


def test_shapes_of_a_base_are_the_same_from_its_files_and_its_models(tiny_base: Path) -> None:
    """Linear layers and convolutions; embeddings stand in the files only."""
    pipe = tiny_pipeline()
    by_files, by_models = shapes_of_base(tiny_base).shapes, shapes_of_models(pipe.unet, pipe.text_encoder, "t").shapes
    plain = {path.replace("text_model.", ""): shape for path, shape in by_files.items()}
    assert {path.replace("text_model.", ""): shape for path, shape in by_models.items()}.items() <= plain.items()
    load_onto(pipe, files.write(tiny_base.parent, "locon", pipe), "style")
    assert shapes_of_models(pipe.unet, pipe.text_encoder, "t").shapes == by_models


@pytest.mark.parametrize(
    ("width", "name"), [(768, r" \(Stable Diffusion 1.x\)"), (1024, r" \(Stable Diffusion 2.x\)"), (40, "")]
)
def test_a_lora_of_another_base_is_refused_with_the_base_it_is_for(tmp_path: Path, width: int, name: str) -> None:
    pipe = tiny_pipeline()
    path = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
    tensors = {f"{path}.lora_down.weight": torch.ones(4, width), f"{path}.lora_up.weight": torch.ones(16, 4)}
    save_file(tensors, tmp_path / "x.safetensors")
    message = (
        rf"x\.safetensors was made for another base{name}: 1 of 1 modules do not fit tiny \(reads text of width 32\)"
    )
    with pytest.raises(AdapterError, match=message):
        load_onto(pipe, tmp_path / "x.safetensors", "style", "tiny")


def test_a_module_that_the_base_lacks_is_named(tmp_path: Path) -> None:
    path = "lora_unet_mid_block_attentions_9_proj_in"
    tensors = {f"{path}.lora_down.weight": torch.ones(4, 8), f"{path}.lora_up.weight": torch.ones(16, 4)}
    save_file(tensors, tmp_path / "x.safetensors")
    with pytest.raises(AdapterError, match=r"unet\.mid_block\.attentions\.9\.proj_in, which the base lacks"):
        load_onto(tiny_pipeline(), tmp_path / "x.safetensors", "style", "tiny")
