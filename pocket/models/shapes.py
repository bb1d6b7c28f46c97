"""Shapes of the pocket Stable Diffusion and its scorer, as plain diffusers and transformers classes."""

from typing import Any

from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTextModel, CLIPTokenizer

RESOLUTION = 256
"""Native width and height in pixels."""
LATENT_CHANNELS = 20
DOWNSCALE = 16
"""Pixels per latent in each direction."""
TEXT_WIDTH = 128
SCORER_SIDE = 128
"""Pixels the scorer looks at."""


def autoencoder() -> AutoencoderKL:
    """256 px RGB to 16×16×20 latents; narrow where pixels are many."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 5,
        up_block_types=("UpDecoderBlock2D",) * 5,
        block_out_channels=(16, 24, 48, 96, 128),
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=8,
        sample_size=RESOLUTION,
        mid_block_add_attention=False,
        force_upcast=False,
    )


def unet() -> UNet2DConditionModel:
    """Attention at every resolution, as in SD 1.5, so that a LoRA has something to hold on to."""
    return UNet2DConditionModel(
        sample_size=RESOLUTION // DOWNSCALE,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DCrossAttn",
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(80, 160),
        layers_per_block=1,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
    )


def text_config(tokenizer: CLIPTokenizer) -> dict[str, Any]:
    """A three-layer text tower for `tokenizer`."""
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": TEXT_WIDTH,
        "intermediate_size": TEXT_WIDTH * 4,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": tokenizer.model_max_length,
        "hidden_act": "quick_gelu",
        "projection_dim": 128,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """The text tower of the base."""
    return CLIPTextModel(CLIPTextConfig(**text_config(tokenizer)))


def scorer(tokenizer: CLIPTokenizer) -> CLIPModel:
    """A small CLIP: images and texts to unit vectors of 128 numbers."""
    vision = {
        "hidden_size": 192,
        "intermediate_size": 768,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "image_size": SCORER_SIDE,
        "patch_size": 16,
        "projection_dim": 128,
        "hidden_act": "quick_gelu",
    }
    text = text_config(tokenizer) | {"num_hidden_layers": 2}
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=128))


def scheduler() -> DDIMScheduler:
    """SD 1.5's noise schedule."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
