"""Which base a weights file was made for, told by the names and shapes of its tensors.

Names are those that trainers and webuis write: kohya's (`lora_unet_…`), diffusers' and PEFT's (`transformer.…`),
ComfyUI's (`diffusion_model.…`).
"""

import re
from collections.abc import Mapping

from anime_lora.diffusion.weight_file import TensorEntry

TRANSFORMERS = (
    ("Flux", r"double_blocks[._]\d|single_transformer_blocks[._]\d|(^|[._])single_blocks[._]\d"),
    ("Stable Diffusion 3", r"joint_blocks[._]\d|lora_te3_|text_encoder_3\.|^transformer\..*attn\.add_[qkv]_proj"),
    ("Stable Cascade", r"lora_prior_|^prior_unet"),
    ("Hunyuan-DiT", r"lora_unet_blocks_\d+_(attn1|attn2|default_modulation)"),
    ("Wan", r"blocks[._]\d+[._](self_attn|cross_attn)[._][qkvo]\b|blocks_\d+_cross_attn_k"),
    ("a language model", r"model\.layers\.\d+\.self_attn"),
    ("a transformer model (Flux, SD 3 or another)", r"^(lora_)?transformer[._]|^diffusion_model\.(layers|blocks)"),
)  # fmt: skip
"""Architectures that are no UNet, and what only their tensors are called; the first that fits counts."""
XL = re.compile(
    r"lora_te2_|text_encoder_2\.|text_encoders\.clip_g|(input|output|middle)_blocks?[._].*transformer_blocks[._][1-9]"
    r"|(down|up)_blocks?[._]\d[._]attentions[._]\d[._]transformer_blocks[._][1-9]|conditioner\.embedders|add_embedding"
)
"""What SDXL's are called: a second text encoder, transformer blocks in a row, the blocks of its first publication."""
FIRST_NAMES = re.compile(r"lora_unet_(input|output|middle)_blocks?")
"""Blocks of the first publication, which kohya's trainer writes of SDXL only."""
WIDTHS = {768: "Stable Diffusion 1.x", 1024: "Stable Diffusion 2.x", 2048: "SDXL"}
"""Bases by the width of the text that the UNet's cross-attention reads."""
READ_HERE = (WIDTHS[768], WIDTHS[1024])
"""Those whose LoRAs are used here, beside bases of other widths."""
OTHER_KINDS = (
    ("a ControlNet", r"^control_model\.|controlnet_cond_embedding|^lora_controlnet$|^lllite_|^controlnet_"),
    ("an IP-Adapter", r"^image_proj\.|^ip_adapter\."),
    ("a full checkpoint", r"^model\.diffusion_model\.|^(down_blocks|up_blocks|mid_block|conv_in)\b.*\.weight$"),
    ("a VAE", r"^(first_stage_model\.)?(encoder|decoder)\.(conv_in|down|up|mid)"),
    ("a text encoder", r"^(text_model\.)?(embeddings|encoder\.layers)\."),
    ("an embedding (textual inversion)", r"^(emb_params|clip_[lg]|string_to_param)|^<.*>$"),
)  # fmt: skip
"""Kinds of weights that people take for a LoRA; asked only of a file that holds no adapted module."""
CROSS = re.compile(r"attn2[._]to_k")
DOWN = (".lora_down.weight", ".lora_A.weight", ".lora_A.default.weight", "lora.down.weight", "layer.down.weight")
DOWN_FACTORS = (*DOWN, ".hada_w1_b", ".diff")
"""Endings of tensors whose second dimension is the width that a module reads."""


def architecture(tensors: Mapping[str, TensorEntry]) -> str | None:
    """The base's name for people (`SDXL`, `Stable Diffusion 2.x`, `Flux` …); None where nothing tells it."""
    for name, pattern in TRANSFORMERS:
        if any(re.search(pattern, key) for key in tensors):
            return name
    if any(XL.search(key) for key in tensors):
        return "SDXL"
    width = text_width(tensors)
    if width is not None:
        return WIDTHS.get(width)
    return "SDXL" if any(FIRST_NAMES.search(key) for key in tensors) else None


def text_width(tensors: Mapping[str, TensorEntry]) -> int | None:
    """Width of the text that the UNet reads, by a cross-attention's factor or weight; None where there is none."""
    for key, entry in tensors.items():
        if CROSS.search(key) and len(entry.shape) > 1 and key.endswith((*DOWN_FACTORS, "to_k.weight")):
            return entry.shape[1]
    return None


def other_kind(tensors: Mapping[str, TensorEntry]) -> str | None:
    """What a file without adapted modules is; None where nothing tells it."""
    if not tensors:
        return "a file without tensors"
    kind = next((kind for kind, pattern in OTHER_KINDS if any(re.search(pattern, key) for key in tensors)), None)
    if kind == "a full checkpoint" and (base := architecture(tensors)):
        return f"{kind} of {base}"
    return kind
