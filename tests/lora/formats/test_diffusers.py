"""Names and metadata that diffusers looks for."""

import json

import torch

from anime_lora.lora import adapter as lora
from anime_lora.lora.formats import diffusers
from tests.support.tiny import tiny_pipeline, train_settings


def test_the_config_of_each_adapted_part_stands_in_the_metadata() -> None:
    """Without alpha there diffusers would load rank 4, alpha 8 (scale 2) at scale 1."""
    pipe = tiny_pipeline()
    lora.attach(pipe.unet, pipe.text_encoder, train_settings(rank=4, alpha=8.0))
    metadata = diffusers.metadata(pipe, lora.adapter_state(pipe.unet, pipe.text_encoder))
    config = json.loads(metadata["lora_adapter_metadata"])
    assert (config["unet.lora_alpha"], config["unet.r"]) == (8.0, 4)
    assert not any(key.startswith("text_encoder.") for key in config)


def test_names_are_those_that_diffusers_saves() -> None:
    """The text encoder's have `text_model`, once; DoRA's vector has no `.weight`; the UNet's stay as PEFT has them."""
    value = torch.zeros(1)
    names = [
        "unet.a.lora_A.weight", "unet.a.lora_magnitude_vector.weight", "text_encoder.b.lora_B.weight",
        "text_encoder.text_model.c.lora_B.weight",
    ]  # fmt: skip
    assert list(diffusers.tensors(dict.fromkeys(names, value))) == [
        "unet.a.lora_A.weight", "unet.a.lora_magnitude_vector", "text_encoder.text_model.b.lora_B.weight",
        "text_encoder.text_model.c.lora_B.weight",
    ]  # fmt: skip
