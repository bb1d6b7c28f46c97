"""The models have the parts of SD 1.5 where a LoRA or a pipeline looks for them."""

import torch
from transformers import CLIPTokenizer

from pocket.models import shapes


def test_the_text_encoder_is_read_at_the_end_token(tokenizer: CLIPTokenizer) -> None:
    """The pooled state is the one at the first end token, so padding does not change it."""
    torch.manual_seed(0)
    text_encoder = shapes.text_encoder(tokenizer).eval()
    short = tokenizer("blue hair", return_tensors="pt").input_ids
    padded = tokenizer("blue hair", padding="max_length", max_length=77, return_tensors="pt").input_ids
    with torch.no_grad():
        torch.testing.assert_close(text_encoder(short).pooler_output, text_encoder(padded).pooler_output)


def test_unet_attends_at_every_resolution() -> None:
    """Each block of the UNet has cross-attention, under the names of SD 1.5."""
    unet = shapes.unet()
    blocks = [*unet.down_blocks, unet.mid_block, *unet.up_blocks]
    for block in blocks:
        assert any(name.endswith("attn2.to_out.0") for name, _ in block.named_modules())
    assert unet.config.in_channels == shapes.FIRST.latent_channels == unet.config.out_channels
