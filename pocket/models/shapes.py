"""Shapes of the pocket Stable Diffusion and its scorer, as plain diffusers and transformers classes."""

from dataclasses import dataclass
from typing import Any, Literal

from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTextModel, CLIPTokenizer

RESOLUTION = 256
"""Native width and height in pixels."""
DOWNSCALE = 16
"""Pixels per latent in each direction."""
TEXT_WIDTH = 128
TOKENS = 77
"""Tokens per prompt, start and end included."""
SCORER_SIDE = 128
"""Pixels the scorer looks at."""


@dataclass(frozen=True)
class Edition:
    """Widths of one edition of the base, and what its UNet predicts."""

    autoencoder: tuple[int, ...]
    latent_channels: int
    unet: tuple[int, ...]
    prediction: Literal["epsilon", "v_prediction"]
    conditioning: tuple[int, ...] = (16, 32, 48, 64, 96)
    """Widths of the ControlNet's edge encoder; each after the first halves the side, so that 256 px meet 16 latents."""


FIRST = Edition((16, 24, 48, 96, 128), 20, (80, 160), "epsilon")
"""The published base."""
SECOND = Edition((24, 32, 64, 96, 128), 24, (96, 192), "v_prediction")
"""What `train-gpu` trains: wider, and v-prediction (Salimans & Ho 2022), which keeps colours at strong noise."""


def autoencoder(edition: Edition = FIRST) -> AutoencoderKL:
    """256 px RGB to 16×16 latents; narrow where pixels are many."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 5,
        up_block_types=("UpDecoderBlock2D",) * 5,
        block_out_channels=edition.autoencoder,
        layers_per_block=1,
        latent_channels=edition.latent_channels,
        norm_num_groups=8,
        sample_size=RESOLUTION,
        mid_block_add_attention=False,
        force_upcast=False,
    )


def unet(edition: Edition = FIRST) -> UNet2DConditionModel:
    """Attention at every resolution, as in SD 1.5, so that a LoRA has something to hold on to."""
    return UNet2DConditionModel(
        sample_size=RESOLUTION // DOWNSCALE,
        in_channels=edition.latent_channels,
        out_channels=edition.latent_channels,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DCrossAttn",
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=edition.unet,
        layers_per_block=1,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
    )


def text_config(tokenizer: CLIPTokenizer) -> dict[str, Any]:
    """The configuration of a three-layer text encoder for `tokenizer`."""
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
    """The text encoder of the base."""
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


def controlnet(unet: UNet2DConditionModel, edition: Edition = FIRST) -> ControlNetModel:
    """The encoder half of `unet`, its weights copied, with an encoder of edge images in front."""
    return ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=edition.conditioning)


def scheduler(prediction: str = "epsilon") -> DDIMScheduler:
    """SD 1.5's noise schedule, for a UNet that predicts `prediction`."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type=prediction,
    )
