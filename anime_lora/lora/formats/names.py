"""Module names of every format as one: the path in diffusers' models, after `unet.` or `text_encoder.text_model.`."""

import re

from anime_lora.lora.formats import kohya
from anime_lora.lora.formats.first_names import to_diffusers

WORDS = (
    *("down_blocks", "up_blocks", "mid_block", "transformer_blocks", "time_embedding", "time_emb_proj", "conv_in"),
    *("conv_out", "conv_norm_out", "conv_shortcut", "proj_in", "proj_out", "to_q", "to_k", "to_v", "to_out"),
    *("linear_1", "linear_2", "text_model", "self_attn", "q_proj", "k_proj", "v_proj", "out_proj"),
    *("final_layer_norm", "layer_norm1", "layer_norm2", "text_projection"),
    *("input_blocks", "output_blocks", "middle_block", "in_layers", "out_layers", "emb_layers", "skip_connection"),
    "time_embed",
)
"""Names of modules that hold an underscore themselves; kohya writes the dots between modules as underscores too."""
PARTS = re.compile("|".join((*WORDS, "[^_]+")))
UNET = ("down_blocks.", "up_blocks.", "mid_block.", "conv_in", "conv_out", "time_embedding.")
"""How paths in a UNet begin; files of diffusers' attention processors do not say `unet.` before them."""
TEXT = ("text_model.", "encoder.layers.")
"""How paths in a text encoder begin."""
COMFY_UNET, COMFY_TEXT = "diffusion_model.", ("text_encoders.clip_l.transformer.", "clip_l.transformer.")
PEFT = "base_model.model."
"""What other programs put before the paths."""
OLD_TEXT = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}
"""diffusers' attention processors called the text encoder's projections as the UNet's."""


def canonical(path: str) -> str | None:
    """The path of the module that a file calls `path`: `unet.mid_block…`; None where no rule knows it."""
    for part, prefix in kohya.PREFIXES.items():
        if path.startswith(prefix):
            inner = ".".join(PARTS.findall(path.removeprefix(prefix)))
            if part == "unet" and (ours := to_diffusers(inner)):
                return f"unet.{ours}"
            name = f"{part}.{inner}"
            known = inner.startswith(UNET if part == "unet" else TEXT)
            return name if known and kohya.module_name(name) == path else None
    if path.startswith(COMFY_UNET):
        ours = to_diffusers(path.removeprefix(COMFY_UNET))
        return None if ours is None else f"unet.{ours}"
    path = next((path.removeprefix(prefix) for prefix in (PEFT, *COMFY_TEXT) if path.startswith(prefix)), path)
    if path.startswith(UNET):
        path = f"unet.{path}"
    elif path.startswith(TEXT):
        path = f"text_encoder.{path}"
    if path.startswith("unet."):
        path = path.replace(".processor.", ".")
        return f"{path}.0" if path.endswith(".to_out") else path
    if path.startswith("text_encoder."):
        return _text_encoder(path.removeprefix("text_encoder."))
    return None


def _text_encoder(inner: str) -> str:
    """With `text_model` once, and the projections' own names."""
    head, _, last = inner.removeprefix("text_model.").rpartition(".")
    if head.endswith("self_attn") or head.endswith("self_attn.processor"):
        head, last = head.removesuffix(".processor"), OLD_TEXT.get(last, last)
    return f"text_encoder.text_model.{head}.{last}" if head else f"text_encoder.text_model.{last}"


def model_name(path: str, model_paths: frozenset[str]) -> str | None:
    """The canonical path as the model at hand has it: transformers ≥ 5.6 has no `text_model`; None: not there."""
    short = path.replace("text_encoder.text_model.", "text_encoder.", 1)
    return next((name for name in (path, short) if name in model_paths), None)
