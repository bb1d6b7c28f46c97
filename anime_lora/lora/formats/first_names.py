"""The module names of Stable Diffusion's first publication, which ComfyUI and some trainers still write.

`input_blocks.4.1` is the attention of the second level's first layer: three entries a level, two layers and a sampler.
Ours are diffusers' (https://github.com/huggingface/diffusers/blob/main/scripts/convert_diffusers_to_original_stable_diffusion.py
has the same table).
"""

import re

BLOCK = re.compile(r"(input|output)_blocks\.(\d+)\.(\d)\.(.+)|middle_block\.([012])\.(.+)")
FIXED = {
    "input_blocks.0.0": "conv_in",
    "out.2": "conv_out",
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
}
RESNET = {
    "in_layers.2": "conv1",
    "out_layers.3": "conv2",
    "emb_layers.1": "time_emb_proj",
    "skip_connection": "conv_shortcut",
}
MIDDLE = ("resnets.0", "attentions.0", "resnets.1")


def to_diffusers(path: str) -> str | None:
    """diffusers' path of a UNet's module; None where the first publication has no such name."""
    if path in FIXED:
        return FIXED[path]
    match = BLOCK.fullmatch(path)
    if match is None:
        return None
    side, number, entry, rest, middle, middle_rest = match.groups()
    if middle is not None:
        return f"mid_block.{MIDDLE[int(middle)]}.{RESNET.get(middle_rest, middle_rest)}"
    # the first input block is `conv_in`, so that the levels begin with the second
    level, layer = divmod(int(number) - (side == "input"), 3)
    block = f"{'down' if side == 'input' else 'up'}_blocks.{level}"
    if side == "input" and layer == 2:
        return f"{block}.downsamplers.0.conv" if rest == "op" else None
    if rest == "conv":
        return f"{block}.upsamplers.0.conv"
    return f"{block}.{'attentions' if entry == '1' else 'resnets'}.{layer}.{RESNET.get(rest, rest)}"
